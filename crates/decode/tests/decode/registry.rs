//! Which schema it is, and what the registry's changes do to what was compiled.

use tidings_decode::{Part, SchemaRef, Side};

use super::*;

#[test]
fn the_subject_of_the_topic_is_named_where_several_have_the_schema() {
    let decoder = decoder(&[]);
    for (subject, version) in
        [("a", 1), ("orders-key", 4), ("orders-value", 2), ("orders-value", 3), ("z", 1)]
    {
        register(&decoder, subject, version, 9, AVRO, "\"int\"", vec![]);
    }
    let used = |side, topic| {
        let bytes = framed(9, b"\x02");
        let decoded = decoder.decode(Part { side, topic, bytes: &bytes, header: None }).unwrap();
        decoded.used.map(|used| (used.subject, used.version)).unwrap()
    };
    assert_eq!(used(Side::Value, "orders"), ("orders-value".to_owned(), 3));
    assert_eq!(used(Side::Key, "orders"), ("orders-key".to_owned(), 4));
    assert_eq!(used(Side::Value, "nobody"), ("a".to_owned(), 1));
}

#[test]
fn what_the_registry_gains_and_loses_is_seen() {
    let decoder = decoder(&[]);
    let unknown = "the registry has no schema 1";
    assert_eq!(said(&decoder, 1, b"\x02"), unknown);
    let bytes = framed(1, b"\x02");
    let part = Part { side: Side::Value, topic: "t", bytes: &bytes, header: None };
    assert_eq!(decoder.lacks(part), Some(SchemaRef::Id(1)));
    let reference = Reference { name: "E".into(), subject: "e".into(), version: 1 };
    let array = r#"{"type":"array","items":"E"}"#;
    register(&decoder, "a", 1, 1, AVRO, array, vec![reference]);
    assert_eq!(decoder.lacks(part), None);
    assert_eq!(
        said(&decoder, 1, b"\x02\0\0"),
        "the schema refers to version 1 of e, which the registry does not have"
    );
    let symbols = r#"{"type":"enum","name":"E","symbols":["X"]}"#;
    register(&decoder, "e", 1, 2, AVRO, symbols, vec![]);
    assert_eq!(said(&decoder, 1, b"\x02\0\0"), "[\"X\"]");
    let (key, _) = Change::VersionErased { subject: "a".into(), version: 1 }.to_record();
    decoder.take(Some(&key), None);
    assert_eq!(said(&decoder, 1, b"\x02\0\0"), unknown);
    assert_eq!(said(&decoder, 2, b"\0"), "\"X\"");
    decoder.forget();
    assert_eq!(said(&decoder, 2, b"\0"), "the registry has no schema 2");
}

#[test]
fn json_behind_an_unknown_id_is_json_all_the_same() {
    let decoded = decode(&decoder(&[]), &framed(77, b"{\"a\":1}"));
    assert_eq!(decoded.json.as_deref(), Ok("{\"a\":1}"));
    assert_eq!((decoded.id, decoded.kind, decoded.used), (None, None, None));
    let part = Part { side: Side::Value, topic: "t", bytes: b"{\"a\":1}", header: None };
    assert_eq!(decoder(&[]).decode(part), None);
    let part = Part { bytes: b"\x010123456789abcdef{}", ..part };
    assert_eq!(decoder(&[]).decode(part), None, "a one may begin anything");
    let part = Part { bytes: b"\0\0\0\0\0\0\0\x07", ..part };
    assert_eq!(decoder(&[]).decode(part), None, "a number of eight bytes has no schema 0");
    assert_eq!(decoder(&[]).lacks(part), None);
}

#[test]
fn a_key_that_is_a_text_reads_as_that_text() {
    let decoder = decoder(&[("k", AVRO, "\"string\"", &[]), ("n", AVRO, "\"int\"", &[])]);
    let plain = |id, rest: &[u8]| {
        decode(&decoder, &framed(id, rest)).plain().map(std::borrow::Cow::into_owned)
    };
    assert_eq!(plain(1, b"\x06A-7").as_deref(), Some("A-7"));
    assert_eq!(plain(2, b"\x0e").as_deref(), Some("7"));
    assert_eq!(plain(2, b""), None);
}
