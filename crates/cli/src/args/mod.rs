//! The arguments, as said. Meaning is given to them by the commands.

mod engines;
mod generate;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidings_console::JsonPath;
use tidings_node::broker::limits::BROKERS_MAX;
use tidings_shop::Speed;
use tidings_terminal::Form;

use clap_complete::engine::ArgValueCompleter;

use crate::command::{Decode, Rate, completion};
use crate::up::Size;
pub(crate) use engines::{Copy, Dead, DeadAct, DeadPlace, Doctor, Meant, Span};
pub(crate) use generate::{Generate, Kit, Slo, SloFormat};

/// Where `up` listens, and where the commands look for a broker, unless told otherwise.
pub(crate) const KAFKA_DEFAULT: &str = "127.0.0.1:9092";
pub(crate) const HTTP_DEFAULT: &str = "127.0.0.1:8080";
pub(crate) const REGISTRY_DEFAULT: &str = "127.0.0.1:8081";

/// Event-driven services on a durable, Kafka-compatible log
///
/// Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not found, 4 conflict.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The context whose settings are used [default: the project's, else the one in use]
    #[arg(long, global = true, env = "TIDINGS_CONTEXT", value_name = "NAME")]
    #[arg(add = ArgValueCompleter::new(completion::contexts))]
    pub(crate) context: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node with Kafka listener, schema registry and console, or these two on a Kafka cluster
    Up(Up),
    /// Create, list, describe, trim and delete topics
    #[command(subcommand)]
    Topic(Topic),
    /// Append lines of standard input to a topic
    Produce(Produce),
    /// Print records of a topic
    Consume(Consume),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(Group),
    /// Watch which topics gain records and which groups fall behind
    Top(Top),
    /// See what a service has given up on, and redrive, edit or discard it
    #[command(subcommand, visible_alias = "dlq")]
    Dead(Dead),
    /// Verify, list and repair a data directory's files
    #[command(subcommand)]
    Log(Log),
    /// Copy topics and groups' positions from one log to another, and verify them
    Copy(Copy),
    /// Check a cluster, a running node or a data directory, and say what would hurt
    Doctor(Doctor),
    /// Name clusters, and choose the one that commands talk to
    #[command(subcommand)]
    Context(Context),
    /// Say which settings are in force
    #[command(subcommand)]
    Config(Config),
    /// Make files for Prometheus, Grafana, systemd, Docker or Kubernetes
    Generate(Generate),
    /// Print the script that completes commands, topics and groups in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Show the commands that are used most, on one screen
    Cheat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List all contexts
    List {
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Use this one from now on
    Use {
        /// The context
        #[arg(add = ArgValueCompleter::new(completion::contexts))]
        name: String,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Make a context, or change it
    Set {
        /// The context
        #[arg(add = ArgValueCompleter::new(completion::contexts))]
        name: String,
        /// kafka=HOST:PORT, engine=URL|DIR or output=FORM; nothing after = takes the setting away
        #[arg(value_name = "SETTING=VALUE", value_parser = pair, required = true)]
        values: Vec<(String, String)>,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Show a context
    Show {
        /// The context [default: the one in use]
        name: Option<String>,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every setting
    Print {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Span,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// Arguments of `up` that say something of its own node.
const OF_A_NODE: [&str; 7] = [
    "data",
    "kafka",
    "advertise",
    "virtual_brokers",
    "memory",
    "max_connections",
    "max_connections_per_ip",
];

/// Where the cluster is and what the answer looks like.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// A broker of the cluster
    #[arg(short = 'b', long, env = "TIDINGS_KAFKA", value_name = "HOST:PORT")]
    #[arg(default_value = KAFKA_DEFAULT)]
    pub(crate) kafka: String,
    /// The form of the answer; JSON shapes are stable
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// For what destroys something.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Consent {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; without a terminal it must be said
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Show it again and again, this often
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2s")]
    pub(crate) watch: Option<Span>,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Work on a Kafka cluster, `kafka://HOST:PORT,…?parameter=value&…`, instead of a node of its own
    #[arg(long, env = "TIDINGS_ENGINE", value_name = "URL", conflicts_with_all = OF_A_NODE)]
    pub(crate) engine: Option<String>,
    /// Where the data is kept between runs
    #[arg(long, value_name = "DIR", default_value = "./tidings-data")]
    pub(crate) data: PathBuf,
    /// Where Kafka clients connect
    #[arg(long, value_name = "HOST:PORT", default_value = KAFKA_DEFAULT)]
    pub(crate) kafka: String,
    /// Where the console, the HTTP API and the metrics are
    #[arg(long, value_name = "HOST:PORT", default_value = HTTP_DEFAULT)]
    pub(crate) http: String,
    /// Where the schema registry is
    #[arg(long, value_name = "HOST:PORT", default_value = REGISTRY_DEFAULT)]
    pub(crate) registry: String,
    /// The host that Kafka clients are told to connect to [default: that of --kafka, or this machine's name]
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub(crate) advertise: Option<String>,
    /// A name under which console and registry are reached, beside localhost and addresses; may be repeated, and `*`
    /// is every name
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) http_host: Vec<String>,
    /// Who may use console, HTTP API and registry: a file with a line NAME:HASH for each user (bcrypt or Argon2), or
    /// a token alone. Without it, addresses that other machines can reach are refused
    #[arg(long, value_name = "FILE", env = "TIDINGS_HTTP_AUTH_FILE")]
    pub(crate) http_auth_file: Option<PathBuf>,
    /// Let everybody read /metrics, whoever may use the rest
    #[arg(long)]
    pub(crate) http_open_metrics: bool,
    /// Listen on addresses that other machines can reach without asking anybody who they are
    #[arg(long, conflicts_with = "http_auth_file")]
    pub(crate) insecure: bool,
    /// For tests: advertise N brokers, on N ports of this one process from the Kafka address on, so
    /// that replication factors up to N are accepted. There is one copy of the data all the same
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=i64::from(BROKERS_MAX)))]
    pub(crate) virtual_brokers: i32,
    /// The most memory that the node takes, for instance `1GiB` [default: half of what is there, at
    /// most 6GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Size>,
    /// Connections of Kafka clients at once [default: as many as the memory allows, at most 16384]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// The same from one address [default: as many as in all]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_ip: Option<usize>,
    #[command(flatten)]
    pub(crate) slo: Slo,
    /// A collector that traces and metrics go to by OTLP, as http/json [default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT says, else none]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// How log lines look on standard error; `TIDINGS_LOG` says which there are
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Run an example as well
    #[arg(long, value_enum)]
    pub(crate) demo: Option<Demo>,
    /// How fast the demo's month passes: `max`, or times real time [default: about two minutes]
    #[arg(long, value_name = "N|max", requires = "demo")]
    pub(crate) speed: Option<Speed>,
    /// Run the demo to its end, print the reconciliation as JSON and exit 0 if it reconciles, else 1
    #[arg(long, requires = "demo")]
    pub(crate) until_done: bool,
}

