//! What decompresses to much: honest batches of equal bytes are taken, bombs are refused by what they are
//! allowed to become, and nothing is decompressed twice.

use bytes::Bytes;

use super::tests::{COMPACTED, NOW, invalid};
use super::*;
use crate::limits::{DECOMPRESSED_BYTES_FREE, DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_MAX};
use crate::{BatchBuilder, NewRecord};

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const MIB: usize = 1 << 20;

/// A batch of one record with a value of so many equal bytes.
fn equal(codec: Compression, value_bytes: usize) -> Bytes {
    let value = Some(Bytes::from(vec![7; value_bytes]));
    let key = Some(Bytes::from_static(b"k"));
    let mut builder = BatchBuilder::new().compression(codec);
    builder.push(&NewRecord { timestamp: NOW, key, value, ..NewRecord::default() });
    builder.build().bytes().clone()
}

/// The same with this in place of its compressed records.
fn holding(codec: Compression, packed: &[u8]) -> Bytes {
    let mut bytes = equal(codec, 1)[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(packed);
    let length = i32::try_from(bytes.len() - super::super::LENGTH_END).expect("not so long");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[super::super::CRC_END..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn refused(bytes: &Bytes) -> Option<BatchRefused> {
    Batch::from_producer(bytes.clone(), &COMPACTED).err()
}

fn more_than(bytes: usize) -> Option<BatchRefused> {
    invalid(&format!("decompresses to more than {bytes} bytes"))
}

#[test]
fn a_few_megabytes_of_equal_bytes_are_taken_however_small_they_are_packed() {
    for codec in CODECS {
        for bytes in [0, 1000, MIB, DECOMPRESSED_BYTES_FREE - 1000] {
            let batch = equal(codec, bytes);
            assert_eq!(refused(&batch), None, "{codec:?}: {bytes} in {}", batch.len());
        }
    }
    let packed = equal(Compression::Zstd, MIB).len();
    assert!(MIB / packed > 5 * DECOMPRESSION_RATIO_MAX, "honest, and in {packed} bytes");
}

#[test]
fn what_becomes_more_than_it_may_is_refused() {
    for codec in CODECS {
        let bomb = equal(codec, 2 * DECOMPRESSED_BYTES_MAX);
        let most = decompressed_bytes_max(bomb.len() - HEADER_BYTES);
        assert_eq!(refused(&bomb), more_than(most), "{codec:?} in {} bytes", bomb.len());
        // Only of zstd so little may hold so much.
        let is_small = most < DECOMPRESSED_BYTES_MAX;
        assert_eq!(is_small, codec == Compression::Zstd, "{codec:?} in {} bytes", bomb.len());
    }
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let large = equal(codec, DECOMPRESSED_BYTES_MAX - 1000);
        assert_eq!(refused(&large), None, "{codec:?}: its best ratio is no bomb");
    }
}

#[test]
fn what_may_come_out_grows_with_what_there_is() {
    for (packed, most) in [
        (0, DECOMPRESSED_BYTES_FREE),
        (DECOMPRESSED_BYTES_FREE / DECOMPRESSION_RATIO_MAX, DECOMPRESSED_BYTES_FREE),
        (20_000, 20_000 * DECOMPRESSION_RATIO_MAX),
        (MIB, DECOMPRESSED_BYTES_MAX),
        (usize::MAX, DECOMPRESSED_BYTES_MAX),
    ] {
        assert_eq!(decompressed_bytes_max(packed), most, "{packed}");
    }
}

#[test]
fn a_bomb_of_many_frames_is_one_bomb() {
    for codec in [Compression::Gzip, Compression::Zstd] {
        let frame = codec.compress(&vec![0; MIB]);
        let packed = frame.repeat(200);
        let most = decompressed_bytes_max(packed.len());
        assert_eq!(refused(&holding(codec, &packed)), more_than(most), "{codec:?}");
    }
}

#[test]
fn a_bomb_in_a_record_stays_packed() {
    let bomb = equal(Compression::Zstd, 2 * DECOMPRESSED_BYTES_MAX);
    let key = Some(Bytes::from_static(b"k"));
    let mut builder = BatchBuilder::new().compression(Compression::Zstd);
    builder.push(&NewRecord { timestamp: NOW, key, value: Some(bomb), ..NewRecord::default() });
    assert_eq!(refused(builder.build().bytes()), None);
}

#[test]
fn frames_that_promise_what_they_do_not_have_are_refused() {
    let zstd_magic = [0x28, 0xb5, 0x2f, 0xfd];
    let with = |rest: &[u8]| [&zstd_magic[..], rest].concat();
    let table: [(&str, Compression, Vec<u8>); 7] = [
        // A window of 2^31, and one of the largest there is.
        ("a huge window", Compression::Zstd, with(&[0x00, 0xa8, 0x01, 0x00, 0x00])),
        ("the hugest window", Compression::Zstd, with(&[0x00, 0xff, 0x01, 0x00, 0x00])),
        // A frame of one segment with a content of 2^63 bytes.
        (
            "a huge content",
            Compression::Zstd,
            with(&[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x01, 0x00, 0x00]),
        ),
        // Skippable frames, of which the last never ends.
        (
            "an endless frame to be skipped",
            Compression::Zstd,
            vec![0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0],
        ),
        // The length of a block alone.
        ("an endless block", Compression::Lz4, {
            let mut frame = Compression::Lz4.compress(&[0; 100]);
            frame.truncate(7);
            frame.extend_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
            frame
        }),
        ("a member without an end", Compression::Gzip, {
            let mut member = Compression::Gzip.compress(&vec![0; MIB]);
            member.truncate(member.len() / 2);
            member
        }),
        ("a block of 4 GiB", Compression::Snappy, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]),
    ];
    for (name, codec, packed) in table {
        let found = refused(&holding(codec, &packed)).map(|refused| refused.kind);
        assert_eq!(found, Some(RefusalKind::InvalidRecord), "{name}");
    }
}

/// Each frame costs the decoder something and yields nothing.
#[test]
fn a_megabyte_of_empty_frames_yields_nothing() {
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let empty = codec.compress(&[]);
        let packed = empty.repeat(MIB / empty.len());
        let found = refused(&holding(codec, &packed));
        assert_eq!(found, invalid("1 records in 0 bytes"), "{codec:?}");
    }
}
