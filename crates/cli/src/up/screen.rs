//! What is said when the node is ready: one screen for people, one line of JSON otherwise.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tidings_console::LogAddress;
use tidings_engine::Engine;
use tidings_node::broker::OpenReport;
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{print, print_json};
use tidings_terminal::table::heading;
use tokio::net::TcpListener;

use super::memory::Size;
use crate::args::{Demo, KAFKA_DEFAULT, Up};

pub(super) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// What there is to say.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) http: String,
    pub(super) registry: String,
    stands: Stands,
    demo: Option<Demo>,
    /// The demo's month was in the log already.
    pub(super) fed: bool,
    exposed: bool,
    /// Console and registry ask who it is.
    locked: bool,
    pub(super) elapsed: Duration,
}

/// What it stands on.
#[derive(Debug)]
pub(super) enum Stands {
    OnNode(OfNode),
    OnCluster(OfCluster),
}

/// A node of this process.
#[derive(Debug)]
pub(super) struct OfNode {
    kafka: String,
    /// What clients are told to connect to, by broker.
    pub(super) advertised: Vec<(String, u16)>,
    /// Nothing was in the data directory before.
    new_data: bool,
    data: PathBuf,
    exposed: bool,
    /// The most that the node takes.
    memory: Size,
    pub(super) report: OpenReport,
}

/// A cluster of others.
#[derive(Debug)]
pub(super) struct OfCluster {
    /// `host:port` as in the URL.
    addresses: Vec<String>,
    /// How many answer.
    brokers: usize,
    /// The commands of this program speak without TLS and passwords.
    is_open: bool,
}

/// [`Ready`] for programs.
#[derive(Serialize)]
struct ReadyLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    stands: StandsLine<'a>,
    http: &'a str,
    registry: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StandsLine<'a> {
    Node {
        kafka: &'a str,
        data: &'a Path,
        memory: u64,
        /// Every broker, where there are virtual ones.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        brokers: Vec<String>,
    },
    Cluster {
        engine: String,
    },
}

impl OfNode {
    /// Looks at the listeners, and at the data directory before it is opened.
    pub(super) fn new(said: &Up, kafka: &[TcpListener], memory: Size) -> Result<Self, Failure> {
        let brokers: Result<Vec<SocketAddr>, Failure> = kafka.iter().map(address).collect();
        let brokers = brokers?;
        let entries = std::fs::read_dir(&said.data);
        let host = |at: SocketAddr| said.advertise.clone().unwrap_or_else(|| reachable(at));
        let advertised: Vec<(String, u16)> =
            brokers.iter().map(|at| (host(*at), at.port())).collect();
        let kafka = advertised.first().map(|(host, port)| format!("{host}:{port}"));
        Ok(Self {
            kafka: kafka.unwrap_or_default(),
            advertised,
            new_data: entries.map_or(true, |mut entries| entries.next().is_none()),
            data: said.data.clone(),
            exposed: brokers.iter().any(|at| !at.ip().is_loopback()),
            memory,
            report: OpenReport::default(),
        })
    }

    /// Several brokers are advertised, which one node only plays.
    fn is_virtual(&self) -> bool {
        self.advertised.len() > 1
    }

    fn brokers(&self) -> Vec<String> {
        self.advertised.iter().map(|(host, port)| format!("{host}:{port}")).collect()
    }

    fn virtual_ports(&self) -> String {
        let ports: Vec<String> = self.advertised.iter().map(|(_, port)| port.to_string()).collect();
        match ports.as_slice() {
            [first, .., last] => format!("{} at :{first} to :{last}", ports.len()),
            _ => String::new(),
        }
    }
}

impl OfCluster {
    /// As the engine found it.
    pub(super) fn new(engine: &Engine) -> Self {
        let found = engine.connection().unwrap_or_default();
        Self { addresses: found.addresses, brokers: found.brokers, is_open: !found.is_secured }
    }

    /// The first address, and how many more there are.
    fn briefly(&self) -> String {
        match self.addresses.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, more @ ..] => format!("{first} and {} more", more.len()),
        }
    }
}

