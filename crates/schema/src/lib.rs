//! The schema registry's rules as values: subjects, versions, ids, deletion.
//!
//! The registry's state is a fold of `_schemas`, a topic in Confluent's own record format.
//! `decide_*` looks at the state and either refuses or yields [`Change`]s; whoever owns the topic
//! appends them and feeds what it reads back to [`Registry::apply`], which cannot fail.
//!
//! Invariants: an id names one schema text for ever; the same schema (by meaning, not by spelling)
//! has one id in all subjects; version numbers of a subject grow; soft-deleted versions keep their
//! numbers.
//!
//! Not supported, and refused as such: Protobuf, references, metadata and rule sets, and every
//! compatibility level except `NONE`. A `_schemas` topic that already holds them is served.
#![forbid(unsafe_code)]

mod avro;
mod change;
mod definition;
pub mod limits;
mod refused;
mod registry;

pub use change::{Change, UnreadableChange};
pub use definition::{Definition, Reference, SchemaType};
pub use refused::Refused;
pub use registry::{
    Level, Listing, Registered, Registry, Schema, SchemaId, SubjectVersion, Version, VersionRef,
};
