//! What is not as it was written.

/// A run of bytes that cannot be what was written, or a file that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    pub path: String,
    /// First byte, and one past the last.
    pub bytes: (u64, u64),
    /// Offsets that cannot be read because of it: first, and one past the last.
    pub offsets: Option<(i64, i64)>,
    pub what: String,
}

/// What damage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// Records: they cannot be read.
    Records,
    /// A field of a batch outside its checksum, which can be told for certain: a repair brings the
    /// records back.
    Field,
    /// A file that a repair makes anew from the log.
    Derived,
    /// Records that are as their producer sent them and cannot be decoded; repair leaves them.
    Content,
}

impl DamageKind {
    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Field => "field",
            Self::Derived => "derived",
            Self::Content => "content",
        }
    }
}
