//! `kill -9` of the process that has the log, a relay, a service with an inbox and a till, at random moments,
//! and now and then of the database under it; afterwards database and log are compared.
//!
//! Each effect is found once: a sale is a row of the till and an event; an event is a row of the ledger and an
//! event of its own. Neither table has a key that would refuse a second row.
//!
//! `TIDINGS_DATABASE_ROUNDS` says how many rounds; `TIDINGS_CRASH_SEED` repeats a run's choices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings::sqlx::Pool;
use tidings::{DatabaseError, Id, Inbox, Outbox, Outcome, Outgoing, Received, Service, Tx, done};
use tidings_compat::Conversation;
use tidings_engine::{Engine, NewTopic};

use super::server::Kind;
use super::sql::{Sql, begin, connected, inbox, numbers, outbox, run, served};
use super::{Booked, PATIENCE, Sale, events, eventually, records};

/// Rounds when nobody said how many: about ten seconds for each database.
const ROUNDS: u64 = 40;
const TILLS: i64 = 3;
/// Of so many rounds, one is killed while it starts.
const EARLY_ONE_IN: u64 = 4;
const EARLY_MS: u64 = 250;
const WORKING_MS: u64 = 120;
/// Of so many rounds, one loses its database first, and is killed some time after it has it again.
const SERVER_ONE_IN: u64 = 12;
const RECOVERING_MS: u64 = 800;

const URL: &str = "TIDINGS_KILLED_URL";
const DATA: &str = "TIDINGS_KILLED_DATA";

async fn book<Db: Sql>(event: Received<Sale>, mut tx: Tx<Db>) -> Outcome<Booked> {
    Db::run(&mut tx, format!("INSERT INTO ledger (n) VALUES ({})", event.n)).await?;
    done(Booked { till: event.till.clone(), n: event.n })
}

fn service<Db: Sql>(inbox: Inbox<Db>) -> Service {
    Service::new("ledger").with(inbox).on(book::<Db>)
}

