//! Values by schemas of a registry: as clients write them, as the libraries write them, and as nobody should.

mod avro;
mod clients;
mod hostile;
mod protobuf;
mod registry;

use tidings_decode::{Decoded, Decoder, Part, Side};
use tidings_schema::{Change, Reference, SchemaType};

pub(crate) const AVRO: SchemaType = SchemaType::Avro;
pub(crate) const PROTOBUF: SchemaType = SchemaType::Protobuf;

/// Subject, kind and text of a schema, and what it refers to: names and their subjects.
type Registered<'a> = (&'a str, SchemaType, &'a str, &'a [(&'a str, &'a str)]);

/// A registry whose schemas have the ids 1, 2, …, each the first version of its subject.
pub(crate) fn decoder(schemas: &[Registered<'_>]) -> Decoder {
    let decoder = Decoder::default();
    for ((subject, kind, text, references), id) in schemas.iter().zip(1..) {
        let reference = |(name, subject): &(&str, &str)| Reference {
            name: (*name).into(),
            subject: (*subject).into(),
            version: 1,
        };
        let references = references.iter().map(reference).collect();
        register(&decoder, subject, 1, id, *kind, text, references);
    }
    decoder
}

pub(crate) fn register(
    decoder: &Decoder,
    subject: &str,
    version: i32,
    id: i32,
    kind: SchemaType,
    text: &str,
    references: Vec<Reference>,
) {
    let (subject, schema) = (subject.to_owned(), text.to_owned());
    let change = Change::Version { subject, version, id, kind, references, schema, deleted: false };
    let (key, value) = change.to_record();
    decoder.take(Some(&key), value.as_deref());
}

pub(crate) fn framed(id: u32, rest: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), rest].concat()
}

/// A value of the topic `orders`.
pub(crate) fn decode(decoder: &Decoder, bytes: &[u8]) -> Decoded {
    let part = Part { side: Side::Value, topic: "orders", bytes, header: None };
    decoder.decode(part).expect("it names a schema")
}

/// The JSON, or why there is none.
pub(crate) fn said(decoder: &Decoder, id: u32, rest: &[u8]) -> String {
    let json = decode(decoder, &framed(id, rest)).json;
    json.unwrap_or_else(|refused| refused.to_string())
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}
