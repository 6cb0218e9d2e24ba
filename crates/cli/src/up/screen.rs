//! What is said when the node is ready: one screen for people, one line of JSON otherwise.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tidings_node::broker::OpenReport;
use tokio::net::TcpListener;

use super::memory::Size;
use crate::args::{Demo, KAFKA_DEFAULT, Up};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::table::heading;

pub(super) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// What there is to say.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) kafka: String,
    pub(super) http: String,
    pub(super) registry: String,
    /// What clients are told to connect to, by broker.
    pub(super) advertised: Vec<(String, u16)>,
    /// Nothing was in the data directory before.
    new_data: bool,
    data: PathBuf,
    demo: Option<Demo>,
    /// The demo's month was in the log already.
    pub(super) fed: bool,
    exposed: bool,
    /// The most that the node takes.
    pub(super) memory: Size,
    pub(super) report: OpenReport,
    pub(super) elapsed: Duration,
}

/// [`Ready`] for programs.
#[derive(Serialize)]
struct ReadyLine<'a> {
    event: &'static str,
    kafka: &'a str,
    http: &'a str,
    registry: &'a str,
    data: &'a Path,
    memory: u64,
    /// Every broker, where there are virtual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    brokers: Vec<String>,
}

impl Ready {
    /// Looks at the listeners, and at the data directory before it is opened.
    pub(super) fn new(
        said: &Up,
        kafka: &[TcpListener],
        http: &TcpListener,
        registry: &TcpListener,
    ) -> Result<Self, Failure> {
        let address = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map_err(|e| Failure::failed("a listener has no address").why(e))
        };
        let brokers: Result<Vec<SocketAddr>, Failure> = kafka.iter().map(address).collect();
        let (brokers, http, registry) = (brokers?, address(http)?, address(registry)?);
        let entries = std::fs::read_dir(&said.data);
        let advertised: Vec<(String, u16)> =
            brokers.iter().map(|at| (reachable(*at), at.port())).collect();
        let kafka = advertised.first().map(|(host, port)| format!("{host}:{port}"));
        Ok(Self {
            kafka: kafka.unwrap_or_default(),
            http: format!("http://{}:{}", reachable(http), http.port()),
            registry: format!("http://{}:{}", reachable(registry), registry.port()),
            advertised,
            new_data: entries.map_or(true, |mut entries| entries.next().is_none()),
            data: said.data.clone(),
            demo: said.demo,
            fed: false,
            exposed: brokers.iter().chain([&http, &registry]).any(|at| !at.ip().is_loopback()),
            memory: Size(0),
            report: OpenReport::default(),
            elapsed: Duration::ZERO,
        })
    }

    pub(super) fn show(&self) -> Result<(), Failure> {
        if is_terminal() {
            return print(&self.screen(&program(), heading()));
        }
        print_json(&ReadyLine {
            event: "ready",
            kafka: &self.kafka,
            http: &self.http,
            registry: &self.registry,
            data: &self.data,
            memory: self.memory.0,
            brokers: if self.is_virtual() { self.brokers() } else { Vec::new() },
        })
    }

    /// Several brokers are advertised, which one node only plays.
    fn is_virtual(&self) -> bool {
        self.advertised.len() > 1
    }

    fn brokers(&self) -> Vec<String> {
        self.advertised.iter().map(|(host, port)| format!("{host}:{port}")).collect()
    }

    fn screen(&self, program: &str, (bold, plain): (&str, &str)) -> String {
        let OpenReport { topics, partitions, findings } = &self.report;
        let kept = match self.new_data {
            true => "new".to_owned(),
            false => format!("kept: {topics} topics, {partitions} partitions"),
        };
        let data = self.data.display().to_string();
        let memory = self.memory.to_string();
        let mut rows = vec![
            ("Kafka", self.kafka.as_str(), "any Kafka client; topics made at first use"),
            ("Registry", &self.registry, "Confluent's REST API: Avro and JSON Schema"),
            ("Console", &self.http, "topics, groups, dead letters; JSON at /api"),
            ("Health", &self.http, "/livez /readyz, and /metrics for Prometheus"),
            ("Data", &data, &kept),
            ("Memory", &memory, "at most; --memory SIZE for another"),
        ];
        let virtual_ports = self.virtual_ports();
        if self.is_virtual() {
            rows.push(("Brokers", &virtual_ports, "virtual, for tests: one copy of all data"));
        }
        rows.extend(self.demo.map(|Demo::Shop| match self.fed {
            false => ("Demo", "shop", "a month of real orders through six services"),
            true => ("Demo", "shop", "already in the log; --data NEW sells it again"),
        }));
        rows.extend(findings.iter().map(|finding| ("Found", finding.as_str(), "")));
        let width = rows.iter().map(|(_, what, note)| match *note {
            "" => 0,
            _ => what.chars().count(),
        });
        let width = width.max().unwrap_or_default();
        let mut out = format!("{bold}Tidings {}{plain}", env!("CARGO_PKG_VERSION"));
        out.push_str(match self.exposed {
            true => "  one node, no passwords yet, and other machines can reach it\n\n",
            false => "  one node, for this machine\n\n",
        });
        for (name, what, note) in rows {
            let row = format!("  {name:<10}{what:<width$}  {note}");
            writeln!(out, "{}", row.trim_end()).expect("writing to a string");
        }
        let ms = self.elapsed.as_millis();
        write!(out, "\n  {bold}ready in {ms} ms{plain}\n\nTry it in another terminal:\n")
            .expect("writing to a string");
        for command in self.commands() {
            let at = if self.kafka == KAFKA_DEFAULT { "" } else { " -b " };
            let broker = if at.is_empty() { "" } else { self.kafka.as_str() };
            let command = command.replace("tidings", program);
            writeln!(out, "  {command}{at}{broker}").expect("writing to a string");
        }
        out.push('\n');
        out
    }

    fn virtual_ports(&self) -> String {
        let ports: Vec<String> = self.advertised.iter().map(|(_, port)| port.to_string()).collect();
        match ports.as_slice() {
            [first, .., last] => format!("{} at :{first} to :{last}", ports.len()),
            _ => String::new(),
        }
    }

    fn commands(&self) -> [&'static str; 3] {
        match self.demo {
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
        }
    }
}

