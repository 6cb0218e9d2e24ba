//! Zigzag varints as Kafka's records use them: 7 bits a byte, least significant group first.

use bytes::Buf;

/// Appends `value`, zigzag encoded, in one to ten bytes.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`put`] uses for `value`.
pub(super) fn size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes one varint of up to 64 bits; none when it is cut short or too long.
pub(super) fn take_i64(bytes: &mut impl Buf) -> Option<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        if !bytes.has_remaining() {
            return None;
        }
        let byte = bytes.get_u8();
        let group = u64::from(byte & 0x7f);
        if shift == 63 && group > 1 {
            return None;
        }
        zigzag |= group << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    None
}

/// Takes one varint that must fit 32 bits.
pub(super) fn take_i32(bytes: &mut impl Buf) -> Option<i32> {
    i32::try_from(take_i64(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn values_have_their_known_encodings() {
        let table: &[(i64, &[u8])] = &[
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-65, &[0x81, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ];
        for &(value, encoded) in table {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, encoded, "{value}");
            assert_eq!(size(value), encoded.len(), "{value}");
            let mut bytes = Bytes::copy_from_slice(encoded);
            assert_eq!(take_i64(&mut bytes), Some(value));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn cut_and_overlong_varints_are_refused() {
        for encoded in [&[][..], &[0x80], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0x80]] {
            assert_eq!(take_i64(&mut Bytes::copy_from_slice(encoded)), None, "{encoded:?}");
        }
        let past_64_bits = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
        assert_eq!(take_i64(&mut Bytes::copy_from_slice(&past_64_bits)), None);
        let past_32_bits = [0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(take_i32(&mut Bytes::copy_from_slice(&past_32_bits)), None);
    }
}
