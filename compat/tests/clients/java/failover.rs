//! The shop and a probe on a cluster whose brokers are killed and restarted under them: services go on, nothing
//! is lost, nothing is there twice. How long they were silent is printed.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings_compat::{Conversation, binary, eventually};

use super::PATIENCE;
use super::cluster::{BROKERS, Cluster};
use super::probe::{BEATS, LANES, Probe};

/// What the shop's services all write to.
const BUSIEST: (&str, i32) = ("shop.payments", 0);
/// Of the shop's month, so that it lasts as long as a drill.
const SPEED: &str = "60000";
/// Which it does not depend on who got the last unit, nor on the time.
const FIGURES: [(&str, i64); 6] = [
    ("lines", 65_004),
    ("messages", 3_113),
    ("invoices", 2_025),
    ("malformed", 149),
    ("chargeable_pence", 57_133_291),
    ("dead_letters", 326),
];

/// A cluster with the shop and the probe on it.
pub(super) struct Drill {
    pub(super) cluster: Cluster,
    shop: Conversation,
    probe: Probe,
}

impl Drill {
    pub(super) fn begin(cluster: Cluster) -> Self {
        let mut command = Command::new(binary().expect("the binary"));
        command.args(["up", "--engine", &cluster.url()]);
        command.args(["--demo", "shop", "--speed", SPEED, "--until-done"]);
        command.args(["--http", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
        let mut shop = Conversation::start(&mut command, 2 * PATIENCE).expect("it starts");
        shop.expect("{\"event\":\"ready\"").expect("it is ready");
        let probe = Probe::start(&cluster.url());
        probe.wait_until_it_goes_on(Instant::now());
        cluster.wait_in_sync();
        Self { cluster, shop, probe }
    }

    /// The broker that leads the busiest partition.
    pub(super) fn busiest(&self) -> usize {
        let leader = eventually(PATIENCE, || self.cluster.leader(BUSIEST.0, BUSIEST.1));
        leader.expect("a partition has a leader")
    }

    /// Does something to a broker, waits until everything goes on, and tells how long it did not.
    pub(super) fn act(&mut self, what: &str, broker: usize, act: impl FnOnce(&mut Cluster)) {
        let leads = |lane: &i32| self.cluster.leader(BEATS, *lane) == Some(broker);
        let led: Vec<i32> = (0..LANES).filter(leads).collect();
        let begun = Instant::now();
        act(&mut self.cluster);
        self.probe.wait_until_it_goes_on(Instant::now());
        let silences = self.probe.silences(begun, &led);
        let of = |who: &str, time: Option<Duration>| {
            time.map(|time| format!(", {who} for {:.2} s", time.as_secs_f64())).unwrap_or_default()
        };
        println!(
            "{what} {}: silent{}{}{}",
            broker + 1,
            of("the partitions it led", silences.led),
            of("other partitions", silences.others),
            of("the service", silences.service),
        );
    }

    /// Waits until the month is over, and checks that nothing was lost and nothing is there twice.
    pub(super) fn end(self) {
        let said = self.shop.finish().expect("the shop ends").success().expect("it reconciles");
        let figures: Value = serde_json::from_str(said.last().expect("figures")).expect("JSON");
        assert_eq!(figures["reconciled"], true, "{figures:#}");
        for (name, expected) in FIGURES {
            assert_eq!(figures[name], expected, "{name}");
        }
        println!("the shop's month took {} s and reconciles", figures["seconds"]);
        self.probe.finish();
    }
}

#[test]
fn leaders_are_killed_one_after_the_other() {
    let mut drill = Drill::begin(Cluster::start());
    for _ in 0..2 {
        let leader = drill.busiest();
        drill.act("killed was broker", leader, |cluster| cluster.kill(leader));
        drill.act("back is broker", leader, |cluster| {
            cluster.start_broker(leader);
            cluster.wait_in_sync();
        });
    }
    drill.end();
}

#[test]
#[ignore = "minutes of broken brokers: -- --ignored"]
fn a_rolling_restart() {
    let mut drill = Drill::begin(Cluster::start());
    for broker in 0..BROKERS {
        drill.act("restarted was broker", broker, |cluster| {
            cluster.stop(broker);
            cluster.start_broker(broker);
            cluster.wait_in_sync();
        });
    }
    drill.end();
}
