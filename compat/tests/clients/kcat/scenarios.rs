//! kcat plays the scenarios, a process for each call. It administers nothing: librdkafka makes its topics.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tidings_compat::{Conversation, Finished, handed_over, run};

use crate::librdkafka::scenarios::Librdkafka;
use crate::scenarios;
use crate::scenarios::calls::{
    Answer, At, Client, Isolation, NewTopic, PATIENCE, Place, Producer, Producing, Protocol,
    Record, Refusal,
};
use crate::scenarios::script::CODECS;
use crate::scenarios::sharing::Member;

/// The errors that kcat says in words.
const ERRORS: [(&str, i32); 2] =
    [("Broker: Offset out of range", 1), ("Broker: Message size too large", 10)];

/// Between two looks at whether a member should leave.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

#[test]
fn kcat_sees_what_kafka_shows() {
    scenarios::play_here("kcat", |address| Kcat {
        address: address.to_owned(),
        makes_topics: Librdkafka::new(address),
    });
}

struct Kcat {
    address: String,
    makes_topics: Librdkafka,
}

/// kcat with what it says to people among its lines.
fn kcat(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(handed_over("TIDINGS_COMPAT_KCAT"));
    command.args(["-b", address]).args(arguments);
    command
}

/// The lines of one that ended well, or the error that it said.
fn answered(ended: anyhow::Result<Finished>) -> Answer<Vec<String>> {
    let ended = ended.map_err(Refusal::other)?;
    let known = |line: &String| ERRORS.iter().find(|(words, _)| line.contains(words));
    match ended.stdout.iter().find_map(known) {
        Some((_, code)) => Err(Refusal::Kafka(*code)),
        None => ended.success().map_err(Refusal::other),
    }
}

impl Kcat {
    fn run(&self, arguments: &[&str]) -> Answer<Vec<String>> {
        answered(run(&mut kcat(&self.address, arguments), "", PATIENCE))
    }
}

/// A process for each run of records with the same header.
struct Sender {
    address: String,
    settings: Vec<&'static str>,
}

fn line(record: &Record) -> String {
    format!("{}:{}\n", record.key, record.value.as_deref().unwrap_or_default())
}

impl Sender {
    /// For records of this partition and header.
    fn command(&self, topic: &str, of: &Record) -> Command {
        let header = format!("h={}", of.header);
        let mut command = kcat(&self.address, &["-P", "-t", topic, "-K", ":", "-Z", "-H", &header]);
        command.args(&self.settings);
        if let Some(partition) = of.partition {
            command.args(["-p", &partition.to_string()]);
        }
        command
    }
}

impl Producer for Sender {
    fn send(&mut self, topic: &str, records: &[Record]) -> Answer<()> {
        let alike = |a: &Record, b: &Record| (a.partition, &a.header) == (b.partition, &b.header);
        for records in records.chunk_by(alike) {
            let lines: String = records.iter().map(line).collect();
            answered(run(&mut self.command(topic, &records[0]), &lines, PATIENCE))?;
        }
        Ok(())
    }
}

/// Partitions as a line about a rebalance names them: `t [0], t [3]`.
fn partitions(places: &str) -> Vec<i32> {
    let number = |place: &str| place.split(']').next().and_then(|number| number.parse().ok());
    places.split('[').skip(1).filter_map(number).collect()
}

/// Tells what a member says: what it read, what it was given and what was taken from it.
fn hear(said: &str, hears: &Member) {
    if let Some((partition, value)) = said.strip_prefix("read|").and_then(|r| r.split_once('|')) {
        return hears.saw(partition.parse().expect("a partition"), value.to_owned());
    }
    for (given, taken) in
        [(": assigned: ", ": revoked: "), (": incremental assignment", ": incremental revoke")]
    {
        if let Some((_, places)) = said.split_once(given) {
            hears.assigned(partitions(places));
        } else if let Some((_, places)) = said.split_once(taken) {
            hears.revoked(partitions(places));
        }
    }
}

