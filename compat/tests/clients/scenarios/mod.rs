//! Playing the scenarios of `compat/src/clients.rs`: one broker for a family of clients, all of
//! them side by side, each line of theirs compared with what Apache Kafka shows.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tidings_compat::clients::{Client, client};
use tidings_compat::{Broker, run};

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

/// What went differently from what it must be, with what the program wrote for people.
fn play_one(client: &Client, mut program: Command, address: &str) -> Option<String> {
    let mut plays = client.plays();
    if let Ok(only) = std::env::var("TIDINGS_COMPAT_SCENARIO") {
        plays.retain(|scenario| *scenario == only);
    }
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
    let mut differ = Vec::new();
    for scenario in plays {
        let must = client.must_see(&scenario);
        match saw.get(&scenario) {
            Some(said) if client.what_counts(&scenario, said["saw"].clone()) == must => {}
            Some(said) => differ.push(format!("{scenario}: {said}\n    must see {must}")),
            None => differ.push(format!("{scenario}: nothing was said")),
        }
    }
    (!differ.is_empty()).then(|| {
        let all = differ.join("\n  ");
        format!("{}:\n  {all}\n--- stderr of {}\n{}", client.name, client.name, ended.stderr)
    })
}
