//! The five codecs of Kafka's record batches, streaming, with a cap on what comes out.
//!
//! Snappy is read both in the xerial framing that the Java client writes and as one raw block
//! that others write; it is written framed. Output is never allocated on the word of a length
//! field alone: streams grow as they are read, and a snappy block may claim only what snappy can
//! reach.

use std::io::{Read, Write};

use crate::{BatchError, limits};

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

/// `0x82 SNAPPY 0`, then version and lowest compatible version, both 1.
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
const XERIAL_MAGIC_BYTES: usize = 8;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Snappy's best copy makes 64 bytes of 3; more than this is a lie.
const SNAPPY_RATIO_MAX: usize = 32;

impl Compression {
    pub(crate) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Decompresses all of `input` to at most `limit` bytes.
    pub(crate) fn decompress(self, input: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
        match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(input), limit, "gzip"),
            Self::Snappy => snappy(input, limit),
            Self::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(input), limit, "lz4"),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)
                    .map_err(|error| malformed("zstd", &error))?;
                decoder
                    .window_log_max(limits::ZSTD_WINDOW_LOG_MAX)
                    .map_err(|error| malformed("zstd", &error))?;
                read_all(decoder, limit, "zstd")
            }
        }
    }

    /// Compresses `input` at the codec's usual level.
    pub(crate) fn compress(self, input: &[u8]) -> Vec<u8> {
        const IN_MEMORY: &str = "writing to memory does not fail";
        match self {
            Self::None => input.to_vec(),
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(input).expect(IN_MEMORY);
                encoder.finish().expect(IN_MEMORY)
            }
            Self::Snappy => {
                let mut out = XERIAL_HEADER.to_vec();
                for block in input.chunks(XERIAL_BLOCK_BYTES) {
                    let packed = snap::raw::Encoder::new()
                        .compress_vec(block)
                        .expect("a block of 32 KiB is within snappy's limit");
                    out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
                    out.extend_from_slice(&packed);
                }
                out
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(input).expect(IN_MEMORY);
                encoder.finish().expect(IN_MEMORY)
            }
            Self::Zstd => zstd::bulk::compress(input, zstd::DEFAULT_COMPRESSION_LEVEL)
                .expect("the output buffer is sized for the worst case"),
        }
    }
}

fn read_all(from: impl Read, limit: usize, codec: &str) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut out).map_err(|error| malformed(codec, &error))?;
    if out.len() > limit {
        return Err(BatchError::TooLarge { limit });
    }
    Ok(out)
}

fn malformed(codec: &str, cause: &dyn std::error::Error) -> BatchError {
    BatchError::Invalid(format!("{codec}: {cause}"))
}

fn snappy(input: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !input.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]) {
        snappy_block(input, &mut out, limit)?;
        return Ok(out);
    }
    let cut = || BatchError::Invalid("snappy: framing is cut short".to_owned());
    let mut rest = input.get(XERIAL_HEADER.len()..).ok_or_else(cut)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut)?;
        snappy_block(block, &mut out, limit)?;
        rest = after;
    }
    Ok(out)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(block).map_err(|error| malformed("snappy", &error))?;
    let start = out.len();
    if length > limit.saturating_sub(start) {
        return Err(BatchError::TooLarge { limit });
    }
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(BatchError::Invalid(format!(
            "snappy: {} bytes cannot hold {length}",
            block.len()
        )));
    }
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| malformed("snappy", &error))?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn each_codec_returns_what_it_was_given() {
        let long: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        for input in [&b""[..], b"x", b"hello hello hello hello", &long] {
            for codec in CODECS {
                let packed = codec.compress(input);
                assert_eq!(codec.decompress(&packed, input.len()).unwrap(), input, "{codec:?}");
            }
        }
    }

    #[test]
    fn output_past_the_limit_is_refused() {
        let zeros = vec![0; 1_000_000];
        for codec in CODECS {
            let packed = codec.compress(&zeros);
            let limit = zeros.len() - 1;
            assert_eq!(
                codec.decompress(&packed, limit),
                Err(BatchError::TooLarge { limit }),
                "{codec:?}"
            );
        }
    }

    #[test]
    fn a_raw_snappy_block_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"raw raw raw").unwrap();
        assert_eq!(Compression::Snappy.decompress(&packed, 100).unwrap(), b"raw raw raw");
    }

    #[test]
    fn a_snappy_block_cannot_claim_more_than_snappy_reaches() {
        let claims_100_mb = [0x80, 0xc2, 0xd7, 0x2f, 0x00];
        assert_eq!(
            Compression::Snappy.decompress(&claims_100_mb, 100_000_000),
            Err(BatchError::Invalid("snappy: 5 bytes cannot hold 100000000".to_owned()))
        );
    }

    /// Streams do not always tell that they were cut; the record count then does. What comes out
    /// is a part of the original all the same.
    #[test]
    fn cut_input_never_yields_other_bytes() {
        let input = b"some bytes that are long enough".repeat(20);
        for codec in CODECS {
            let packed = codec.compress(&input);
            for cut in 1..packed.len() {
                match codec.decompress(&packed[..cut], 10_000) {
                    Ok(out) => assert!(input.starts_with(&out), "{codec:?} cut at {cut}"),
                    Err(BatchError::Invalid(_) | BatchError::TooLarge { .. }) => {}
                    Err(other) => panic!("{codec:?} cut at {cut}: {other}"),
                }
            }
        }
    }
}
