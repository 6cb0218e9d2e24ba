//! Answers to the requests of Kafka that are not implemented, so that none is met with a reset.
//!
//! Each gets a complete response in the layout of its version, with UNSUPPORTED_VERSION where that
//! response has an error for the whole request, and otherwise without results. None of these keys
//! is advertised: a client that sends one did not ask ApiVersions. Keys between brokers get a
//! header and the error code alone; numbers that are not Kafka's get nothing.

use bytes::Bytes;
use tidings_wire::{EncodeError, Prefix, Writer};

use crate::ErrorCode;

/// One API's response, in a notation of one letter per field:
/// `t` throttle time, `e` error code, `n` null text, `s` empty text, `b` empty bytes, `l` empty
/// list, `o` null struct, `f` false, `h` `i` `q` numbers of 16, 32 and 64 bits, `u` UUID.
/// A digit: the next field exists from that version on; after `<`, only before that version.
struct Layout {
    key: i16,
    name: &'static str,
    version_max: i16,
    flexible_since: i16,
    fields: &'static str,
}

const fn layout(
    key: i16,
    name: &'static str,
    version_max: i16,
    flexible_since: i16,
    fields: &'static str,
) -> Layout {
    Layout { key, name, version_max, flexible_since, fields }
}

/// Largest key of Kafka 4.3.
const KEY_MAX: i16 = 92;

#[rustfmt::skip]
static LAYOUTS: &[Layout] = &[
    layout(71, "GetTelemetrySubscriptions",    0, 0, "teuiliifl"),
    layout(72, "PushTelemetry",                0, 0, "te"),
    layout(76, "ShareGroupHeartbeat",          1, 0, "tenniio"),
    layout(77, "ShareGroupDescribe",           1, 0, "tl"),
    layout(78, "ShareFetch",                   1, 0, "tenill"),
    layout(79, "ShareAcknowledge",             1, 0, "tenll"),
    layout(90, "DescribeShareGroupOffsets",    0, 0, "tl"),
    layout(91, "AlterShareGroupOffsets",       0, 0, "tenl"),
    layout(92, "DeleteShareGroupOffsets",      0, 0, "tenl"),
];

/// The API's name and the answer as a frame; none when the key is not Kafka's.
pub(crate) fn answer(prefix: Prefix) -> Option<(&'static str, Result<Vec<Bytes>, EncodeError>)> {
    let Prefix { key, version, correlation_id } = prefix;
    match LAYOUTS.iter().find(|layout| layout.key == key) {
        Some(layout) => Some((layout.name, layout.write(version, correlation_id))),
        None if (0..=KEY_MAX).contains(&key) => {
            let code = ErrorCode::UNSUPPORTED_VERSION.code;
            let bare = tidings_wire::encode_bare_error(correlation_id, code);
            Some(("between brokers", Ok(vec![bare])))
        }
        None => None,
    }
}

/// Key and name of each API that is answered so, for `docs/protocol.md`.
pub(crate) fn names() -> impl Iterator<Item = (i16, &'static str)> {
    LAYOUTS.iter().map(|layout| (layout.key, layout.name))
}

impl Layout {
    fn write(&self, version: i16, correlation_id: i32) -> Result<Vec<Bytes>, EncodeError> {
        let version = version.clamp(0, self.version_max);
        let mut w = Writer::frame();
        w.i32(correlation_id);
        w.set_flexible(version >= self.flexible_since);
        w.no_tags();
        let (mut before, mut exists) = (false, true);
        for letter in self.fields.chars() {
            if letter == '<' {
                before = true;
            } else if let Some(digit) = letter.to_digit(10) {
                exists = (version < digit as i16) == before;
            } else {
                if exists {
                    write_field(&mut w, letter);
                }
                (before, exists) = (false, true);
            }
        }
        w.no_tags();
        w.finish_frame()
    }
}

fn write_field(w: &mut Writer, letter: char) {
    match letter {
        'e' => w.i16(ErrorCode::UNSUPPORTED_VERSION.code),
        'n' => w.nullable_string(None),
        's' => w.string(""),
        'b' => w.bytes(&Bytes::new()),
        'l' => w.list::<i32>(&[], 0),
        'o' => w.i8(-1),
        'f' => w.bool(false),
        'h' => w.i16(0),
        't' | 'i' => w.i32(0),
        'q' => w.i64(0),
        'u' => w.uuid(&[0; 16]),
        _ => unreachable!("the table is checked against Kafka's layouts in a test"),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiKey, ResponseHeader, ResponseKind};
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn answers_are_whole_responses_in_every_version_of_kafka() {
        for layout in LAYOUTS {
            let key = ApiKey::try_from(layout.key).unwrap();
            assert_eq!(format!("{key:?}"), layout.name);
            let versions = key.valid_versions();
            for version in versions.min..=versions.max {
                let prefix = Prefix { key: layout.key, version, correlation_id: 7 };
                let (_, segments) = answer(prefix).unwrap();
                let mut frame = Bytes::from(segments.unwrap().concat()).slice(4..);
                let header = key.response_header_version(version);
                let header = ResponseHeader::decode(&mut frame, header).unwrap();
                assert_eq!(header.correlation_id, 7);
                let response = ResponseKind::decode(key, &mut frame, version);
                let response = response.unwrap_or_else(|e| panic!("{key:?} v{version}: {e}"));
                assert!(frame.is_empty(), "{key:?} v{version}: {} bytes left", frame.len());
                let shown = format!("{response:?}");
                let says_so = layout.fields.starts_with(['e']) || layout.fields.starts_with("te");
                assert!(!says_so || shown.contains("error_code: 35"), "{shown}");
            }
        }
    }

    #[test]
    fn every_kafka_key_is_answered_and_no_other() {
        for key in -1..200 {
            let served = crate::api::find(key).is_some();
            let answered = answer(Prefix { key, version: 0, correlation_id: 1 }).is_some();
            assert_eq!(served || answered, (0..=KEY_MAX).contains(&key), "{key}");
            assert!(!(served && LAYOUTS.iter().any(|layout| layout.key == key)), "{key}");
        }
    }
}
