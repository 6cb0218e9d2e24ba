//! A record of 100 MB is refused, as it comes and compressed. The largest that there may be is tailed, listed, opened, searched,
//! downloaded and consumed, and memory holds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;

use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;
use tidings_compat::{Server, binary, run};
use tidings_log::limits::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX};

use super::{Item, PATIENCE, producer, send, send_all};
use crate::http::ask;

const TRUE_BYTES: usize = 100_000_000;
/// What is left of the largest batch for a value, with room for headers of batch and record.
const LARGEST_BYTES: usize = BATCH_BYTES_MAX - 1024;
/// What the server takes at most. It is told of more, since the longest request that it reads is a part of that.
const MEMORY: u64 = 1 << 30;
/// Of the command's address space, in KiB.
const COMMAND_KIB: u64 = 2 << 20;
/// What a page has at most on which a record is cut short.
const PAGE_BYTES_MAX: usize = 1_000_000;

const _: () = assert!(TRUE_BYTES > BATCH_BYTES_MAX && TRUE_BYTES > DECOMPRESSED_BYTES_MAX);

fn tidings(server: &Server, arguments: &str) -> Vec<String> {
    let binary = binary().expect("it is built");
    let line = format!(
        "ulimit -v {COMMAND_KIB}; exec {} {arguments} -b {}",
        binary.display(),
        server.kafka()
    );
    let finished = run(Command::new("sh").args(["-c", &line]), "", PATIENCE).expect("it runs");
    finished.success().expect("it does what is said")
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

    for codec in ["none", "lz4"] {
        let settings = [("message.max.bytes", "200000000"), ("compression.type", codec)];
        let producer = producer(&server, &settings);
        send(&producer, "large", &Item::new("k", "x".repeat(TRUE_BYTES)));
        producer.flush(PATIENCE).expect("the record has its report");
        let refused = producer.context().all().remove(0).expect_err("it is too large");
        let code = refused.rdkafka_error_code();
        assert_eq!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge), "{codec}");
    }

    let mut tail = tail(&server);
    let value = format!("{}needle", "x".repeat(LARGEST_BYTES - 6));
    let settings = [("message.max.bytes", "200000000"), ("compression.type", "none")];
    send_all(&producer(&server, &settings), "large", &[Item::new("k", value)]);
    let came = tail.find(|line| line.contains(r#""offset":0"#)).expect("it comes");
    assert!(
        came.len() < PAGE_BYTES_MAX && came.contains(&format!(r#""value_bytes":{LARGEST_BYTES}"#))
    );

    for path in
        ["/topics/large", "/topics/large?open=0/0", "/topics/large/0/0", "/api/topics/large/0/0"]
    {
        page(&server, path);
    }
    assert!(page(&server, "/topics/large/0/0").contains("the first 64 KiB are shown"));
    let found = page(&server, "/api/topics/large?q=needle");
    assert!(found.contains(r#""offset":0"#), "{found}");
    let (status, value) = ask(server.http(), "GET", "/api/topics/large/0/0/value", "");
    assert_eq!((status.as_str(), value.len()), ("HTTP/1.1 200 OK", LARGEST_BYTES));
    let length = tidings(&server, r"consume large --grep needle -f '%V\n'");
    assert_eq!(length, [LARGEST_BYTES.to_string()]);
    let plain = tidings(&server, "consume large");
    assert_eq!(plain.iter().map(String::len).collect::<Vec<_>>(), [LARGEST_BYTES]);

    let most = server.memory("VmHWM").expect("a figure");
    println!("at most {} MiB of {}", most >> 20, MEMORY >> 20);
    assert!(most <= MEMORY, "{} MiB", most >> 20);
}
