//! Apache Kafka's answers to scripts of raw requests, and what its command-line tools print, recorded; and
//! ours to the same.
//!
//! `compat/recordings` has both, as a real Apache Kafka answered; its README says how to read them. `UPDATE=1`
//! starts such a broker for each and records anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;
use tidings_compat::{Finished, Server, own_file, run};

use super::kafka::Kafka;
use super::written::entries;
use super::{PATIENCE, java};

/// The recordings of a folder of compat.
fn recordings(folder: &str) -> Vec<PathBuf> {
    let mut scripts = entries(&own_file(folder));
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

/// A script, the broker it is played against, and where its answers go.
struct Playing<'a> {
    script: &'a Path,
    address: &'a str,
    played: PathBuf,
}

/// Plays scripts side by side.
fn play(all: &[Playing<'_>]) {
    let mut command = java("recording.Play");
    for one in all {
        command.arg(format!("{}={}={}", one.script.display(), one.address, one.played.display()));
    }
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("played to the end");
}

/// A line with the indented ones below it.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push('\n');
                last.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

/// The mark behind a connection's name: `>` for a call, `<` for Kafka's answer, `!` for why ours
/// differs, `=` for ours. A tool's line has no name: `$` with what it prints.
fn mark(block: &str) -> Option<char> {
    let name = block.find(|c: char| !c.is_ascii_alphanumeric())?;
    block.get(name..)?.chars().next().filter(|mark| "><!=$".contains(*mark))
}

/// An answer without the connection and the mark, or what a tool printed.
fn answer(block: &str) -> &str {
    let said = match mark(block) {
        Some('$') => block.split_once('\n'),
        _ => block.split_once(['<', '=']),
    };
    said.map_or("", |(_, answer)| answer.trim_start())
}

/// What is wrong with our answers, in words; empty when they are as recorded.
fn differences(recorded: &str, played: &str) -> String {
    let (recorded, played) = (blocks(recorded), blocks(played));
    assert_eq!(recorded.len(), played.len());
    let mut wrong = String::new();
    let mut call = "";
    for (at, (kafkas, ours)) in recorded.iter().zip(&played).enumerate() {
        match mark(kafkas) {
            Some('>') => call = kafkas,
            Some(mark_of_answer @ ('<' | '$')) => {
                if mark_of_answer == '$' {
                    call = kafkas.lines().next().unwrap_or_default();
                }
                let excused = recorded.get(at + 1).filter(|next| mark(next) == Some('!'));
                let expected = match excused {
                    Some(_) => recorded.get(at + 2).map_or("", |own| answer(own)),
                    None => answer(kafkas),
                };
                if answer(ours) != expected {
                    let found = answer(ours);
                    writeln!(wrong, "{call}\nexpected {expected}\nfound    {found}\n")
                        .expect("text");
                }
                if excused.is_some() && expected == answer(kafkas) {
                    writeln!(wrong, "{call}\nis no difference any more\n").expect("text");
                }
            }
            _ => {}
        }
    }
    wrong
}

#[test]
fn answers_are_as_recorded() {
    let scripts = recordings("recordings");
    let folder = TempDir::new().expect("a folder");
    let played = |script: &Path| folder.path().join(script.file_name().expect("a name"));
    if std::env::var_os("UPDATE").is_some() {
        record(&scripts, played);
        return;
    }
    let servers: Vec<Server> =
        scripts.iter().map(|_| Server::start().expect("the server starts")).collect();
    let all: Vec<Playing<'_>> = scripts
        .iter()
        .zip(&servers)
        .map(|(script, server)| Playing { script, address: server.kafka(), played: played(script) })
        .collect();
    play(&all);
    let wrong: String = all.iter().map(compared).collect();
    assert!(wrong.is_empty(), "other than Apache Kafka:\n{wrong}");
}

/// What is other than recorded.
fn compared(one: &Playing<'_>) -> String {
    let recorded = fs::read_to_string(one.script).expect("a script");
    let played = fs::read_to_string(&one.played).expect("it was played");
    let found = differences(&recorded, &played);
    match found.is_empty() {
        true => found,
        false => format!("--- {}\n{found}\n", one.script.display()),
    }
}

/// Runs the tools of a transcript, one after the other in one machine.
fn run_tools(one: &Playing<'_>, folder: &Path) {
    let mut command = java("tools.Tools");
    command.arg(one.script).arg(one.address).arg(folder).arg(&one.played);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("run to the end");
}

#[test]
fn tools_print_what_is_recorded() {
    let scripts = recordings("recordings/tools");
    let folder = TempDir::new().expect("a folder");
    let place = |script: &Path| {
        let place = folder.path().join(script.file_stem().expect("a name"));
        fs::create_dir(&place).expect("a folder");
        place
    };
    if std::env::var_os("UPDATE").is_some() {
        for script in &scripts {
            let data = TempDir::new().expect("a folder");
            let kafka = Kafka::format(data.path()).start();
            let folder = place(script);
            let one = Playing { script, address: kafka.address(), played: folder.join("played") };
            run_tools(&one, &folder);
            fs::copy(&one.played, script).expect("recorded");
            kafka.stop();
        }
        return;
    }
    // They wait more than they do.
    let wrong: Vec<String> = thread::scope(|scope| {
        let play = |script: &PathBuf| {
            let (folder, server) = (place(script), Server::start().expect("the server starts"));
            let script = script.clone();
            scope.spawn(move || {
                let played = folder.join("played");
                let one = Playing { script: &script, address: server.kafka(), played };
                run_tools(&one, &folder);
                compared(&one)
            })
        };
        let running: Vec<_> = scripts.iter().map(play).collect();
        running.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    });
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "other than Apache Kafka:\n{wrong}");
}

/// Writes Kafka's answers into the scripts, each from a broker of its own.
fn record(scripts: &[PathBuf], played: impl Fn(&Path) -> PathBuf) {
    for script in scripts {
        let folder = TempDir::new().expect("a folder");
        let kafka = Kafka::format(folder.path()).start();
        let one = Playing { script, address: kafka.address(), played: played(script) };
        play(std::slice::from_ref(&one));
        fs::copy(&one.played, script).expect("recorded");
        kafka.stop();
    }
}

#[test]
fn a_difference_is_one_that_is_not_excused_or_no_longer_one() {
    let recorded =
        "# c\na> X 1 {}\na< {e: NONE,\n  f: 1}\nb> Y 2 {}\nb< {e: A}\nb! why\nb= {e: B}\n";
    let check = |played: &str, expected: &str| {
        assert_eq!(differences(recorded, played), expected);
    };
    let ours = |x: &str, y: &str| {
        format!("# c\na> X 1 {{}}\na< {x}\nb> Y 2 {{}}\nb< {y}\nb! why\nb= {{e: B}}\n")
    };
    check(&ours("{e: NONE,\n  f: 1}", "{e: B}"), "");
    check(
        &ours("{e: NONE}", "{e: B}"),
        "a> X 1 {}\nexpected {e: NONE,\n  f: 1}\nfound    {e: NONE}\n\n",
    );
    check(&ours("{e: NONE,\n  f: 1}", "{e: A}"), "b> Y 2 {}\nexpected {e: B}\nfound    {e: A}\n\n");
    let same = recorded.replace("{e: B}", "{e: A}");
    assert_eq!(differences(&same, &same), "b> Y 2 {}\nis no difference any more\n\n");
}
