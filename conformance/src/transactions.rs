//! Transactions: seen whole or not at all, fenced, exactly once.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tidings_engine::{
    Error, Isolation, NewTopic, Offset, Polled, Read, ReadLimit, SentRecord, SubscribeOptions,
    Subscription, TopicPartition, Transaction, TransactionOptions, TransactionalProducer,
};

use crate::stage::{AT_ONCE, PATIENT, Stage, at, text, texts, to};

async fn holder(stage: &Stage, id: &str) -> TransactionalProducer {
    let options = TransactionOptions::default();
    let held = stage.engine.transactional_producer(&stage.name(id), options).await;
    held.expect("a transactional id")
}

async fn begin(producer: &TransactionalProducer) -> Transaction {
    producer.begin().await.expect("a transaction")
}

/// Committed values from the beginning, once there are so many.
async fn committed(stage: &Stage, topic: &str, partition: i32, count: usize) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), 0);
    while seen.len() < count {
        let read = stage.engine.read(topic, partition, next, PATIENT).await.expect("a read");
        seen.extend(read.records.iter().map(|record| text(record).to_owned()));
        next = read.next;
    }
    seen
}

async fn all(stage: &Stage, topic: &str) -> Read {
    let all = stage.engine.read_isolated(topic, 0, 0, AT_ONCE, Isolation::All).await;
    all.expect("a read of everything")
}

/// Waits until everything shows so many records from there on.
async fn shown(stage: &Stage, topic: &str, mut next: i64, count: usize) {
    let mut seen = 0;
    while seen < count {
        let read = stage.engine.read_isolated(topic, 0, next, PATIENT, Isolation::All).await;
        let read = read.expect("a read of everything");
        seen += read.records.len();
        next = read.next;
    }
}

pub async fn a_transaction_is_seen_whole_and_only_when_it_is_committed(stage: Stage) {
    let (one, two) = (stage.topic("one", 1).await, stage.topic("two", 2).await);
    let producer = holder(&stage, "p").await;
    for round in 0..3 {
        let mut transaction = begin(&producer).await;
        let first = transaction.append(vec![to(&one, 0, "a"), to(&two, 0, "b")]).await.unwrap();
        assert_eq!(first[0].topic, one);
        let second = transaction.append(vec![to(&two, 1, "c"), to(&one, 0, "d")]).await.unwrap();
        assert_eq!(second[1].offset, first[0].offset + 1);
        for (topic, partition) in [(&one, 0), (&two, 0), (&two, 1)] {
            let seen = stage.read_all(topic, partition, 0).await;
            assert!(!seen.iter().any(|record| record.offset >= first[0].offset), "round {round}");
        }
        shown(&stage, &one, first[0].offset, 2).await;
        transaction.commit().await.unwrap();
        assert_eq!(committed(&stage, &one, 0, 2 * (round + 1)).await, ["a", "d"].repeat(round + 1));
        assert_eq!(committed(&stage, &two, 0, round + 1).await, ["b"].repeat(round + 1));
        assert_eq!(committed(&stage, &two, 1, round + 1).await, ["c"].repeat(round + 1));
    }
    // One of which nothing is said is as good as none.
    begin(&producer).await.commit().await.unwrap();
    begin(&producer).await.abort().await.unwrap();
}

pub async fn an_aborted_transaction_is_never_seen(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "no")]).await.unwrap();
    transaction.abort().await.unwrap();
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "yes")]).await.unwrap();
    transaction.commit().await.unwrap();

    assert_eq!(committed(&stage, &topic, 0, 1).await, ["yes"]);
    assert_eq!(texts(&all(&stage, &topic).await.records), ["no", "yes"]);
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    member.received(1).await;
    assert_eq!(texts(&member.records), ["yes"]);
    member.close().await;
}

pub async fn a_dropped_transaction_aborts(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "dropped")]).await.unwrap();
    drop(transaction);
    // Nobody begins another: what follows can be read all the same.
    stage.fill(&topic, 0, &["after"]).await;
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["after"]);

    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "next")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 2).await, ["after", "next"]);
}

