//! Listeners that other machines reach: refused by oversight, asking for credentials, or open by word.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::node::{Node, tidings};
use crate::text;

const TOKEN: &str = "b5c0b187fe309af0f4d35982fd961d7e";

/// `up` where console and registry may be reached by others.
fn up(data: &Path, http: &str, registry: &str) -> Command {
    let mut command = tidings(&["up", "--data", data.to_str().unwrap(), "--kafka", "127.0.0.1:0"]);
    command.args(["--http", http, "--registry", registry]);
    command
}

/// The status that a GET is answered with.
fn status(url: &str, path: &str, host: &str, head: &str) -> String {
    let port = url.rsplit_once(':').unwrap().1;
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn what_others_reach_is_not_open_by_oversight() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (http, registry, flag) in [
        ("0.0.0.0:0", "127.0.0.1:0", "--http"),
        ("127.0.0.1:0", "0.0.0.0:0", "--registry"),
        ("[::]:0", "127.0.0.1:0", "--http"),
    ] {
        let output = up(&data, http, registry).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("error: {flag} ")), "{said}");
        assert!(said.contains("--http-auth-file FILE") && said.contains("--insecure"), "{said}");
        assert!(!data.exists(), "{flag}");
    }
}

#[test]
fn a_file_of_accounts_that_is_none_is_said_with_what_to_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("accounts");
    for (accounts, wanted) in [
        (None, "No such file"),
        (Some("# nobody yet\n"), "it names nobody"),
        (Some("ann:secret\n"), "line 1: the hash is neither Argon2"),
    ] {
        if let Some(accounts) = accounts {
            std::fs::write(&file, accounts).unwrap();
        }
        let mut command = up(&data, "0.0.0.0:0", "0.0.0.0:0");
        let output = command.arg("--http-auth-file").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains(wanted) && said.contains("htpasswd -nB"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert!(!data.exists());
    }
    let mut command = up(&data, "127.0.0.1:0", "127.0.0.1:0");
    let output = command.args(["--http-host", "http://here"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no name of a host"), "{}", text(&output.stderr));
}

#[test]
fn who_says_nothing_is_let_in_by_word_only_and_under_names_that_were_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("accounts");
    std::fs::write(&file, TOKEN).unwrap();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");

    let mut command = up(&dir.path().join("locked"), "0.0.0.0:0", "0.0.0.0:0");
    command.arg("--http-auth-file").arg(&file);
    command.args(["--http-host", "log.example.com,tidings", "--http-open-metrics"]);
    let node = Node::spawn(command);
    let (http, registry) =
        (node.ready["http"].as_str().unwrap(), node.ready["registry"].as_str().unwrap());
    let own = http.trim_start_matches("http://");
    for (url, path, host, head, wanted) in [
        (http, "/api/topics", "tidings", "", "401"),
        (http, "/api/topics", "tidings", &*bearer, "200"),
        (http, "/api/topics", "log.example.com:80", &bearer, "200"),
        (http, "/api/topics", own, &bearer, "200"),
        (http, "/api/topics", "evil.example", &bearer, "421"),
        (http, "/livez", "evil.example", "", "200"),
        (http, "/metrics", "tidings", "", "200"),
        (registry, "/subjects", "tidings", "", "401"),
        (registry, "/subjects", "tidings", &bearer, "200"),
        (registry, "/subjects", "evil.example", &bearer, "421"),
    ] {
        assert_eq!(status(url, path, host, head), wanted, "{path} {host} {head}");
    }
    node.stop();

    let mut command = up(&dir.path().join("open"), "0.0.0.0:0", "0.0.0.0:0");
    command.arg("--insecure");
    let node = Node::spawn(command);
    let http = node.ready["http"].as_str().unwrap();
    assert_eq!(status(http, "/api/topics", "127.0.0.1", ""), "200");
    assert_eq!(status(http, "/api/topics", "evil.example", ""), "421");
    node.stop();
}

#[test]
fn clients_are_told_the_host_that_is_advertised() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = up(&dir.path().join("data"), "127.0.0.1:0", "127.0.0.1:0");
    command.args(["--advertise", "tidings-0.tidings-headless.prod.svc"]);
    let node = Node::spawn(command);
    let told = node.kafka.rsplit_once(':').unwrap().0;
    assert_eq!(told, "tidings-0.tidings-headless.prod.svc");
    node.stop();
    for wrong in ["tidings:9092", "", "a b"] {
        let mut command = up(&dir.path().join("data"), "127.0.0.1:0", "127.0.0.1:0");
        let output = command.args(["--advertise", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
