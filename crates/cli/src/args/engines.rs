//! Arguments of the commands that work on an engine: a cluster, or a data directory.

use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use tidings_terminal::Form;

use super::{Consent, Watch};

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List what is dead, by cause
    List {
        /// The service
        service: String,
        /// One line for each key, with its letter's id
        #[arg(long)]
        keys: bool,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        place: DeadPlace,
    },
    /// Show a dead event: its cause, headers and value
    Show {
        /// The service
        service: String,
        /// The id of its dead letter
        letter: String,
        #[command(flatten)]
        place: DeadPlace,
    },
    /// Let dead events be handled again, each with what follows it under its key
    Redrive {
        #[command(flatten)]
        meant: Meant,
        /// So many keys a second, in each partition
        #[arg(long, value_name = "KEYS")]
        per_second: Option<u32>,
        /// Also what was redriven three times before, or awaits a value of its key
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        act: DeadAct,
    },
    /// Give a dead event another value, and let it be handled again
    Edit {
        /// The service
        service: String,
        /// The id of its dead letter
        #[arg(long, value_name = "ID")]
        letter: String,
        /// A file with the value, or - for standard input
        #[arg(long, value_name = "FILE")]
        value: String,
        #[command(flatten)]
        act: DeadAct,
    },
    /// Give dead events up for good; what follows them is handled
    Discard {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        act: DeadAct,
    },
    /// Who commanded what, when, and what became of it
    Audit {
        /// The service
        service: String,
        #[command(flatten)]
        place: DeadPlace,
    },
}

/// Which dead keys.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["letter", "cause", "all"]))]
pub(crate) struct Meant {
    /// The service
    pub(crate) service: String,
    /// The one whose dead letter has this id
    #[arg(long, value_name = "ID")]
    pub(crate) letter: Option<String>,
    /// Those that died of this cause, word for word
    #[arg(long, value_name = "TEXT")]
    pub(crate) cause: Option<String>,
    /// All that are dead now
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DeadAct {
    #[command(flatten)]
    pub(crate) consent: Consent,
    /// Only to keys that were dead by then, in milliseconds since the epoch
    #[arg(long, value_name = "MS")]
    pub(crate) dead_by_ms: Option<i64>,
    /// In whose name, for the audit; the user's by default
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) place: DeadPlace,
}

#[derive(Args, Debug)]
pub(crate) struct DeadPlace {
    /// Where the service's topics are: kafka://HOST:PORT of a cluster or a running node, or a data directory of a
    /// stopped one
    #[arg(
        long,
        env = "TIDINGS_ENGINE",
        value_name = "URL|DIR",
        default_value = "kafka://127.0.0.1:9092"
    )]
    pub(crate) engine: String,
    /// The form of the answer; JSON shapes are stable
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// Copy topics and the positions of groups, exactly once: a copy that was interrupted goes on when it is run
/// again, and running it again brings what has come since
#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// Where from: kafka://HOST:PORT of a cluster or a running node, or a data directory of a stopped one
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) from: String,
    /// Where to, likewise; a directory that is not there is made
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) to: String,
    /// Only topics of this name, with * for any text; may be repeated [default: all but internal ones]
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) topic: Vec<String>,
    /// Only positions of groups of this name, likewise [default: all]
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) group: Vec<String>,
    /// Copy nothing: only compare what has been copied
    #[arg(long)]
    pub(crate) verify_only: bool,
    /// Copy nothing: only say what would be done
    #[arg(long, conflicts_with = "verify_only")]
    pub(crate) dry_run: bool,
    /// The form of the answer; JSON shapes are stable
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// Check what would hurt: replication, replicas in sync, permissions, clocks, retention. Exit code 1 if
/// anything is an error
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// What to check: kafka://HOST:PORT of a cluster or a running node, or a data directory of a stopped one
    #[arg(long, env = "TIDINGS_ENGINE", value_name = "URL|DIR")]
    #[arg(default_value = "kafka://127.0.0.1:9092")]
    pub(crate) engine: String,
    /// How long a service may be down without losing anything, such as 12h or 3d
    #[arg(long, value_name = "TIME", default_value = "3d")]
    pub(crate) outage: Span,
    /// Only look: do not try permissions and clocks with a topic, a group and a transaction, which are
    /// taken away again
    #[arg(long)]
    pub(crate) no_trial: bool,
    /// The form of the answer; JSON shapes are stable
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// A time as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(said: &str) -> Result<Self, String> {
        let unit = said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len());
        let seconds = match &said[unit..] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err("a number with s, m, h or d is wanted, such as 12h".to_owned()),
        };
        let number = said[..unit].parse::<u32>().map_err(|e| e.to_string())?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        let seconds = |said: &str| said.parse().map(|Span(time)| time.as_secs());
        for (said, wanted) in [("90s", 90), ("5m", 300), ("12h", 43_200), ("3d", 259_200)] {
            assert_eq!(seconds(said), Ok(wanted), "{said}");
        }
        for said in ["", "3", "d", "3w", "3.5d", "-1d", "4294967296s", "3dd"] {
            assert!(seconds(said).is_err(), "{said}");
        }
    }
}