pub async fn a_new_holder_fences_the_former(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let former = holder(&stage, "p").await;
    let mut transaction = begin(&former).await;
    transaction.append(vec![to(&topic, 0, "former")]).await.unwrap();

    let new = holder(&stage, "p").await;
    let refused = match transaction.append(vec![to(&topic, 0, "late")]).await {
        Ok(_) => transaction.commit().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert!(matches!(refused, Error::Fenced(_)), "{refused:?}");

    let mut transaction = begin(&new).await;
    transaction.append(vec![to(&topic, 0, "new")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["new"]);
    // Another id is nobody's business.
    let other = holder(&stage, "q").await;
    let mut transaction = begin(&other).await;
    transaction.append(vec![to(&topic, 0, "other")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 2).await, ["new", "other"]);
}

pub async fn a_crash_between_send_and_commit_leaves_nothing(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let group = stage.name("g");
    let mut member = stage.member(&group, &[&topic]).await;
    member.assigned(1).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "lost")]).await.unwrap();
    let position = [(at(&topic, 0), 7, None)];
    transaction.commit_offsets(&member.subscription, &position).await.unwrap();
    // As a killed client: nobody aborts it.
    std::mem::forget(transaction);
    std::mem::forget(producer);

    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "kept")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["kept"]);
    member.close().await;
    let mut member = stage.member(&group, &[&topic]).await;
    member.assigned(1).await;
    assert_eq!(member.assigned, [(at(&topic, 0), 0, None)]);
    member.close().await;
}

pub async fn positions_count_with_the_records(stage: Stage) {
    let (input, output) = (stage.topic("in", 1).await, stage.topic("out", 1).await);
    let group = stage.name("g");
    stage.fill(&input, 0, &["a", "b", "c"]).await;
    let mut member = stage.member(&group, &[&input]).await;
    member.received(3).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&output, 0, "ab")]).await.unwrap();
    let position = [(at(&input, 0), 2, Some("two".to_owned()))];
    transaction.commit_offsets(&member.subscription, &position).await.unwrap();
    let described = stage.engine.group(&group).await.unwrap();
    assert_eq!(described.offsets[0].committed, None, "before the commit");
    transaction.commit().await.unwrap();
    member.close().await;

    let mut member = stage.member(&group, &[&input]).await;
    member.received(1).await;
    assert_eq!(member.assigned, [(at(&input, 0), 2, Some("two".to_owned()))]);
    assert_eq!(texts(&member.records), ["c"]);
    assert_eq!(committed(&stage, &output, 0, 1).await, ["ab"]);
    member.close().await;
}

pub async fn positions_of_an_aborted_transaction_do_not_count(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b"]).await;
    let mut member = stage.member(&group, &[&topic]).await;
    member.received(2).await;
    member.commit(&at(&topic, 0), 1, None).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    let position = [(at(&topic, 0), 2, None)];
    transaction.commit_offsets(&member.subscription, &position).await.unwrap();
    transaction.abort().await.unwrap();
    member.close().await;

    let mut member = stage.member(&group, &[&topic]).await;
    member.received(1).await;
    assert_eq!(texts(&member.records), ["b"]);
    member.close().await;
}

pub async fn a_member_that_was_put_out_commits_no_positions(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    let group = stage.name("g");
    let mut one = stage.member(&group, &[&topic]).await;
    one.assigned(2).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "zombie")]).await.unwrap();

    // A rebalance in the middle of the transaction gives one of the partitions away.
    let mut other = stage.member(&group, &[&topic]).await;
    crate::stage::until(&mut one, &mut other, |one, other| {
        one.assigned.len() == 1 && other.assigned.len() == 1
    })
    .await;
    let lost = other.partitions().into_iter().next().unwrap();
    let position = [(lost, 1, None)];
    let refused = transaction.commit_offsets(&one.subscription, &position).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced(_)), "{refused:?}");
    let refused = transaction.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Fenced(_)), "only to be aborted: {refused:?}");

    stage.fill(&topic, 0, &["after"]).await;
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["after"]);
    one.close().await;
    other.close().await;
}

pub async fn a_new_member_waits_for_the_positions_of_a_transaction(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let group = stage.name("g");
    stage.fill(&topic, 0, &["a", "b"]).await;
    let mut one = stage.member(&group, &[&topic]).await;
    one.received(2).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    let position = [(at(&topic, 0), 1, None)];
    transaction.commit_offsets(&one.subscription, &position).await.unwrap();
    one.close().await;

    // Whoever takes over now must not begin before the transaction is decided.
    let mut two = stage.member(&group, &[&topic]).await;
    for _ in 0..5 {
        two.step().await;
        assert_eq!(two.assigned, [], "the positions are not known yet");
    }
    let (committed, ()) = tokio::join!(transaction.commit(), two.assigned(1));
    committed.unwrap();
    assert_eq!(two.assigned, [(at(&topic, 0), 1, None)]);
    two.received(1).await;
    assert_eq!(texts(&two.records), ["b"]);
    two.close().await;
}