impl Ready {
    pub(super) fn new(
        said: &Up,
        stands: Stands,
        http: &TcpListener,
        registry: &TcpListener,
    ) -> Result<Self, Failure> {
        let (http, registry) = (address(http)?, address(registry)?);
        let exposed = match &stands {
            Stands::OnNode(node) => node.exposed,
            Stands::OnCluster(_) => false,
        };
        Ok(Self {
            http: format!("http://{}:{}", reachable(http), http.port()),
            registry: format!("http://{}:{}", reachable(registry), registry.port()),
            stands,
            demo: said.demo,
            fed: false,
            exposed: exposed || [&http, &registry].iter().any(|at| !at.ip().is_loopback()),
            locked: said.http_auth_file.is_some(),
            elapsed: Duration::ZERO,
        })
    }

    /// Where the records are, for the console.
    pub(super) fn log(&self) -> LogAddress {
        match &self.stands {
            Stands::OnNode(node) => LogAddress::Node(node.kafka.clone()),
            Stands::OnCluster(cluster) => LogAddress::Cluster(cluster.addresses.join(", ")),
        }
    }

    pub(super) fn show(&self) -> Result<(), Failure> {
        if is_terminal() {
            return print(&self.screen(&program(), heading()));
        }
        let stands = match &self.stands {
            Stands::OnNode(node) => StandsLine::Node {
                kafka: &node.kafka,
                data: &node.data,
                memory: node.memory.0,
                brokers: if node.is_virtual() { node.brokers() } else { Vec::new() },
            },
            Stands::OnCluster(cluster) => {
                StandsLine::Cluster { engine: format!("kafka://{}", cluster.addresses.join(",")) }
            }
        };
        let (http, registry) = (&self.http, &self.registry);
        print_json(&ReadyLine { event: "ready", stands, http, registry })
    }

    fn screen(&self, program: &str, (bold, plain): (&str, &str)) -> String {
        let rows = self.rows();
        let width = rows.iter().map(|(_, what, note)| match note.as_str() {
            "" => 0,
            _ => what.chars().count(),
        });
        let width = width.max().unwrap_or_default();
        let mut out = format!("{bold}Tidings {}{plain}  ", env!("CARGO_PKG_VERSION"));
        out.push_str(match (&self.stands, self.exposed, self.locked) {
            (Stands::OnNode(_), true, false) => {
                "one node, no passwords, and other machines can reach it"
            }
            (Stands::OnNode(_), true, true) => {
                "one node, passwords for HTTP only, other machines can reach it"
            }
            (Stands::OnNode(_), false, _) => "one node, for this machine",
            (Stands::OnCluster(_), true, false) => {
                "on a cluster, no passwords, and other machines can reach it"
            }
            (Stands::OnCluster(_), true, true) => {
                "on a cluster, with passwords, and other machines can reach it"
            }
            (Stands::OnCluster(_), false, _) => "on a Kafka cluster, for this machine",
        });
        out.push_str("\n\n");
        for (name, what, note) in rows {
            let row = format!("  {name:<10}{what:<width$}  {note}");
            writeln!(out, "{}", row.trim_end()).expect("writing to a string");
        }
        let ms = self.elapsed.as_millis();
        write!(out, "\n  {bold}ready in {ms} ms{plain}\n\nTry it in another terminal:\n")
            .expect("writing to a string");
        for command in self.commands(program) {
            writeln!(out, "  {command}").expect("writing to a string");
        }
        out.push('\n');
        out
    }

