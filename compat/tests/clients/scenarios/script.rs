//! The scenarios themselves; their facts have the names and meanings that they have in every language.

use std::collections::BTreeMap;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tidings_compat::eventually;

use super::calls::{
    Answer, At, Client, Isolation, NewTopic, PATIENCE, Place, Producer, Producing, Protocol,
    Record, Refusal,
};
use super::sharing::{Joined, Sharing, churn, migration};

pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Records of one transaction.
const EACH: usize = 5;

/// What a scenario saw; a fact that the client has no call for is not in it.
pub(super) fn play(client: &dyn Client, scenario: &str, prefix: &str) -> Value {
    match scenario {
        "codecs" => codecs(client, prefix),
        "idempotence" => idempotence(client, prefix),
        "transactions" => transactions(client, prefix),
        "group" => churn(client, prefix, Protocol::Eager),
        "cooperative group" => churn(client, prefix, Protocol::Cooperative),
        "consumer protocol" => churn(client, prefix, Protocol::Consumer),
        "migration" => migration(client, prefix, Protocol::Eager),
        "cooperative migration" => migration(client, prefix, Protocol::Cooperative),
        "topics" => topics(client, prefix),
        "configs" => configs(client, prefix),
        "groups" => groups(client, prefix),
        "records" => records(client, prefix),
        "refusals" => refusals(client, prefix),
        other => panic!("no scenario is called {other}"),
    }
}

#[derive(Default)]
struct Saw(Map<String, Value>);

impl Saw {
    fn is(&mut self, fact: &str, value: impl Into<Value>) {
        self.0.insert(fact.to_owned(), value.into());
    }

    /// Keeps what a call returns; whether there is such a call.
    fn returned<T: Into<Value>>(&mut self, fact: &str, answer: Answer<T>) -> bool {
        match answer {
            Ok(value) => self.is(fact, value),
            Err(Refusal::NotOffered) => return false,
            Err(other) => panic!("{fact}: {other:?}"),
        }
        true
    }

    /// Keeps the Kafka error of a call, 0 when it is granted.
    fn refused<T>(&mut self, fact: &str, answer: Answer<T>) {
        match answer {
            Ok(_) => self.is(fact, 0),
            Err(Refusal::NotOffered) => {}
            Err(Refusal::Kafka(code)) => self.is(fact, code),
            Err(Refusal::Other(why)) => self.is(fact, why),
        }
    }

    fn all(self) -> Value {
        Value::Object(self.0)
    }
}

pub(crate) fn numbered(tag: &str, count: usize) -> Vec<Record> {
    let numbered = |n: usize| Record {
        header: format!("h{}", n / 50),
        ..Record::new(format!("k{}", n % 7), format!("{tag} {n}"))
    };
    (0..count).map(numbered).collect()
}

fn made(client: &dyn Client, topic: NewTopic<'_>) {
    client.create_topic(topic).expect("created");
    let wanted = usize::try_from(topic.partitions).expect("some partitions");
    until("the topic is there", || client.partitions(topic.name) == Some(wanted));
}

/// Makes a topic and waits until the client sees it.
pub(crate) fn create(client: &dyn Client, name: &str, partitions: i32) {
    made(client, NewTopic { name, partitions, replicas: 1, config: None });
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = eventually(PATIENCE, || holds().then_some(()));
    assert!(held.is_some(), "not in time: {what}");
}

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.value.as_deref().expect("a value")).collect()
}

/// How many records of each tag came, in order: "a5 c5".
fn tags(records: &[Record]) -> String {
    let mut tags: Vec<(&str, usize)> = Vec::new();
    for value in values(records) {
        let tag = value.split(' ').next().expect("a tag");
        match tags.iter_mut().find(|(known, _)| *known == tag) {
            Some((_, count)) => *count += 1,
            None => tags.push((tag, 1)),
        }
    }
    tags.iter().map(|(tag, count)| format!("{tag}{count}")).collect::<Vec<_>>().join(" ")
}

/// How many records were read as they were sent, in the order of their keys.
fn same_by_key(sent: &[Record], read: &[Record]) -> usize {
    fn by_key(records: &[Record]) -> BTreeMap<&str, Vec<(Option<&str>, &str)>> {
        let mut keys: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for record in records {
            let came = (record.value.as_deref(), record.header.as_str());
            keys.entry(&record.key).or_default().push(came);
        }
        keys
    }
    let came = by_key(read);
    let same = |(key, sent): (&&str, &Vec<_>)| {
        came.get(*key).map_or(0, |came| came.iter().zip(sent).filter(|(a, b)| a == b).count())
    };
    by_key(sent).iter().map(same).sum()
}