/// The host under which others reach an address: the machine's name where it listens on all.
fn reachable(address: SocketAddr) -> String {
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

    fn ready() -> Ready {
        Ready {
            kafka: KAFKA_DEFAULT.into(),
            http: "http://127.0.0.1:8080".into(),
            registry: "http://127.0.0.1:8081".into(),
            advertised: vec![("127.0.0.1".into(), 9092)],
            new_data: false,
            data: "./tidings-data".into(),
            demo: None,
            fed: false,
            exposed: false,
            memory: Size(6 << 30),
            report: OpenReport {
                topics: 2,
                partitions: 8,
                findings: vec!["a-0: cut 12 bytes that were never whole".into()],
            },
            elapsed: Duration::from_millis(71),
        }
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
        let screen = Ready { advertised, ..ready() }.screen("tidings", ("", ""));
        let row = "  Brokers   3 at :9092 to :9094    virtual, for tests: one copy of all data\n";
        assert!(screen.contains(row), "{screen}");
    }

    #[test]
    fn the_screen_fits_a_terminal_of_80_columns() {
        for (demo, fed) in [(None, false), (Some(Demo::Shop), false), (Some(Demo::Shop), true)] {
            for exposed in [false, true] {
                let screen = Ready { demo, fed, exposed, ..ready() }.screen("tidings", ("", ""));
                for line in screen.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }

    #[test]
    fn commands_name_a_broker_that_is_not_the_default() {
        let elsewhere = Ready { kafka: "127.0.0.1:19092".into(), exposed: true, ..ready() };
        let screen = elsewhere.screen("./t", ("", ""));
        assert!(
            screen.contains("echo hello | ./t produce greetings -b 127.0.0.1:19092\n"),
            "{screen}"
        );
        assert!(screen.contains("other machines can reach it"), "{screen}");
    }

    #[test]
    fn an_address_on_all_interfaces_is_told_by_name() {
        assert_eq!(reachable("127.0.0.1:1".parse().unwrap()), "127.0.0.1");
        assert_eq!(reachable("[::1]:1".parse().unwrap()), "[::1]");
        assert_ne!(reachable("0.0.0.0:1".parse().unwrap()), "0.0.0.0");
    }
}
