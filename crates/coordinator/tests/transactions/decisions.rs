//! Every state against every request.

use tidings_coordinator::TransactionEnd::{Abort, Commit};
use tidings_coordinator::TransactionState::{
    CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
};
use tidings_coordinator::{
    EndDecision, EndTransaction, InitDecision, InitTransactions, ListTransactions, Now,
    Transaction, TransactionEnd, TransactionProducer, TransactionRecord, TransactionRefused,
    TransactionState, TransactionVersion, Transactions, TransactionsConfig, limits,
};

pub(crate) const NOW: Now = Now { wall_ms: 1_700_000_000_000, mono_ms: 5_000 };
const ID: &str = "t";
const PRODUCER: i64 = 7;
const FRESH: i64 = 8;
const EPOCH: i16 = 5;

pub(crate) fn init(expected: Option<(i64, i16)>) -> InitTransactions {
    InitTransactions { transactional_id: ID.into(), timeout_ms: 60_000, expected }
}

pub(crate) fn producer(epoch: i16) -> TransactionProducer<'static> {
    TransactionProducer { transactional_id: ID, producer_id: PRODUCER, epoch }
}

pub(crate) fn end(epoch: i16, end: TransactionEnd, version: TransactionVersion) -> EndTransaction {
    EndTransaction { transactional_id: ID.into(), producer_id: PRODUCER, epoch, end, version }
}

/// A transactional id whose producer started with this epoch.
pub(crate) fn started(epoch: i16) -> Transactions {
    let mut held = Transactions::new();
    let Ok(InitDecision::Begin(mut record)) =
        held.decide_init(NOW, &init(None), PRODUCER, TransactionVersion::Two)
    else {
        panic!("a new id begins")
    };
    record.transaction.as_mut().expect("no tombstone").epoch = epoch;
    held.apply(NOW, record);
    held
}

pub(crate) fn begin(held: &mut Transactions, version: TransactionVersion) {
    let epoch = held.get(ID).expect("it was started").epoch;
    let record = held.decide_add(NOW, producer(epoch), [("a", 0)].into_iter(), version);
    held.apply(NOW, record.expect("allowed").expect("not part of it yet"));
}

pub(crate) fn decide(held: &mut Transactions, request: &EndTransaction) {
    let Ok(EndDecision::End(record)) = held.decide_end(NOW, request, FRESH) else {
        panic!("{request:?} ends it")
    };
    held.apply(NOW, record);
}

pub(crate) fn complete(held: &mut Transactions) {
    let closing = held.closing(NOW, ID).expect("it is decided");
    held.apply(NOW, closing.complete);
}

/// The id in a state, having started with [`EPOCH`].
fn in_state(state: TransactionState, version: TransactionVersion) -> Transactions {
    let mut held = started(EPOCH);
    if state == Empty {
        return held;
    }
    begin(&mut held, version);
    let ended = match state {
        PrepareCommit | CompleteCommit => Commit,
        PrepareAbort | CompleteAbort => Abort,
        Ongoing | Empty => return held,
    };
    decide(&mut held, &end(EPOCH, ended, version));
    if matches!(state, CompleteCommit | CompleteAbort) {
        complete(&mut held);
    }
    assert_eq!(held.get(ID).map(|t| t.state), Some(state));
    held
}

/// What a decision came to, in a word.
fn word<T>(
    outcome: Result<T, TransactionRefused>,
    taken: impl Fn(T) -> &'static str,
) -> &'static str {
    match outcome {
        Ok(decision) => taken(decision),
        Err(TransactionRefused::Fenced) => "fenced",
        Err(TransactionRefused::InvalidState { .. }) => "invalid",
        Err(TransactionRefused::Concurrent) => "concurrent",
        Err(TransactionRefused::UnknownProducer) => "unknown",
        Err(TransactionRefused::NotAdded) => "not added",
        Err(other) => panic!("{other:?}"),
    }
}

fn ended(held: &Transactions, request: &EndTransaction) -> &'static str {
    word(held.decide_end(NOW, request, FRESH), |decision| match decision {
        EndDecision::End(_) => "ends",
        EndDecision::Already { .. } => "already",
    })
}

/// By how much the epoch asked with differs from the current one; the outcomes of commit and abort.
type EndRow = (TransactionState, [(i16, &'static str, &'static str); 3]);

