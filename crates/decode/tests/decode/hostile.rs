//! What nobody should send: each ends soon, and in a sentence.

use std::fmt::Write as _;

use tidings_decode::Refused;
use tidings_decode::limits::{
    COMPILED_MAX, JSON_BYTES_MAX, REFERENCES_MAX, SCHEMA_BYTES_MAX, VALUE_BYTES_MAX,
};

use super::*;

fn long(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[test]
fn bytes_that_do_not_fit_say_where() {
    let order = r#"{"type":"record","name":"O","fields":[
        {"name":"id","type":"int"},{"name":"who","type":["null","string"]},
        {"name":"paid","type":"boolean"}]}"#;
    let decoder = decoder(&[("o", AVRO, order, &[])]);
    let sentence = |why: &str| format!("the bytes do not fit the schema: {why}");
    for (bytes, why) in [
        (&b""[..], "they end too early, at byte 0"),
        (b"\x02\x02\x0aAnn", "they end too early, at byte 3"),
        (b"\x02\x02\x06Ann", "they end too early, at byte 6"),
        (b"\x02\x02\x06Ann\x02", "neither true nor false, at byte 7"),
        (b"\x02\x04\x06Ann\x01", "no branch of the union, at byte 2"),
        (b"\x02\x01\x06Ann\x01", "no branch of the union, at byte 2"),
        (b"\x02\x02\x05Ann\x01", "a negative length, at byte 3"),
        (b"\x02\x02\x02\xff\x01", "a text that is no UTF-8, at byte 2"),
        (b"\x02\0\x01abc", "3 bytes are left over, at byte 3"),
        (&[0xff; 12], "a number that does not end, at byte 0"),
        (b"\xfe\xff\xff\xff\xff\xff\x01\0\x01", "an int with more than 32 bits, at byte 7"),
    ] {
        assert_eq!(said(&decoder, 1, bytes), sentence(why), "{bytes:?}");
    }
    let whole = b"\x02\x02\x06Ann\x01";
    assert_eq!(said(&decoder, 1, whole), r#"{"id":1,"who":"Ann","paid":true}"#);
    for end in 0..whole.len() {
        assert!(said(&decoder, 1, &whole[..end]).contains("end too early"), "{end}");
    }
}

