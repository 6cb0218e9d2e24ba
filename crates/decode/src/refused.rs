//! Why bytes are not shown decoded.

use crate::limits::{
    JSON_BYTES_MAX, REASON_CHARS_MAX, REFERENCES_MAX, SCHEMA_BYTES_MAX, VALUE_BYTES_MAX,
    VALUE_DEPTH_MAX,
};

/// Why bytes are not shown decoded, in one clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the registry has no schema {0}")]
    UnknownSchema(String),
    #[error(
        "the schema refers to version {version} of {subject}, which the registry does not have"
    )]
    MissingReference { subject: String, version: i32 },
    #[error("the schema refers to more than {REFERENCES_MAX} others")]
    TooManyReferences,
    #[error(
        "the schema has {0} bytes with all that it refers to, and at most {SCHEMA_BYTES_MAX} are compiled"
    )]
    SchemaTooLarge(usize),
    #[error("the schema cannot be used: {0}")]
    InvalidSchema(String),
    #[error("it has {0} bytes, and at most {VALUE_BYTES_MAX} are decoded")]
    TooLarge(usize),
    #[error("as JSON it would have more than {JSON_BYTES_MAX} bytes")]
    JsonTooLong,
    #[error("it nests more than {VALUE_DEPTH_MAX} deep")]
    TooDeep,
    /// The bytes are no value of the schema; at which of them, behind the schema's id, that shows.
    #[error("the bytes do not fit the schema: {why}{}", at.map(|at| format!(", at byte {at}")).unwrap_or_default())]
    Malformed { at: Option<usize>, why: String },
}

/// A library's reason and what that was caused by, in one line.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let text = causes.fold(error.to_string(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        text
    });
    let mut line: String = text
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect();
    if text.chars().nth(REASON_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}