/// The process that is killed: a till that sells, and everything behind it. It never ends by itself.
pub(super) async fn work<Db: Sql>() {
    let variable = |name| std::env::var(name).expect("set by the test that starts this one");
    let engine = Engine::open(variable(DATA)).await.expect("an engine");
    let pool = connected::<Db>(&variable(URL)).await;
    let outbox = outbox(&pool).await;
    let _relay = outbox.relay(&engine);
    let _running = service(inbox(&pool).await).start(&engine).await.expect("started");
    println!("\nworking");
    loop {
        // Whether a commit that was not answered has happened, the next number tells.
        if sell(&pool, &outbox).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn sell<Db: Sql>(pool: &Pool<Db>, outbox: &Outbox<Db>) -> Result<(), DatabaseError> {
    let mut tx = begin(pool).await?;
    let number = match Db::SERVER {
        Kind::Postgres | Kind::Sqlite => "BIGINT",
        Kind::MariaDb => "SIGNED",
    };
    let next = format!("SELECT CAST(COALESCE(MAX(n), -1) + 1 AS {number}) FROM sales");
    let n = Db::numbers(&mut tx, next).await?[0];
    Db::run(&mut tx, format!("INSERT INTO sales (n) VALUES ({n})")).await?;
    let sale = Outgoing::new(&Sale { till: (n % TILLS).to_string(), n });
    outbox.add(&mut tx, sale.id(Id::derived(&["sale", &n.to_string()]))).await?;
    Ok(tx.commit().await?)
}

/// Kills [`work`], which `child` runs, round after round, and compares.
pub(super) async fn each_effect_is_there_once<Db: Sql>(child: &str) {
    let (mut server, pool) = served::<Db>().await;
    run(&pool, "CREATE TABLE sales (n BIGINT NOT NULL)").await;
    run(&pool, "CREATE TABLE ledger (n BIGINT NOT NULL)").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    make_topics(&data).await;
    let mut random = Random::new(child);
    let killed = Killed { url: server.url(), data: data.clone(), child: child.to_owned() };
    let (rounds, mut early, mut servers) = (rounds(), 0, 0);
    for _ in 0..rounds {
        if random.below(EARLY_ONE_IN) == 0 {
            early += 1;
            let child = killed.start();
            random.pause(EARLY_MS);
            // Dropped conversations are killed with SIGKILL.
            drop(child);
            continue;
        }
        let mut child = killed.start();
        child.expect("working").expect("it works");
        random.pause(WORKING_MS);
        if Db::SERVER != Kind::Sqlite && random.below(SERVER_ONE_IN) == 0 {
            servers += 1;
            server.kill();
            server.start_again();
            random.pause(RECOVERING_MS);
        }
        drop(child);
    }

    drop(pool);
    let pool = connected::<Db>(&server.url()).await;
    let engine = Engine::open(&data).await.expect("an engine");
    let relay = outbox(&pool).await.relay(&engine);
    let running = service(inbox(&pool).await).start(&engine).await.expect("started");
    eventually(async || numbers(&pool, "SELECT seq FROM shop").await.is_empty()).await;
    eventually(async || {
        let offsets = engine.group("ledger").await.expect("a group").offsets;
        !offsets.is_empty() && offsets.iter().all(|offset| offset.lag == 0)
    })
    .await;
    relay.stop().await;
    running.stop().await.expect("stopped");

    let sold = numbers(&pool, "SELECT n FROM sales ORDER BY n").await;
    assert_eq!(sold, (0..sold.len() as i64).collect::<Vec<_>>(), "the till itself");
    let mut of_tills: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for sale in events::<Sale>(&engine, "sales").await {
        of_tills.entry(sale.till).or_default().push(sale.n);
    }
    for till in 0..TILLS {
        let expected: Vec<i64> = sold.iter().copied().filter(|n| n % TILLS == till).collect();
        assert_eq!(of_tills.remove(&till.to_string()).unwrap_or_default(), expected, "till {till}");
    }
    assert_eq!(numbers(&pool, "SELECT n FROM ledger ORDER BY n").await, sold, "the ledger");
    let mut booked: Vec<i64> =
        events::<Booked>(&engine, "booked").await.iter().map(|booked| booked.n).collect();
    booked.sort_unstable();
    assert_eq!(booked, sold, "what was booked");
    assert!(records(&engine, "ledger.dead").await.is_empty(), "nothing died");
    let sold = sold.len();
    println!("{child}: {rounds} kills, {early} at the start, {servers} of the database too");
    println!("{child}: {sold} sales, each effect once");
}

/// Topics that exist before the first kill: where the log lags is asked of partitions.
async fn make_topics(data: &Path) {
    let engine = Engine::open(data).await.expect("an engine");
    for topic in ["sales", "booked"] {
        let topic = NewTopic { partitions: Some(2), ..NewTopic::kept(topic) };
        engine.create_topic(topic).await.expect("a topic");
    }
    engine.close().await.expect("closed");
}

/// The process, to be started again and again.
struct Killed {
    url: String,
    data: PathBuf,
    child: String,
}

impl Killed {
    fn start(&self) -> Conversation {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args([self.child.as_str(), "--exact", "--ignored", "--nocapture"]);
        command.env(URL, &self.url).env(DATA, &self.data);
        Conversation::start(&mut command, PATIENCE).expect("it starts")
    }
}

fn rounds() -> u64 {
    let said = std::env::var("TIDINGS_DATABASE_ROUNDS").ok();
    said.map_or(ROUNDS, |said| said.parse().expect("TIDINGS_DATABASE_ROUNDS is a number"))
}

/// SplitMix64; says its seed, so that a failed run shows it.
struct Random(u64);

impl Random {
    fn new(test: &str) -> Self {
        let seed = match std::env::var("TIDINGS_CRASH_SEED") {
            Ok(said) => said.parse().expect("TIDINGS_CRASH_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_nanos() as u64
            }
        };
        println!("{test}: TIDINGS_CRASH_SEED={seed}");
        Self(seed)
    }

    /// Up to so many milliseconds. Nothing else is to be done meanwhile.
    fn pause(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.below(most)));
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
