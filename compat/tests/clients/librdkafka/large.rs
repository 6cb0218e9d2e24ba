//! A record of 100 MB is refused as it comes; one that was compressed is kept, is said to be too large to be read, and hides no
//! other. The largest that there may be is tailed, listed, opened, searched, downloaded and consumed, and memory holds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;

use rdkafka::producer::{Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tidings_compat::{Server, binary};
use tidings_log::limits::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX};

use super::{Deliveries, Item, PATIENCE, Report, producer, send, send_all};
use crate::http::ask;

const TRUE_BYTES: usize = 100_000_000;
/// What is left of the largest batch for a value, with room for headers of batch and record.
const LARGEST_BYTES: usize = BATCH_BYTES_MAX - 1024;
/// What the server takes at most. It is told of more, since the longest request that it reads is a part of that.
const MEMORY: u64 = 512 << 20;
/// Of the command's address space, in KiB.
const COMMAND_KIB: u64 = 2 << 20;
/// What a page has at most on which a record is cut short.
const PAGE_BYTES_MAX: usize = 1_000_000;

const _: () = assert!(TRUE_BYTES > BATCH_BYTES_MAX && TRUE_BYTES > DECOMPRESSED_BYTES_MAX);

/// Lines of standard output, and what is said on standard error.
fn tidings(server: &Server, arguments: &str) -> (Vec<String>, String) {
    let binary = binary().expect("it is built");
    let kafka = server.kafka();
    let line = format!("ulimit -v {COMMAND_KIB}; exec {} {arguments} -b {kafka}", binary.display());
    let output = Command::new("sh").args(["-c", &line]).output().expect("it runs");
    let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn sender(server: &Server, codec: &str) -> ThreadedProducer<Deliveries> {
    producer(server, &[("message.max.bytes", "200000000"), ("compression.type", codec)])
}

fn send_true_size(server: &Server, codec: &str) -> Report {
    let producer = sender(server, codec);
    send(&producer, "large", &Item::new("k", "x".repeat(TRUE_BYTES)));
    producer.flush(PATIENCE).expect("the record has its report");
    producer.context().all().remove(0)
}

/// A tail that is open, and has said so.
fn tail(server: &Server) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(server.http()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let host = server.http();
    write!(stream, "GET /api/topics/large/tail HTTP/1.1\r\nHost: {host}\r\n\r\n")
        .expect("it reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("the tail goes on"));
    lines.by_ref().find(|line| line.starts_with("event: records")).expect("it is open");
    lines
}

fn page(server: &Server, path: &str) -> String {
    let (status, body) = ask(server.http(), "GET", path, "");
    assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {body}");
    assert!(body.len() < PAGE_BYTES_MAX, "{path}: {} bytes", body.len());
    body
}

#[test]
fn a_record_of_100_mb_is_refused_and_the_largest_one_is_seen_within_memory() {
    let server = Server::start_with(&["--memory", "6GiB"]).expect("the server starts");
    let limit = BATCH_BYTES_MAX.to_string();
    tidings(
        &server,
        &format!("topic create large -p 1 -c max.message.bytes={limit} -c retention.ms=-1"),
    );

    let refused = send_true_size(&server, "none").expect_err("it is too large");
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::MessageSizeTooLarge));
    // The log does not look into what is compressed.
    assert_eq!(send_true_size(&server, "lz4"), Ok((0, 0)));

    let mut tail = tail(&server);
    let value = format!("needle{}", "x".repeat(LARGEST_BYTES - 6));
    send_all(&sender(&server, "none"), "large", &[Item::new("k", value)]);
    let came = tail.find(|line| line.contains(r#""offset":1"#)).expect("it comes");
    assert!(
        came.len() < PAGE_BYTES_MAX && came.contains(&format!(r#""value_bytes":{LARGEST_BYTES}"#))
    );

    for path in ["/topics/large", "/topics/large?open=0/1", "/api/topics/large/0/1"] {
        page(&server, path);
    }
    assert!(page(&server, "/topics/large/0/1").contains("the first 64 KiB are shown"));
    let found = page(&server, "/api/topics/large?q=needle");
    assert!(found.contains(r#""offset":1"#) && found.contains(r#""damaged":1"#), "{found}");
    assert!(page(&server, "/topics/large").contains("1 cannot be read"));
    let (_, why) = ask(server.http(), "GET", "/topics/large/0/0", "");
    let limit = format!("decompresses to more than {DECOMPRESSED_BYTES_MAX} bytes");
    assert!(why.contains("The record cannot be read") && why.contains(&limit), "{why}");
    let (status, value) = ask(server.http(), "GET", "/api/topics/large/0/1/value", "");
    assert_eq!((status.as_str(), value.len()), ("HTTP/1.1 200 OK", LARGEST_BYTES));

    let (length, _) = tidings(&server, r"consume large --grep needle -f '%V\n' --offset 1");
    assert_eq!(length, [LARGEST_BYTES.to_string()]);
    let (plain, said) = tidings(&server, "consume large");
    assert_eq!(plain.iter().map(String::len).collect::<Vec<_>>(), [LARGEST_BYTES]);
    assert!(
        said.contains("note: large-0@0 to 0 is passed over") && said.contains(&limit),
        "{said}"
    );

    let most = server.memory("VmHWM").expect("a figure");
    println!("at most {} MiB of {}", most >> 20, MEMORY >> 20);
    assert!(most <= MEMORY, "{} MiB", most >> 20);
}