    /// Name, what, and a note.
    fn rows(&self) -> Vec<(&'static str, String, String)> {
        let row = |name, what: &str, note: &str| (name, what.to_owned(), note.to_owned());
        let mut rows = vec![
            row("Registry", &self.registry, "Confluent's REST API: Avro and JSON Schema"),
            row("Console", &self.http, "topics, groups, dead letters; JSON at /api"),
            row("Health", &self.http, "/livez /readyz, and /metrics for Prometheus"),
        ];
        let mut findings = Vec::new();
        let again = match &self.stands {
            Stands::OnNode(node) => {
                let OpenReport { topics, partitions, findings: found } = &node.report;
                let kept = match node.new_data {
                    true => "new".to_owned(),
                    false => format!("kept: {topics} topics, {partitions} partitions"),
                };
                let (data, memory) = (node.data.display().to_string(), node.memory.to_string());
                rows.insert(
                    0,
                    row("Kafka", &node.kafka, "any Kafka client; topics made at first use"),
                );
                rows.push(("Data", data, kept));
                rows.push(row("Memory", &memory, "at most; --memory SIZE for another"));
                if node.is_virtual() {
                    let note = "virtual, for tests: one copy of all data";
                    rows.push(row("Brokers", &node.virtual_ports(), note));
                }
                findings.extend(found.iter().map(|finding| row("Found", finding, "")));
                "already in the log; --data NEW sells it again"
            }
            Stands::OnCluster(cluster) => {
                let brokers = match cluster.brokers {
                    1 => "1 broker has all records".to_owned(),
                    brokers => format!("{brokers} brokers have all records"),
                };
                rows.insert(0, ("Cluster", cluster.briefly(), brokers));
                "already in the log, and not sold again"
            }
        };
        rows.extend(self.demo.map(|Demo::Shop| match self.fed {
            false => row("Demo", "shop", "a month of real orders through six services"),
            true => row("Demo", "shop", again),
        }));
        rows.extend(findings);
        rows
    }

    fn commands(&self, program: &str) -> Vec<String> {
        let broker = match &self.stands {
            Stands::OnNode(node) => &node.kafka,
            Stands::OnCluster(cluster) => match cluster.addresses.first() {
                Some(first) if cluster.is_open => first,
                _ => return vec![format!("curl {}/api/topics", self.http)],
            },
        };
        let commands = match self.demo {
            None => [
                "echo hello | tidings produce greetings",
                "tidings consume greetings -n 1",
                "tidings topic list",
            ],
            Some(Demo::Shop) => [
                "tidings consume shop.orders --offset -1",
                "tidings group describe inventory",
                "tidings topic list",
            ],
        };
        let at = if broker == KAFKA_DEFAULT { String::new() } else { format!(" -b {broker}") };
        commands.map(|command| command.replace("tidings", program) + &at).to_vec()
    }
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    let address = listener.local_addr();
    address.map_err(|e| Failure::failed("a listener has no address").why(e))
}