fn check_ends(version: TransactionVersion, table: [EndRow; 6]) {
    for (state, rows) in table {
        let held = in_state(state, version);
        let current = held.get(ID).expect("it was started").epoch;
        for (by, commit, abort) in rows {
            for (ending, expected) in [(Commit, commit), (Abort, abort)] {
                let request = end(current + by, ending, version);
                let what = format!("{version:?} {state:?} {ending:?} with epoch {by:+}");
                assert_eq!(ended(&held, &request), expected, "{what}");
                let other = EndTransaction { producer_id: 99, ..request.clone() };
                assert_eq!(ended(&held, &other), "unknown", "{what}");
            }
        }
    }
}

#[test]
fn the_end_of_a_transaction_by_the_second_version() {
    check_ends(
        TransactionVersion::Two,
        [
            (Empty, [(-1, "fenced", "fenced"), (0, "invalid", "ends"), (1, "fenced", "fenced")]),
            (Ongoing, [(-1, "fenced", "fenced"), (0, "ends", "ends"), (1, "fenced", "fenced")]),
            (
                PrepareCommit,
                [(-1, "concurrent", "invalid"), (0, "fenced", "fenced"), (1, "fenced", "fenced")],
            ),
            (
                PrepareAbort,
                [(-1, "invalid", "concurrent"), (0, "fenced", "fenced"), (1, "fenced", "fenced")],
            ),
            (
                CompleteCommit,
                [(-1, "already", "invalid"), (0, "invalid", "ends"), (1, "fenced", "fenced")],
            ),
            (
                CompleteAbort,
                [(-1, "invalid", "already"), (0, "invalid", "ends"), (1, "fenced", "fenced")],
            ),
        ],
    );
}

#[test]
fn the_end_of_a_transaction_by_the_first_version() {
    let fenced = |by| (by, "fenced", "fenced");
    check_ends(
        TransactionVersion::One,
        [
            (Empty, [fenced(-1), (0, "invalid", "invalid"), fenced(1)]),
            (Ongoing, [fenced(-1), (0, "ends", "ends"), fenced(1)]),
            (PrepareCommit, [fenced(-1), (0, "concurrent", "invalid"), fenced(1)]),
            (PrepareAbort, [fenced(-1), (0, "invalid", "concurrent"), fenced(1)]),
            (CompleteCommit, [fenced(-1), (0, "already", "invalid"), fenced(1)]),
            (CompleteAbort, [fenced(-1), (0, "invalid", "already"), fenced(1)]),
        ],
    );
}

#[test]
fn partitions_are_added_and_verified() {
    let table = [
        (Empty, "adds", "not added"),
        (Ongoing, "adds", "not added"),
        (PrepareCommit, "concurrent", "concurrent"),
        (PrepareAbort, "concurrent", "concurrent"),
        (CompleteCommit, "adds", "not added"),
        (CompleteAbort, "adds", "not added"),
    ];
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        for (state, added, verified) in table {
            let held = in_state(state, version);
            let current = held.get(ID).expect("it was started").epoch;
            let add = |producer| {
                word(held.decide_add(NOW, producer, [("b", 1)].into_iter(), version), |record| {
                    if record.is_some() { "adds" } else { "has it" }
                })
            };
            let verify = |producer| word(held.verify(producer, "b", 1), |()| "has it");
            assert_eq!(add(producer(current)), added, "{state:?}");
            assert_eq!(verify(producer(current)), verified, "{state:?}");
            for epoch in [current - 1, current + 1] {
                assert_eq!(add(producer(epoch)), "fenced", "{state:?}");
                assert_eq!(verify(producer(epoch)), "fenced", "{state:?}");
            }
            let other = TransactionProducer { producer_id: 99, ..producer(current) };
            assert_eq!((add(other), verify(other)), ("unknown", "unknown"), "{state:?}");
            let other = TransactionProducer { transactional_id: "none", ..producer(current) };
            assert_eq!((add(other), verify(other)), ("unknown", "unknown"), "{state:?}");
        }
        let held = in_state(Ongoing, version);
        assert_eq!(held.verify(producer(EPOCH), "a", 0), Ok(()));
        let again = held.decide_add(NOW, producer(EPOCH), [("a", 0)].into_iter(), version);
        assert_eq!(again, Ok(None));
    }
}

fn begun(held: &Transactions, expected: Option<(i64, i16)>) -> Result<(i64, i16), &'static str> {
    let decision = held.decide_init(NOW, &init(expected), FRESH, TransactionVersion::Two);
    let mut identity = (0, 0);
    let said = word(decision, |decision| match decision {
        InitDecision::AbortFirst(_) => "aborts",
        InitDecision::Begin(_) => "begins",
    });
    if let Ok(InitDecision::Begin(TransactionRecord { transaction: Some(next), .. })) =
        held.decide_init(NOW, &init(expected), FRESH, TransactionVersion::Two)
    {
        identity = (next.producer_id, next.epoch);
    }
    if said == "begins" { Ok(identity) } else { Err(said) }
}

