//! What the scrubber costs at its default rate, beside nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidings_compat::Server;

use super::{Item, PATIENCE, config, producer, send_all};

/// The node's thread for what nobody waits for.
const THREAD: &str = "tidings-upkeep";
const RECORDS: usize = 1024;
const RECORD_BYTES: usize = 512 * 1024;
const PARTITIONS: i32 = 4;
/// Retention and what the start left to do are over by then.
const SETTLED: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);
/// Of a core. A busy machine does not raise it: only the thread's own time counts.
const SHARE_MAX: f64 = 0.02;

/// Nanoseconds on a processor, and bytes read, since the thread began.
fn spent(thread: &Path) -> (f64, f64) {
    let read = |name| fs::read_to_string(thread.join(name)).expect("the system tells");
    let schedule = read("schedstat");
    let on_cpu = schedule.split_whitespace().next().expect("time on a processor");
    let io = read("io");
    let bytes = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("bytes read");
    let number = |text: &str| text.parse().expect("a number");
    (number(on_cpu), number(bytes))
}

fn thread(server: &Server) -> PathBuf {
    let tasks = fs::read_dir(server.process().join("task")).expect("the server's threads");
    let mut threads = tasks.map(|task| task.expect("a thread").path());
    let is_it = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == THREAD)
    };
    threads.find(is_it).expect("the thread for upkeep")
}

/// A measurement of a minute with half a gigabyte of data: on demand.
#[tokio::test]
#[ignore = "takes a minute"]
async fn the_scrubber_takes_a_small_share_of_a_core() {
    let mut server = Server::start().expect("the server starts");
    let admin: AdminClient<DefaultClientContext> = config(&server).create().expect("a client");
    let topic = NewTopic::new("large", PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = admin.create_topics(&[topic.set("retention.ms", "-1")], &options).await;
    made.expect("an answer").remove(0).expect("created");
    let text = "x".repeat(RECORD_BYTES);
    let item = |number| Item::new(format!("k{number}"), format!("{number} {text}"));
    let sender = producer(&server, &[]);
    for from in (0..RECORDS).step_by(64) {
        let items: Vec<Item> = (from..from + 64).map(item).collect();
        send_all(&sender, "large", &items);
    }
    server.stop().expect("it stops");
    server.start_again().expect("it starts again");
    sleep(SETTLED);

    let thread = thread(&server);
    let (started, (cpu, bytes)) = (Instant::now(), spent(&thread));
    sleep(MEASURED);
    let (cpu_after, bytes_after) = spent(&thread);
    let ns = started.elapsed().as_secs_f64() * 1e9;
    let share = (cpu_after - cpu) / ns;
    let mib_per_second = (bytes_after - bytes) / ns * 1e9 / f64::from(1 << 20);
    println!("scrubber: {mib_per_second:.1} MiB/s for {:.2} % of a core", share * 100.0);
    assert!(mib_per_second > 1.0, "it reads {mib_per_second} MiB/s");
    assert!(share < SHARE_MAX, "{share} of a core");
}
