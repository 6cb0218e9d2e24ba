//! Every client that is tested, what it must see, and what is left out of it with the reason.
//!
//! A scenario is a short program that each client plays; its facts have the same names and
//! meanings in every language, and the expected ones are what Apache Kafka 4.2 shows
//! (`scenarios.json`; [`Broker::under_test`] says how to play them against a Kafka broker).
//! A client sees all of them, except for what its entry here leaves out. `docs/clients.md` is
//! written from this list.
//!
//! [`Broker::under_test`]: crate::Broker::under_test

use serde_json::{Map, Value};

/// The scenarios and their facts.
const SCENARIOS: &str = include_str!("../scenarios.json");

/// A client in the version that its lock file names.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub version: Version,
    pub left_out: &'static [LeftOut],
}

/// Where the version of a client is written down.
#[derive(Debug)]
pub enum Version {
    /// A module of `go/go.mod`.
    Go(&'static str),
    /// A package of `python/requirements.txt`.
    Python(&'static str),
    /// A package of `node/package.json`.
    Node(&'static str),
    /// A crate of `Cargo.lock`.
    Crate(&'static str),
    /// kafka-clients in this `pom.xml`.
    Java(&'static str),
    /// Whatever the system's package has.
    System,
}

/// Facts of a scenario that a client does not show, or not always; the whole scenario when none is
/// named.
#[derive(Debug)]
pub struct LeftOut {
    pub scenario: &'static str,
    pub facts: &'static [&'static str],
    pub why: &'static str,
}

const fn without(scenario: &'static str, why: &'static str) -> LeftOut {
    LeftOut { scenario, facts: &[], why }
}

const fn partly(
    scenario: &'static str,
    facts: &'static [&'static str],
    why: &'static str,
) -> LeftOut {
    LeftOut { scenario, facts, why }
}

const NO_CONSUMER_PROTOCOL: LeftOut =
    without("consumer protocol", "the client does not have the protocol");

const NO_MIGRATION: LeftOut = without("migration", "the client does not have the protocol");

const NO_COOPERATIVE_MIGRATION: LeftOut =
    without("cooperative migration", "the client does not have the protocol");

const NO_GROUP_TYPES: LeftOut = partly("migration", &["types"], TYPES_UNTOLD);

const TYPES_UNTOLD: &str = "the client does not tell the types of groups";

const COOPERATIVE_LIBRDKAFKA: LeftOut = without(
    "cooperative migration",
    "cooperative members of librdkafka never settle beside those of KIP-848, nor do they on Kafka",
);

const EAGER_ONLY: LeftOut = without("cooperative group", "the client rebalances eagerly only");

const NO_INCREMENTAL_CONFIGS: LeftOut = partly(
    "configs",
    &["set", "appended", "subtracted", "unset", "untouched", "unknown", "bad value"],
    "the client has no IncrementalAlterConfigs",
);

const NO_OFFSET_DELETE: LeftOut =
    partly("groups", &["offset deleted"], "the client has no OffsetDelete");

const FAILS_ON_ILLEGAL_GENERATION: &str =
    "a member that is told of an older generation ends its process, on Kafka as well";

const LATE_RECORDS: &str = "the client hands over after a rebalance what it fetched before it";

const NO_ADMINISTRATION: &str = "the tool administers nothing";

const NO_COMMON_ORDER: &str = "what members in processes of their own say has no common order";

/// Every client, in the order of the matrix.
pub const CLIENTS: &[Client] = &[
    Client { name: "java", version: Version::Java("java/pom.xml"), left_out: &[] },
    Client { name: "java-3.9", version: Version::Java("java/older/pom.xml"), left_out: &[] },
    Client {
        name: "franz-go",
        version: Version::Go("github.com/twmb/franz-go"),
        left_out: &[NO_GROUP_TYPES, partly("cooperative migration", &["types"], TYPES_UNTOLD)],
    },
    Client {
        name: "sarama",
        version: Version::Go("github.com/IBM/sarama"),
        left_out: &[EAGER_ONLY, NO_CONSUMER_PROTOCOL, NO_MIGRATION, NO_COOPERATIVE_MIGRATION],
    },
    Client {
        name: "kafka-go",
        version: Version::Go("github.com/segmentio/kafka-go"),
        left_out: &[
            without("idempotence", "the client's batches have no producer id"),
            without("transactions", "the client's batches have no producer id"),
            EAGER_ONLY,
            NO_CONSUMER_PROTOCOL,
            NO_MIGRATION,
            NO_COOPERATIVE_MIGRATION,
            partly(
                "records",
                &["deleted before", "earliest then", "read then", "deleted beyond the end"],
                "the client has no DeleteRecords",
            ),
        ],
    },
    Client {
        name: "kafka-python",
        version: Version::Python("kafka-python"),
        left_out: &[NO_CONSUMER_PROTOCOL, NO_MIGRATION, NO_COOPERATIVE_MIGRATION],
    },
    Client {
        name: "aiokafka",
        version: Version::Python("aiokafka"),
        left_out: &[
            EAGER_ONLY,
            NO_CONSUMER_PROTOCOL,
            NO_MIGRATION,
            NO_COOPERATIVE_MIGRATION,
            NO_INCREMENTAL_CONFIGS,
            partly(
                "groups",
                &[
                    "deleted while busy",
                    "altered",
                    "offset deleted",
                    "listed after deletion",
                    "deleted again",
                ],
                "the client neither deletes groups nor changes their offsets",
            ),
        ],
    },
    Client {
        name: "confluent-kafka",
        version: Version::Python("confluent-kafka"),
        left_out: &[NO_OFFSET_DELETE, COOPERATIVE_LIBRDKAFKA],
    },
    Client {
        name: "rdkafka",
        version: Version::Crate("rdkafka"),
        left_out: &[
            NO_INCREMENTAL_CONFIGS,
            NO_OFFSET_DELETE,
            NO_GROUP_TYPES,
            COOPERATIVE_LIBRDKAFKA,
            partly(
                "refusals",
                &["out of range"],
                "the crate does not hand on what the broker said",
            ),
        ],
    },
    Client {
        name: "kcat",
        version: Version::System,
        left_out: &[
            NO_CONSUMER_PROTOCOL,
            NO_MIGRATION,
            NO_COOPERATIVE_MIGRATION,
            without("topics", NO_ADMINISTRATION),
            without("configs", NO_ADMINISTRATION),
            without("groups", NO_ADMINISTRATION),
            without(
                "transactions",
                "the tool takes all its input before it sends, and then commits",
            ),
            partly("group", &["two owners"], NO_COMMON_ORDER),
            partly("cooperative group", &["two owners"], NO_COMMON_ORDER),
            partly("records", &["at a time"], "the tool gives records no times of its choice"),
            partly(
                "records",
                &["deleted before", "earliest then", "read then", "deleted beyond the end"],
                NO_ADMINISTRATION,
            ),
        ],
    },
    Client {
        name: "kafkajs",
        version: Version::Node("kafkajs"),
        left_out: &[
            EAGER_ONLY,
            NO_CONSUMER_PROTOCOL,
            NO_MIGRATION,
            NO_COOPERATIVE_MIGRATION,
            NO_INCREMENTAL_CONFIGS,
            NO_OFFSET_DELETE,
            partly(
                "transactions",
                &["latest while open"],
                "the client lists offsets up to the last stable one only",
            ),
            partly(
                "records",
                &["after last"],
                "the client answers with the end of the log where nothing was found",
            ),
            partly("refusals", &["out of range"], "the client resets the offset and does not tell"),
        ],
    },
    Client {
        name: "platformatic",
        version: Version::Node("@platformatic/kafka"),
        left_out: &[
            EAGER_ONLY,
            partly("group", &["read twice", "two owners"], LATE_RECORDS),
            partly("consumer protocol", &["read twice", "two owners"], LATE_RECORDS),
            without("migration", FAILS_ON_ILLEGAL_GENERATION),
            without("cooperative migration", FAILS_ON_ILLEGAL_GENERATION),
            partly(
                "transactions",
                &["after fencing"],
                "the client remembers one aborted transaction of a producer in each answer",
            ),
        ],
    },
];

/// The client of this name.
///
/// # Panics
/// When there is none.
pub fn client(name: &str) -> &'static Client {
    CLIENTS.iter().find(|client| client.name == name).expect("a client of the list")
}

/// Names of all scenarios with what they are about.
pub fn scenarios() -> Vec<(String, String)> {
    let about = |(name, scenario): (String, Value)| {
        (name, scenario["about"].as_str().expect("a scenario says what it is about").to_owned())
    };
    all().into_iter().map(about).collect()
}

/// The facts of a scenario as Apache Kafka shows them; null when there is no such scenario.
pub fn facts_of(scenario: &str) -> Value {
    all().remove(scenario).map_or(Value::Null, |mut found| found["saw"].take())
}

fn all() -> Map<String, Value> {
    serde_json::from_str(SCENARIOS).expect("scenarios.json is an object of scenarios")
}

impl Client {
    /// The scenarios it plays, in the order of their names.
    pub fn plays(&self) -> Vec<String> {
        let mut names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
        names.retain(|name| !self.left_out_of(name).any(|left| left.facts.is_empty()));
        names
    }

    /// The facts that it must see in a scenario.
    pub fn must_see(&self, scenario: &str) -> Value {
        self.what_counts(scenario, facts_of(scenario))
    }

    /// Facts of a scenario without those that are left out.
    pub fn what_counts(&self, scenario: &str, mut facts: Value) -> Value {
        if let Some(facts) = facts.as_object_mut() {
            for left in self.left_out_of(scenario) {
                facts.retain(|fact, _| !left.facts.contains(&fact.as_str()));
            }
        }
        facts
    }

    /// What is left out of a scenario.
    pub fn left_out_of(&self, scenario: &str) -> impl Iterator<Item = &LeftOut> {
        self.left_out.iter().filter(move |left| left.scenario == scenario)
    }
}
