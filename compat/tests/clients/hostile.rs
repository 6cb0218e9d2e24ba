//! Bytes that are not Kafka's: the connection is closed, and everybody else is served on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tidings_compat::Server;

/// For an answer or a close, which the server gives at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.kafka()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// An ApiVersions request of this version, framed: key 18, correlation 7, no client id, no body.
fn api_versions(version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 10, 0, 18];
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 7, 0xff, 0xff]);
    frame
}

/// One framed answer without its length.
fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).expect("the whole answer");
    body
}

fn assert_serves(server: &Server) {
    let mut stream = connect(server);
    stream.write_all(&api_versions(0)).expect("the server reads");
    let body = answer(&mut stream);
    assert_eq!(body[..6], [0, 0, 0, 7, 0, 0], "correlation 7, no error");
}

/// Whether the server closed the connection, orderly or with a reset.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

#[test]
fn bytes_that_are_no_request_close_their_connection_and_no_other() {
    let server = Server::start().expect("the server starts");
    let mut bystander = connect(&server);
    let table: &[(&str, &[u8])] = &[
        ("a length of 2 GiB", &[0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 0]),
        ("a negative length", &[0xff, 0xff, 0xff, 0xfe, 0, 18, 0, 0]),
        ("a length of nothing", &[0, 0, 0, 0]),
        ("a header that is cut short", &[0, 0, 0, 3, 0, 18, 0]),
        ("garbage in a good frame", &[0, 0, 0, 8, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("TLS", &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
    ];
    for (name, bytes) in table {
        let mut stream = connect(&server);
        stream.write_all(bytes).expect("the server reads");
        assert!(is_closed(&mut stream), "{name}");
        assert_serves(&server);
    }
    bystander.write_all(&api_versions(0)).expect("the bystander is still connected");
    assert_eq!(answer(&mut bystander)[..6], [0, 0, 0, 7, 0, 0]);
}

#[test]
fn a_frame_that_ends_early_is_dropped() {
    let server = Server::start().expect("the server starts");
    let mut stream = connect(&server);
    stream.write_all(&[0, 0, 0, 100, 0, 18, 0, 0]).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("our side can be closed");
    assert!(is_closed(&mut stream));
    assert_serves(&server);
}

#[test]
fn a_connection_that_stalls_in_a_frame_holds_up_nobody() {
    let server = Server::start().expect("the server starts");
    let stalled: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(&[0, 0, 0, 100, 0, 18]).expect("the server reads");
            stream
        })
        .collect();
    assert_serves(&server);
    drop(stalled);
    assert_serves(&server);
}

#[test]
fn an_api_versions_request_from_the_future_is_answered_in_version_0() {
    let server = Server::start().expect("the server starts");
    let mut stream = connect(&server);
    stream.write_all(&api_versions(99)).expect("the server reads");
    let body = answer(&mut stream);
    assert_eq!(body[..6], [0, 0, 0, 7, 0, 35], "UNSUPPORTED_VERSION in the version 0 layout");
    stream.write_all(&api_versions(0)).expect("the connection stays");
    assert_eq!(answer(&mut stream)[..6], [0, 0, 0, 7, 0, 0]);
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::start().expect("the server starts");
    let mut stream = connect(&server);
    let mut burst = Vec::new();
    for correlation in 0..100_u32 {
        let mut request = api_versions(0);
        request[8..12].copy_from_slice(&correlation.to_be_bytes());
        burst.extend(request);
    }
    stream.write_all(&burst).expect("the server reads");
    for correlation in 0..100_u32 {
        assert_eq!(answer(&mut stream)[..4], correlation.to_be_bytes());
    }
}