impl Client for Kcat {
    fn producer(&self, how: Producing<'_>) -> Box<dyn Producer> {
        let settings = match how {
            Producing::With { codec } => {
                let known = CODECS.into_iter().find(|known| *known == codec);
                vec!["-z", known.expect("a codec of the list")]
            }
            Producing::Idempotent => {
                vec!["-X", "enable.idempotence=true", "-X", "batch.num.messages=10"]
            }
            Producing::Transactional { .. } => panic!("the tool holds no transaction open"),
        };
        Box::new(Sender { address: self.address.clone(), settings })
    }

    fn read(&self, topic: &str, _: i32, count: usize, of: Isolation) -> Vec<Record> {
        let level = format!("isolation.level={}", of.level());
        let form = "%p|%k|%S|%h|%s\\n";
        let lines = self
            .run(&["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", &level, "-f", form])
            .expect("read");
        let record = |line: &String| {
            let [partition, key, size, header, value] =
                line.splitn(5, '|').collect::<Vec<_>>().try_into().expect("five parts");
            Record {
                key: key.to_owned(),
                value: (size != "-1").then(|| value.to_owned()),
                header: header.strip_prefix("h=").unwrap_or_default().to_owned(),
                partition: partition.parse().ok(),
                timestamp: None,
            }
        };
        assert_eq!(lines.len(), count);
        lines.iter().map(record).collect()
    }

    fn fetch_at(&self, place: Place<'_>, offset: i64) -> Answer<()> {
        let (partition, offset) = (place.partition.to_string(), offset.to_string());
        let from = ["-C", "-t", place.topic, "-p", &partition, "-o", &offset, "-c", "1"];
        self.run(&[&from[..], &["-X", "auto.offset.reset=error"]].concat()).map(drop)
    }

    fn member(&self, group: &str, topic: &str, how: Protocol, hears: &Arc<Member>) -> Answer<()> {
        let strategy = match how {
            Protocol::Eager => "partition.assignment.strategy=range",
            Protocol::Cooperative => "partition.assignment.strategy=cooperative-sticky",
            Protocol::Consumer => return Err(Refusal::NotOffered),
        };
        let mut command = kcat(&self.address, &["-G", group, "-u", "-f", "read|%p|%s\\n"]);
        for setting in [
            strategy,
            "auto.offset.reset=earliest",
            "heartbeat.interval.ms=200",
            "session.timeout.ms=10000",
        ] {
            command.args(["-X", setting]);
        }
        let mut talk = Conversation::start(command.arg(topic), PATIENCE).map_err(Refusal::other)?;
        while !hears.leaving() {
            if let Some(said) = talk.line_within(LOOK).map_err(Refusal::other)? {
                hear(&said, hears);
            }
        }
        talk.terminate().map_err(Refusal::other)?;
        let ended = talk.finish().map_err(Refusal::other)?;
        ended.stdout.iter().for_each(|said| hear(said, hears));
        Ok(())
    }

    fn create_topic(&self, topic: NewTopic<'_>) -> Answer<()> {
        self.makes_topics.create_topic(topic)
    }

    fn partitions(&self, topic: &str) -> Option<usize> {
        let lines = self.run(&["-L", "-J"]).expect("listed");
        let listing: Value = serde_json::from_str(&lines.join("\n")).expect("JSON");
        let topics = listing["topics"].as_array().expect("topics");
        let found = topics.iter().find(|found| found["topic"] == topic)?;
        found["partitions"].as_array().map(Vec::len)
    }

    fn list_offset(&self, place: Place<'_>, at: At, of: Isolation) -> Answer<i64> {
        let time = match at {
            At::Earliest => -2,
            At::Latest => -1,
            At::Time(ms) => ms,
        };
        let asked = format!("{}:{}:{time}", place.topic, place.partition);
        let level = format!("isolation.level={}", of.level());
        let lines = self.run(&["-Q", "-t", &asked, "-X", &level])?;
        let offset = lines.last().and_then(|line| line.rsplit(' ').next());
        offset.and_then(|said| said.parse().ok()).ok_or_else(|| Refusal::other(lines))
    }
}
