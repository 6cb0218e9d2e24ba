//! Protobuf: its JSON mapping, and files that import others.

use super::*;

#[test]
fn the_json_is_protobufs_mapping_with_all_fields() {
    let schema = r#"syntax = "proto3";
        import "google/protobuf/wrappers.proto";
        import "google/protobuf/struct.proto";
        import "google/protobuf/any.proto";
        import "google/type/money.proto";
        import "confluent/meta.proto";
        import "confluent/type/decimal.proto";
        message Order {
          int64 order_id = 1 [(confluent.field_meta).doc = "which"];
          bool paid = 2;
          Kind kind = 3;
          google.protobuf.StringValue note = 4;
          oneof how { string card = 5; string iban = 6; }
          optional int32 qty = 7;
          uint64 big = 8;
          google.protobuf.Value free = 9;
          google.type.Money price = 10;
          google.protobuf.Any any = 11;
          confluent.type.Decimal exact = 12;
          double rate = 13;
        }
        enum Kind { NEW = 0; OLD = 1; }"#;
    let decoder = decoder(&[("orders-value", PROTOBUF, schema, &[])]);
    let with = |part: &str| {
        format!(r#"{{"orderId":0,"paid":false,"kind":"NEW",{part}"big":0,"rate":0.0}}"#)
    };
    for (hex, wanted) in [
        ("", with("")),
        ("2a0141", with(r#""card":"A","#)),
        ("3800", with(r#""qty":0,"#)),
        ("2200", with(r#""note":"","#)),
        ("1801", r#"{"orderId":0,"paid":false,"kind":"OLD","big":0,"rate":0.0}"#.to_owned()),
        (
            "40ffffffffffffffffff01",
            r#"{"orderId":0,"paid":false,"kind":"NEW","big":18446744073709551615,"rate":0.0}"#
                .to_owned(),
        ),
    ] {
        let bytes = [&[0][..], &bytes(hex)].concat();
        assert_eq!(said(&decoder, 1, &bytes), wanted, "{hex}");
    }
}

#[test]
fn imports_are_found_in_other_subjects_and_in_their_references() {
    let order = r#"syntax = "proto3";
        package shop;
        import "shop/address.proto";
        message Order { Address to = 1; }"#;
    let address = r#"syntax = "proto3";
        package shop;
        import public "shop/land.proto";
        message Address { Land land = 1; }"#;
    let land = r#"syntax = "proto3"; package shop; enum Land { GB = 0; DE = 1; }"#;
    let decoder = decoder(&[
        ("land", PROTOBUF, land, &[]),
        ("address", PROTOBUF, address, &[("shop/land.proto", "land")]),
        ("orders-value", PROTOBUF, order, &[("shop/address.proto", "address")]),
    ]);
    assert_eq!(said(&decoder, 3, b"\0\x0a\x02\x08\x01"), r#"{"to":{"land":"DE"}}"#);
}

#[test]
fn fields_that_the_schema_does_not_have_are_counted() {
    let decoder =
        decoder(&[("v", PROTOBUF, "syntax = \"proto3\"; message M { int32 a = 1; }", &[])]);
    let decoded = decode(&decoder, &framed(1, b"\0\x08\x01\x10\x02\x18\x03"));
    assert_eq!(decoded.json.as_deref(), Ok(r#"{"a":1}"#));
    assert_eq!(decoded.unknown_fields, 2);
}
