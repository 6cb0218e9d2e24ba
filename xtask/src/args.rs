//! The command line: words in, a [`Command`] out.

pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  test [--without compat]   everything CI runs, with its own set-up; ends with `N passed, N failed`
  compat [FILTER …]         real clients against the binary; FILTER as for `cargo test`
  crash [--rounds N]        kill -9, power cuts and failing disks, N rounds of each
  tidy [--lower-baseline]   the project's own habits; --lower-baseline records sizes that went down
  sim [ARGUMENTS …]         the simulator: crashes, failures, damage, call sites
  mutants [NAME …]          builds that are broken on purpose, each of which a check must catch
  bench [ARGUMENTS …]       the benchmarks (release build)
  codegen [--check]         regenerate the wire codec, or check that it is up to date";

/// Rounds of `crash` when nobody says how many, and in `test`: a minute's worth.
pub(crate) const CRASH_ROUNDS: u64 = 3;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Test { compat: Compat },
    Compat { filter: Vec<String> },
    Crash { rounds: u64 },
    Tidy { rebase: Rebase },
    Sim { arguments: Vec<String> },
    Mutants { names: Vec<String> },
    Bench { arguments: Vec<String> },
    Codegen { check: bool },
}

/// Whether `test` ends with the real clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    Run,
    LeaveOut,
}

/// Whether `tidy` writes lower numbers into its list of offenders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebase {
    No,
    Lower,
}

pub(crate) fn parse(said: &[String]) -> Result<Command, String> {
    let Some((command, rest)) = said.split_first() else {
        return Ok(Command::Help);
    };
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (command.as_str(), words.as_slice()) {
        ("help" | "--help" | "-h", _) => Ok(Command::Help),
        ("test", []) => Ok(Command::Test { compat: Compat::Run }),
        ("test", ["--without", "compat"]) => Ok(Command::Test { compat: Compat::LeaveOut }),
        ("compat", _) => Ok(Command::Compat { filter: rest.to_vec() }),
        ("crash", []) => Ok(Command::Crash { rounds: CRASH_ROUNDS }),
        ("crash", ["--rounds", rounds]) => match rounds.parse() {
            Ok(rounds) => Ok(Command::Crash { rounds }),
            Err(_) => Err(format!("`{rounds}` is not a number of rounds")),
        },
        ("tidy", []) => Ok(Command::Tidy { rebase: Rebase::No }),
        ("tidy", ["--lower-baseline"]) => Ok(Command::Tidy { rebase: Rebase::Lower }),
        ("sim", _) => Ok(Command::Sim { arguments: rest.to_vec() }),
        ("mutants", _) => Ok(Command::Mutants { names: rest.to_vec() }),
        ("bench", _) => Ok(Command::Bench { arguments: rest.to_vec() }),
        ("codegen", []) => Ok(Command::Codegen { check: false }),
        ("codegen", ["--check"]) => Ok(Command::Codegen { check: true }),
        ("test" | "crash" | "tidy" | "codegen", _) => {
            Err(format!("`{command}` does not take `{}`", words.join(" ")))
        }
        _ => Err(format!("there is no command `{command}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_commands() {
        let table: &[(&str, Result<Command, &str>)] = &[
            ("", Ok(Command::Help)),
            ("--help", Ok(Command::Help)),
            ("test", Ok(Command::Test { compat: Compat::Run })),
            ("test --without compat", Ok(Command::Test { compat: Compat::LeaveOut })),
            ("test --without sim", Err("`test` does not take `--without sim`")),
            ("crash", Ok(Command::Crash { rounds: CRASH_ROUNDS })),
            ("crash --rounds 200", Ok(Command::Crash { rounds: 200 })),
            ("crash --rounds many", Err("`many` is not a number of rounds")),
            ("tidy", Ok(Command::Tidy { rebase: Rebase::No })),
            ("tidy --lower-baseline", Ok(Command::Tidy { rebase: Rebase::Lower })),
            ("tidy now", Err("`tidy` does not take `now`")),
            ("codegen --check", Ok(Command::Codegen { check: true })),
            ("sim --seed 7", Ok(Command::Sim { arguments: vec!["--seed".into(), "7".into()] })),
            ("mutants no-sync", Ok(Command::Mutants { names: vec!["no-sync".into()] })),
            ("compat kcat", Ok(Command::Compat { filter: vec!["kcat".into()] })),
            ("tset", Err("there is no command `tset`")),
        ];
        for (line, expected) in table {
            let said: Vec<String> = line.split_whitespace().map(String::from).collect();
            let parsed = parse(&said);
            assert_eq!(
                parsed.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|e| *e),
                "{line}"
            );
        }
    }
}
