//! What is read ahead of those who go through segments from batch to batch.

use tidings_broker::{DeleteTopics, Fetch, FetchRefused, Isolation, TopicName, limits};

use crate::rig::{Rig, batch, fetch, values_of};
use crate::transactions::{init, send, transactional};

const BATCHES: i64 = 8;

/// Records 0 to 7 of topic `a`, a batch each, in segments alone.
fn cold() -> Rig {
    let mut rig = Rig::new();
    rig.topic("a");
    for number in 0..BATCHES {
        let produced = rig.produce("a", 0, batch(&[&number.to_string()])).unwrap();
        assert_eq!(produced.base_offset, number);
    }
    reopened(rig)
}

/// Opened again, with nothing left to do.
fn reopened(rig: Rig) -> Rig {
    let mut rig = rig.restart();
    rig.settle();
    rig
}

/// One batch from this offset on.
fn one(offset: i64) -> Fetch {
    let bytes = batch(&["0"]).len();
    let mut request = Fetch { max_wait_ms: 0, ..fetch("a", 0, offset) };
    request.max_bytes = bytes;
    request.partitions[0].max_bytes = bytes;
    request
}

/// Asks for one batch; returns its values, and how many jobs that took.
fn ask(rig: &mut Rig, request: Fetch) -> (Vec<String>, usize) {
    let from = request.partitions[0].offset;
    let ticket = rig.submit(request);
    let mut jobs = 0;
    while !rig.is_answered(ticket) {
        assert!(rig.work(), "there is something to be done for it");
        jobs += 1;
    }
    let fetched = rig.answer::<Fetch>(ticket).unwrap().remove(0);
    (values_of(fetched.outcome.expect("readable").batches, from), jobs)
}

fn said(number: i64, jobs: usize) -> (Vec<String>, usize) {
    (vec![number.to_string()], jobs)
}

/// The reader has taken two batches, one after the other.
fn going_on() -> Rig {
    let mut rig = cold();
    assert_eq!(ask(&mut rig, one(0)), said(0, 1));
    assert!(!rig.work(), "a single read tells nothing of the next");
    assert_eq!(ask(&mut rig, one(1)), said(1, 1));
    rig
}

#[test]
fn who_goes_on_finds_the_next_batches_read() {
    let mut rig = going_on();
    for number in 2..BATCHES {
        assert!(rig.work(), "the next is read while nobody asks");
        assert_eq!(ask(&mut rig, one(number)), said(number, 0));
    }
    assert!(!rig.work(), "there is no more to be read");
    assert_eq!(ask(&mut rig, one(BATCHES)), (Vec::new(), 0));
}

#[test]
fn who_is_quicker_than_the_disk_waits_for_what_is_being_read() {
    let mut rig = going_on();
    let mut ahead = rig.broker.next_job(rig.now()).expect("what is read ahead");
    let quick = [rig.submit(one(2)), rig.submit(one(2))];
    assert!(!rig.work(), "it is not read twice");
    ahead.run();
    rig.give_back(ahead);
    for ticket in quick {
        let fetched = rig.answer::<Fetch>(ticket).expect("answered").remove(0);
        assert_eq!(values_of(fetched.outcome.unwrap().batches, 0), ["2"]);
    }
    assert!(rig.work(), "and on");
    assert_eq!(ask(&mut rig, one(3)), said(3, 0));
}

#[test]
fn who_goes_elsewhere_or_takes_his_time_is_served_as_ever() {
    let mut rig = going_on();
    assert!(rig.work());
    assert_eq!(ask(&mut rig, one(5)), said(5, 1));

    let mut rig = going_on();
    assert!(rig.work());
    rig.pass(limits::AHEAD_KEPT_MS);
    rig.settle();
    assert_eq!(ask(&mut rig, one(2)), said(2, 1));
}

#[test]
fn a_smaller_answer_is_not_given_what_was_read_for_a_larger_one() {
    let mut rig = cold();
    let two = |offset| {
        let mut request = one(offset);
        request.max_bytes *= 2;
        request.partitions[0].max_bytes *= 2;
        request
    };
    let values = |numbers: [&str; 2], jobs| (numbers.map(str::to_owned).to_vec(), jobs);
    assert_eq!(ask(&mut rig, two(0)), values(["0", "1"], 1));
    assert_eq!(ask(&mut rig, two(2)), values(["2", "3"], 1));
    assert!(rig.work());
    assert_eq!(ask(&mut rig, one(4)), said(4, 1));
}

#[test]
fn a_reader_of_committed_records_is_shown_no_others() {
    let mut rig = Rig::new();
    rig.topic("a");
    for number in 0..3 {
        rig.produce("a", 0, batch(&[&number.to_string()])).unwrap();
    }
    let who = rig.call(init("t")).expect("a producer");
    let sent = rig.call(send("t", "a", 0, transactional(who, 0, &["3"]), true)).remove(0);
    assert_eq!(sent.outcome.expect("taken").base_offset, 3);
    let mut rig = reopened(rig);
    assert_eq!(ask(&mut rig, one(1)), said(1, 1));
    assert_eq!(ask(&mut rig, one(2)), said(2, 1));
    assert!(rig.work(), "the open transaction's batch");
    let committed = Fetch { isolation: Isolation::Committed, ..one(3) };
    assert_eq!(ask(&mut rig, committed), (Vec::new(), 0));
    assert_eq!(ask(&mut rig, one(3)), said(3, 0));
}

#[test]
fn what_is_read_ahead_of_a_topic_that_goes_is_refused_like_the_rest() {
    let mut rig = going_on();
    let mut ahead = rig.broker.next_job(rig.now()).expect("what is read ahead");
    let ticket = rig.submit(one(2));
    ahead.run();
    let topics = vec![TopicName::Name("a".into())];
    let gone = rig.submit(DeleteTopics { topics });
    rig.give_back(ahead);
    rig.settle();
    assert!(rig.is_answered(gone));
    let fetched = rig.answer::<Fetch>(ticket).expect("answered").remove(0);
    assert!(matches!(fetched.outcome, Err(FetchRefused::UnknownPartition)), "{fetched:?}");
}
