//! The corpus replayed, and seeded mutations of it: the same inputs in every run.

use std::fs;
use std::path::{Path, PathBuf};

use tidings_fuzz::corpus::inputs;
use tidings_fuzz::{TARGETS, Target};
use tidings_wire::sample::Source;

/// Mutated inputs for each target.
const MUTATIONS: u64 = 20_000;
/// Changes of one input.
const CHANGES_MAX: u64 = 8;

fn folder(target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Every file of a target's corpus.
fn files(target: Target) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).expect("a corpus");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_corpus_holds_what_it_is_made_of() {
    for target in TARGETS {
        let folder = folder(*target);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            for input in inputs(target.name) {
                fs::write(folder.join(&input.name), &input.bytes).expect("it can be written");
            }
        }
        for input in inputs(target.name) {
            let kept = fs::read(folder.join(&input.name));
            let kept =
                kept.unwrap_or_else(|error| panic!("{}/{}: {error}", target.name, input.name));
            assert_eq!(kept, input.bytes, "{}/{}", target.name, input.name);
        }
    }
}

#[test]
fn what_the_corpus_is_made_of_decodes() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{}", target.name);
        for input in inputs {
            assert!((target.take)(&input.bytes), "{}/{}", target.name, input.name);
        }
    }
}

#[test]
fn the_corpus_breaks_nothing() {
    for target in TARGETS {
        for (_, bytes) in files(*target) {
            (target.take)(&bytes);
            for end in 0..bytes.len().min(512) {
                (target.take)(&bytes[..end]);
            }
        }
    }
}

/// One change of the ways in which bytes break; `other` is another input to take a part of.
fn change(bytes: &mut Vec<u8>, other: &[u8], source: &mut Source) {
    const NUMBERS: [&[u8]; 7] = [
        &[0xff; 4],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0; 4],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80; 10],
        &[0, 0x0f, 0x42, 0x41],
    ];
    let at = source.below(bytes.len() as u64 + 1) as usize;
    let from = source.below(other.len() as u64 + 1) as usize;
    let to = (at + source.below(8) as usize).min(bytes.len());
    match source.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, source.i8() as u8),
        2 => drop(bytes.drain(at..to)),
        3 => drop(bytes.splice(at..to, NUMBERS[source.below(7) as usize].iter().copied())),
        4 => drop(bytes.splice(at.., other[from..].iter().copied())),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << source.below(8);
            }
        }
    }
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    for target in TARGETS {
        let files = files(*target);
        let mut source = Source::new(1);
        let mut decoded = 0;
        for _ in 0..MUTATIONS {
            let pick = |source: &mut Source| &files[source.below(files.len() as u64) as usize].1;
            let mut bytes = pick(&mut source).clone();
            for _ in 0..=source.below(CHANGES_MAX) {
                let other = pick(&mut source);
                change(&mut bytes, other, &mut source);
            }
            decoded += u64::from((target.take)(&bytes));
        }
        // Else the mutations would try nothing but the first checks.
        assert!(decoded >= MUTATIONS / 100, "{}: {decoded} of {MUTATIONS} decode", target.name);
    }
}
