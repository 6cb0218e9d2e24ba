//! Limits of decoding, with what each protects.

/// Bytes of a schema's text together with all that it refers to. The worst takes 0.7 s and 110 MB to compile, which one at a
/// time is.
pub const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Schemas that one refers to, directly or not.
pub const REFERENCES_MAX: usize = 200;
/// How deep brackets of a `.proto` file nest: each level takes stack of its parser.
pub const PROTO_NESTING_MAX: usize = 64;
/// Compiled schemas that are kept, those used last.
pub const COMPILED_MAX: usize = 200;
/// Bytes of their texts, which take up to a hundred times as much memory.
pub const COMPILED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of the texts of all schemas; what a registry has beyond them is not known.
pub const SCHEMAS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a key or value that are decoded. Those of Protobuf are decoded into memory, up to fifty times as much.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the JSON; what would be longer is not decoded. It bounds time as well, since whatever is decoded is written.
pub const JSON_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How deep values nest. Each level takes stack.
pub const VALUE_DEPTH_MAX: usize = 100;
/// Places in the list that says which message of a `.proto` file is meant.
pub const MESSAGE_INDEXES_MAX: usize = 32;
/// Bytes of a decimal that is written as a number, 154 digits; a longer one is hexadecimal.
pub const DECIMAL_BYTES_MAX: usize = 64;
/// Digits after its point; one with more has an exponent.
pub const DECIMAL_SCALE_MAX: usize = 200;
/// Characters of a library's reason that are passed on.
pub const REASON_CHARS_MAX: usize = 300;

const _: () = assert!(SCHEMA_BYTES_MAX <= COMPILED_BYTES_MAX);
const _: () = assert!(MESSAGE_INDEXES_MAX < VALUE_DEPTH_MAX);
