//! A running `tidings up` on free ports, and what the tests ask of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use bytes::Bytes;
use serde_json::Value;
use tidings_wire::{
    Request, RequestHeader, decode_response, encode_request, offset_commit, produce,
};

/// The binary without what the environment of the test might say.
pub(crate) fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .args(arguments)
        .env_remove("TIDINGS_KAFKA")
        .env_remove("TIDINGS_ENGINE")
        .env_remove("TIDINGS_HTTP_AUTH_FILE")
        .env_remove("TIDINGS_CONTEXT")
        .env_remove("TIDINGS_LOG")
        .env_remove("TIDINGS_LOG_FORMAT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("XDG_CONFIG_HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

/// `tidings up` on free ports.
pub(crate) fn up(data: &Path) -> Command {
    let mut command = tidings(&["up", "--data", data.to_str().unwrap()]);
    for flag in ["--kafka", "--http", "--registry"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command
}

pub(crate) struct Node {
    /// None once it has been waited for.
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    pub(crate) ready: Value,
    pub(crate) kafka: String,
}

impl Node {
    pub(crate) fn start(data: &Path) -> Self {
        Self::spawn(up(data))
    }

    /// Starts it and waits for its ready line.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let kafka = ready["kafka"].as_str().unwrap().to_owned();
        Self { child: Some(child), stdout, ready, kafka }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends SIGTERM and waits for the end; the output is what came after the ready line.
    pub(crate) fn stop(mut self) -> Output {
        let child = self.child.take().unwrap();
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        // SAFETY: kill takes no pointers, and the child has not been waited for, so it is ours.
        #[expect(unsafe_code, reason = "the standard library sends only SIGKILL")]
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0);
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        let ended = child.wait_with_output().unwrap();
        Output { stdout: rest, ..ended }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The whole answer to a GET.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The whole answer to a POST of JSON.
pub(crate) fn post(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Commits an offset for a group without members, as tools do.
pub(crate) fn commit(kafka: &str, group: &str, topic: &str, partition: i32, offset: i64) {
    const VERSION: i16 = 7;
    let request = offset_commit::Request {
        group_id: group.to_owned(),
        topics: vec![offset_commit::Topic {
            name: topic.to_owned(),
            partitions: vec![offset_commit::Partition {
                partition_index: partition,
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(ask(kafka, VERSION, &request).topics[0].partitions[0].error_code, 0);
}

/// Appends a batch to the first partition as it is.
pub(crate) fn store(kafka: &str, topic: &str, batch: Bytes) {
    const VERSION: i16 = 8;
    let data = produce::PartitionData { index: 0, records: Some(batch) };
    let (name, partition_data) = (topic.to_owned(), vec![data]);
    let topic_data = vec![produce::TopicData { name, partition_data, ..Default::default() }];
    let request =
        produce::Request { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
    let answer = ask(kafka, VERSION, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

fn ask<R: Request>(kafka: &str, version: i16, request: &R) -> R::Response {
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    let mut stream = TcpStream::connect(kafka).unwrap();
    for piece in encode_request(&header, request).unwrap() {
        stream.write_all(&piece).unwrap();
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response::<R>(version, answer.into()).unwrap().1
}
