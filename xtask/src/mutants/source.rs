//! The copy of the sources that has every mutant in it, each behind its switch.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::VARIABLE;
use super::table::Mutant;

/// What is copied from the root beside the members; the rest of the workspace is not needed.
const COPIED: [&str; 2] = ["Cargo.lock", "rust-toolchain.toml"];
const MEMBERS: [&str; 4] = ["crates/log", "crates/coordinator", "crates/broker", "sim"];
/// Around the part of a mutant's text that is replaced; the rest says where it is.
const OPEN: char = '«';
const CLOSE: char = '»';

/// Brings `tree` up to date. Files that have not changed are not written, so that cargo builds
/// only what has.
pub(super) fn prepare(root: &Path, tree: &Path, mutants: &[Mutant]) -> anyhow::Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    write(&tree.join("Cargo.toml"), &small_workspace(&manifest)?)?;
    let mut files = Vec::new();
    for path in COPIED.iter().chain(&MEMBERS) {
        list(root, path, &mut files)?;
    }
    for member in MEMBERS.iter().filter(|member| tree.join(member).is_dir()) {
        remove_strangers(&tree.join(member), member, &files)?;
    }
    for mutant in mutants {
        let path = path_of(mutant);
        anyhow::ensure!(files.contains(&path), "{}: there is no file {path}", mutant.name);
    }
    for path in &files {
        let text = fs::read_to_string(root.join(path)).with_context(|| path.clone())?;
        let of_file: Vec<&Mutant> =
            mutants.iter().filter(|mutant| path_of(mutant) == *path).collect();
        let mut text = with_mutants(&text, &of_file)?;
        if let Some(sources) = path.strip_suffix("/src/lib.rs").filter(|of| of.contains('/')) {
            text.push_str("mod mutant;\n");
            write(&tree.join(sources).join("src/mutant.rs"), &switch())?;
        }
        write(&tree.join(path), &text)?;
    }
    Ok(())
}

/// Where the mutant's file is, from the root.
fn path_of(mutant: &Mutant) -> String {
    let (name, file) = mutant.file.split_once('/').unwrap_or((mutant.file, "lib.rs"));
    format!("crates/{name}/src/{file}")
}

/// The module that tells whether a mutant is chosen.
fn switch() -> String {
    format!(
        "pub(crate) fn on(name: &str) -> bool {{\n    \
         static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();\n    \
         CHOSEN.get_or_init(|| std::env::var(\"{VARIABLE}\").ok()).as_deref() == Some(name)\n}}\n"
    )
}

/// The workspace's manifest with only the members that are copied.
fn small_workspace(manifest: &str) -> anyhow::Result<String> {
    let (before, rest) = manifest.split_once("members = [").context("no members in Cargo.toml")?;
    let (_, after) = rest.split_once("[workspace.package]").context("no [workspace.package]")?;
    let members: Vec<String> = MEMBERS.iter().map(|member| format!("\"{member}\"")).collect();
    let members = members.join(", ");
    Ok(format!("{before}members = [{members}]\n\n[workspace.package]{after}"))
}

/// Where a mutant's part is in `text`, and that part.
fn place(text: &str, mutant: &Mutant) -> anyhow::Result<(usize, &'static str)> {
    let (before, rest) = mutant.text.split_once(OPEN).unwrap_or(("", mutant.text));
    let (part, after) = rest.split_once(CLOSE).unwrap_or((rest, ""));
    let wanted = [before, part, after].concat();
    let mut found = text.match_indices(&wanted);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok((at + before.len(), part)),
        _ => {
            let count = text.matches(&wanted).count();
            anyhow::bail!("{}: its text is {count} times in {}", mutant.name, mutant.file)
        }
    }
}

