//! Bytes that confluent-kafka-python 2.16.1 wrote, with fastavro 1.13.1 and protobuf 7.36.2.

use serde_json::{Value, json};
use tidings_decode::{Part, SchemaRef, Side};

use super::*;

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},{"name":"who","type":["null","string"]},
    {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"ref","type":{"type":"string","logicalType":"uuid"}},
    {"name":"tags","type":{"type":"map","values":"int"}},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["NEW","OLD"]}},
    {"name":"raw","type":"bytes"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},{"name":"price","type":"double"}]}}}]}"#;
const ORDER_BYTES: &str = "82808080808080200206416e6e04fb32f6a8848fc668e8c4024830663866616435622d643963622d343639662d613136352d3730383637373238393530650202610200020400ff02044131000000000000f83f00";
const ORDER_JSON: &str = r#"{"id":9007199254740993,"who":"Ann","total":-12.30,"at":"2026-12-01T09:30:00.123Z","day":"2026-12-01","ref":"0f8fad5b-d9cb-469f-a165-70867728950e","tags":{"a":1},"kind":"OLD","raw":"0x00ff","lines":[{"sku":"A1","price":1.5}]}"#;

const SHOP: &str = r#"syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    message Other { int32 x = 1; }
    message Outer {
      map<string, int32> tags = 1;
      message Order {
        int64 order_id = 1;
        string who = 2;
        google.protobuf.Timestamp at = 3;
        bytes raw = 4;
        repeated int32 qty = 5;
      }
    }"#;
/// The same as this client registers it: a file descriptor.
const SHOP_DESCRIPTOR: &str = "CgpzaG9wLnByb3RvEgRzaG9wGh9nb29nbGUvcHJvdG9idWYvdGltZXN0YW1wLnByb3RvIhIKBU90aGVyEgkKAXgYASABKAUiwwEKBU91dGVyEiMKBHRhZ3MYASADKAsyFS5zaG9wLk91dGVyLlRhZ3NFbnRyeRorCglUYWdzRW50cnkSCwoDa2V5GAEgASgJEg0KBXZhbHVlGAIgASgFOgI4ARpoCgVPcmRlchIQCghvcmRlcl9pZBgBIAEoAxILCgN3aG8YAiABKAkSJgoCYXQYAyABKAsyGi5nb29nbGUucHJvdG9idWYuVGltZXN0YW1wEgsKA3JhdxgEIAEoDBILCgNxdHkYBSADKAViBnByb3RvMw==";

#[test]
fn avro_is_read_with_its_logical_types() {
    let decoder = decoder(&[("orders-value", AVRO, ORDER, &[])]);
    let decoded = decode(&decoder, &bytes(&format!("0000000001{ORDER_BYTES}")));
    assert_eq!(decoded.json.as_deref(), Ok(ORDER_JSON));
    assert_eq!(decoded.type_name.as_deref(), Some("shop.Order"));
    assert_eq!((decoded.id, decoded.kind), (Some(1), Some(AVRO)));
}

#[test]
fn a_schema_may_be_named_in_a_header() {
    let decoder = decoder(&[]);
    let key = json!({"keytype": "SCHEMA", "subject": "orders-value", "version": 3, "magic": 1});
    let register = |id: i32, kind: &str, schema: &str, guid: &str| {
        let value = json!({"subject": "orders-value", "version": 3, "id": id, "schemaType": kind,
            "schema": schema, "guid": guid, "deleted": false});
        let bytes = |json: &Value| json.to_string().into_bytes();
        decoder.take(Some(&bytes(&key)), Some(&bytes(&value)));
    };
    register(7, "AVRO", ORDER, "27d48d4d-fcb2-467a-9a6b-0e4dd5cd6d15");
    register(8, "PROTOBUF", SHOP, "a5f3b3e0-1fa2-4b69-a24e-460dc0521e59");
    let order = bytes("0881808080808080101203416e6e1a0b0898a7bad80610c0a9d33a220200ff2a020102");
    for (header, bytes, schema, type_name) in [
        (
            "0127d48d4dfcb2467a9a6b0e4dd5cd6d15",
            bytes(ORDER_BYTES),
            "27d48d4d-fcb2-467a-9a6b-0e4dd5cd6d15",
            "shop.Order",
        ),
        (
            "01a5f3b3e01fa24b69a24e460dc0521e59040202",
            order,
            "a5f3b3e0-1fa2-4b69-a24e-460dc0521e59",
            "shop.Outer.Order",
        ),
    ] {
        let header = super::bytes(header);
        let part =
            Part { side: Side::Value, topic: "orders", bytes: &bytes, header: Some(&header) };
        let decoded = decoder.decode(part).unwrap();
        assert!(decoded.json.is_ok(), "{decoded:?}");
        assert_eq!(decoded.schema.to_string(), schema);
        assert!(matches!(decoded.schema, SchemaRef::Guid(_)));
        assert_eq!(decoded.type_name.as_deref(), Some(type_name));
    }
}

#[test]
fn protobuf_is_read_whichever_message_of_the_file_it_is() {
    for schema in [SHOP, SHOP_DESCRIPTOR] {
        let decoder = decoder(&[("orders-value", PROTOBUF, schema, &[])]);
        for (hex, type_name, wanted) in [
            ("0000000001000807", "shop.Other", r#"{"x":7}"#),
            ("000000000102020a050a01611001", "shop.Outer", r#"{"tags":{"a":1}}"#),
            // Python counts the entries of the map as the first message within, Java does not.
            (
                "00000000010402020881808080808080101203416e6e1a0b0898a7bad80610c0a9d33a220200ff2a020102",
                "shop.Outer.Order",
                r#"{"orderId":9007199254740993,"who":"Ann","at":"2026-12-01T09:30:00.123Z","raw":"AP8=","qty":[1,2]}"#,
            ),
            (
                "00000000010402000881808080808080101203416e6e1a0b0898a7bad80610c0a9d33a220200ff2a020102",
                "shop.Outer.Order",
                r#"{"orderId":9007199254740993,"who":"Ann","at":"2026-12-01T09:30:00.123Z","raw":"AP8=","qty":[1,2]}"#,
            ),
        ] {
            let decoded = decode(&decoder, &bytes(hex));
            assert_eq!(decoded.json.as_deref(), Ok(wanted), "{hex}");
            assert_eq!(decoded.type_name.as_deref(), Some(type_name));
            assert_eq!(decoded.unknown_fields, 0);
        }
    }
}

#[test]
fn json_stays_as_it_was_written() {
    let decoder = decoder(&[("notes-value", SchemaType::Json, r#"{"type":"object"}"#, &[])]);
    let decoded = decode(&decoder, &bytes("00000000017b2261223a312e317d"));
    assert_eq!(decoded.json.as_deref(), Ok(r#"{"a":1.1}"#));
    assert_eq!(said(&decoder, 1, b"{\"a\":1.10, \"a\":2}"), "{\"a\":1.10, \"a\":2}");
    assert_eq!(said(&decoder, 1, b"{\"a\":"), "the bytes do not fit the schema: they are no JSON");
}
