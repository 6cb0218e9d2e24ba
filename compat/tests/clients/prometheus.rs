//! Prometheus and its promtool: what is generated loads and does what it says, what is printed is sound, and a running
//! Prometheus scrapes a node and fires.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidings_compat::{
    Finished, ReservedPort, Server, binary, eventually, handed_over, own_file, run,
};

/// For one program from start to end, and for what is awaited, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn promtool(arguments: &[&str], input: &str) -> Finished {
    let program = handed_over("TIDINGS_COMPAT_PROMETHEUS").join("promtool");
    run(Command::new(program).args(arguments), input, PATIENCE).expect("promtool runs")
}

fn generate(what: &[&str], into: &Path) {
    let mut command = Command::new(binary().expect("the binary"));
    command.arg("generate").args(what).arg("--to").arg(into);
    run(&mut command, "", PATIENCE).and_then(Finished::success).expect("it generates");
}

#[test]
fn generated_rules_load_and_do_what_they_say() {
    let folder = TempDir::new().expect("a folder");
    generate(&["prometheus"], folder.path());
    generate(&["slo", "--format", "prometheus"], folder.path());
    for name in ["rules.test.yml", "slo.test.yml"] {
        let tests = own_file(&format!("prometheus/{name}"));
        fs::copy(&tests, folder.path().join(name)).expect("tests of rules");
    }
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    promtool(&["check", "config", &path("prometheus.yml")], "").success().expect("it is sound");
    for rules in ["tidings.rules.yml", "tidings-slo.rules.yml"] {
        let check = ["check", "rules", "--lint-fatal", &path(rules)];
        promtool(&check, "").success().expect("rules are sound");
    }
    let own = folder.path().join("own");
    let said = "others: success=99%, latency=99%<250ms, freshness=95%<10m";
    generate(&["slo", "--slo", said], &own);
    let own = own.join("tidings-slo.rules.yml").to_string_lossy().into_owned();
    let check = ["check", "rules", "--lint-fatal", &own];
    promtool(&check, "").success().expect("so are those of a service of its own");
    let locked = folder.path().join("locked");
    generate(&["prometheus", "--http-user", "ann"], &locked);
    fs::write(locked.join("tidings.password"), "secret").expect("a password");
    let locked = locked.join("prometheus.yml").to_string_lossy().into_owned();
    promtool(&["check", "config", &locked], "").success().expect("so is one with credentials");
    for tests in ["rules.test.yml", "slo.test.yml"] {
        promtool(&["test", "rules", &path(tests)], "").success().expect("rules do as they say");
    }
}

/// The body of an answer. HTTP 1.0 has it in one piece.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

/// Names of other exporters that promtool would have otherwise: they are what dashboards expect.
const FOREIGN_NAMES: &[&str] = &[
    "non-histogram and non-summary metrics should not have \"_sum\" suffix",
    "non-histogram and non-summary metrics should not have \"_count\" suffix",
];

