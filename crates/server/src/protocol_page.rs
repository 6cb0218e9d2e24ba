//! `docs/protocol.md`, written from the table of APIs and the table of errors.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidings_broker::ConfigEntry;

use crate::api::TABLE;
use crate::error_code::ErrorCode;
use crate::handlers::describe_configs;
use crate::{limits, unimplemented};

/// The page as it must stand in the documentation; a test compares.
pub fn protocol_page() -> String {
    let mut page = String::from(INTRODUCTION);
    page += "\n## Requests\n\n| key | request | versions | notes |\n|---|---|---|---|\n";
    for row in TABLE {
        let api = row.api;
        let versions = format!("{} to {}", api.version_min, api.version_max);
        let _ = writeln!(page, "| {} | {} | {versions} | {} |", api.key, api.name, row.notes);
    }
    page += NOT_SERVED;
    page += "\n| key | request |\n|---|---|\n";
    for (key, name) in unimplemented::names() {
        let _ = writeln!(page, "| {key} | {name} |");
    }
    page += TOPIC_CONFIGS;
    page += "\n| name | default | meaning |\n|---|---|---|\n";
    for entry in tidings_broker::topic_configs() {
        page += &config_line(&entry);
    }
    page += &broker_configs();
    page += GROUP_CONFIGS;
    page += "\n| name | default | meaning |\n|---|---|---|\n";
    for entry in tidings_broker::group_configs() {
        page += &config_line(&entry);
    }
    page += "\n## Errors\n\n| code | name | again? | meaning |\n|---|---|---|---|\n";
    for error in ErrorCode::ALL {
        let again = if error.retriable { "yes" } else { "no" };
        let ErrorCode { code, name, meaning, .. } = error;
        let _ = writeln!(page, "| {code} | {name} | {again} | {meaning} |");
    }
    page += "\n## Limits\n\n| what | limit | at the limit |\n|---|---|---|\n";
    let shown = limits_shown().into_iter().chain(kept_limits_shown()).chain(quota_limits_shown());
    for (what, limit, consequence) in shown {
        let _ = writeln!(page, "| {what} | {limit} | {consequence} |");
    }
    page
}

const INTRODUCTION: &str = "\
# The Kafka protocol as it is served

<!-- Written from the tables in crates/server by its tests: UPDATE=1 cargo test -p tidings-server. -->

Any Kafka client may connect. Requests of one connection are answered in their order, while several
are under way at once. A request that is malformed or too long closes its connection, and nothing
else; the reason is in the log. There is no authentication and no TLS. [clients.md](clients.md) lists the
clients that are tested, and what each of them does.

There is one node, which is every topic's only replica, the controller and the coordinator of all groups.
`tidings up --virtual-brokers N` shows it as N brokers on N ports, as an aid for tests that insist on several: replicas, leaders
and elections are said of them consistently, each port serves everything, and there is one copy of the data all
the same.
";

const NOT_SERVED: &str = "
Another version of these requests is answered with UNSUPPORTED_VERSION in the layout of the nearest
version, as far as that layout has an error for the whole request.

## Requests that are not served

These are not advertised. A client that sends one all the same gets a whole response in the layout of
its version: with UNSUPPORTED_VERSION where that response has an error for the whole request, else
without results. Requests between brokers get the error code alone. A key that is not Kafka's closes
the connection.
";

const TOPIC_CONFIGS: &str = "
## Configuration of topics

Given when a topic is created, and changed while the node runs. A topic that says nothing takes the
broker's value, which is said by the broker config of that meaning.
";

const BROKER_CONFIGS: &str = "
## Configuration of brokers

