//! The console and the registry answer on the ports that the ready line names.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tidings_compat::Server;

/// For one answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The status line and the body of a GET.
fn get(address: &str, path: &str) -> (String, String) {
    ask(address, "GET", path, "")
}

/// The status line and the body of the answer to a request with JSON.
pub(crate) fn ask(address: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer to the end");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn console_and_registry_answer() {
    let server = Server::start().expect("the server starts");
    let (status, page) = get(server.http(), "/");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(page.to_lowercase().contains("<!doctype html>"), "{page}");
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(server.http(), path).0, "HTTP/1.1 200 OK", "{path}");
    }
    let (status, subjects) = get(server.registry(), "/subjects");
    assert_eq!((status.as_str(), subjects.trim()), ("HTTP/1.1 200 OK", "[]"));
}
