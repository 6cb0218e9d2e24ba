//! Records inside a batch.

use std::borrow::Cow;

use bytes::Bytes;

/// A record header; values may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Borrowed where it is a name that many records have: see [`header_name`].
    pub name: Cow<'static, str>,
    pub value: Option<Bytes>,
}

/// Names that events have in many logs (CloudEvents' and those of traces). An event has a dozen of them, and reading these allocates
/// nothing.
const FREQUENT_NAMES: [&str; 17] = [
    "ce_id",
    "ce_type",
    "ce_time",
    "ce_source",
    "ce_subject",
    "ce_specversion",
    "ce_dataversion",
    "ce_kind",
    "ce_correlationid",
    "ce_causationid",
    "ce_traceparent",
    "ce_checksum",
    "content-type",
    "traceparent",
    "tracestate",
    "tidings-handler",
    "tidings-output",
];

/// A header's name as read. What is not UTF-8 is replaced, as Java does: a client's odd byte must not make a batch unreadable.
pub(crate) fn header_name(bytes: &[u8]) -> Cow<'static, str> {
    match FREQUENT_NAMES.iter().find(|name| name.as_bytes() == bytes) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// A record as read from a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since the epoch; the batch's maximum when the topic uses log append time.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// A record about to be put into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}
