//! Secrets: where they are, and as little as possible of what they are.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::limits::SECRET_BYTES_MAX;

/// Where a secret is. It is read when it is needed, so a new one in its place is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    File(PathBuf),
    Env(String),
    /// In a file of properties, as it was when that was read.
    Property(Property),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) secret: String,
    pub(super) of: PathBuf,
}

/// Without the secret.
impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Property").field("of", &self.of).finish_non_exhaustive()
    }
}

/// Where it is.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Property(Property { of: path, .. }) => path.display().fmt(f),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl Secret {
    /// The secret without the line end that editors put behind it; otherwise why there is none.
    pub(super) fn read(&self) -> Result<String, String> {
        let held = match self {
            Self::File(path) => text_of(path, SECRET_BYTES_MAX),
            Self::Env(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => "it is not set".to_owned(),
                // Its own text has the value.
                std::env::VarError::NotUnicode(_) => "it is not UTF-8".to_owned(),
            }),
            Self::Property(property) => Ok(property.secret.clone()),
        };
        let secret = held.map_err(|why| format!("no secret in {self}: {why}"))?;
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(format!("the secret in {self} is empty"));
        }
        if secret.contains('\0') {
            return Err(format!("the secret in {self} has a zero byte"));
        }
        Ok(secret.to_owned())
    }
}

/// The text of a small file.
pub(super) fn text_of(path: &Path, bytes_max: u64) -> Result<String, String> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_where_it_is_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = Secret::File(path.clone());
        assert_eq!(secret.read().unwrap(), "hunter2");
        std::fs::write(&path, "hunter3").unwrap();
        assert_eq!(secret.read().unwrap(), "hunter3", "a new one is found");
        for (held, why) in [
            (b"\n".to_vec(), "is empty"),
            (b"a\0b".to_vec(), "a zero byte"),
            (b"\xff".to_vec(), "not UTF-8"),
            (vec![b'a'; 1 << 20], "more than"),
        ] {
            std::fs::write(&path, held).unwrap();
            let refused = secret.read().unwrap_err();
            assert!(refused.contains(why) && refused.contains("password"), "{refused}");
        }
        let missing = Secret::Env("TIDINGS_NO_SUCH_VARIABLE".into()).read().unwrap_err();
        assert_eq!(
            missing,
            "no secret in the environment variable TIDINGS_NO_SUCH_VARIABLE: it is not set"
        );
        let property = Property { secret: "hunter2".into(), of: "/etc/kafka.properties".into() };
        let secret = Secret::Property(property);
        assert_eq!(secret.read().unwrap(), "hunter2");
        let shown = format!("{secret:?} {secret}");
        assert!(shown.contains("kafka.properties") && !shown.contains("hunter2"), "{shown}");
    }
}
