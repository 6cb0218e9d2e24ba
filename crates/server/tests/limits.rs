//! The limits of connections, reached: each ends what exceeds it and nothing else. Sockets and the
//! clock are real; a limit in time is small where it must be reached, and an hour where it must not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_node::{MemoryDisk, Node, NodeConfig};
use tidings_server::limits::{
    ANSWER_BYTES_HELD_MAX, ConnectionLimits, ELEMENTS_IN_FLIGHT_MAX, ELEMENTS_PER_REQUEST_MAX,
    FRAME_BYTES_MAX, REQUEST_BYTES_IN_FLIGHT_MAX,
};
use tidings_server::{Server, ServerConfig, ServerFigures};
use tidings_wire::{Request, RequestHeader, api_versions, describe_groups, fetch, metadata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Far beyond what anything here takes: reaching it is a failure, not a pace.
const DEADLINE: Duration = Duration::from_secs(60);
/// A limit in time that is to be reached.
const SOON: Duration = Duration::from_millis(200);
/// A limit in time that is not.
const NEVER: Duration = Duration::from_secs(3600);
/// No limits but those that a test sets.
const OUT_OF_REACH: ConnectionLimits = ConnectionLimits {
    connections_max: usize::MAX,
    connections_per_address_max: usize::MAX,
    request_bytes_max: FRAME_BYTES_MAX,
    request_bytes_in_flight_max: REQUEST_BYTES_IN_FLIGHT_MAX,
    elements_per_request_max: ELEMENTS_PER_REQUEST_MAX,
    elements_in_flight_max: ELEMENTS_IN_FLIGHT_MAX,
    answer_bytes_held_max: ANSWER_BYTES_HELD_MAX,
    first_request_max: NEVER,
    idle_max: NEVER,
    frame_read_max: NEVER,
    unread_look: NEVER,
    unread_under_shortage_max: NEVER,
};

const ONE: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

async fn start(limits: ConnectionLimits) -> Server {
    let config = NodeConfig { default_partitions: 1, ..NodeConfig::default() };
    let (node, _) = Node::start(Arc::new(MemoryDisk::new()), config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ServerConfig { limits, ..ServerConfig::new(("broker.test".into(), 19092)) };
    tidings_server::start(node, vec![listener], config).await.unwrap()
}

async fn connect(server: &Server, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(server.local_addrs()[0]).await.unwrap()
}

async fn send<R: Request>(socket: &mut TcpStream, version: i16, request: &R) {
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    let frame = tidings_wire::encode_request(&header, request).unwrap().concat();
    // A server that has closed the connection is what the reading then finds out.
    let _closed = socket.write_all(&frame).await;
}

/// The next frame without its length; none when the server has closed the connection.
async fn next_frame(socket: &mut TcpStream) -> Option<Bytes> {
    let read = async {
        let length = socket.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut frame).await.unwrap();
        Some(Bytes::from(frame))
    };
    timeout(DEADLINE, read).await.expect("an answer or the end of the connection")
}

async fn is_served(socket: &mut TcpStream) -> bool {
    send(socket, 0, &api_versions::Request::default()).await;
    next_frame(socket).await.is_some()
}

/// Connects until the server takes the connection: it learns of a disconnect in its own time.
async fn connect_until_served(server: &Server, from: &str) -> TcpStream {
    let connecting = async {
        loop {
            let mut socket = connect(server, from).await;
            if is_served(&mut socket).await {
                return socket;
            }
        }
    };
    timeout(DEADLINE, connecting).await.expect("a place becomes free")
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_and_the_others_go_on() {
    let server = start(ConnectionLimits { connections_max: 3, ..OUT_OF_REACH }).await;
    let mut taken = Vec::new();
    for from in [ONE, OTHER, ONE] {
        let mut socket = connect(&server, from).await;
        assert!(is_served(&mut socket).await);
        taken.push(socket);
    }
    for from in [ONE, OTHER] {
        assert!(!is_served(&mut connect(&server, from).await).await, "a fourth, from {from}");
    }
    for socket in &mut taken {
        assert!(is_served(socket).await);
    }
    let figures = ServerFigures {
        connections: 3,
        connections_accepted: 3,
        connections_refused: 2,
        requests: 6,
        frames_refused: 0,
    };
    assert_eq!(server.figures(), figures);

    taken.pop();
    connect_until_served(&server, ONE).await;
    server.stop().await;
}

#[tokio::test]
async fn an_address_at_its_limit_takes_nothing_from_another() {
    let server = start(ConnectionLimits { connections_per_address_max: 2, ..OUT_OF_REACH }).await;
    let mut taken = [connect(&server, ONE).await, connect(&server, ONE).await];
    for socket in &mut taken {
        assert!(is_served(socket).await);
    }
    assert!(!is_served(&mut connect(&server, ONE).await).await, "a third from the same address");
    let mut other = connect(&server, OTHER).await;
    assert!(is_served(&mut other).await);
    for socket in &mut taken {
        assert!(is_served(socket).await);
    }
    let figures = server.figures();
    assert_eq!((figures.connections, figures.connections_refused), (3, 1));

    let [gone, mut stays] = taken;
    drop(gone);
    connect_until_served(&server, ONE).await;
    assert!(is_served(&mut stays).await);
    server.stop().await;
}

#[tokio::test]
async fn silence_closes_a_connection_unless_an_answer_is_under_way() {
    let server = start(ConnectionLimits { idle_max: SOON, ..OUT_OF_REACH }).await;
    let mut silent = connect(&server, ONE).await;
    assert_eq!(next_frame(&mut silent).await, None, "it never said anything");

    let mut spoke = connect(&server, ONE).await;
    assert!(is_served(&mut spoke).await);
    assert_eq!(next_frame(&mut spoke).await, None, "it said nothing more");

    let mut waiting = connect(&server, ONE).await;
    let long_poll = fetch::Request {
        max_wait_ms: i32::try_from(5 * SOON.as_millis()).unwrap(),
        min_bytes: 1,
        max_bytes: 1,
        ..Default::default()
    };
    send(&mut waiting, 12, &long_poll).await;
    assert!(next_frame(&mut waiting).await.is_some(), "its answer took longer than the limit");
    assert_eq!(next_frame(&mut waiting).await, None, "then it was silent");
    server.stop().await;
}

#[tokio::test]
async fn a_frame_that_begins_and_never_ends_closes_its_own_connection() {
    let server = start(ConnectionLimits { frame_read_max: SOON, ..OUT_OF_REACH }).await;
    let mut bystander = connect(&server, ONE).await;
    assert!(is_served(&mut bystander).await);
    let table: [(&str, &[u8]); 4] = [
        ("half a length", &[0, 0]),
        ("a length alone", &[0, 0, 1, 0]),
        ("a part of the body", &[0, 0, 1, 0, 0, 18, 0, 0, 0, 0, 0, 1]),
        ("the longest frame there may be", &(FRAME_BYTES_MAX as i32).to_be_bytes()),
    ];
    for (name, bytes) in table {
        let mut slow = connect(&server, ONE).await;
        slow.write_all(bytes).await.unwrap();
        assert_eq!(next_frame(&mut slow).await, None, "{name}");
        // The bystander has been silent for as long: no frame of its own was late.
        assert!(is_served(&mut bystander).await, "{name}");
    }
    assert_eq!(server.figures().frames_refused, 0, "late is not malformed");
    server.stop().await;
}

#[tokio::test]
async fn a_frame_that_drips_in_has_the_limit_for_the_whole_of_it() {
    let server = start(ConnectionLimits { frame_read_max: SOON, ..OUT_OF_REACH }).await;
    let (mut read, mut write) = connect(&server, ONE).await.into_split();
    write.write_all(&[0, 0, 0x40, 0]).await.unwrap();
    let dripping = async {
        let mut pace = tokio::time::interval(SOON / 10);
        loop {
            pace.tick().await;
            if write.write_all(&[0]).await.is_err() {
                break;
            }
        }
    };
    let mut answer = [0; 1];
    let closed = async {
        // Closed with unread bytes is a reset on this side.
        assert_eq!(read.read(&mut answer).await.unwrap_or(0), 0);
    };
    let ended = async {
        tokio::select! { () = closed => (), () = dripping => () }
    };
    timeout(DEADLINE, ended).await.expect("the connection is closed");
    server.stop().await;
}

#[tokio::test]
async fn a_longer_frame_is_refused_by_its_length_alone() {
    let server = start(OUT_OF_REACH).await;
    let mut bystander = connect(&server, ONE).await;
    let mut longest = connect(&server, ONE).await;
    longest.write_all(&(FRAME_BYTES_MAX as i32).to_be_bytes()).await.unwrap();
    let mut longer = connect(&server, ONE).await;
    longer.write_all(&(FRAME_BYTES_MAX as i32 + 1).to_be_bytes()).await.unwrap();
    assert_eq!(next_frame(&mut longer).await, None);
    assert!(is_served(&mut bystander).await);
    let settled = async {
        while server.figures().connections != 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, settled).await.expect("the longest frame is read on, the longer one gone");
    assert_eq!(server.figures().frames_refused, 1);
    server.stop().await;
}

#[tokio::test]
async fn lengths_without_their_bytes_hold_back_nobody() {
    let server = start(OUT_OF_REACH).await;
    let mut claims = Vec::new();
    for _ in 0..2 * REQUEST_BYTES_IN_FLIGHT_MAX / FRAME_BYTES_MAX {
        let mut claim = connect(&server, ONE).await;
        // Its first request was answered, so the length of its second one is being read.
        assert!(is_served(&mut claim).await);
        claim.write_all(&(FRAME_BYTES_MAX as i32).to_be_bytes()).await.unwrap();
        claims.push(claim);
    }
    assert!(is_served(&mut connect(&server, OTHER).await).await);
    server.stop().await;
}

#[tokio::test]
async fn requests_that_exceed_the_memory_together_all_get_their_turn() {
    const REQUEST_BYTES: usize = 200_000;
    let limits = ConnectionLimits { request_bytes_in_flight_max: 256 * 1024, ..OUT_OF_REACH };
    let server = start(limits).await;
    // ApiVersions 0, and bytes behind it that are passed over.
    let mut frame = (REQUEST_BYTES as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    frame.resize(REQUEST_BYTES + 4, 0);
    let (most, rest) = frame.split_at(150_000);
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = connect(&server, ONE).await;
        socket.write_all(most).await.unwrap();
        sockets.push(socket);
    }
    for socket in &mut sockets {
        socket.write_all(rest).await.unwrap();
    }
    for socket in &mut sockets {
        assert!(next_frame(socket).await.is_some());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_in_time_makes_room() {
    let server = start(ConnectionLimits { first_request_max: SOON, ..OUT_OF_REACH }).await;
    let mut asked = connect(&server, ONE).await;
    assert!(is_served(&mut asked).await);
    let table: [(&str, &[u8]); 3] = [
        ("nothing", &[]),
        ("half a length", &[0, 0]),
        ("half a request", &[0, 0, 0, 10, 0, 18, 0, 0]),
    ];
    for (name, bytes) in table {
        let mut silent = connect(&server, ONE).await;
        silent.write_all(bytes).await.unwrap();
        assert_eq!(next_frame(&mut silent).await, None, "{name}");
        assert!(is_served(&mut asked).await, "its first request was in time: {name}");
    }
    server.stop().await;
}

fn naming(groups: usize) -> describe_groups::Request {
    let groups = vec!["g".to_owned(); groups];
    describe_groups::Request { groups, ..Default::default() }
}

#[tokio::test]
async fn a_request_of_too_many_elements_closes_its_connection_and_no_other() {
    let server = start(ConnectionLimits { elements_per_request_max: 10, ..OUT_OF_REACH }).await;
    let mut bystander = connect(&server, ONE).await;
    let mut socket = connect(&server, ONE).await;
    send(&mut socket, 0, &naming(10)).await;
    assert!(next_frame(&mut socket).await.is_some());
    send(&mut socket, 0, &naming(11)).await;
    assert_eq!(next_frame(&mut socket).await, None);
    assert!(is_served(&mut bystander).await);
    assert_eq!(server.figures().frames_refused, 1);
    server.stop().await;
}

#[tokio::test]
async fn requests_whose_elements_exceed_the_memory_together_all_get_their_turn() {
    let limits = ConnectionLimits { elements_in_flight_max: 10, ..OUT_OF_REACH };
    let server = start(limits).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = connect(&server, ONE).await;
        send(&mut socket, 0, &naming(7)).await;
        send(&mut socket, 0, &naming(10)).await;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        assert!(next_frame(socket).await.is_some());
        assert!(next_frame(socket).await.is_some());
    }
    server.stop().await;
}

/// An answer of many megabytes: each unknown topic comes back with its name.
fn at_length() -> metadata::Request {
    let topic = |number: usize| metadata::RequestTopic {
        name: Some(format!("{number:0>240}")),
        ..Default::default()
    };
    let topics = Some((0..60_000).map(topic).collect());
    metadata::Request { topics, allow_auto_topic_creation: false, ..Default::default() }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_makes_way_for_one_that_is_wanted() {
    let limits = ConnectionLimits {
        answer_bytes_held_max: 1,
        unread_look: SOON,
        unread_under_shortage_max: SOON,
        ..OUT_OF_REACH
    };
    let server = start(limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut unread = socket.connect(server.local_addrs()[0]).await.unwrap();
    send(&mut unread, 4, &at_length()).await;
    // The first bytes say that it holds the memory.
    unread.readable().await.unwrap();

    let mut wanted = connect(&server, ONE).await;
    send(&mut wanted, 4, &at_length()).await;
    assert!(next_frame(&mut wanted).await.is_some());
    let settled = async {
        while server.figures().connections != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, settled).await.expect("whoever did not read is gone");
    server.stop().await;
}

#[tokio::test]
async fn answers_at_length_keep_their_place_among_the_others() {
    let server = start(OUT_OF_REACH).await;
    let mut socket = connect(&server, ONE).await;
    for correlation_id in 0..40 {
        let header = RequestHeader { version: 4, correlation_id, client_id: None };
        let frame = match correlation_id % 2 {
            0 => tidings_wire::encode_request(&header, &metadata::Request::default()),
            _ => {
                let header = RequestHeader { version: 0, ..header };
                tidings_wire::encode_request(&header, &api_versions::Request::default())
            }
        };
        socket.write_all(&frame.unwrap().concat()).await.unwrap();
    }
    for correlation_id in 0..40_i32 {
        let frame = next_frame(&mut socket).await.unwrap();
        assert_eq!(frame[..4], correlation_id.to_be_bytes());
    }
    server.stop().await;
}