fn codecs(client: &dyn Client, prefix: &str) -> Value {
    const COUNT: usize = 200;
    let mut saw = Saw::default();
    for codec in CODECS {
        let topic = format!("{prefix}.{codec}");
        create(client, &topic, 4);
        let mut sent = numbered(codec, COUNT);
        sent[COUNT - 1].value = None;
        client.producer(Producing::With { codec }).send(&topic, &sent).expect("sent");
        let read = client.read(&topic, 4, COUNT, Isolation::Uncommitted);
        saw.is(codec, same_by_key(&sent, &read));
    }
    saw.all()
}

fn idempotence(client: &dyn Client, prefix: &str) -> Value {
    let mut saw = Saw::default();
    create(client, prefix, 1);
    let sent = numbered("once", 500);
    client.producer(Producing::Idempotent).send(prefix, &sent).expect("sent");
    let read = client.read(prefix, 1, sent.len(), Isolation::Uncommitted);
    saw.is("read", read.len());
    saw.is("in order", values(&read) == values(&sent));
    let place = Place { topic: prefix, partition: 0 };
    saw.returned("latest", client.list_offset(place, At::Latest, Isolation::Uncommitted));
    saw.all()
}

fn transactions(client: &dyn Client, prefix: &str) -> Value {
    let (mut saw, place) = (Saw::default(), Place { topic: prefix, partition: 0 });
    create(client, prefix, 1);
    let mut producer = client.producer(Producing::Transactional { id: prefix });
    for tag in ["a", "b", "c"] {
        producer.begin().expect("begun");
        producer.send(prefix, &numbered(tag, EACH)).expect("sent");
        let ended = if tag == "b" { producer.abort() } else { producer.commit() };
        ended.expect("ended");
    }
    saw.is("committed", tags(&client.read(prefix, 1, 2 * EACH, Isolation::Committed)));
    saw.is("uncommitted", tags(&client.read(prefix, 1, 3 * EACH, Isolation::Uncommitted)));
    producer.begin().expect("begun");
    producer.send(prefix, &numbered("d", EACH)).expect("sent");
    let latest = |of| client.list_offset(place, At::Latest, of);
    saw.returned("stable while open", latest(Isolation::Committed));
    saw.returned("latest while open", latest(Isolation::Uncommitted));
    producer.abort().expect("aborted");
    move_offset(client, place, producer.as_mut(), &mut saw);

    producer.begin().expect("begun");
    producer.send(prefix, &numbered("e", 1)).expect("sent");
    let mut second = client.producer(Producing::Transactional { id: prefix });
    second.begin().expect("begun");
    second.send(prefix, &numbered("f", EACH)).expect("sent");
    saw.is("fenced", producer.commit().is_err());
    second.commit().expect("committed");
    saw.is("after fencing", tags(&client.read(prefix, 1, 3 * EACH, Isolation::Committed)));
    saw.all()
}

fn move_offset(client: &dyn Client, place: Place<'_>, producer: &mut dyn Producer, saw: &mut Saw) {
    let group = format!("{}.group", place.topic);
    producer.begin().expect("begun");
    let sent = producer.send_offset(&group, place, 3);
    producer.abort().expect("aborted");
    if matches!(sent, Err(Refusal::NotOffered)) {
        return;
    }
    sent.expect("sent");
    saw.returned("offset after abort", client.committed(&group, place));
    producer.begin().expect("begun");
    producer.send_offset(&group, place, 5).expect("sent");
    producer.commit().expect("committed");
    // The coordinator answers before the group has its marker.
    until("the offset", || client.committed(&group, place).is_ok_and(|offset| offset == 5));
    saw.returned("offset after commit", client.committed(&group, place));
}

