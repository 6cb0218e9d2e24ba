//! A small seeded generator (SplitMix64) for ids; not for secrets.

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    /// A version 4 UUID whose text in base64 does not begin with `-`, which tools would take for
    /// an option.
    pub(crate) fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = self.bytes();
        bytes[0] &= 0x7f;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

/// The 22 characters of URL-safe base64 in which Kafka writes a UUID.
pub(crate) fn base64(uuid: [u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(uuid);
    let digit = |place: u32| {
        // 128 bits are 21 digits of 6 bits and one of 2, which stand at the top of the last digit.
        let six = if place < 21 { number >> (122 - 6 * place) & 63 } else { (number & 3) << 4 };
        char::from(ALPHABET[usize::try_from(six).expect("six bits")])
    };
    (0..22).map(digit).collect()
}

/// The UUID of a text that [`base64`] made.
pub(crate) fn from_base64(text: &str) -> Option<[u8; 16]> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let digits: &[u8; 22] = text.as_bytes().try_into().ok()?;
    let mut number = 0u128;
    for digit in &digits[..21] {
        number = number << 6 | u128::from(value(*digit)?);
    }
    let last = value(digits[21])?;
    (last & 0x0f == 0).then(|| (number << 2 | u128::from(last >> 4)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_survives_its_text() {
        // Kafka prints Uuid(1, 2) like this.
        let mut one_two = [0; 16];
        one_two[7] = 1;
        one_two[15] = 2;
        assert_eq!(base64(one_two), "AAAAAAAAAAEAAAAAAAAAAg");
        let mut random = Random::new(7);
        for _ in 0..100 {
            let uuid = random.uuid();
            assert_eq!(from_base64(&base64(uuid)), Some(uuid));
        }
        assert_eq!(from_base64("AAAAAAAAAAEAAAAAAAAAAB"), None, "stray low bits");
        assert_eq!(from_base64("short"), None);
        assert_eq!(from_base64("*AAAAAAAAAEAAAAAAAAAAg"), None);
    }
}
