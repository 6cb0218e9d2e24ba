//! Records as a format says them: `consume -f`.

use tidings_console::JsonPath;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::de::IgnoredAny;
use serde_json::Value;
use tidings::rfc3339;
use tidings_node::broker::log::{BatchHeader, Compression};
use tidings_node::{Header, Record};

use super::unpack::Unpack;
use super::{Encoding, Escape, Layout, NumberForm, Refused, Token, tokens};
use crate::client::Edges;

/// What a format can tell of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) record: &'a Record,
    /// Of the batch that it came in.
    pub(crate) batch: &'a BatchHeader,
    /// Of its partition, when it was fetched.
    pub(crate) edges: Edges,
    /// The how manieth it is that is shown, from 1.
    pub(crate) count: u64,
}

/// A format for printing, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Writer(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Bytes(BytesOf, BytesForm),
    Number(NumberOf, NumberForm),
    Time(TimeForm),
    Attribute(Attribute),
    Headers(Vec<Piece>),
}

/// Within headers, key and value are the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BytesOf {
    Topic,
    Key,
    Value,
}

#[derive(Clone, Debug)]
enum BytesForm {
    Encoded(Encoding),
    Unpack(Unpack),
    /// JSON text: what is JSON as it is, in one line; all else as a string.
    Json,
    /// What stands there in the JSON; texts without quotes.
    JsonAt(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberOf {
    Bytes(BytesOf),
    Headers,
    Partition,
    Offset,
    LeaderEpoch,
    ProducerId,
    ProducerEpoch,
    LogStart,
    LastStable,
    HighWatermark,
    Count,
}

#[derive(Clone, Debug)]
enum TimeForm {
    /// Milliseconds.
    Number(NumberForm),
    Layout(Layout),
    Rfc3339,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Compression,
    TimestampType,
    Transactional,
    Control,
}

const ESCAPES: &str = "%t %k %v %h{…} %p %o %d %e %a{…} %x %y %i, lengths %T %K %V %H, offsets %[ %| %], signs %% %{ %}";
const TEXTS: &str = "hex, base64, base64raw, unpack[…], json or json[PATH]";
const ATTRIBUTES: &str =
    "%a{compression}, %a{timestamp-type}, %a{transactional-bit} or %a{control-bit}";

impl Writer {
    pub(crate) fn parse(format: &str) -> Result<Self, Refused> {
        let pieces = tokens(format)?.into_iter().map(|token| match token {
            Token::Text(text) => Ok(Piece::Text(text)),
            Token::Escape(escape) => Piece::of(&escape),
        });
        pieces.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn write(&self, shown: &Shown<'_>, out: &mut Vec<u8>) {
        self.0.iter().for_each(|piece| piece.write(shown, None, out));
    }
}

impl Piece {
    fn of(escape: &Escape<'_>) -> Result<Self, Refused> {
        let number = |of| escape.number().map(|form| Self::Number(of, form));
        match escape.letter {
            't' => bytes_form(escape).map(|form| Self::Bytes(BytesOf::Topic, form)),
            'k' => bytes_form(escape).map(|form| Self::Bytes(BytesOf::Key, form)),
            'v' => bytes_form(escape).map(|form| Self::Bytes(BytesOf::Value, form)),
            'T' => number(NumberOf::Bytes(BytesOf::Topic)),
            'K' => number(NumberOf::Bytes(BytesOf::Key)),
            'V' => number(NumberOf::Bytes(BytesOf::Value)),
            'H' => number(NumberOf::Headers),
            'p' => number(NumberOf::Partition),
            'o' => number(NumberOf::Offset),
            'e' => number(NumberOf::LeaderEpoch),
            'x' => number(NumberOf::ProducerId),
            'y' => number(NumberOf::ProducerEpoch),
            'i' => number(NumberOf::Count),
            '[' => number(NumberOf::LogStart),
            '|' => number(NumberOf::LastStable),
            ']' => number(NumberOf::HighWatermark),
            'd' => time_form(escape).map(Self::Time),
            'a' => attribute(escape).map(Self::Attribute),
            'h' => headers(escape),
            _ => Err(escape.refused("there is no such escape", ESCAPES)),
        }
    }

    fn write(&self, shown: &Shown<'_>, within: Option<&Header>, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Bytes(of, form) => {
                let bytes = bytes(*of, shown, within);
                match (form, bytes) {
                    (BytesForm::Json, None) => out.extend_from_slice(b"null"),
                    (form, bytes) => form.write(bytes.unwrap_or_default(), out),
                }
            }
            Self::Number(of, form) => write_number(number(*of, shown, within), *form, out),
            Self::Time(TimeForm::Number(form)) => {
                write_number(shown.record.timestamp, *form, out);
            }
            Self::Time(TimeForm::Layout(layout)) => layout.write(shown.record.timestamp, out),
            Self::Time(TimeForm::Rfc3339) => {
                out.extend(rfc3339::format(shown.record.timestamp).bytes());
            }
            Self::Attribute(attribute) => out.extend(told(*attribute, shown.batch).bytes()),
            Self::Headers(pieces) => {
                for header in &shown.record.headers {
                    pieces.iter().for_each(|piece| piece.write(shown, Some(header), out));
                }
            }
        }
    }
}

fn bytes_form(escape: &Escape<'_>) -> Result<BytesForm, Refused> {
    let Some(modifier) = escape.modifier else { return Ok(BytesForm::Encoded(Encoding::Raw)) };
    if let Some(encoding) = Encoding::of(modifier) {
        return Ok(BytesForm::Encoded(encoding));
    }
    if modifier == "json" {
        return Ok(BytesForm::Json);
    }
    if let Some(pattern) = escape.pattern("unpack") {
        let unpack = Unpack::parse(&pattern?).map_err(|unknown| {
            let why = format!("{unknown:?} means nothing in unpack[…]");
            escape.refused(why, "< > b B h H i I q Q c . s x $")
        })?;
        return Ok(BytesForm::Unpack(unpack));
    }
    if let Some(path) = escape.pattern("json") {
        let path = JsonPath::parse(&path?).map_err(|why| escape.refused(why, "json[$.id]"))?;
        return Ok(BytesForm::JsonAt(path));
    }
    Err(escape.refused("a text is not written so", TEXTS))
}

fn time_form(escape: &Escape<'_>) -> Result<TimeForm, Refused> {
    let Some(modifier) = escape.modifier else { return Ok(TimeForm::Number(NumberForm::Ascii)) };
    if let Some(form) = NumberForm::of(modifier) {
        return Ok(TimeForm::Number(form));
    }
    if modifier == "iso" {
        return Ok(TimeForm::Rfc3339);
    }
    if let Some(pattern) = escape.pattern("strftime") {
        let layout = Layout::strftime(&pattern?);
        return layout
            .map(TimeForm::Layout)
            .map_err(|why| escape.refused(why, "%F %T, %Y-%m-%dT%H:%M:%S.%L"));
    }
    if let Some(pattern) = escape.pattern("go") {
        return pattern.map(|pattern| TimeForm::Layout(Layout::go(&pattern)));
    }
    let hint = format!("iso, strftime[%F %T], go[2006-01-02], or {}", super::NUMBERS);
    Err(escape.refused("a time is not written so", &hint))
}

fn attribute(escape: &Escape<'_>) -> Result<Attribute, Refused> {
    match escape.modifier {
        Some("compression") => Ok(Attribute::Compression),
        Some("timestamp-type") => Ok(Attribute::TimestampType),
        Some("transactional-bit") => Ok(Attribute::Transactional),
        Some("control-bit") => Ok(Attribute::Control),
        _ => Err(escape.refused("which attribute is not said", ATTRIBUTES)),
    }
}

fn headers(escape: &Escape<'_>) -> Result<Piece, Refused> {
    let Some(inner) = escape.modifier else {
        return Err(escape.refused("how each header is written is not said", "%h{%k=%v }"));
    };
    // What stands in the braces begins three characters after the sign.
    let shifted = |refused: Refused| refused.shifted(escape.at + 2);
    let pieces = tokens(inner).map_err(shifted)?.into_iter().map(|token| match token {
        Token::Text(text) => Ok(Piece::Text(text)),
        Token::Escape(inner) if "kvKV".contains(inner.letter) => Piece::of(&inner).map_err(shifted),
        Token::Escape(inner) => {
            Err(shifted(inner.refused("a header has a key and a value", "%k %v %K %V")))
        }
    });
    pieces.collect::<Result<_, _>>().map(Piece::Headers)
}

fn bytes<'a>(of: BytesOf, shown: &Shown<'a>, within: Option<&'a Header>) -> Option<&'a [u8]> {
    match (of, within) {
        (BytesOf::Topic, _) => Some(shown.topic.as_bytes()),
        (BytesOf::Key, None) => shown.record.key.as_deref(),
        (BytesOf::Value, None) => shown.record.value.as_deref(),
        (BytesOf::Key, Some(header)) => Some(header.name.as_bytes()),
        (BytesOf::Value, Some(header)) => header.value.as_deref(),
    }
}

fn number(of: NumberOf, shown: &Shown<'_>, within: Option<&Header>) -> i64 {
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    match of {
        NumberOf::Bytes(of) => length(bytes(of, shown, within).unwrap_or_default().len()),
        NumberOf::Headers => length(shown.record.headers.len()),
        NumberOf::Partition => shown.partition.into(),
        NumberOf::Offset => shown.record.offset,
        NumberOf::LeaderEpoch => shown.batch.leader_epoch.into(),
        NumberOf::ProducerId => shown.batch.producer_id,
        NumberOf::ProducerEpoch => shown.batch.producer_epoch.into(),
        NumberOf::LogStart => shown.edges.start,
        NumberOf::LastStable => shown.edges.last_stable,
        NumberOf::HighWatermark => shown.edges.high_watermark,
        NumberOf::Count => i64::try_from(shown.count).unwrap_or(i64::MAX),
    }
}

impl BytesForm {
    fn write(&self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Encoded(Encoding::Raw) => out.extend_from_slice(bytes),
            Self::Encoded(Encoding::Hex) => {
                bytes.iter().for_each(|byte| out.extend(format!("{byte:02x}").bytes()));
            }
            Self::Encoded(Encoding::Base64) => out.extend(STANDARD.encode(bytes).bytes()),
            Self::Encoded(Encoding::Base64Raw) => {
                out.extend(STANDARD_NO_PAD.encode(bytes).bytes());
            }
            Self::Unpack(unpack) => unpack.write(bytes, out),
            Self::Json => out.extend(json(bytes).bytes()),
            Self::JsonAt(path) => {
                let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
                let found = path.find(&value).into_iter().map(|found| match found {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                out.extend(found.collect::<Vec<_>>().join(",").bytes());
            }
        }
    }
}

/// JSON as it is written, in one line; anything else as a text in JSON. Not through a value, which would have other numbers and
/// another order.
fn json(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match serde_json::from_str::<IgnoredAny>(&text) {
        // Within its texts JSON has no line ends.
        Ok(_) => text.trim().replace(['\n', '\r'], " "),
        Err(_) => Value::from(text).to_string(),
    }
}

fn write_number(number: i64, form: NumberForm, out: &mut Vec<u8>) {
    let big = number.to_be_bytes();
    match form {
        NumberForm::Ascii => out.extend(number.to_string().bytes()),
        NumberForm::Hex(digits) => {
            let all = format!("{number:016x}");
            out.extend_from_slice(&all.as_bytes()[16 - digits..]);
        }
        NumberForm::Big(bytes) => out.extend_from_slice(&big[8 - bytes..]),
        NumberForm::Little(bytes) => out.extend_from_slice(&number.to_le_bytes()[..bytes]),
        NumberForm::Bool => out.extend((number != 0).to_string().bytes()),
    }
}

fn told(attribute: Attribute, batch: &BatchHeader) -> &'static str {
    let attributes = batch.attributes;
    match attribute {
        Attribute::Compression => match attributes.compression() {
            Some(Compression::None) => "none",
            Some(Compression::Gzip) => "gzip",
            Some(Compression::Snappy) => "snappy",
            Some(Compression::Lz4) => "lz4",
            Some(Compression::Zstd) => "zstd",
            None => "unknown",
        },
        Attribute::TimestampType if attributes.log_append_time() => "LogAppendTime",
        Attribute::TimestampType => "CreateTime",
        Attribute::Transactional => bit(attributes.transactional()),
        Attribute::Control => bit(attributes.control()),
    }
}

fn bit(set: bool) -> &'static str {
    if set { "1" } else { "0" }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_node::NewRecord;
    use tidings_node::broker::log::BatchBuilder;