pub async fn a_refused_append_only_aborts(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "a")]).await.unwrap();
    let missing = stage.name("missing");
    let refused = transaction.append(vec![to(&missing, 0, "b")]).await.unwrap_err();
    assert_eq!(refused, Error::UnknownTopic(missing));
    assert_eq!(transaction.append(vec![to(&topic, 0, "c")]).await.unwrap_err(), refused);
    assert_eq!(transaction.commit().await.unwrap_err(), refused);

    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "d")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["d"]);
}

pub async fn an_open_transaction_holds_back_what_follows(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    stage.fill(&topic, 0, &["before"]).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "within")]).await.unwrap();
    stage.fill(&topic, 0, &["after"]).await;

    assert_eq!(texts(&stage.read_all(&topic, 0, 0).await), ["before"]);
    assert_eq!(stage.engine.offset(&topic, 0, Offset::Latest).await.unwrap(), 1);
    let waiting = ReadLimit { wait: Duration::from_millis(50), ..AT_ONCE };
    let held_back = stage.engine.read(&topic, 0, 1, waiting).await.unwrap();
    assert_eq!((held_back.records.len(), held_back.next, held_back.high_watermark), (0, 1, 1));
    let described = stage.engine.topic(&topic).await.unwrap();
    assert_eq!(described.partitions[0].end_offset, 3, "the log's own end");

    let reading = committed(&stage, &topic, 0, 3);
    let (seen, done) = tokio::join!(reading, transaction.commit());
    done.unwrap();
    assert_eq!(seen, ["before", "within", "after"]);
}

pub async fn transactions_pass_by_compacted_and_aborted_records(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = holder(&stage, "p").await;
    let mut last = 0;
    for n in 0..20 {
        let mut transaction = begin(&producer).await;
        let sent = transaction.append(vec![to(&topic, 0, &n.to_string())]).await.unwrap();
        last = sent[0].offset;
        if n % 3 == 0 { transaction.commit().await } else { transaction.abort().await }.unwrap();
    }
    // The last one was aborted; its marker is behind it.
    let expected: Vec<String> = (0..20).step_by(3).map(|n| n.to_string()).collect();
    assert_eq!(committed(&stage, &topic, 0, expected.len()).await, expected);
    let mut next = 0;
    while next <= last {
        let read = stage.engine.read(&topic, 0, next, AT_ONCE).await.unwrap();
        assert!(read.next > next, "it stops at {next}");
        next = read.next;
    }
    assert!(next > last, "{next} after the last record's {last}");
}

/// Doubles what it reads, until it has read everything or is told to crash.
struct Doubler {
    subscription: Subscription,
    producer: TransactionalProducer,
    positions: Vec<TopicPartition>,
}

pub async fn read_process_write_is_exactly_once_under_crashes(stage: Stage) {
    const RECORDS: usize = 60;
    let (input, output) = (stage.name("in"), stage.name("out"));
    for name in [&input, &output] {
        let topic = NewTopic { name: name.clone(), partitions: Some(2), configs: vec![] };
        stage.engine.create_topic(topic).await.unwrap();
    }
    let record = |n: usize| SentRecord {
        topic: input.clone(),
        partition: Some(i32::from(n % 2 == 1)),
        value: Some(Bytes::from(n.to_string())),
        ..SentRecord::default()
    };
    stage.send((0..RECORDS).map(record).collect()).await;

    let mut lives = 0;
    // Each life commits a few times, then crashes in the middle of a transaction; the last one goes on.
    while !work(&stage, &input, &output, (lives < 3).then_some(lives)).await {
        lives += 1;
    }
    assert_eq!(lives, 3);
    let mut seen = Vec::new();
    for partition in 0..2 {
        seen.extend(committed(&stage, &output, partition, RECORDS / 2).await);
    }
    let distinct: BTreeSet<usize> = seen.iter().map(|value| value.parse().unwrap()).collect();
    assert_eq!(seen.len(), RECORDS, "nothing twice");
    assert_eq!(distinct, (0..RECORDS).map(|n| 2 * n).collect(), "nothing lost");
}

