//! The five codecs of Kafka's record batches, streaming, with a cap on what comes out.

/// A batch's codec, as the low three attribute bits name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}
