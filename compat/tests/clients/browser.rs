//! The console in a real browser: Chromium without a screen, led by Playwright, looked at by axe.
//!
//! Each scenario is a script of `compat/browser` against a server of its own, on which the shop runs at a pace at which
//! its tills are quiet. Every page that it opens is watched (`watched.js`). What the pages looked like is left in
//! `target/compat/browser/pictures`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tidings_compat::{Conversation, Server, eventually, handed_over, own_file};

use crate::http::ask;

/// The month in a month, so that what a scenario does is most of what there is to see, and stays to be seen.
const QUIET_SHOP: &[&str] = &["--demo", "shop", "--speed", "1"];
/// A scenario takes some seconds of two busy cores.
const SEEN_WITHIN: Duration = Duration::from_secs(120);

fn shop() -> Server {
    Server::start_with(QUIET_SHOP).expect("the server starts")
}

/// Anybody's, on a server of a test.
const TOKEN: &str = "b5c0b187fe309af0f4d35982fd961d7e";

fn scenario(name: &str, server: &Server) -> Conversation {
    let folder = handed_over("TIDINGS_COMPAT_BROWSER");
    let mut command = Command::new(folder.join("node"));
    command.env("NODE_PATH", folder.join("node_modules"));
    command.env("TIDINGS_CHROMIUM", folder.join("chromium")).env("TIDINGS_TOKEN", TOKEN);
    command.arg(own_file(&format!("browser/{name}.js")));
    command.arg(format!("http://{}", server.http())).arg(pictures(&folder));
    Conversation::start(&mut command, SEEN_WITHIN).expect("the browser starts")
}

fn pictures(folder: &Path) -> PathBuf {
    folder.join("pictures")
}

#[track_caller]
fn is_seen(name: &str) {
    let server = shop();
    ends_well(scenario(name, &server));
}

#[track_caller]
fn ends_well(scenario: Conversation) {
    let said = scenario.finish().expect("the scenario ends").success();
    assert_eq!(said.expect("what is seen is right").last().map(String::as_str), Some("seen"));
}

#[test]
fn an_order_is_watched_from_the_till_to_its_shipment() {
    is_seen("order");
}

#[test]
fn a_dead_key_is_previewed_edited_and_redriven_until_it_is_gone() {
    is_seen("dead");
}

#[test]
fn every_place_is_reached_by_keys_and_the_focus_is_seen() {
    is_seen("keyboard");
}

#[test]
fn no_page_has_a_serious_fault_in_light_or_dark_or_scrolls_sideways_on_a_phone() {
    is_seen("pages");
}

#[test]
fn records_are_followed_found_opened_and_produced() {
    is_seen("tail");
}

#[test]
fn a_value_of_a_schema_is_read_where_its_bytes_are() {
    let server = Server::start().expect("the server starts");
    let order = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"who","type":"string"}]}"#;
    let body = serde_json::json!({ "schema": order }).to_string();
    let (status, answer) = ask(server.registry(), "POST", "/subjects/typed-value/versions", &body);
    assert_eq!((status.as_str(), answer.as_str()), ("HTTP/1.1 200 OK", r#"{"id":1}"#));
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", server.kafka()).create().expect("a producer");
    for value in [&b"\0\0\0\0\x01\x0e\x06Ann"[..], b"\0\0\0\0\x01\x0e\x06A"] {
        let record = BaseRecord::<str, [u8]>::to("typed").partition(0).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("room in the producer's queue");
        producer.flush(SEEN_WITHIN).expect("it is delivered");
    }
    ends_well(scenario("decoded", &server));
}

#[test]
fn a_group_is_reset_to_what_was_looked_at() {
    let server = shop();
    positions_without_members(server.kafka(), "accounting", "shop.invoices");
    ends_well(scenario("reset", &server));
}

/// The group has a position in each partition of the topic, at its beginning.
fn positions_without_members(kafka: &str, group: &str, topic: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka).set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let partitions = eventually(SEEN_WITHIN, || {
        let known = consumer.fetch_metadata(Some(topic), SEEN_WITHIN).ok()?;
        let count = known.topics().first()?.partitions().len();
        (count > 0).then_some(count)
    });
    let mut positions = TopicPartitionList::new();
    for partition in 0..partitions.expect("the shop makes its topics") {
        let partition = i32::try_from(partition).expect("few");
        positions.add_partition_offset(topic, partition, Offset::Offset(0)).expect("a position");
    }
    consumer.commit(&positions, CommitMode::Sync).expect("committed");
}

#[test]
fn markup_of_others_is_text() {
    is_seen("markup");
}

#[test]
fn an_open_page_says_that_its_server_is_gone_and_goes_on_when_it_is_back() {
    let mut server = shop();
    let mut open = scenario("restart", &server);
    open.expect("live").expect("the page is live");
    server.kill().expect("the server is there");
    open.expect("cut off").expect("the page says so");
    server.start_again().expect("the server starts again");
    open.say("started\n").expect("the scenario listens");
    ends_well(open);
}

#[test]
fn a_person_logs_in_and_again_when_the_server_has_forgotten_the_session() {
    let accounts = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(accounts.path(), TOKEN).expect("a file to write to");
    let path = accounts.path().to_str().expect("a path that is text");
    let mut server = Server::start_with(&["--http-auth-file", path]).expect("the server starts");
    let mut open = scenario("login", &server);
    open.expect("live").expect("the page is live");
    server.kill_and_restart().expect("the server starts again");
    open.say("started\n").expect("the scenario listens");
    ends_well(open);
}