/// A host's name or address, without a port.
fn host(said: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    let port = said.rsplit_once(':').filter(|_| !said.ends_with(']'));
    match port {
        None if !said.is_empty() && said.chars().all(known) => Ok(said.to_owned()),
        _ => Err("a host alone is wanted, such as log.example.com; its port is that of --kafka"
            .to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// An object a line, with the span of the event that is being handled
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Demo {
    /// A month of a real shop's orders through six services
    Shop,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Make a topic
    Create {
        /// What it is called: letters, digits, `.`, `_` and `-`
        name: String,
        /// Number of partitions [default: the broker's]
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Number of replicas [default: the broker's]
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
        replication: Option<i16>,
        /// A configuration of the topic; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
        config: Vec<(String, String)>,
        #[command(flatten)]
        common: Common,
    },
    /// List all topics
    List {
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        common: Common,
    },
    /// Show a topic's partitions and configuration
    Describe {
        /// The topic
        #[arg(add = ArgValueCompleter::new(completion::topics))]
        name: String,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a topic with its records
    Delete {
        /// The topic
        #[arg(add = ArgValueCompleter::new(completion::topics))]
        name: String,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        common: Common,
    },
    /// Delete the records of a topic that lie before a place
    Trim {
        /// The topic
        #[arg(add = ArgValueCompleter::new(completion::topics))]
        name: String,
        /// Where it begins afterwards: 47, -3, end, @-24h, or a list for partitions such as 0=5,1=end
        #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
        before: String,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Produce {
    /// The topic; made if the cluster makes topics by itself
    #[arg(required_unless_present = "format")]
    #[arg(add = ArgValueCompleter::new(completion::topics))]
    pub(crate) topic: Option<String>,
    /// How records stand in the input, in rpk's format language, such as '%k %v\n'; %t reads the topic
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "key_separator")]
    pub(crate) format: Option<String>,
    /// Each line is a key and a value with this between them
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) key_separator: Option<String>,
    /// A header for every record; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) header: Vec<(String, String)>,
    /// Send to this partition [default: by key, else in turns]
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// An empty value is sent as null, a tombstone
    #[arg(short = 'Z', long)]
    pub(crate) null: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Consume {
    /// The topic to read
    #[arg(add = ArgValueCompleter::new(completion::topics))]
    pub(crate) topic: String,
    /// Where to begin, and to end: start, end, 47, +2, -3, 10:20, :end, @-1h, @2026-11-30, @-2h:-1h,
    /// or a list for partitions such as 0=5,1=@-1h
    #[arg(long, value_name = "WHERE", default_value = "start", allow_hyphen_values = true)]
    pub(crate) offset: String,
    /// Stop after so many records, waiting until they have come
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Read only these partitions
    #[arg(short, long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) partition: Vec<i32>,
    /// Go on at the end of the topic instead of stopping there
    #[arg(short = 'F', long)]
    pub(crate) follow: bool,
    /// How each record is printed, in rpk's format language, such as '%p@%o %k=%v\n'
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "key_separator")]
    pub(crate) format: Option<String>,
    /// Print keys too, with this between key and value
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) key_separator: Option<String>,
    /// What is decoded by the schemas of the cluster's registry: key, value, or none
    /// [default: both, but bytes in a --format]
    #[arg(long, value_name = "key,value|none", value_enum, value_delimiter = ',')]
    #[arg(require_equals = true, num_args = 0..=2, default_missing_values = ["key", "value"])]
    pub(crate) use_schema_registry: Vec<Decode>,
    /// Only records with this key; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Vec<String>,
    /// Only records whose key or value has this text, or matches this regular expression
    #[arg(long, value_name = "TEXT|/REGEX/")]
    pub(crate) grep: Option<String>,
    /// Only records with this header; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) header: Vec<(String, String)>,
    /// Only records whose value is JSON with this at the path, such as $.customer.id=7; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = json_pair)]
    pub(crate) json: Vec<(String, String)>,
    /// At most so many records a second, or a minute: 10/s, 600/m
    #[arg(long, value_name = "N/s")]
    pub(crate) rate: Option<Rate>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List all consumer groups
    List {
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        common: Common,
    },
    /// Show a group's members, positions and lag
    Describe {
        /// The group
        #[arg(add = ArgValueCompleter::new(completion::groups))]
        name: String,
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        common: Common,
    },
    /// Set the positions of a group that has no members
    Reset {
        /// The group; made if it is not there and topics are named
        #[arg(add = ArgValueCompleter::new(completion::groups))]
        name: String,
        /// Where it reads next: start, end, 47, -3, @-1h, or a list for partitions such as 0=5,1=end
        #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
        to: String,
        /// Only in this topic; may be repeated [default: those it has positions in]
        #[arg(short, long, value_name = "TOPIC")]
        #[arg(add = ArgValueCompleter::new(completion::topics))]
        topic: Vec<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a group that has no members, with its positions
    Delete {
        /// The group
        #[arg(add = ArgValueCompleter::new(completion::groups))]
        name: String,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Check every byte of a data directory; the node may be running
    Verify {
        /// The data directory
        dir: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Decompress and decode every record as well
        #[arg(long)]
        deep: bool,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
    /// List what a file holds, or all files of a folder; the node may be running
    Dump {
        /// A file of a data directory, a partition's folder, or the data directory
        path: PathBuf,
        /// List the records of each batch as well
        #[arg(short, long)]
        records: bool,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
    /// Make a damaged data directory sound again; the node must be stopped
    Repair {
        /// The data directory
        dir: PathBuf,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        consent: Consent,
        /// The form of the answer; JSON shapes are stable
        #[arg(short, long, value_enum, default_value = "table")]
        output: Form,
    },
}

/// Which partitions are meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// Only this topic, or this partition of it; may be repeated
    #[arg(short, long, value_name = "TOPIC[:PARTITION]")]
    pub(crate) topic: Vec<String>,
}

fn pair(said: &str) -> Result<(String, String), String> {
    match said.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is wanted".to_owned()),
    }
}

/// A path may have equal signs of its own, as in `$.items[?@.qty == 3].sku=A1`. What is no path is refused where it is used.
fn json_pair(said: &str) -> Result<(String, String), String> {
    match JsonPath::parse_condition(said) {
        Ok((path, Some(value))) => Ok((path.to_string(), value.to_owned())),
        Ok((_, None)) | Err(_) => pair(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_split_behind_its_path() {
        for (said, wanted) in [
            ("id=7", Some(("id", "7"))),
            ("id=a=b", Some(("id", "a=b"))),
            ("$.items[?@.qty == 3].sku=A1", Some(("$.items[?@.qty == 3].sku", "A1"))),
            ("a[=1", Some(("a[", "1"))),
            ("id", None),
            ("=1", None),
        ] {
            let wanted = wanted.map(|(path, value)| (path.to_owned(), value.to_owned()));
            assert_eq!(json_pair(said).ok(), wanted, "{said}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