#[test]
fn a_producer_starts() {
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        for state in [Empty, CompleteCommit, CompleteAbort] {
            let held = in_state(state, version);
            let epoch = held.get(ID).expect("it was started").epoch;
            assert_eq!(begun(&held, None), Ok((PRODUCER, epoch + 1)), "{state:?}");
            let goes_on = Some((PRODUCER, epoch));
            assert_eq!(begun(&held, goes_on), Ok((PRODUCER, epoch + 1)), "{state:?}");
            for stranger in [(PRODUCER, epoch + 1), (PRODUCER, epoch - 2), (99, epoch)] {
                assert_eq!(begun(&held, Some(stranger)), Err("fenced"), "{state:?} {stranger:?}");
            }
        }
        for state in [PrepareCommit, PrepareAbort] {
            assert_eq!(begun(&in_state(state, version), None), Err("concurrent"), "{state:?}");
        }
        let held = in_state(Ongoing, version);
        assert_eq!(begun(&held, None), Err("aborts"));
        assert_eq!(begun(&held, Some((PRODUCER, EPOCH))), Err("aborts"));
        assert_eq!(begun(&held, Some((PRODUCER, EPOCH - 1))), Err("fenced"));
    }
}

#[test]
fn a_repeated_start_has_the_same_answer() {
    let mut held = started(EPOCH);
    let goes_on = init(Some((PRODUCER, EPOCH)));
    let Ok(InitDecision::Begin(record)) =
        held.decide_init(NOW, &goes_on, FRESH, TransactionVersion::Two)
    else {
        panic!("it goes on")
    };
    held.apply(NOW, record.clone());
    assert_eq!(begun(&held, goes_on.expected), Ok((PRODUCER, EPOCH + 1)));
    // After a restart too.
    let (key, value) = record.encode();
    let mut loaded = Transactions::new();
    let read = TransactionRecord::decode(&key, value.as_deref()).expect("whole");
    loaded.apply(NOW, read.expect("of a transaction"));
    assert_eq!(begun(&loaded, goes_on.expected), Ok((PRODUCER, EPOCH + 1)));
    // A new producer makes an end of that.
    let Ok(InitDecision::Begin(record)) =
        held.decide_init(NOW, &init(None), FRESH, TransactionVersion::Two)
    else {
        panic!("it begins")
    };
    held.apply(NOW, record);
    assert_eq!(begun(&held, goes_on.expected), Err("fenced"));
}

#[test]
fn epochs_that_are_used_up_make_a_new_producer_id() {
    let last = i16::MAX - 1;
    let held = started(last);
    assert_eq!(begun(&held, None), Ok((FRESH, 0)));
    assert_eq!(begun(&held, Some((PRODUCER, last))), Ok((FRESH, 0)));

    let mut held = started(last);
    begin(&mut held, TransactionVersion::Two);
    let commit = end(last, Commit, TransactionVersion::Two);
    decide(&mut held, &commit);
    let closing = held.closing(NOW, ID).expect("decided");
    assert_eq!((closing.marker.producer_id, closing.marker.epoch), (PRODUCER, i16::MAX));
    assert_eq!(closing.goes_on, (FRESH, 0));
    assert_eq!(ended(&held, &commit), "concurrent");
    complete(&mut held);
    let again = held.decide_end(NOW, &commit, 9);
    assert_eq!(again, Ok(EndDecision::Already { producer_id: FRESH, epoch: 0 }));
    assert_eq!(ended(&held, &end(last, Abort, TransactionVersion::Two)), "invalid");
    let next = TransactionProducer { producer_id: FRESH, ..producer(0) };
    assert_eq!(held.verify(next, "a", 0), Err(TransactionRefused::NotAdded));
    assert_eq!(held.verify(producer(last), "a", 0), Err(TransactionRefused::UnknownProducer));
}

#[test]
fn a_producer_that_was_fenced_at_its_last_epoch_gets_no_further() {
    let last = i16::MAX - 1;
    let mut held = started(last);
    begin(&mut held, TransactionVersion::Two);
    let Ok(InitDecision::AbortFirst(record)) =
        held.decide_init(NOW, &init(None), FRESH, TransactionVersion::Two)
    else {
        panic!("a transaction is open")
    };
    held.apply(NOW, record);
    complete(&mut held);
    assert_eq!(held.get(ID).map(|t| t.epoch), Some(i16::MAX));
    for epoch in [last, i16::MAX] {
        let added =
            held.decide_add(NOW, producer(epoch), [("a", 0)].into_iter(), TransactionVersion::Two);
        assert_eq!(added, Err(TransactionRefused::Fenced));
        assert_eq!(ended(&held, &end(epoch, Abort, TransactionVersion::Two)), "fenced");
    }
    assert_eq!(begun(&held, None), Ok((FRESH, 0)));
}

