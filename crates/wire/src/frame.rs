//! Frames: a request or response with its header, after a length of four bytes.
//!
//! Request headers are version 1, or 2 with tagged fields in flexible versions; response headers
//! are 0, or 1 likewise, except that ApiVersions always answers with 0 (KIP-511).

use bytes::Bytes;

use crate::limits::{ELEMENTS_PER_MESSAGE_MAX, FRAME_PREFIX_BYTES};
use crate::{DecodeError, EncodeError, Problem, Reader, Wire, Writer};

/// An API as defined here: its key, and the versions that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    pub version_min: i16,
    pub version_max: i16,
    /// First version with compact lengths and tagged fields.
    pub flexible_since: i16,
}

/// ApiVersions' key: clients ask it before they know what the broker speaks.
const API_VERSIONS_KEY: i16 = 18;

impl Api {
    pub const fn knows(&self, version: i16) -> bool {
        self.version_min <= version && version <= self.version_max
    }

    pub const fn flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }

    const fn response_header_has_tags(&self, version: i16) -> bool {
        self.flexible(version) && self.key != API_VERSIONS_KEY
    }

    const fn unknown(&self, version: i16) -> Problem {
        Problem::Unknown { key: self.key, version }
    }
}

/// A request of [`Request::API`] with its response.
pub trait Request: Wire + Default {
    const API: Api;
    type Response: Wire + Default;

    /// Says in a response how long the client should pause, where the response has room for it.
    fn set_throttle(_response: &mut Self::Response, _ms: i32) {}
}

/// The part of a request's header that every version shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
}

impl Prefix {
    /// Reads the prefix of a request frame, whatever its key and version.
    pub fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(frame.clone(), false))
    }

    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { key: r.i16()?, version: r.i16()?, correlation_id: r.i32()? })
    }
}

/// A request's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
}

/// Reads a request from a whole frame, without its length. Bytes behind its last field are passed
/// over, as Apache Kafka does: librdkafka (2.12 to 2.16 at least) leaves three there when its Metadata
/// request of version 12 asks for all topics.
pub fn decode_request<R: Request>(frame: Bytes) -> Result<(RequestHeader, R), DecodeError> {
    let decoded = decode_request_within(frame, ELEMENTS_PER_MESSAGE_MAX);
    decoded.map(|(header, request, _)| (header, request))
}

/// [`decode_request`] of a request with at most so many list elements, all lists together, and how
/// many it has; with more it is [`Problem::TooMany`].
pub fn decode_request_within<R: Request>(
    frame: Bytes,
    elements_max: usize,
) -> Result<(RequestHeader, R, usize), DecodeError> {
    let mut r = Reader::within(frame, elements_max);
    let elements_max = r.elements_left();
    let Prefix { key, version, correlation_id } = Prefix::read(&mut r)?;
    if key != R::API.key || !R::API.knows(version) {
        return Err(r.error(Problem::Unknown { key, version }));
    }
    let client_id = r.nullable_string()?;
    r.set_flexible(R::API.flexible(version));
    r.skip_tags()?;
    let request = R::decode(&mut r, version)?;
    let elements = elements_max - r.elements_left();
    Ok((RequestHeader { version, correlation_id, client_id }, request, elements))
}

/// Writes a request as a frame with its length.
pub fn encode_request<R: Request>(
    header: &RequestHeader,
    request: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::frame();
    w.i16(R::API.key);
    w.i16(header.version);
    w.i32(header.correlation_id);
    w.nullable_string(header.client_id.as_deref());
    w.set_flexible(R::API.flexible(header.version));
    w.no_tags();
    request.encode(&mut w, header.version);
    w.finish_frame()
}

/// Writes the response to a request of type `R` as a frame with its length.
pub fn encode_response<R: Request>(
    version: i16,
    correlation_id: i32,
    response: &R::Response,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::frame();
    w.i32(correlation_id);
    w.set_flexible(R::API.response_header_has_tags(version));
    w.no_tags();
    w.set_flexible(R::API.flexible(version));
    response.encode(&mut w, version);
    w.finish_frame()
}

/// Reads the response to a request of type `R` from a whole frame, without its length.
pub fn decode_response<R: Request>(
    version: i16,
    frame: Bytes,
) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame, R::API.response_header_has_tags(version));
    if !R::API.knows(version) {
        return Err(r.error(R::API.unknown(version)));
    }
    let correlation_id = r.i32()?;
    r.skip_tags()?;
    r.set_flexible(R::API.flexible(version));
    let response = R::Response::decode(&mut r, version)?;
    r.finish()?;
    Ok((correlation_id, response))
}

/// A response without a definition here: the header of version 0 and an error code.
pub fn encode_bare_error(correlation_id: i32, error_code: i16) -> Bytes {
    let mut frame = Vec::with_capacity(FRAME_PREFIX_BYTES + 6);
    frame.extend_from_slice(&6i32.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&error_code.to_be_bytes());
    frame.into()
}