fn topics(client: &dyn Client, prefix: &str) -> Value {
    let (mut saw, name) = (Saw::default(), format!("{prefix}.made"));
    let like = |name| NewTopic { name, partitions: 3, replicas: 1, config: None };
    made(client, NewTopic { config: Some(("max.message.bytes", "2000000")), ..like(&name) });
    let [slash, replicas, config] =
        ["/slash", ".replicas", ".config"].map(|end| format!("{prefix}{end}"));
    for (fact, topic) in [
        ("again", like(&name)),
        ("bad name", like(&slash)),
        ("three replicas", NewTopic { replicas: 3, ..like(&replicas) }),
        ("bad config", NewTopic { config: Some(("no.such.config", "1")), ..like(&config) }),
    ] {
        saw.refused(fact, client.create_topic(topic));
    }
    client.grow_topic(&name, 6).expect("grown");
    saw.refused("shrunk", client.grow_topic(&name, 2));
    until("six partitions", || client.partitions(&name) == Some(6));
    let record = Record { partition: Some(5), ..Record::new("k", "v") };
    let mut producer = client.producer(Producing::With { codec: "none" });
    producer.send(&name, &[record]).expect("sent");
    let read = client.read(&name, 6, 1, Isolation::Uncommitted);
    saw.is("in the new partition", read.len());
    client.delete_topic(&name).expect("deleted");
    until("the topic is gone", || client.partitions(&name).is_none());
    saw.refused("deleted again", client.delete_topic(&name));
    saw.all()
}

/// What a client that has no IncrementalAlterConfigs shows.
fn configs(client: &dyn Client, prefix: &str) -> Value {
    let (mut saw, name) = (Saw::default(), "max.message.bytes");
    let config = Some((name, "2000000"));
    made(client, NewTopic { name: prefix, partitions: 1, replicas: 1, config });
    saw.returned("created with", client.config(prefix, name));
    saw.all()
}

fn groups(client: &dyn Client, prefix: &str) -> Value {
    let (mut saw, place) = (Saw::default(), Place { topic: prefix, partition: 0 });
    create(client, prefix, 1);
    let mut producer = client.producer(Producing::With { codec: "none" });
    producer.send(prefix, &numbered("read", 10)).expect("sent");
    let group = format!("{prefix}.group");
    let listed = || client.list_groups().expect("listed").contains(&group);
    let described = || client.describe_group(&group).expect("described");
    thread::scope(|scope| {
        let sharing = Sharing::default();
        let names = (group.clone(), prefix.to_owned());
        let mut member = Joined::new(scope, client, names, Protocol::Eager, &sharing);
        until("ten records", || {
            member.check();
            sharing.distinct() == 10
        });
        saw.is("listed", listed());
        let busy = described();
        saw.is("state", busy.state);
        saw.is("members", busy.members);
        saw.refused("deleted while busy", client.delete_group(&group));
        member.leave();
    });
    saw.is("state after leaving", described().state);
    saw.returned("committed", client.committed(&group, place));
    client.commit(&group, place, 4).expect("committed");
    saw.returned("altered", client.committed(&group, place));
    client.delete_group(&group).expect("deleted");
    saw.is("listed after deletion", listed());
    saw.refused("deleted again", client.delete_group(&group));
    saw.all()
}

fn records(client: &dyn Client, prefix: &str) -> Value {
    let (mut saw, place) = (Saw::default(), Place { topic: prefix, partition: 0 });
    create(client, prefix, 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let start = i64::try_from(now.as_millis()).expect("before the year 292,277,026") - 100_000;
    let mut producer = client.producer(Producing::With { codec: "none" });
    for (mut record, n) in numbered("timed", 10).into_iter().zip(0..) {
        record.timestamp = Some(start + n * 1000);
        producer.send(prefix, &[record]).expect("sent");
    }
    let found = |at| client.list_offset(place, at, Isolation::Uncommitted);
    saw.returned("earliest", found(At::Earliest));
    saw.returned("latest", found(At::Latest));
    saw.returned("at a time", found(At::Time(start + 3500)));
    saw.returned("after last", found(At::Time(start + 1_000_000)));
    if saw.returned("deleted before", client.delete_records(place, 6)) {
        saw.returned("earliest then", found(At::Earliest));
        saw.is("read then", client.read(prefix, 1, 4, Isolation::Uncommitted).len());
    }
    saw.refused("deleted beyond the end", client.delete_records(place, 11));
    saw.all()
}

fn refusals(client: &dyn Client, prefix: &str) -> Value {
    let mut saw = Saw::default();
    let config = Some(("max.message.bytes", "1000"));
    made(client, NewTopic { name: prefix, partitions: 1, replicas: 1, config });
    let mut producer = client.producer(Producing::With { codec: "none" });
    saw.refused("too large", producer.send(prefix, &[Record::new("k", "x".repeat(5000))]));
    producer.send(prefix, &numbered("small", 1)).expect("sent");
    saw.is("read", client.read(prefix, 1, 1, Isolation::Uncommitted).len());
    saw.refused("out of range", client.fetch_at(Place { topic: prefix, partition: 0 }, 1000));
    saw.all()
}