#[test]
fn counts_allocate_nothing_and_end_with_the_json() {
    let nulls = r#"{"type":"array","items":"null"}"#;
    let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
    let decoder = decoder(&[
        ("nulls", AVRO, nulls, &[]),
        ("empty", AVRO, empty, &[]),
        ("nested", AVRO, &format!(r#"{{"type":"array","items":{nulls}}}"#), &[]),
        ("text", AVRO, "\"string\"", &[]),
        ("map", AVRO, r#"{"type":"map","values":"null"}"#, &[]),
        ("fixed", AVRO, r#"{"type":"fixed","name":"F","size":1099511627776}"#, &[]),
    ]);
    let too_long = Refused::JsonTooLong.to_string();
    let nested = [long(1 << 40), long(1 << 40), vec![0]].concat();
    for (id, bytes, wanted) in [
        (1, [long(1 << 40), vec![0]].concat(), too_long.as_str()),
        (1, [long(i64::MIN), vec![2], vec![0]].concat(), &too_long),
        (2, [long(i64::MAX), vec![0]].concat(), &too_long),
        (3, nested, &too_long),
        (4, long(i64::MAX), "the bytes do not fit the schema: they end too early, at byte 10"),
        (5, long(1 << 40), "the bytes do not fit the schema: they end too early, at byte 6"),
        (6, vec![1], "the bytes do not fit the schema: they end too early, at byte 0"),
    ] {
        assert_eq!(said(&decoder, id, &bytes), wanted, "{id}");
    }
    let text = [long(1 << 19), vec![1; 1 << 19]].concat();
    assert_eq!(said(&decoder, 4, &text), too_long, "each control character takes six");
}

#[test]
fn what_nests_too_deep_is_said() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}"#;
    let itself = r#"{"type":"record","name":"S","fields":[{"name":"s","type":"S"}]}"#;
    let wide = r#"{"type":"record","name":"W","fields":[
        {"name":"a","type":["null","W"]},{"name":"b","type":["null","W"]}]}"#;
    let message = "syntax = \"proto3\"; message M { M m = 1; }";
    let any = r#"syntax = "proto3"; import "google/protobuf/any.proto";
        message A { google.protobuf.Any any = 1; }"#;
    let value = r#"syntax = "proto3"; import "google/protobuf/struct.proto";
        message V { google.protobuf.Value v = 1; }"#;
    let decoder = decoder(&[
        ("list", AVRO, list, &[]),
        ("itself", AVRO, itself, &[]),
        ("wide", AVRO, wide, &[]),
        ("message", PROTOBUF, message, &[]),
        ("any", PROTOBUF, any, &[]),
        ("value", PROTOBUF, value, &[]),
    ]);
    let too_deep = Refused::TooDeep.to_string();
    assert_eq!(said(&decoder, 1, &[2; 100_000]), too_deep);
    assert_eq!(said(&decoder, 2, &[]), too_deep, "it has no end, and takes no bytes");
    assert_eq!(said(&decoder, 3, &[2; 100_000]), too_deep);

    let within = |inner: Vec<u8>, name: &[u8]| {
        let field = |tag: u8, bytes: &[u8]| {
            let mut out = vec![tag];
            let mut length = bytes.len();
            while length > 0x7f {
                out.push(length as u8 | 0x80);
                length >>= 7;
            }
            out.push(length as u8);
            out.extend_from_slice(bytes);
            out
        };
        match name {
            b"" => field(0x0a, &inner),
            name => [field(0x0a, name), field(0x12, &inner)].concat(),
        }
    };
    let deep = |levels: usize, name: &[u8]| {
        // An Any of nothing cannot be written: the innermost is one of an empty A.
        let innermost = if name.is_empty() { vec![] } else { within(vec![], b"/A") };
        (0..levels).fold(innermost, |inner, _| within(inner, name))
    };
    let first = |rest: Vec<u8>| [vec![0], rest].concat();
    assert!(said(&decoder, 4, &first(deep(90, b""))).starts_with("{\"m\":{\"m\":"));
    assert!(said(&decoder, 4, &first(deep(5_000, b""))).contains("recursion limit"));
    let url = b"/google.protobuf.Any";
    let anys = |levels| first(within(deep(levels, url), b""));
    assert!(said(&decoder, 5, &anys(20)).starts_with("{\"any\":{\"@type\":"));
    assert_eq!(said(&decoder, 5, &anys(3_000)), too_deep);
    let unknown = first(within(within(vec![], b"/shop.Nobody"), b""));
    assert_eq!(
        said(&decoder, 5, &unknown),
        "the bytes do not fit the schema: message 'shop.Nobody' not found"
    );
    // Value.list_value (6) of ListValue.values (1).
    let lists = (0..2_000).fold(vec![], |inner: Vec<u8>, _| {
        let mut list = within(within(inner, b""), b"");
        list[0] = 0x32;
        list
    });
    assert!(said(&decoder, 6, &first(within(lists, b""))).contains("recursion limit"));
}

#[test]
fn large_values_and_large_schemas_are_not_begun() {
    let decoder = decoder(&[("text", AVRO, "\"string\"", &[])]);
    let large = framed(1, &vec![0; VALUE_BYTES_MAX]);
    let decoded = decode(&decoder, &large);
    assert_eq!(decoded.json, Err(Refused::TooLarge(large.len())));

    let mut fields = String::new();
    for number in 0.. {
        if fields.len() > SCHEMA_BYTES_MAX {
            break;
        }
        write!(fields, r#"{{"name":"f{number}","type":"int"}},"#).unwrap();
    }
    let record =
        format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, &fields[..fields.len() - 1]);
    register(&decoder, "large", 1, 2, AVRO, &record, vec![]);
    assert_eq!(said(&decoder, 2, b""), Refused::SchemaTooLarge(record.len()).to_string());

    let half = format!(
        r#"{{"type":"enum","name":"E","symbols":["{}"]}}"#,
        "S".repeat(SCHEMA_BYTES_MAX / 2)
    );
    register(&decoder, "half", 1, 3, AVRO, &half, vec![]);
    let reference = Reference { name: "E".into(), subject: "half".into(), version: 1 };
    let other = half.replace("\"E\"", "\"F\"");
    register(&decoder, "other", 1, 4, AVRO, &other, vec![reference]);
    assert!(said(&decoder, 4, b"\0").contains("bytes with all that it refers to"));
    assert_eq!(said(&decoder, 3, b"\0").len(), SCHEMA_BYTES_MAX / 2 + 2);
    const { assert!(SCHEMA_BYTES_MAX / 2 + 2 < JSON_BYTES_MAX) };
}

