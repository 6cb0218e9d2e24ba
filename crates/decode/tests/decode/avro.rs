//! Avro as the library writes it.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};

use super::*;

fn written(schema: &str, value: Value) -> String {
    let parsed = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&parsed).build().unwrap();
    let bytes = writer.write_value_to_vec(value).unwrap();
    said(&decoder(&[("orders-value", AVRO, schema, &[])]), 1, &bytes)
}

#[test]
fn every_type_has_its_json() {
    let text = |text: &str| Value::String(text.into());
    let union = |at, value| Value::Union(at, Box::new(value));
    for (schema, value, wanted) in [
        (r#""null""#, Value::Null, "null"),
        (r#""boolean""#, Value::Boolean(true), "true"),
        (r#""int""#, Value::Int(-5), "-5"),
        (r#""long""#, Value::Long(i64::MIN), "-9223372036854775808"),
        (r#""long""#, Value::Long(9_007_199_254_740_993), "9007199254740993"),
        (r#""float""#, Value::Float(0.1), "0.1"),
        (r#""double""#, Value::Double(1e100), "1e+100"),
        (r#""double""#, Value::Double(f64::NAN), "\"NaN\""),
        (r#""double""#, Value::Double(f64::NEG_INFINITY), "\"-Infinity\""),
        (r#""string""#, text("a\"\n\u{1}ü"), r#""a\"\n\u0001ü""#),
        (r#"{"type":"array","items":"int"}"#, Value::Array(vec![]), "[]"),
        (
            r#"{"type":"array","items":"int"}"#,
            Value::Array(vec![Value::Int(1), Value::Int(2)]),
            "[1,2]",
        ),
        (r#"["null","string"]"#, union(0, Value::Null), "null"),
        (r#"["null","string"]"#, union(1, text("x")), "\"x\""),
        (r#"{"type":"fixed","name":"F","size":2}"#, Value::Fixed(2, vec![0xab, 0]), "\"0xab00\""),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}"#,
            Value::Decimal(Decimal::from(vec![0x04, 0xd2])),
            "1.234",
        ),
        (r#"{"type":"int","logicalType":"date"}"#, Value::Date(20_788), "\"2026-12-01\""),
        (
            r#"{"type":"int","logicalType":"time-millis"}"#,
            Value::TimeMillis(34_200_001),
            "\"09:30:00.001\"",
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            Value::TimestampMicros(1_796_117_400_000_001),
            "\"2026-12-01T09:30:00.000001Z\"",
        ),
        (
            r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
            Value::LocalTimestampMillis(1_796_117_400_000),
            "\"2026-12-01T09:30:00\"",
        ),
        (r#"{"type":"int","logicalType":"of-nobody"}"#, Value::Int(3), "3"),
    ] {
        assert_eq!(written(schema, value), wanted, "{schema}");
    }
}

#[test]
fn bytes_alone_have_no_length_before_them() {
    let decoder = decoder(&[("orders-value", AVRO, r#""bytes""#, &[])]);
    assert_eq!(said(&decoder, 1, b"\x01\xff"), "\"0x01ff\"");
    assert_eq!(said(&decoder, 1, b""), "\"0x\"");
}

#[test]
fn a_type_that_holds_itself_is_read() {
    let list = r#"{"type":"record","name":"L","namespace":"a.b","fields":[
        {"name":"v","type":"int"},{"name":"next","type":["null","L"]}]}"#;
    let decoder = decoder(&[("orders-value", AVRO, list, &[])]);
    assert_eq!(said(&decoder, 1, b"\x02\x02\x04\0"), r#"{"v":1,"next":{"v":2,"next":null}}"#);
}

#[test]
fn names_are_found_in_other_subjects_and_in_their_references() {
    let address = r#"{"type":"record","name":"Address","namespace":"shop","fields":[
        {"name":"city","type":"string"},{"name":"land","type":"shop.geo.Land"}]}"#;
    let land = r#"{"type":"enum","name":"Land","namespace":"shop.geo","symbols":["GB","DE"]}"#;
    let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
        {"name":"to","type":"Address"},{"name":"from","type":"shop.Address"},
        {"name":"land","type":"shop.geo.Land"}]}"#;
    let decoder = decoder(&[
        ("land", AVRO, land, &[]),
        ("address", AVRO, address, &[("shop.geo.Land", "land")]),
        (
            "orders-value",
            AVRO,
            order,
            &[("shop.Address", "address"), ("shop.geo.Land", "land"), ("Again", "land")],
        ),
    ]);
    assert_eq!(
        said(&decoder, 3, b"\x02Y\x00\x02Z\x02\x02"),
        r#"{"to":{"city":"Y","land":"GB"},"from":{"city":"Z","land":"DE"},"land":"DE"}"#
    );
}

#[test]
fn blocks_may_have_their_size_before_them() {
    let array = r#"{"type":"array","items":"int"}"#;
    let decoder = decoder(&[("orders-value", AVRO, array, &[])]);
    assert_eq!(said(&decoder, 1, b"\x03\x04\x02\x04\x02\x06\0"), "[1,2,3]");
}
