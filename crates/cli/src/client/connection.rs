//! One connection to a broker: frames, correlation and versions.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tidings_terminal::failure::Failure;
use tidings_wire::{Api, Request, RequestHeader, api_versions, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CLIENT_ID, ErrorCode};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, CONNECT_TIMEOUT};

/// The last versions of these in which topics are named by name, as every command does (KIP-516).
const BY_NAME_UNTIL: [(i16, i16); 4] = [
    (tidings_wire::produce::API.key, 12),
    (tidings_wire::fetch::API.key, 12),
    (tidings_wire::offset_commit::API.key, 9),
    (tidings_wire::offset_fetch::API.key, 9),
];

#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    stream: TcpStream,
    /// The broker's versions by API key.
    versions: HashMap<i16, (i16, i16)>,
    correlation: i32,
}

impl Connection {
    /// Connects and learns which versions the broker speaks.
    pub(super) async fn open(address: &str) -> Result<Self, Failure> {
        let unreachable = |why: String| {
            Failure::failed(format!("no Kafka broker can be reached at {address}"))
                .why(why)
                .hint("start a node with `tidings up`, or name another with --kafka HOST:PORT")
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(unreachable(e.to_string())),
            Err(_) => return Err(unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"))),
        };
        stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
        let versions = HashMap::new();
        let mut connection = Self { address: address.to_owned(), stream, versions, correlation: 0 };
        // Every broker there is answers version 0.
        let response = connection.exchange(0, &api_versions::Request::default()).await;
        let response = response.map_err(|e| {
            e.hint("--kafka HOST:PORT of a Kafka listener without TLS, 9092 unless it is elsewhere")
        })?;
        let code = ErrorCode(response.error_code);
        if code != ErrorCode::NONE {
            return Err(code.failure(format!("{address} does not tell its versions"), None));
        }
        let keys = response.api_keys.iter();
        connection.versions =
            keys.map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(connection)
    }

    /// Asks with the newest version that both sides speak, and that names topics by name.
    pub(super) async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Failure> {
        let version = self.version(&R::API)?;
        self.exchange(version, request).await
    }

    fn version(&self, api: &Api) -> Result<i16, Failure> {
        let by_name = BY_NAME_UNTIL.iter().find(|(key, _)| *key == api.key);
        let last = by_name.map_or(api.version_max, |(_, last)| api.version_max.min(*last));
        let common = self.versions.get(&api.key).and_then(|(min, max)| {
            let (min, max) = (*min.max(&api.version_min), *max.min(&last));
            (min <= max).then_some(max)
        });
        common.ok_or_else(|| {
            let theirs = match self.versions.get(&api.key) {
                Some((min, max)) => format!("it speaks versions {min} to {max}"),
                None => "it does not know it".to_owned(),
            };
            Failure::failed(format!("{} cannot be asked for {}", self.address, api.name))
                .why(format!("{theirs}, this command {} to {last}", api.version_min))
        })
    }

    async fn exchange<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Failure> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader {
            version,
            correlation_id: self.correlation,
            client_id: Some(CLIENT_ID.to_owned()),
        };
        let refused = |why: String| {
            Failure::failed(format!("{} cannot be asked for {}", self.address, R::API.name))
                .why(why)
        };
        let frame = encode_request(&header, request).map_err(|e| refused(e.to_string()))?;
        let answer = timeout(ANSWER_TIMEOUT, round_trip(&mut self.stream, &frame)).await;
        let answer = answer
            .map_err(|_| refused(no_answer(ANSWER_TIMEOUT)))?
            .map_err(|why| refused(why.to_string()))?;
        let (correlation, response) =
            decode_response::<R>(version, answer).map_err(|e| refused(e.to_string()))?;
        if correlation != self.correlation {
            return Err(refused(format!(
                "it answered request {correlation} instead of {}",
                self.correlation
            )));
        }
        Ok(response)
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {within:?}")
}

/// Of an answer's first bytes; those of whoever speaks something else are known.
fn answer_length(begin: [u8; 4]) -> Result<usize, String> {
    match usize::try_from(i32::from_be_bytes(begin)) {
        _ if &begin == b"HTTP" => {
            Err("HTTP is spoken there: it is the port of a console or a registry".to_owned())
        }
        // A record of alerts, of any version.
        _ if begin.starts_with(&[21, 3]) => {
            Err("TLS is spoken there, and not by this command".to_owned())
        }
        Ok(length) if length <= ANSWER_BYTES_MAX => Ok(length),
        _ => Err(format!("the answer is not between 0 and {ANSWER_BYTES_MAX} bytes long")),
    }
}

async fn round_trip(stream: &mut TcpStream, frame: &[Bytes]) -> std::io::Result<Bytes> {
    for piece in frame {
        stream.write_all(piece).await?;
    }
    stream.flush().await?;
    let mut begin = [0; 4];
    stream.read_exact(&mut begin).await?;
    let length = answer_length(begin).map_err(std::io::Error::other)?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_something_else_is_told_from_a_broken_answer() {
        for (begin, wanted) in [
            ([0, 0, 1, 0], Ok(256)),
            ([0; 4], Ok(0)),
            (*b"HTTP", Err("HTTP")),
            ([21, 3, 3, 0], Err("TLS")),
            ([255; 4], Err("bytes long")),
            ([127, 255, 255, 255], Err("bytes long")),
        ] {
            match (answer_length(begin), wanted) {
                (Ok(length), Ok(wanted)) => assert_eq!(length, wanted),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
                (read, _) => panic!("{begin:?}: {read:?}"),
            }
        }
    }
}
