//! Malformed frames in great number: none panics the server, makes it grow, or harms a neighbour.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidings_compat::{Server, eventually};
use tidings_wire::sample::{Sample, Source};
use tidings_wire::{Request, RequestHeader, api_versions, metadata};

use crate::wire::{ask, connect};

/// Bytes by which the process may grow after the first frames.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Frames before growth is counted.
const WARM_UP: u64 = 1_000;
const THREADS: u64 = 4;
/// For a close, and for the server to have closed what has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request of this kind, framed without its length.
fn valid<R: Request + Sample>(source: &mut Source) -> Vec<u8> {
    let span = (R::API.version_max - R::API.version_min + 1) as u64;
    let version = R::API.version_min + source.below(span) as i16;
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    let request = R::sample(source, version);
    let frame = tidings_wire::encode_request(&header, &request).expect("samples fit").concat();
    frame[4..].to_vec()
}

macro_rules! any_request {
    ($($api:ident),+) => {
        fn any_request(source: &mut Source) -> Vec<u8> {
            let makers = [$( valid::<tidings_wire::$api::Request> ),+];
            makers[source.below(makers.len() as u64) as usize](source)
        }
    };
}

tidings_wire::every_api!(any_request);

/// A frame with its length, broken in one of the ways in which frames break.
fn broken(source: &mut Source) -> Vec<u8> {
    let mut body = any_request(source);
    let at = source.below(body.len() as u64) as usize;
    let mut length = None;
    match source.below(8) {
        // Cut short, with the length that it then has.
        0..=3 => body.truncate(at),
        // A length or count that promises two billion.
        4 => body.splice(at.max(8).., [0x7f, 0xff, 0xff, 0xff]).for_each(drop),
        5 => body.splice(at.max(8).., [0xff, 0xff, 0xff, 0xff, 0x07]).for_each(drop),
        // A key or a version that there is not, and rubbish behind it.
        6 => body.iter_mut().take(at + 1).for_each(|byte| *byte = source.i8() as u8),
        // A frame that is longer or shorter than it says.
        _ => length = Some(source.u64() as i32),
    }
    let length = length.unwrap_or(body.len() as i32);
    [&length.to_be_bytes()[..], &body].concat()
}

/// Sends one frame on a connection of its own and waits until the server has closed it.
fn send_alone(address: SocketAddr, frame: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // A server that has closed is what reading then finds out.
    let _closed = stream.write_all(frame).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut rest = [0; 4096];
    while let Ok(read) = stream.read(&mut rest) {
        if read == 0 {
            break;
        }
    }
}

/// Asks over one connection until told to stop; how often it was answered.
fn ask_on(server: &Server, stop: &AtomicBool) -> u64 {
    let mut stream = connect(server);
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        ask(&mut stream, 0, &api_versions::Request::default()).expect("the neighbour is served");
        ask(&mut stream, 4, &metadata::Request::default()).expect("the neighbour is served");
        answers += 2;
    }
    answers
}

/// What the server counts under this name.
fn figure(server: &Server, name: &str) -> u64 {
    let mut stream = TcpStream::connect(server.http()).expect("the console listens");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the console reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page of text");
    let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("a figure");
    line.trim().parse().expect("a number")
}

fn flood(frames: u64) {
    let server = Server::start().expect("the server starts");
    let address: SocketAddr = server.kafka().parse().expect("an address");
    let sockets = server.open_sockets().expect("it runs");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let mut warm = 0;
    let answers = thread::scope(|scope| {
        let neighbour = scope.spawn(|| ask_on(&server, &stop));
        for number in [WARM_UP, frames] {
            let floods: Vec<_> = (0..THREADS)
                .map(|seed| {
                    let sent = &sent;
                    scope.spawn(move || {
                        let mut source = Source::new(number + seed);
                        for _ in 0..number / THREADS {
                            send_alone(address, &broken(&mut source));
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            floods.into_iter().for_each(|flood| flood.join().expect("the server listens on"));
            if number == WARM_UP {
                warm = server.memory("VmRSS").expect("it runs");
            }
        }
        stop.store(true, Ordering::Relaxed);
        neighbour.join().expect("the neighbour is served")
    });
    let grown = server.memory("VmRSS").expect("it runs").saturating_sub(warm);
    let refused = figure(&server, "tidings_kafka_frames_refused_total ");
    println!(
        "{} frames in {:.1} s, {refused} of them malformed to the server, which grew by {} KiB; \
         {answers} answers to a neighbour",
        sent.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64(),
        grown >> 10,
    );
    assert!(refused >= frames / 2, "{refused} of {frames}");
    assert!(grown <= GROWTH_BYTES_MAX, "grew by {grown} bytes");
    assert!(answers > 0);
    let closed = eventually(PATIENCE, || (server.open_sockets().ok()? <= sockets).then_some(()));
    closed
        .unwrap_or_else(|| panic!("{:?} sockets are open, {sockets} were", server.open_sockets()));
}

#[test]
fn malformed_frames_harm_nobody() {
    flood(75_000);
}

/// `cargo test -p tidings-compat --test clients a_million -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_million_malformed_frames_harm_nobody() {
    flood(1_000_000);
}