#[test]
fn what_is_printed_is_sound_and_has_the_names_that_others_expect() {
    let server = Server::start_with(&["--demo", "shop"]).expect("the server starts");
    let reported = eventually(PATIENCE, || {
        let text = get(server.http(), "/metrics")?;
        text.contains("tidings_service_lag_records{service=\"payment\"").then_some(text)
    });
    let own = reported.expect("services report");
    promtool(&["check", "metrics"], &own).success().expect("no complaint of our own names");
    for (style, names) in [
        (
            "kafka_exporter",
            &[
                "kafka_brokers 1",
                "kafka_topic_partitions{topic=\"shop.orders\"} ",
                "kafka_topic_partition_current_offset{topic=\"shop.orders\",partition=\"0\"} ",
                "kafka_consumergroup_lag{consumergroup=\"payment\",topic=\"shop.orders\",partition=\"0\"} ",
                "kafka_consumergroup_lag_sum{consumergroup=\"payment\",topic=\"shop.orders\"} ",
                "kafka_consumergroup_members{consumergroup=\"payment\"} ",
            ][..],
        ),
        (
            "kminion",
            &[
                "kminion_kafka_cluster_info{cluster_version=",
                "kminion_kafka_topic_high_water_mark_sum{topic_name=\"shop.orders\"} ",
                "kminion_kafka_consumer_group_topic_lag{group_id=\"payment\",topic_name=\"shop.orders\"} ",
                "kminion_kafka_consumer_group_members{group_id=\"payment\"} ",
            ][..],
        ),
    ] {
        // Groups have committed something after a while.
        let path = format!("/metrics/compat?style={style}");
        let has = |text: &str, name: &str| text.lines().any(|line| line.starts_with(name));
        let whole = eventually(PATIENCE, || {
            let text = get(server.http(), &path)?;
            names.iter().all(|name| has(&text, name)).then_some(text)
        });
        let text = whole.unwrap_or_else(|| panic!("{names:?} in {:?}", get(server.http(), &path)));
        let said = promtool(&["check", "metrics"], &text);
        let complaints = said.stderr.lines().filter(|line| {
            !line.trim().is_empty() && !FOREIGN_NAMES.iter().any(|known| line.contains(known))
        });
        assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new(), "{style}");
    }
}

/// Killed when dropped.
struct Prometheus {
    child: Child,
    port: ReservedPort,
}

impl Prometheus {
    fn start(folder: &Path) -> Self {
        let port = ReservedPort::any().expect("a port");
        let program = handed_over("TIDINGS_COMPAT_PROMETHEUS").join("prometheus");
        let child = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("series").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).expect("a log"))
            .spawn()
            .expect("prometheus starts");
        Self { child, port }
    }

    fn data(&self, path: &str) -> Option<Value> {
        let answer = get(self.port.address(), path)?;
        Some(serde_json::from_str::<Value>(&answer).ok()?["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_prometheus_scrapes_a_node_loads_the_rules_and_fires() {
    let server = Server::start_with(&["--demo", "shop"]).expect("the server starts");
    let folder = TempDir::new().expect("a folder");
    generate(&["prometheus", "--http", server.http()], folder.path());
    generate(&["slo", "--format", "prometheus"], folder.path());
    // As it is but for its pace.
    let config = folder.path().join("prometheus.yml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let pace = "scrape_interval: \"15s\"";
    assert!(text.contains(pace), "{text}");
    let text = text.replace(pace, "scrape_interval: 1s");
    fs::write(&config, format!("global:\n  evaluation_interval: 1s\n{text}")).expect("it is ours");

    let prometheus = Prometheus::start(folder.path());
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let up = eventually(PATIENCE, || {
        let targets = prometheus.data("/api/v1/targets")?;
        (targets["activeTargets"][0]["health"] == "up").then_some(())
    });
    assert!(up.is_some(), "the node is not scraped: {}", log());
    let rules = prometheus.data("/api/v1/rules").expect("rules");
    let groups = rules["groups"].as_array().expect("groups of rules");
    let loaded: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
    assert!(groups.len() >= 2 && loaded.len() > 20, "{rules}");

    // Among the shop's orders are some that no service can use.
    let fired = eventually(PATIENCE, || {
        let alerts = prometheus.data("/api/v1/alerts")?;
        alerts["alerts"].as_array()?.iter().find(|alert| {
            alert["labels"]["alertname"] == "TidingsDeadLetters" && alert["state"] == "firing"
        })?;
        Some(())
    });
    assert!(fired.is_some(), "nothing fires: {}", log());
    let query = "/api/v1/query?query=max(tidings_service_lag_records)by(service,instance)";
    let series = prometheus.data(query).expect("an answer");
    let first = &series["result"][0]["metric"];
    assert!(first["service"].is_string(), "{series}");
    assert_ne!(first["instance"], server.http(), "an instance of a service is its own");
    let unwell = prometheus.data("/api/v1/rules").expect("rules");
    assert!(!unwell.to_string().contains("\"health\":\"err\""), "{unwell}");
}
