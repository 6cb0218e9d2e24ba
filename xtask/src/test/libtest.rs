//! What Rust's test harness prints, as numbers.

/// Tests counted, and the names of those that failed.
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
    counts
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
            failures: vec!["log::tears".into()],
        };
        assert_eq!(count(output), expected);
    }

    #[test]
    fn output_without_a_result_counts_nothing() {
        assert_eq!(count("error: could not compile `tidings-log`"), Counts::default());
    }
}