/// `text` with each mutant's part replaced by a choice between it and what breaks it.
fn with_mutants(text: &str, mutants: &[&Mutant]) -> anyhow::Result<String> {
    let mut places = Vec::new();
    for mutant in mutants {
        let (at, part) = place(text, mutant)?;
        places.push((at, part, *mutant));
    }
    places.sort_by_key(|(at, ..)| *at);
    let mut out = String::new();
    let mut from = 0;
    for group in places.chunk_by(|first, second| (first.0, first.1) == (second.0, second.1)) {
        let (at, sound, Mutant { name, .. }) = group[0];
        anyhow::ensure!(at >= from, "{name}: its text overlaps with that of another mutant");
        out.push_str(&text[from..at]);
        out.push_str("{ ");
        for (.., Mutant { name, instead, .. }) in group {
            out.push_str(&format!("if crate::mutant::on(\"{name}\") {{ {instead} }} else "));
        }
        out.push_str(&format!("{{ {sound} }} }}"));
        from = at + sound.len();
    }
    out.push_str(&text[from..]);
    Ok(out)
}

/// Every file at or below `path`, from the root, with `/`.
fn list(root: &Path, path: &str, files: &mut Vec<String>) -> anyhow::Result<()> {
    let full = root.join(path);
    if !full.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| path.to_owned())? {
        let name = entry.context("a folder's entry")?.file_name();
        list(root, &format!("{path}/{}", name.to_string_lossy()), files)?;
    }
    Ok(())
}

/// Removes sources from the copy that are not in the tree any more.
fn remove_strangers(folder: &Path, path: &str, files: &[String]) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| path.to_owned())? {
        let entry = entry.context("a folder's entry")?;
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            remove_strangers(&entry.path(), &path, files)?;
        } else if !files.contains(&path) && !path.ends_with("/src/mutant.rs") {
            fs::remove_file(entry.path()).with_context(|| path)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::table::Check;

    fn mutant(name: &'static str, text: &'static str, instead: &'static str) -> Mutant {
        Mutant { name, file: "a.rs", text, instead, caught_by: Check::Simulator("crashes") }
    }

    #[test]
    fn mutants_are_put_behind_their_switches() {
        let (one, two) = (mutant("one", "b();", ""), mutant("two", "b();", "c();"));
        let three = mutant("three", "x + 1", "x");
        let text = "fn a() { b(); d(x + 1); }";
        assert_eq!(
            with_mutants(text, &[&three, &one, &two]).unwrap(),
            "fn a() { { if crate::mutant::on(\"one\") {  } else if crate::mutant::on(\"two\") \
             { c(); } else { b(); } } d({ if crate::mutant::on(\"three\") { x } else { x + 1 } }); }"
        );
    }

    #[test]
    fn a_mutant_whose_text_is_not_there_once_is_an_error() {
        let table = [
            ("", "lost: its text is 0 times in a.rs"),
            ("b(); b();", "lost: its text is 2 times in a.rs"),
        ];
        for (text, expected) in table {
            let error = with_mutants(text, &[&mutant("lost", "b();", "")]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let same = [mutant("one", "a «b»", ""), mutant("two", "«b» c", "d")];
        let same: Vec<&Mutant> = same.iter().collect();
        let both = "a { if crate::mutant::on(\"one\") {  } else if crate::mutant::on(\"two\") { d } \
                    else { b } } c";
        assert_eq!(with_mutants("a b c", &same).unwrap(), both);
        let overlapping = [mutant("one", "a b", ""), mutant("two", "b c", "")];
        let overlapping: Vec<&Mutant> = overlapping.iter().collect();
        let error = with_mutants("a b c", &overlapping).unwrap_err();
        assert_eq!(error.to_string(), "two: its text overlaps with that of another mutant");
    }

    #[test]
    fn the_copy_is_a_workspace_of_what_is_broken_and_what_checks_it() {
        let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\n    \"a\",\n]\nexclude = [\"f\"]\n\n\
                        [workspace.package]\nversion = \"1\"\n";
        assert_eq!(
            small_workspace(manifest).unwrap(),
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/log\", \"crates/coordinator\", \
             \"crates/broker\", \"sim\"]\n\n[workspace.package]\nversion = \"1\"\n"
        );
    }
}