    use super::*;

    fn written(format: &str) -> String {
        let header = |name: &'static str, value: Option<&'static str>| Header {
            name: name.into(),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let record = Record {
            offset: 7,
            timestamp: 1_793_714_709_070,
            key: Some(Bytes::from_static(b"k\xff")),
            value: Some(Bytes::from_static(b"{\"id\": [1, \"two\"]}")),
            headers: vec![header("a", Some("1")), header("b", None)],
        };
        let mut builder = BatchBuilder::new().producer(4, 2, 0).transactional();
        builder.push(&NewRecord::default());
        let batch = builder.build();
        let shown = Shown {
            topic: "orders",
            partition: 258,
            record: &record,
            batch: batch.header(),
            edges: Edges { start: 1, last_stable: 8, high_watermark: 9 },
            count: 3,
        };
        let writer = Writer::parse(format).unwrap_or_else(|refused| panic!("{refused:?}"));
        let mut out = Vec::new();
        writer.write(&shown, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn json_keeps_its_numbers_and_its_order() {
        let amount = "{\"b\":1.10,\n \"a\":12345678901234567890123}";
        assert_eq!(json(amount.as_bytes()), amount.replace('\n', " "));
        assert_eq!(json(b"not {"), "\"not {\"");
    }

    #[test]
    fn records_are_written_by_the_format() {
        for (format, wanted) in [
            ("%t/%p@%o\\n", "orders/258@7\n"),
            ("%T %K %V %H", "6 2 18 2"),
            ("%k{hex} %k{base64} %k{base64raw}", "6bff a/8= a/8"),
            ("%v", "{\"id\": [1, \"two\"]}"),
            ("%v{json}", "{\"id\": [1, \"two\"]}"),
            ("%t{json} %v{json[$.id[1]]} %v{json[id[*]]} %v{json[no]}", "\"orders\" two 1,two "),
            ("%k{unpack[cxB]}", "k 255"),
            ("%h{%k=%v }%%", "a=1 b= %"),
            ("%h{%K%V{hex4}%v{json},}", "111,10null,"),
            ("%d %d{iso}", "1793714709070 2026-11-03T14:05:09.070Z"),
            ("%d{strftime[%F %T]} %d{go[2006-01-02]}", "2026-11-03 14:05:09 2026-11-03"),
            ("%d{strftime[[%F [%T]]]}", "2026-11-03 [14:05:09]"),
            ("%d{go#15:04#}", "14:05"),
            ("%p{hex64} %p{hex16} %p{hex4} %p{bool}", "0000000000000102 0102 2 true"),
            ("%p{big16}%p{little16}%p{byte}", "\u{1}\u{2}\u{2}\u{1}\u{2}"),
            ("%i %e %x %y", "3 0 4 2"),
            ("%[ %| %]", "1 8 9"),
            ("%a{compression} %a{timestamp-type}", "none CreateTime"),
            ("%a{transactional-bit}%a{control-bit}", "10"),
        ] {
            assert_eq!(written(format), wanted, "{format}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_place() {
        for (format, at, what, why) in [
            ("%k %q", 4, "%q", "there is no such escape"),
            ("%v{rot13}", 1, "%v{rot13}", "a text is not written so"),
            ("ä%p{hex}", 2, "%p{hex}", "a number is not written so"),
            ("%d{later}", 1, "%d{later}", "a time is not written so"),
            ("%d{strftime[%Q]}", 1, "%d{strftime[%Q]}", "%Q is no conversion"),
            ("%d{strftime[%F}", 1, "%d{strftime[%F}", "what begins with [ does not end with ]"),
            ("%v{unpack[z]}", 1, "%v{unpack[z]}", "'z' means nothing in unpack[…]"),
            ("%v{json[a..b..c..d]}", 1, "%v{json[a..b..c..d]}", "a path has at most 2 `..`"),
            ("%a", 1, "%a", "which attribute is not said"),
            ("%h", 1, "%h", "how each header is written is not said"),
            ("x%h{%k %o}", 8, "%o", "a header has a key and a value"),
        ] {
            let refused = Writer::parse(format).unwrap_err();
            let said = (refused.at, refused.what.as_str(), refused.why.as_str());
            assert_eq!(said, (at, what, why), "{format}");
        }
    }
}
