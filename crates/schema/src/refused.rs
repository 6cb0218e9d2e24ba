//! What the registry refuses, with Confluent's error codes.

use thiserror::Error;

/// Why a request was refused. [`Refused::code`] is Confluent's error code, whose first three digits
/// are the HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    #[error("Version {0} not found.")]
    VersionNotFound(String),
    #[error("Schema not found")]
    SchemaNotFound,
    #[error("Subject '{0}' was soft deleted. Set permanent=true to delete permanently.")]
    SubjectSoftDeleted(String),
    #[error("Subject '{0}' was not deleted first before being permanently deleted.")]
    SubjectNotSoftDeleted(String),
    #[error(
        "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently."
    )]
    VersionSoftDeleted { subject: String, version: i32 },
    #[error(
        "Subject '{subject}' Version {version} was not deleted first before being permanently deleted."
    )]
    VersionNotSoftDeleted { subject: String, version: i32 },
    #[error("Subject '{0}' does not have subject-level compatibility configured.")]
    NoSubjectLevel(String),
    /// An argument is wrong or not supported; the code says which.
    #[error("{why}")]
    Unprocessable { code: u32, why: String },
}

impl Refused {
    pub fn code(&self) -> u32 {
        match self {
            Self::SubjectNotFound(_) => 40401,
            Self::VersionNotFound(_) => 40402,
            Self::SchemaNotFound => 40403,
            Self::SubjectSoftDeleted(_) => 40404,
            Self::SubjectNotSoftDeleted(_) => 40405,
            Self::VersionSoftDeleted { .. } => 40406,
            Self::VersionNotSoftDeleted { .. } => 40407,
            Self::NoSubjectLevel(_) => 40408,
            Self::Unprocessable { code, .. } => *code,
        }
    }

    pub fn invalid_schema(why: impl Into<String>) -> Self {
        Self::Unprocessable { code: 42201, why: why.into() }
    }

    pub fn invalid_version(said: &str) -> Self {
        Self::Unprocessable {
            code: 42202,
            why: format!(
                "The specified version '{said}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            ),
        }
    }

    pub(crate) fn invalid_level(why: impl Into<String>) -> Self {
        Self::Unprocessable { code: 42203, why: why.into() }
    }

    pub(crate) fn invalid_subject(why: impl Into<String>) -> Self {
        Self::Unprocessable { code: 42208, why: why.into() }
    }
}
