//! Limits of the registry, with what each protects.

/// Bytes of one schema's text: it has to fit into one record of `_schemas` (1 MiB by default) and
/// JSON escaping may double it.
pub const SCHEMA_BYTES_MAX: usize = 400 * 1024;
/// Bytes of a subject's name, which is part of a record key and of every URL.
pub const SUBJECT_BYTES_MAX: usize = 512;
/// Named types in one Avro schema; checking is linear in them.
pub const AVRO_NAMES_MAX: usize = 10_000;

const _: () = assert!(2 * SCHEMA_BYTES_MAX < 1024 * 1024);
