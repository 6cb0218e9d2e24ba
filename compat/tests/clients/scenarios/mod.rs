//! Playing the scenarios of `compat/src/clients.rs`: one broker for a family of clients, all of
//! them side by side, each line of theirs compared with what Apache Kafka shows.

pub(crate) mod calls;
pub(crate) mod script;
pub(crate) mod sharing;

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_compat::clients::{self, client};
use tidings_compat::{Broker, run};

use calls::Client;

/// For all scenarios of one client, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plays all scenarios of these clients; `program` is the command that takes an address and the
/// names of scenarios.
pub(crate) fn play(clients: &[&str], program: impl Fn(&str) -> Command + Sync) {
    let broker = Broker::under_test().expect("the broker starts");
    let played: Vec<String> = thread::scope(|scope| {
        let program = &program;
        let address = broker.kafka();
        let running: Vec<_> = clients
            .iter()
            .map(|name| scope.spawn(move || play_one(client(name), program(name), address)))
            .collect();
        running.into_iter().filter_map(|one| one.join().expect("it does not panic")).collect()
    });
    assert!(played.is_empty(), "{}", played.join("\n"));
}

/// Plays all scenarios of one client here, side by side; `client_at` is the client of a broker.
pub(crate) fn play_here<C: Client>(name: &str, client_at: impl FnOnce(&str) -> C) {
    let broker = Broker::under_test().expect("the broker starts");
    let listed = client(name);
    let plays = asked(listed);
    let client = client_at(broker.kafka());
    let saw = thread::scope(|scope| {
        let play = |scenario: &String| {
            let (client, scenario) = (&client, scenario.clone());
            let prefix = format!("{name}.{}", scenario.replace(' ', "-"));
            scope.spawn(move || script::play(client, &scenario, &prefix))
        };
        let running: Vec<_> = plays.iter().map(|scenario| (scenario, play(scenario))).collect();
        let ended = |(scenario, thread): (&String, thread::ScopedJoinHandle<'_, Value>)| {
            let said = match thread.join() {
                Ok(saw) => json!({ "saw": saw }),
                Err(why) => json!({ "failed": reason(why.as_ref()) }),
            };
            (scenario.clone(), said)
        };
        running.into_iter().map(ended).collect()
    });
    let differ = differences(listed, plays, &saw);
    assert!(differ.is_empty(), "{name}:\n  {}", differ.join("\n  "));
}

/// What a thread said when it panicked.
fn reason(panic: &(dyn std::any::Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a reason")
}

/// What went differently from what it must be, with what the program wrote for people.
fn play_one(client: &clients::Client, mut program: Command, address: &str) -> Option<String> {
    let plays = asked(client);
    program.arg(address).args(&plays);
    let ended = match run(&mut program, "", PATIENCE) {
        Ok(ended) => ended,
        Err(error) => return Some(format!("{}: {error:#}", client.name)),
    };
    let mut saw = BTreeMap::new();
    for line in &ended.stdout {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(scenario) = said["scenario"].as_str() {
            saw.insert(scenario.to_owned(), said);
        }
    }
    let differ = differences(client, plays, &saw);
    (!differ.is_empty()).then(|| {
        let all = differ.join("\n  ");
        format!("{}:\n  {all}\n--- stderr of {}\n{}", client.name, client.name, ended.stderr)
    })
}

/// The scenarios that a client plays, or the one of them that is asked for.
fn asked(client: &clients::Client) -> Vec<String> {
    let mut plays = client.plays();
    if let Ok(only) = std::env::var("TIDINGS_COMPAT_SCENARIO") {
        plays.retain(|scenario| *scenario == only);
    }
    plays
}

/// What was seen and is not what must be seen.
fn differences(
    client: &clients::Client,
    plays: Vec<String>,
    saw: &BTreeMap<String, Value>,
) -> Vec<String> {
    let mut differ = Vec::new();
    for scenario in plays {
        let must = client.must_see(&scenario);
        match saw.get(&scenario) {
            Some(said) if client.what_counts(&scenario, said["saw"].clone()) == must => {}
            Some(said) => differ.push(format!("{scenario}: {said}\n    must see {must}")),
            None => differ.push(format!("{scenario}: nothing was said")),
        }
    }
    differ
}
