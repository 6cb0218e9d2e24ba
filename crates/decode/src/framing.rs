//! How bytes say which schema they are of: Confluent's wire format.
//!
//! - Before the value: a zero, and the schema's id in four bytes, big-endian. Or a one, and the schema's GUID in sixteen.
//! - In the header `__value_schema_id` or `__key_schema_id`: the same, and then nothing stands before the value.
//!
//! Of a Protobuf schema follows which of its messages is meant: how many places, then the place at each level, as
//! zigzag varints; a single zero is the first message.

use std::fmt;

use crate::Refused;
use crate::limits::MESSAGE_INDEXES_MAX;

/// What names a schema in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaRef {
    Id(u32),
    Guid([u8; 16]),
}

impl fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Guid(guid) => uuid(f, guid),
        }
    }
}

pub(crate) fn uuid(f: &mut impl fmt::Write, bytes: &[u8; 16]) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_char('-')?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// Sixteen bytes of a text such as `27d48d4d-fcb2-467a-9a6b-0e4dd5cd6d15`.
pub(crate) fn guid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Bytes of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framed<'a> {
    pub(crate) schema: SchemaRef,
    /// Where places of a message stand: behind the schema's name, wherever that is.
    pub(crate) places: Places<'a>,
    /// The value, and before it the places where they are [`Places::Before`] it.
    pub(crate) rest: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places<'a> {
    Before,
    InHeader(&'a [u8]),
}

impl<'a> Framed<'a> {
    /// None where neither the header nor the bytes say anything of a schema. A header goes first, as in clients.
    pub(crate) fn of(bytes: &'a [u8], header: Option<&'a [u8]>) -> Option<Self> {
        if let Some((schema, places)) = header.and_then(named) {
            return Some(Self { schema, places: Places::InHeader(places), rest: bytes });
        }
        let (schema, rest) = named(bytes)?;
        Some(Self { schema, places: Places::Before, rest })
    }
}

fn named(bytes: &[u8]) -> Option<(SchemaRef, &[u8])> {
    let (magic, rest) = bytes.split_first()?;
    match magic {
        0 => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((SchemaRef::Id(u32::from_be_bytes(*id)), rest))
        }
        1 => {
            let (guid, rest) = rest.split_first_chunk()?;
            Some((SchemaRef::Guid(*guid), rest))
        }
        _ => None,
    }
}

/// Places of a message, from the outermost, and what follows.
pub(crate) fn places(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), Refused> {
    let broken = || Refused::Malformed {
        at: Some(0),
        why: "they do not begin with the place of a message".to_owned(),
    };
    let (count, mut rest) = zigzag(bytes).ok_or_else(broken)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= MESSAGE_INDEXES_MAX);
    let mut places = Vec::new();
    for _ in 0..count.ok_or_else(broken)? {
        let (place, after) = zigzag(rest).ok_or_else(broken)?;
        places.push(usize::try_from(place).map_err(|_negative| broken())?);
        rest = after;
    }
    Ok((places, rest))
}

/// A zigzag varint of at most ten bytes, as Avro and the places of messages have it, and what follows.
pub(crate) fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            let sign = if number & 1 == 1 { u64::MAX } else { 0 };
            return Some((((number >> 1) ^ sign).cast_signed(), &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_schema_is_found_before_the_value_or_in_a_header() {
        const GUID: [u8; 16] = *b"0123456789abcdef";
        let by_guid = [&[1][..], &GUID, &[9]].concat();
        let before = |schema, rest: &'static [u8]| Some((schema, false, rest));
        let in_header = |schema, rest: &'static [u8]| Some((schema, true, rest));
        for (bytes, header, wanted) in [
            (&b"\0\0\0\x01\x02ab"[..], None, before(SchemaRef::Id(258), b"ab")),
            (b"\0\xff\xff\xff\xff", None, before(SchemaRef::Id(u32::MAX), b"")),
            (&by_guid, None, before(SchemaRef::Guid(GUID), b"\x09")),
            (b"\0\0\0\0", None, None),
            (b"\x01\0\0\0\0", None, None),
            (b"{}", None, None),
            (b"", None, None),
            (b"ab", Some(&by_guid[..17]), in_header(SchemaRef::Guid(GUID), b"ab")),
            (b"ab", Some(b"\0\0\0\0\x07"), in_header(SchemaRef::Id(7), b"ab")),
            (b"ab", Some(b"v7"), None),
        ] {
            let found = Framed::of(bytes, header)
                .map(|framed| (framed.schema, framed.places != Places::Before, framed.rest));
            assert_eq!(found, wanted, "{bytes:?} {header:?}");
        }
    }

    #[test]
    fn the_place_of_a_message_is_a_list() {
        for (bytes, wanted) in [
            (&b"\0rest"[..], Ok((vec![0], &b"rest"[..]))),
            (b"\x02\x02rest", Ok((vec![1], b"rest"))),
            (b"\x04\x02\x06", Ok((vec![1, 3], b""))),
            (b"", Err(())),
            (b"\x04\x02", Err(())),
            (b"\x01", Err(())),
            (b"\x02\x01", Err(())),
            (b"\xfe\xff\xff\xff\x0f", Err(())),
        ] {
            assert_eq!(places(bytes).map_err(|_broken| ()), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn zigzag_numbers_have_both_signs_and_an_end() {
        for (bytes, wanted) in [
            (&b"\0"[..], Some(0)),
            (b"\x01", Some(-1)),
            (b"\x02", Some(1)),
            (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(i64::MAX)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", None),
            (b"\x80", None),
            (b"", None),
        ] {
            assert_eq!(zigzag(bytes).map(|(number, _)| number), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let text = "27d48d4d-fcb2-467a-9a6b-0e4dd5cd6d15";
        assert_eq!(SchemaRef::Guid(guid(text).unwrap()).to_string(), text);
        assert_eq!(guid("27d48d4d"), None);
        assert_eq!(guid(&"g".repeat(32)), None);
    }
}
