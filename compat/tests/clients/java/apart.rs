//! A broker that is cut off from the other brokers, and from everybody: packets are dropped, nothing is told.
//!
//! Each broker lives in a network namespace of its own, with one wire to the clients and one to the other
//! brokers. The bridges, the clients and this test are in a namespace too: the test starts itself anew there,
//! as the root of a user namespace, so it needs no rights on the machine and leaves nothing behind.

use std::process::Command;
use std::time::Duration;

use tidings_compat::{Conversation, Finished, handed_over, run};

use super::cluster::{BROKERS, Cluster, Place};
use super::failover::Drill;

/// For the drill inside, from start to end.
const DRILL: Duration = Duration::from_secs(420);
const NET_WITHIN: Duration = Duration::from_secs(20);

/// The two networks: their bridges, and the first three numbers of their addresses.
const CLIENTS: (&str, &str) = ("clients", "10.83.1");
const BETWEEN: (&str, &str) = ("between", "10.83.2");

/// The namespace of one broker, as long as its holder lives.
struct Apart {
    _holder: Conversation,
    pid: String,
    addresses: [String; 3],
}

impl Place for Apart {
    fn addresses(&self) -> [&str; 3] {
        self.addresses.each_ref().map(String::as_str)
    }

    fn command(&self, command: Command) -> Command {
        let mut there = Command::new("nsenter");
        there.args(["--net", "--target", &self.pid]);
        there.arg(command.get_program()).args(command.get_args());
        there
    }
}

impl Apart {
    /// Makes a namespace and plugs it into both networks.
    fn make(number: usize) -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-c", "echo \"held $$\" && read _"]);
        let mut holder = Conversation::start(&mut holder, DRILL).expect("a namespace");
        let said = holder.expect_within("held ", NET_WITHIN).expect("its pid");
        let pid = said.trim_start_matches("held ").to_owned();
        let inside = |command: &str| sh(&format!("nsenter --net --target {pid} {command}"));
        inside("ip link set lo up");
        for (name, net) in [CLIENTS, BETWEEN] {
            let wire = wire((name, net), number);
            sh(&format!("ip link add {wire} type veth peer name {name} netns {pid}"));
            sh(&format!("ip link set {wire} master {name}"));
            sh(&format!("ip link set {wire} up"));
            inside(&format!("ip addr add {net}.{}/24 dev {name}", 10 + number));
            inside(&format!("ip link set {name} up"));
        }
        let at = |(_, net): (&str, &str), port: u16| format!("{net}.{}:{port}", 10 + number);
        let addresses = [at(CLIENTS, 9092), at(BETWEEN, 9093), at(BETWEEN, 9094)];
        Self { _holder: holder, pid, addresses }
    }
}

/// The end of a broker's wire that is in the bridge.
fn wire((name, _): (&str, &str), number: usize) -> String {
    format!("{}{number}", &name[..3])
}

fn cut(net: (&str, &str), number: usize) {
    sh(&format!("ip link set {} down", wire(net, number)));
}

fn mend(net: (&str, &str), number: usize) {
    sh(&format!("ip link set {} up", wire(net, number)));
}

fn sh(script: &str) {
    let ended = run(Command::new("sh").args(["-c", script]), "", NET_WITHIN);
    ended.and_then(Finished::success).expect(script);
}

#[test]
#[ignore = "minutes of broken brokers: -- --ignored"]
fn a_broker_is_cut_off() {
    let itself = std::env::current_exe().expect("this test");
    let mut inside = Command::new(handed_over("TIDINGS_COMPAT_NETWORKS"));
    inside.args(["--user", "--map-root-user", "--net"]).arg(itself);
    inside.args(["java::apart::inside", "--exact", "--ignored", "--nocapture"]);
    let said =
        run(&mut inside, "", DRILL).and_then(Finished::success).expect("the drill goes well");
    println!("{}", said.join("\n"));
}

#[test]
#[ignore = "is started by the test above, in a namespace"]
fn inside() {
    sh("ip link set lo up");
    for (name, net) in [CLIENTS, BETWEEN] {
        sh(&format!("ip link add {name} type bridge"));
        sh(&format!("ip addr add {net}.1/24 dev {name}"));
        sh(&format!("ip link set {name} up"));
    }
    let places = (0..BROKERS).map(|number| Box::new(Apart::make(number)) as Box<dyn Place>);
    let mut drill = Drill::begin(Cluster::start_at(places.collect()));
    for (what, nets) in [
        ("cut off from the other brokers was broker", &[BETWEEN][..]),
        ("cut off from everybody was broker", &[BETWEEN, CLIENTS]),
    ] {
        let leader = drill.busiest();
        drill.act(what, leader, |_| nets.iter().for_each(|net| cut(*net, leader)));
        drill.act("in touch again is broker", leader, |cluster| {
            nets.iter().for_each(|net| mend(*net, leader));
            cluster.wait_in_sync();
        });
    }
    drill.end();
}
