//! What URLs say: cursors, an offset for each partition, and names.

use std::collections::BTreeMap;

use crate::trouble::Trouble;

/// The next offset of each partition.
pub type Cursor = BTreeMap<i32, i64>;

/// Offsets of partitions, as URLs write them: `partition:offset,…`.
pub fn cursor(said: &str) -> Result<Cursor, Trouble> {
    let places = said.split(',').filter(|place| !place.is_empty());
    let parsed: Option<Cursor> = places
        .map(|place| {
            let (partition, offset) = place.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        })
        .collect();
    parsed.ok_or_else(|| {
        Trouble::bad_request(format!("{said:?} is not of the form partition:offset,…"))
    })
}

/// A path segment: everything but unreserved characters as `%XX`.
pub fn url_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_from_the_url() {
        let parsed = |said| cursor(said).map_err(|trouble| trouble.status.as_u16());
        assert_eq!(parsed(""), Ok(Cursor::new()));
        assert_eq!(parsed("0:12,3:5"), Ok(Cursor::from([(0, 12), (3, 5)])));
        for said in ["1", "a:b", "0:1;2:3", "0:"] {
            assert_eq!(parsed(said), Err(400), "{said}");
        }
    }
}