/// One life; true when everything was done.
async fn work(stage: &Stage, input: &str, output: &str, crash_after: Option<usize>) -> bool {
    let options =
        SubscribeOptions { session_timeout: Duration::from_secs(6), ..SubscribeOptions::default() };
    let topics = [input.to_owned()];
    let group = stage.name("g");
    let mut doubler = Doubler {
        subscription: stage.engine.subscribe(&group, &topics, options).await.unwrap(),
        producer: holder(stage, "doubler").await,
        positions: Vec::new(),
    };
    let mut batches = 0;
    loop {
        match doubler.subscription.poll(5, Duration::from_millis(500)).await.unwrap() {
            Polled::Assigned(given) => {
                doubler.positions = given.into_iter().map(|(at, ..)| at).collect();
            }
            Polled::Revoked(_) => doubler.positions.clear(),
            Polled::Records(records) if records.is_empty() => {
                if doubler.positions.is_empty() || doubler.subscription.lag() > 0 {
                    continue;
                }
                doubler.subscription.close().await.unwrap();
                return true;
            }
            Polled::Records(records) => {
                let mut transaction = begin(&doubler.producer).await;
                let doubled = records.iter().map(|record| {
                    let n: usize = text(record).parse().unwrap();
                    to(output, record.partition, &(2 * n).to_string())
                });
                transaction.append(doubled.collect()).await.unwrap();
                let mut positions: Vec<(TopicPartition, i64, Option<String>)> = Vec::new();
                for record in &records {
                    let at = at(&record.topic, record.partition);
                    positions.retain(|(other, ..)| *other != at);
                    positions.push((at, record.offset + 1, None));
                }
                transaction.commit_offsets(&doubler.subscription, &positions).await.unwrap();
                if crash_after == Some(batches) {
                    std::mem::forget(transaction);
                    std::mem::forget(doubler.producer);
                    // The group finds out by the silence of a member; leaving is quicker.
                    doubler.subscription.close().await.unwrap();
                    return false;
                }
                transaction.commit().await.unwrap();
                batches += 1;
            }
        }
    }
}

pub async fn a_member_passes_the_markers_of_transactions(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "a"), to(&topic, 0, "b")]).await.unwrap();
    transaction.commit().await.unwrap();
    let mut member = stage.member(&stage.name("g"), &[&topic]).await;
    assert_eq!(member.subscription.position(&at(&topic, 0)), None, "not a member yet");
    member.received(2).await;
    while member.subscription.position(&at(&topic, 0)) != Some(3) {
        member.step().await;
    }
}

pub async fn a_successor_does_not_wait_for_what_is_left_open(stage: Stage) {
    let topic = stage.topic("t", 2).await;
    stage.fill(&topic, 0, &["a"]).await;
    let (group, prefix) = (stage.name("g"), stage.name("owner."));
    let options = SubscribeOptions { fences: Some(prefix.clone()), ..SubscribeOptions::default() };
    let mut first = stage.member_with(&group, &[&topic], options.clone()).await;
    first.assigned(2).await;
    let id = at(&topic, 0).transactional_id(&prefix);
    assert_eq!(id, format!("{prefix}{topic}-0"));
    let options_of_producer = TransactionOptions::default();
    let producer = stage.engine.transactional_producer(&id, options_of_producer).await.unwrap();
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 1, "never")]).await.unwrap();
    let position = [(at(&topic, 0), 1, None)];
    transaction.commit_offsets(&first.subscription, &position).await.unwrap();
    first.subscription.close().await.unwrap();

    // The transaction would be open for a minute.
    let mut second = stage.member_with(&group, &[&topic], options).await;
    second.assigned(2).await;
    let begins: Vec<i64> = second.assigned.iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(begins, [0, 0]);
    let refused = transaction.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Fenced(_)), "{refused:?}");
    stage.fill(&topic, 1, &["after"]).await;
    assert_eq!(committed(&stage, &topic, 1, 1).await, ["after"]);
}

pub async fn a_transaction_that_takes_too_long_is_aborted(stage: Stage) {
    let topic = stage.topic("t", 1).await;
    let options = TransactionOptions { timeout: Duration::from_secs(1) };
    let name = stage.name("p");
    let producer = stage.engine.transactional_producer(&name, options).await.unwrap();
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "slow")]).await.unwrap();
    stage.fill(&topic, 0, &["after"]).await;
    // Nobody ends it, and what follows can be read all the same.
    assert_eq!(committed(&stage, &topic, 0, 1).await, ["after"]);
    let refused = transaction.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Fenced(_)), "{refused:?}");

    let producer = holder(&stage, "p").await;
    let mut transaction = begin(&producer).await;
    transaction.append(vec![to(&topic, 0, "quick")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(committed(&stage, &topic, 0, 2).await, ["after", "quick"]);
}