These may be changed while the node runs, for this broker or for all (\"\"):
";

const GROUP_CONFIGS: &str = "
## Configuration of groups

Said of a single group, whether it is there or not, and in force for it at once. A group that says nothing takes the
broker's value of that meaning; what is said must lie within the bounds that brokers set, and what a bound excludes
later is held to the bound.
";

const FIXED_CONFIGS: &str = "
These say what the node was started with or what is fixed; they are read-only:
";

const CONFIGS_WITHOUT_MEANING: &str = "
The others of Apache Kafka 4.2 are listed without a value and are read-only:
";

fn config_line(entry: &ConfigEntry) -> String {
    let ConfigEntry { name, documentation, .. } = entry;
    let default = entry.default_value().unwrap_or_default();
    format!("| {name} | {default} | {documentation} |\n")
}

fn broker_configs() -> String {
    let (mut live, mut fixed, mut without) = (String::new(), String::new(), BTreeMap::new());
    for entry in tidings_broker::broker_configs() {
        if !entry.read_only {
            live += &config_line(&entry);
        } else if entry.value.is_some() || describe_configs::is_ours(entry.name) {
            fixed += &config_line(&entry);
        } else {
            let names: &mut Vec<_> = without.entry(entry.documentation).or_default();
            names.push(entry.name);
        }
    }
    let mut page = format!("{BROKER_CONFIGS}\n| name | default | meaning |\n|---|---|---|\n{live}");
    let _ = write!(page, "{FIXED_CONFIGS}\n| name | default | meaning |\n|---|---|---|\n{fixed}");
    page += CONFIGS_WITHOUT_MEANING;
    page += "\n| why | names |\n|---|---|\n";
    for (why, names) in without {
        let _ = writeln!(page, "| {why} | {} |", names.join(", "));
    }
    page
}

fn quota_limits_shown() -> [(&'static str, String, &'static str); 4] {
    use tidings_broker::limits::{
        GROUPS_CONFIGURED_MAX, QUOTA_BUCKETS_MAX, QUOTA_THROTTLE_MAX_MS, QUOTAS_MAX,
    };
    [
        (
            "groups with a configuration of their own",
            GROUPS_CONFIGURED_MAX.to_string(),
            "a new one is refused",
        ),
        ("quotas", QUOTAS_MAX.to_string(), "a new one is refused"),
        (
            "clients whose use of a quota is remembered",
            QUOTA_BUCKETS_MAX.to_string(),
            "the one that would owe nothing first is forgotten",
        ),
        (
            "pause by quotas",
            format!("{} s", QUOTA_THROTTLE_MAX_MS / 1000),
            "what is owed beyond is told with the next answer",
        ),
    ]
}

fn kept_limits_shown() -> [(&'static str, String, &'static str); 7] {
    use tidings_broker::limits::{
        ALL_GROUPS_BYTES_MAX, FETCH_SESSION_PARTITIONS_MAX, PARTITIONS_MAX, SAID_BYTES_MAX,
        TRANSACTION_BYTES_MAX,
    };
    use tidings_broker::log::limits::{
        DECOMPRESSED_BYTES_FREE, DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_MAX, PRODUCERS_MAX,
    };
    let mebibytes = |bytes: usize| format!("{} MiB", bytes / (1024 * 1024));
    [
        ("partitions", PARTITIONS_MAX.to_string(), "a new one is refused"),
        ("groups, with all that is in them", mebibytes(ALL_GROUPS_BYTES_MAX), "more is refused"),
        (
            "transactional ids, with their partitions",
            mebibytes(TRANSACTION_BYTES_MAX),
            "more is refused",
        ),
        (
            "producers remembered",
            PRODUCERS_MAX.to_string(),
            "those that wrote longest ago are forgotten, unless their transaction is open",
        ),
        (
            "partitions of fetch sessions",
            FETCH_SESSION_PARTITIONS_MAX.to_string(),
            "an old session ends, or there is none",
        ),
        ("configurations, assignments and quotas", mebibytes(SAID_BYTES_MAX), "more is refused"),
        (
            "a batch, decompressed: the most, and what it may be by its size",
            format!(
                "{}; {}, or {DECOMPRESSION_RATIO_MAX} times its bytes",
                mebibytes(DECOMPRESSED_BYTES_MAX),
                mebibytes(DECOMPRESSED_BYTES_FREE)
            ),
            "it is refused",
        ),
    ]
}

fn limits_shown() -> Vec<(&'static str, String, &'static str)> {
    let mebibytes = |bytes: usize| format!("{} MiB", bytes / (1024 * 1024));
    let number = |number: usize| number.to_string();
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    vec![
        ("connections", number(limits::CONNECTIONS_MAX), "a new one is closed"),
        (
            "connections from one address",
            number(limits::CONNECTIONS_PER_ADDRESS_MAX),
            "a new one is closed",
        ),
        ("bytes of a request", mebibytes(limits::FRAME_BYTES_MAX), "the connection is closed"),
        (
            "list elements of a request, all lists together",
            number(limits::ELEMENTS_PER_REQUEST_MAX),
            "the connection is closed",
        ),
        (
            "list elements of requests under way in all",
            number(limits::ELEMENTS_IN_FLIGHT_MAX),
            "requests wait",
        ),
        (
            "requests under way on a connection",
            number(limits::REQUESTS_PER_CONNECTION_MAX),
            "reading waits",
        ),
        (
            "fetches under way on a connection",
            number(limits::FETCHES_PER_CONNECTION_MAX),
            "the next one waits",
        ),
        (
            "bytes of requests under way on a connection",
            mebibytes(limits::REQUEST_BYTES_PER_CONNECTION_MAX),
            "reading waits",
        ),
        (
            "bytes of requests under way in all",
            mebibytes(limits::REQUEST_BYTES_IN_FLIGHT_MAX),
            "reading waits",
        ),
        ("bytes of a fetch", mebibytes(limits::FETCH_BYTES_MAX), "less is returned"),
        (
            "fetched bytes that wait for their readers",
            mebibytes(limits::FETCHED_BYTES_HELD_MAX),
            "fetches return less",
        ),
        (
            "bytes of lists that wait for their readers",
            mebibytes(limits::ANSWER_BYTES_HELD_MAX),
            "requests for lists wait",
        ),
        (
            "reading of an answer while others wait for memory",
            seconds(limits::UNREAD_UNDER_SHORTAGE_MAX),
            "the connection is closed",
        ),
        ("wait of a fetch", seconds(limits::FETCH_WAIT_MAX), "it is answered"),
        ("first request", seconds(limits::FIRST_REQUEST_MAX), "the connection is closed"),
        ("silence", seconds(limits::IDLE_MAX), "the connection is closed"),
        ("arrival of a request", seconds(limits::FRAME_READ_MAX), "the connection is closed"),
    ]
}
