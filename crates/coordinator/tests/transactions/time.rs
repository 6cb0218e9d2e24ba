//! What time does: transactions that take too long, ids that nobody uses.

use tidings_coordinator::TransactionEnd::Commit;
use tidings_coordinator::{
    Due, Now, TransactionRecord, TransactionState, TransactionVersion, Transactions,
    TransactionsConfig, limits,
};

use crate::decisions::{NOW, begin, complete, decide, end, producer, started};

const TIMEOUT_MS: u64 = 60_000;

fn at(after_ms: u64) -> Now {
    Now { wall_ms: NOW.wall_ms, mono_ms: NOW.mono_ms + after_ms }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for (version, last_epoch) in [(TransactionVersion::One, -1), (TransactionVersion::Two, 5)] {
        let mut held = started(5);
        begin(&mut held, version);
        // More partitions do not make it last longer.
        let more = held.decide_add(at(30_000), producer(5), [("b", 0)].into_iter(), version);
        held.apply(at(30_000), more.expect("allowed").expect("a new one"));
        assert_eq!(held.next_timeout_ms(), Some(at(TIMEOUT_MS).mono_ms));
        assert_eq!(held.pop_due(at(TIMEOUT_MS - 1), version), None);
        let Some(Due::TimedOut(record)) = held.pop_due(at(TIMEOUT_MS), version) else {
            panic!("it is time")
        };
        // Until it is applied it stays due.
        let retry_at = at(TIMEOUT_MS + limits::TRANSACTION_RETRY_MS);
        assert_eq!(held.next_timeout_ms(), Some(retry_at.mono_ms));
        assert!(held.pop_due(retry_at, version).is_some());
        held.apply(retry_at, record);
        let aborted = held.get("t").expect("it is there");
        assert_eq!(aborted.state, TransactionState::PrepareAbort);
        assert_eq!((aborted.epoch, aborted.last_epoch), (6, last_epoch));
        assert_eq!(aborted.partitions.len(), 2);
        assert_eq!(held.next_timeout_ms(), None, "what is decided has no timeout");
    }
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let mut held = started(5);
    begin(&mut held, TransactionVersion::Two);
    decide(&mut held, &end(5, Commit, TransactionVersion::Two));
    complete(&mut held);
    let kept = limits::TRANSACTIONAL_ID_KEPT_MS;
    assert_eq!(held.next_timeout_ms(), Some(at(kept).mono_ms));
    let due = held.pop_due(at(kept), TransactionVersion::Two);
    let gone = TransactionRecord { transactional_id: "t".into(), transaction: None };
    assert_eq!(due, Some(Due::Unused(gone.clone())));
    held.apply(at(kept), gone);
    assert_eq!((held.get("t"), held.next_timeout_ms()), (None, None));
}

#[test]
fn ids_that_nobody_uses_are_kept_for_as_long_as_is_said_last() {
    const KEPT_MS: u64 = 5_000;
    let config = TransactionsConfig { id_kept_ms: KEPT_MS, ..TransactionsConfig::default() };
    let mut held = started(5);
    held.configure(config);
    assert_eq!(held.next_timeout_ms(), Some(at(KEPT_MS).mono_ms), "from its last use");
    held.configure(TransactionsConfig::default());
    assert_eq!(held.next_timeout_ms(), Some(at(limits::TRANSACTIONAL_ID_KEPT_MS).mono_ms));
    begin(&mut held, TransactionVersion::Two);
    let ends_ms = held.next_timeout_ms();
    held.configure(config);
    assert_eq!(held.next_timeout_ms(), ends_ms, "a transaction keeps its timeout");
}

#[test]
fn a_restart_counts_what_passed_by_the_wall_clock() {
    let mut held = started(5);
    begin(&mut held, TransactionVersion::Two);
    let transaction = held.get("t").cloned();
    let record = TransactionRecord { transactional_id: "t".into(), transaction };
    for (passed_ms, left_ms) in [(0, 60_000), (45_000, 15_000), (90_000, 0), (-9_000, 60_000)] {
        let now = Now { wall_ms: NOW.wall_ms + passed_ms, mono_ms: 0 };
        let mut loaded = Transactions::new();
        loaded.apply(now, record.clone());
        assert_eq!(loaded.next_timeout_ms(), Some(left_ms), "after {passed_ms} ms");
    }
}
