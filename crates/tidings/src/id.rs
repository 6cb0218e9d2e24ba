//! Event ids: fresh (UUIDv7) or derived (UUIDv8 of a SHA-256), so that the same cause has the same id.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The id of an event: any text that its producer chose; ours are UUIDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// A new id that sorts by time (UUIDv7).
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id that these parts always have: the first 16 bytes of the SHA-256 over each part behind
    /// its length (8 bytes, big-endian), with a UUID's version 8 and variant bits set.
    ///
    /// ```
    /// use tidings::Id;
    /// assert_eq!(Id::derived(&["shop", "536365"]), Id::derived(&["shop", "536365"]));
    /// assert_ne!(Id::derived(&["ab", "c"]), Id::derived(&["a", "bc"]));
    /// ```
    pub fn derived(parts: &[&str]) -> Self {
        let mut bytes = digest(parts);
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(uuid::Uuid::from_bytes(bytes).to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first half of the SHA-256 over the parts, each behind its length.
pub(crate) fn digest(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Id {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl PartialEq<str> for Id {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Id {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_fixed_for_ever() {
        // Changing these makes every running service handle its inputs again.
        for (parts, expected) in [
            (&[][..], "e3b0c442-98fc-8c14-9afb-f4c8996fb924"),
            (&["shop", "536365"][..], "e3dba330-9a0e-8f1f-8738-3868a6b547cf"),
            (&["a", "payment", "charge", "0"][..], "5eb0ff10-4663-8371-9ca1-f632da50f0ab"),
        ] {
            assert_eq!(Id::derived(parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn derived_ids_are_uuids_of_version_8() {
        let id = uuid::Uuid::parse_str(Id::derived(&["x"]).as_str()).expect("a UUID");
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
    }
}