#[test]
fn what_no_transactional_id_may_have_is_refused() {
    let held = started(EPOCH);
    let refused = |request: &InitTransactions| {
        held.decide_init(NOW, request, FRESH, TransactionVersion::Two).expect_err("refused")
    };
    for id in [String::new(), "x".repeat(limits::NAME_BYTES_MAX + 1)] {
        let request = InitTransactions { transactional_id: id, ..init(None) };
        assert!(matches!(refused(&request), TransactionRefused::InvalidRequest(_)));
    }
    let max_ms = limits::TRANSACTION_TIMEOUT_MAX_MS;
    for timeout_ms in [0, -1, max_ms + 1] {
        let request = InitTransactions { timeout_ms, ..init(None) };
        assert_eq!(refused(&request), TransactionRefused::InvalidTimeout { max_ms });
    }
    let mut raised = started(EPOCH);
    let config = TransactionsConfig { timeout_max_ms: max_ms + 1, ..TransactionsConfig::default() };
    raised.configure(config);
    let long = InitTransactions { timeout_ms: max_ms + 1, ..init(None) };
    assert!(raised.decide_init(NOW, &long, FRESH, TransactionVersion::Two).is_ok());
    let most = i32::try_from(limits::PARTITIONS_PER_TRANSACTION_MAX).expect("a small limit");
    let add = |count: i32| {
        let partitions = (0..count).map(|index| ("a", index));
        held.decide_add(NOW, producer(EPOCH), partitions, TransactionVersion::Two)
    };
    assert!(add(most).is_ok_and(|record| record.is_some()));
    let limit = limits::PARTITIONS_PER_TRANSACTION_MAX;
    let full = TransactionRefused::Full { limit, what: "partitions per transaction" };
    assert_eq!(add(most + 1), Err(full));
}

#[test]
fn ids_are_limited() {
    let mut held = started(EPOCH);
    let one = held.get(ID).expect("it was started").clone();
    for index in 1..limits::TRANSACTIONAL_IDS_MAX {
        let (transactional_id, transaction) = (format!("t{index}"), Some(one.clone()));
        held.apply(NOW, TransactionRecord { transactional_id, transaction });
    }
    let another = InitTransactions { transactional_id: "another".into(), ..init(None) };
    let limit = limits::TRANSACTIONAL_IDS_MAX;
    let full = TransactionRefused::Full { limit, what: "transactional ids" };
    assert_eq!(held.decide_init(NOW, &another, FRESH, TransactionVersion::Two), Err(full));
    assert_eq!(begun(&held, None), Ok((PRODUCER, EPOCH + 1)));
}

#[test]
fn lists_are_of_what_is_asked() {
    let mut held = in_state(Ongoing, TransactionVersion::Two);
    let other = Transaction { producer_id: 9, ..started(0).get(ID).expect("started").clone() };
    held.apply(NOW, TransactionRecord { transactional_id: "u".into(), transaction: Some(other) });
    let later = Now { wall_ms: NOW.wall_ms + 1_000, ..NOW };
    let ids = |request: ListTransactions| {
        let listed = held.list(later, &request);
        let ids: Vec<String> =
            listed.transactions.into_iter().map(|t| t.transactional_id).collect();
        (ids.join(","), listed.unknown_states.join(","))
    };
    let of = |ids: &str, unknown: &str| (ids.to_owned(), unknown.to_owned());
    let none = ListTransactions::default;
    let states = |names: &[&str]| ListTransactions {
        states: names.iter().map(|name| (*name).to_owned()).collect(),
        ..none()
    };
    assert_eq!(ids(none()), of("t,u", ""));
    assert_eq!(ids(states(&["Ongoing"])), of("t", ""));
    assert_eq!(ids(states(&["Empty", "Nonsense"])), of("u", "Nonsense"));
    assert_eq!(ids(states(&["Nonsense"])), of("", "Nonsense"));
    assert_eq!(ids(states(&["Dead"])), of("", ""));
    assert_eq!(ids(ListTransactions { producer_ids: vec![9, 10], ..none() }), of("u", ""));
    for (ms, expected) in [(999, "t,u"), (1_000, "u")] {
        let request = ListTransactions { longer_than_ms: Some(ms), ..none() };
        assert_eq!(ids(request), of(expected, ""), "longer than {ms}");
    }
}
