//! The protocol by hand, for what no proper client sends.

use std::io::{Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidings_compat::Server;
use tidings_wire::{Request, RequestHeader};

/// For an answer, which a server under attack on two busy cores gives later than others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is read.
pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.kafka()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// A connection of which nothing is read, with as little room as the kernel gives, so that answers
/// stay where they come from.
pub(crate) fn connect_deaf(server: &Server) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(1024)?;
        let address: SocketAddr = server.kafka().parse().expect("an address");
        socket.connect(address).await?.into_std()
    };
    let connected = runtime.and_then(|runtime| runtime.block_on(connecting));
    let stream = connected.expect("the server listens");
    stream.set_nonblocking(false).expect("it can block");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
    stream
}

pub(crate) fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let header = RequestHeader { version, correlation_id: 1, client_id: None };
    tidings_wire::encode_request(&header, request).expect("it can be encoded").concat()
}

/// Asks and waits for the answer.
pub(crate) fn ask<R: Request>(
    stream: &mut TcpStream,
    version: i16,
    request: &R,
) -> Result<R::Response, Error> {
    stream.write_all(&frame(version, request))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    let (_, response) =
        tidings_wire::decode_response::<R>(version, answer.into()).expect("an answer of its kind");
    Ok(response)
}
