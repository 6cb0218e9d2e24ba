//! Keys and values in Avro, Protobuf and JSON Schema as JSON, by the schemas of a registry.
//!
//! A [`Decoder`] is fed with the records of the topic `_schemas`, from wherever its owner reads them, and then says of
//! bytes what they are ([`Decoder::decode`]). It does no I/O.
//!
//! Bytes and schemas may come from anyone. Whatever they are, one decoding takes bounded memory, time and stack, and ends in
//! JSON or in a [`Refused`] that says why in one clause. The [limits] have names.
//!
//! What the JSON is like:
//! - The order of fields is the schema's. Whole numbers keep all their digits, in the text; whoever reads them as floating point
//!   does not.
//! - Avro: the value of a union stands by itself. Bytes are hexadecimal after `0x`. Of logical types, timestamps are RFC 3339, dates
//!   and times as it has them, decimals are numbers, UUIDs texts. A moment outside the years 0 to 9999 is its number.
//! - Protobuf: its JSON mapping (bytes in base64, `lowerCamelCase`), with fields that have their default, and 64-bit numbers as numbers.
//! - JSON Schema: the JSON as it was written. It is not validated.
//!
//! Not known: ids of other contexts than the default one, encryption and other rules of data contracts.
#![forbid(unsafe_code)]

mod avro;
mod decoder;
mod framing;
mod json;
pub mod limits;
mod protobuf;
mod refused;
mod schemas;

pub use decoder::{Decoded, Decoder, Part, Side, Used};
pub use framing::SchemaRef;
pub use refused::Refused;
pub use schemas::Latest;