#[test]
fn references_end_even_where_they_form_a_circle() {
    let decoder = decoder(&[]);
    let refers =
        |name: &str| vec![Reference { name: name.into(), subject: name.into(), version: 1 }];
    let record = |name: &str, other: &str| {
        format!(
            r#"{{"type":"record","name":"{name}","fields":[{{"name":"o","type":["null","{other}"]}}]}}"#
        )
    };
    register(&decoder, "A", 1, 1, AVRO, &record("A", "B"), refers("B"));
    register(&decoder, "B", 1, 2, AVRO, &record("B", "A"), refers("A"));
    let circle = said(&decoder, 1, b"\x02\x02\0");
    assert!(
        circle.starts_with("the schema cannot be used: ") || circle.starts_with('{'),
        "{circle}"
    );

    let file = |import: &str| format!("syntax = \"proto3\"; import \"{import}\"; message M {{}}");
    register(&decoder, "p", 1, 3, PROTOBUF, &file("q"), refers("q"));
    register(&decoder, "q", 1, 4, PROTOBUF, &file("p"), refers("p"));
    assert!(said(&decoder, 3, b"\0").contains("the schema cannot be used: "));

    for number in 0..i32::try_from(REFERENCES_MAX).unwrap() + 2 {
        let next = format!("n{}", number + 1);
        let name = format!("n{number}");
        register(&decoder, &name, 1, 100 + number, AVRO, &record(&name, &next), refers(&next));
    }
    assert_eq!(said(&decoder, 100, b"\0"), Refused::TooManyReferences.to_string());
}

#[test]
fn schemas_that_cannot_be_used_are_refused_with_a_reason() {
    let deep_json = format!("{}{}", r#"{"type":"array","items":"#.repeat(5_000), "\"int\"");
    let deep_file = format!("syntax = \"proto3\"; {}", "message M {".repeat(50_000));
    let deep_option = format!(
        "syntax = \"proto3\"; option (a) = {}{};",
        "{ a: ".repeat(50_000),
        "}".repeat(50_000)
    );
    let messages = format!("syntax = \"proto3\"; {}{}", "message M {".repeat(60), "}".repeat(60));
    for (kind, text, part) in [
        (AVRO, "{", "EOF"),
        (AVRO, r#""nobody""#, "nobody"),
        (AVRO, r#"{"type":"record","name":"R","fields":[{"name":"a","type":"X"}]}"#, "X"),
        (AVRO, &deep_json, "recursion limit"),
        (PROTOBUF, "no proto", "expected"),
        (PROTOBUF, "syntax = \"proto3\"; import \"no/such.proto\"; message M {}", "no/such.proto"),
        (PROTOBUF, "syntax = \"proto3\"; message M { Nobody n = 1; }", "Nobody"),
        (PROTOBUF, &deep_file, "brackets nest"),
        (PROTOBUF, &deep_option, "brackets nest"),
        (PROTOBUF, &messages, "recursion limit"),
        (PROTOBUF, "", "no message at [0]"),
    ] {
        let decoder = decoder(&[("s", kind, text, &[])]);
        let why = said(&decoder, 1, b"\0");
        assert!(why.contains(part) && why.len() < 500, "{text:.40}: {why}");
    }
    let decoder = decoder(&[("s", PROTOBUF, "syntax = \"proto3\"; message M {}", &[])]);
    for (bytes, part) in [
        (&b""[..], "they do not begin with the place of a message"),
        (b"\x02\x04", "the schema has no message at [2]"),
        (b"\x40", "they do not begin with the place of a message"),
        (b"\0\x0a\x7f", "the bytes do not fit the schema"),
    ] {
        assert!(said(&decoder, 1, bytes).contains(part), "{bytes:?}: {}", said(&decoder, 1, bytes));
    }
}

#[test]
fn what_is_compiled_is_kept_up_to_a_limit() {
    let decoder = decoder(&[]);
    let count = i32::try_from(COMPILED_MAX).unwrap() * 3;
    for id in 1..=count {
        let schema = format!(r#"{{"type":"enum","name":"E{id}","symbols":["S{id}"]}}"#);
        register(&decoder, &format!("s{id}"), 1, id, AVRO, &schema, vec![]);
    }
    for _ in 0..2 {
        for id in 1..=count {
            assert_eq!(said(&decoder, id.cast_unsigned(), b"\0"), format!("\"S{id}\""));
        }
    }
}
