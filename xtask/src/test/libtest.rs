//! What Rust's test harness prints, as numbers.

/// Lines kept of what a failed test said.
const SAID_LINES_MAX: usize = 12;
/// Characters kept of such a line.
const SAID_WIDTH_MAX: usize = 300;

/// Tests counted, and the names of those that failed, with what they said.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    pub(super) filtered_out: u64,
    pub(super) failures: Vec<String>,
}

/// Adds up the output of any number of test programs.
pub(super) fn count(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        if let Some(result) = line.trim_start().strip_prefix("test result: ") {
            counts.passed += number_before(result, " passed");
            counts.failed += number_before(result, " failed");
            counts.ignored += number_before(result, " ignored");
            counts.filtered_out += number_before(result, " filtered out");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            counts.failures.push(name.to_owned());
        }
    }
    for failure in &mut counts.failures {
        for line in said(output, failure) {
            *failure += &format!("\n      {line}");
        }
    }
    counts
}

/// What a failed test said, up to its backtrace: the end of a long log is what is looked at first.
fn said(output: &str, name: &str) -> Vec<String> {
    let begin = format!("---- {name} stdout ----");
    let lines = output.lines().skip_while(|line| *line != begin).skip(1);
    let said = lines.take_while(|line| {
        !line.starts_with("---- ") && *line != "failures:" && !line.starts_with("stack backtrace:")
    });
    let said = said.filter(|line| !line.trim().is_empty());
    said.take(SAID_LINES_MAX).map(|line| line.chars().take(SAID_WIDTH_MAX).collect()).collect()
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let output = "\
running 3 tests
test log::reads ... ok
test log::tears ... FAILED
test slow ... ignored

failures:

---- log::tears stdout ----

thread 'log::tears' panicked at log.rs:1:
nothing is torn
stack backtrace:
   0: rust_begin_unwind

failures:
    log::tears

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s

   Doc-tests tidings
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s
";
        let expected = Counts {
            passed: 13,
            failed: 1,
            ignored: 1,
            filtered_out: 4,
            failures: vec![
                "log::tears\n      thread 'log::tears' panicked at log.rs:1:\n      nothing is torn"
                    .into(),
            ],
        };
        assert_eq!(count(output), expected);
    }

    #[test]
    fn output_without_a_result_counts_nothing() {
        assert_eq!(count("error: could not compile `tidings-log`"), Counts::default());
    }
}