/// The host under which others reach an address: the machine's name where it listens on all.
pub(super) fn reachable(address: SocketAddr) -> String {
    if !address.ip().is_unspecified() {
        return match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// How this program is called from here: its name if the shell finds it, else its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "tidings".to_owned() };
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&paths).map(|dir| dir.join("tidings"));
    if found.any(|path| path.canonicalize().is_ok_and(|path| path == own)) {
        return "tidings".to_owned();
    }
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| own.strip_prefix(here).ok().map(Path::to_path_buf));
    match relative {
        Some(path) => format!("./{}", path.display()),
        None => own.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> OfNode {
        OfNode {
            kafka: KAFKA_DEFAULT.into(),
            advertised: vec![("127.0.0.1".into(), 9092)],
            new_data: false,
            data: "./tidings-data".into(),
            exposed: false,
            memory: Size(6 << 30),
            report: OpenReport {
                topics: 2,
                partitions: 8,
                findings: vec!["a-0: cut 12 bytes that were never whole".into()],
            },
        }
    }

    fn cluster() -> OfCluster {
        OfCluster {
            addresses: ["a:9092", "b:9092", "c:9092"].map(str::to_owned).to_vec(),
            brokers: 3,
            is_open: true,
        }
    }

    fn on(stands: Stands) -> Ready {
        Ready {
            http: "http://127.0.0.1:8080".into(),
            registry: "http://127.0.0.1:8081".into(),
            stands,
            demo: None,
            fed: false,
            exposed: false,
            locked: false,
            elapsed: Duration::from_millis(71),
        }
    }

    fn ready() -> Ready {
        on(Stands::OnNode(node()))
    }

    #[test]
    fn the_screen_is_aligned_and_says_it_all() {
        let wanted = format!(
            "\
Tidings {}  one node, for this machine

  Kafka     127.0.0.1:9092         any Kafka client; topics made at first use
  Registry  http://127.0.0.1:8081  Confluent's REST API: Avro and JSON Schema
  Console   http://127.0.0.1:8080  topics, groups, dead letters; JSON at /api
  Health    http://127.0.0.1:8080  /livez /readyz, and /metrics for Prometheus
  Data      ./tidings-data         kept: 2 topics, 8 partitions
  Memory    6144 MiB               at most; --memory SIZE for another
  Found     a-0: cut 12 bytes that were never whole

  ready in 71 ms

Try it in another terminal:
  echo hello | tidings produce greetings
  tidings consume greetings -n 1
  tidings topic list

",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(ready().screen("tidings", ("", "")), wanted);
    }

    #[test]
    fn virtual_brokers_are_said_to_be_such() {
        let advertised = [9092, 9093, 9094].map(|port| ("127.0.0.1".to_owned(), port)).to_vec();
        let screen = on(Stands::OnNode(OfNode { advertised, ..node() }));
        let screen = screen.screen("tidings", ("", ""));
        let row = "  Brokers   3 at :9092 to :9094    virtual, for tests: one copy of all data\n";
        assert!(screen.contains(row), "{screen}");
    }

    #[test]
    fn the_screen_fits_a_terminal_of_80_columns() {
        for (demo, fed) in [(None, false), (Some(Demo::Shop), false), (Some(Demo::Shop), true)] {
            for (exposed, locked) in [(false, false), (true, false), (true, true)] {
                for stands in [Stands::OnNode(node()), Stands::OnCluster(cluster())] {
                    let screen = Ready { demo, fed, exposed, locked, ..on(stands) };
                    for line in screen.screen("tidings", ("", "")).lines() {
                        assert!(line.chars().count() <= 80, "{line}");
                    }
                }
            }
        }
    }

    #[test]
    fn commands_name_a_broker_that_is_not_the_default() {
        let elsewhere = OfNode { kafka: "127.0.0.1:19092".into(), ..node() };
        let elsewhere = Ready { exposed: true, ..on(Stands::OnNode(elsewhere)) };
        let screen = elsewhere.screen("./t", ("", ""));
        assert!(
            screen.contains("echo hello | ./t produce greetings -b 127.0.0.1:19092\n"),
            "{screen}"
        );
        assert!(screen.contains("other machines can reach it"), "{screen}");
    }

    #[test]
    fn on_a_cluster_the_screen_says_what_is_where() {
        let wanted = format!(
            "\
Tidings {}  on a Kafka cluster, for this machine

  Cluster   a:9092 and 2 more      3 brokers have all records
  Registry  http://127.0.0.1:8081  Confluent's REST API: Avro and JSON Schema
  Console   http://127.0.0.1:8080  topics, groups, dead letters; JSON at /api
  Health    http://127.0.0.1:8080  /livez /readyz, and /metrics for Prometheus

  ready in 71 ms

Try it in another terminal:
  echo hello | tidings produce greetings -b a:9092
  tidings consume greetings -n 1 -b a:9092
  tidings topic list -b a:9092

",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(on(Stands::OnCluster(cluster())).screen("tidings", ("", "")), wanted);
        let secured = on(Stands::OnCluster(OfCluster { is_open: false, ..cluster() }));
        let screen = secured.screen("tidings", ("", ""));
        assert!(screen.ends_with("\n  curl http://127.0.0.1:8080/api/topics\n\n"), "{screen}");
    }

    #[test]
    fn an_address_on_all_interfaces_is_told_by_name() {
        assert_eq!(reachable("127.0.0.1:1".parse().unwrap()), "127.0.0.1");
        assert_eq!(reachable("[::1]:1".parse().unwrap()), "[::1]");
        assert_ne!(reachable("0.0.0.0:1".parse().unwrap()), "0.0.0.0");
    }
}
