//! The inputs that fuzzing starts from: small, valid, each of another shape. The folder `fuzz/corpus`
//! holds them, and what the fuzzer found worth keeping; `UPDATE=1 cargo test -p tidings-fuzz`
//! writes these anew.

use bytes::Bytes;
use tidings_coordinator::{
    Committed, GroupSnapshot, MemberSnapshot, Record, Transaction, TransactionPartitions,
    TransactionRecord, TransactionState, TransactionVersion,
};
use tidings_log::{BatchBuilder, Compression, EndMarker, Ending, Header, NewRecord};
use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Request, encode_request, encode_response};

use crate::header;

/// An input and the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The inputs of a target, by its name.
pub fn inputs(target: &str) -> Vec<Input> {
    match target {
        "requests" => requests(),
        "responses" => responses(),
        "batches" => batches(),
        "group_records" => group_records(),
        "transaction_records" => transaction_records(),
        _ => Vec::new(),
    }
}

fn requests() -> Vec<Input> {
    fn of<R: Request + Sample>(inputs: &mut Vec<Input>) {
        for version in [R::API.version_min, R::API.version_max] {
            let request = R::sample(&mut Source::new(1), version);
            let frame = encode_request(&header(version), &request).expect("samples fit").concat();
            let name = format!("{}-{version}", R::API.name);
            inputs.push(Input { name, bytes: frame[4..].to_vec() });
        }
    }
    let mut inputs = Vec::new();
    macro_rules! each { ($($api:ident),+) => { $( of::<tidings_wire::$api::Request>(&mut inputs); )+ }; }
    tidings_wire::every_api!(each);
    inputs
}

fn responses() -> Vec<Input> {
    fn of<R: Request>(inputs: &mut Vec<Input>)
    where
        R::Response: Sample,
    {
        for version in [R::API.version_min, R::API.version_max] {
            let response = R::Response::sample(&mut Source::new(2), version);
            let frame = encode_response::<R>(version, 1, &response).expect("samples fit").concat();
            let prefix = [R::API.key.to_be_bytes(), version.to_be_bytes()].concat();
            let name = format!("{}-{version}", R::API.name);
            inputs.push(Input { name, bytes: [&prefix, &frame[4..]].concat() });
        }
    }
    let mut inputs = Vec::new();
    macro_rules! each { ($($api:ident),+) => { $( of::<tidings_wire::$api::Request>(&mut inputs); )+ }; }
    tidings_wire::every_api!(each);
    inputs
}

fn records() -> [NewRecord; 3] {
    let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| NewRecord {
        timestamp: 1_700_000_000_000,
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: Vec::new(),
    };
    let headers = vec![Header { name: "trace".into(), value: Some(Bytes::from_static(b"1")) }];
    [
        record(Some(b"a"), Some(b"one")),
        NewRecord { headers, ..record(Some(b"b"), Some(b"two two two two two two")) },
        record(Some(b"a"), None),
    ]
}

fn batches() -> Vec<Input> {
    let built = |builder: BatchBuilder| {
        let mut builder = builder;
        records().iter().for_each(|record| builder.push(record));
        builder.build().bytes().to_vec()
    };
    let input = |name: &str, bytes: Vec<u8>| Input { name: name.to_owned(), bytes };
    let marker = EndMarker { ending: Ending::Commit, coordinator_epoch: 0 };
    let plain = built(BatchBuilder::new());
    vec![
        input("gzip", built(BatchBuilder::new().compression(Compression::Gzip))),
        input("snappy", built(BatchBuilder::new().compression(Compression::Snappy))),
        input("lz4", built(BatchBuilder::new().compression(Compression::Lz4))),
        input("zstd", built(BatchBuilder::new().compression(Compression::Zstd))),
        input("idempotent", built(BatchBuilder::new().producer(7, 1, 5))),
        input("transactional", built(BatchBuilder::new().producer(7, 1, 5).transactional())),
        input("marker", marker.batch(7, 1, 1_700_000_000_000).bytes().to_vec()),
        input("several", [&plain[..], &plain].concat()),
        input("plain", plain),
    ]
}

fn record_input(name: &str, (key, value): (Bytes, Option<Bytes>)) -> Input {
    let length = u16::try_from(key.len()).expect("keys are short").to_be_bytes();
    let bytes = [&length[..], &key, value.as_deref().unwrap_or_default()].concat();
    Input { name: name.to_owned(), bytes }
}

fn group_records() -> Vec<Input> {
    let offset = |committed| Record::Offset {
        group: "billing".to_owned(),
        topic: "orders".to_owned(),
        partition: 3,
        committed,
    };
    let group = |snapshot| Record::Group { group: "billing".to_owned(), snapshot };
    let committed = Committed {
        offset: 42,
        leader_epoch: 1,
        metadata: "m".to_owned(),
        commit_timestamp_ms: 1_700_000_000_000,
    };
    let member = MemberSnapshot {
        member_id: "consumer-1".to_owned(),
        instance_id: Some("one".to_owned()),
        client_id: "consumer".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(&[0, 1, 0, 0, 0, 0]),
        assignment: Bytes::from_static(&[0, 1, 0, 0, 0, 0]),
    };
    let snapshot = GroupSnapshot {
        protocol_type: "consumer".to_owned(),
        generation: 2,
        protocol: Some("range".to_owned()),
        leader: Some("consumer-1".to_owned()),
        state_timestamp_ms: 1_700_000_000_000,
        members: vec![member],
    };
    vec![
        record_input("offset", offset(Some(committed)).encode()),
        record_input("offset-gone", offset(None).encode()),
        record_input("group", group(Some(snapshot)).encode()),
        record_input("group-empty", group(Some(GroupSnapshot::default())).encode()),
        record_input("group-gone", group(None).encode()),
    ]
}

fn transaction_records() -> Vec<Input> {
    let transaction = |state, partitions: TransactionPartitions| Transaction {
        producer_id: 7,
        previous_producer_id: -1,
        next_producer_id: -1,
        epoch: 3,
        last_epoch: -1,
        timeout_ms: 60_000,
        state,
        partitions,
        updated_ms: 1_700_000_000_500,
        started_ms: 1_700_000_000_000,
        version: TransactionVersion::Two,
    };
    let record = |transaction| {
        TransactionRecord { transactional_id: "billing-1".to_owned(), transaction }.encode()
    };
    let mut partitions = TransactionPartitions::default();
    partitions.insert("orders".to_owned(), [0, 3].into());
    partitions.insert("payments".to_owned(), [1].into());
    vec![
        record_input(
            "ongoing",
            record(Some(transaction(TransactionState::Ongoing, partitions.clone()))),
        ),
        record_input(
            "prepared",
            record(Some(transaction(TransactionState::PrepareCommit, partitions))),
        ),
        record_input(
            "empty",
            record(Some(transaction(TransactionState::Empty, TransactionPartitions::default()))),
        ),
        record_input("gone", record(None)),
    ]
}
