//! Why a command did not do what it was asked: what, why, and what to try.

use std::fmt;
use std::path::Path;

/// The exit code, by what a script can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: it may do later.
    Failed,
    /// The same code that wrong arguments have.
    Usage,
    /// 3: what was named is not there.
    NotFound,
    /// 4: it is there already, or is in use.
    Conflict,
}

/// Shown as three lines, `error:`, `why:` and `try:`; the latter two when there is something to say.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// What was not done.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, hint: None }
    }

    /// With the exit code of what may succeed later.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// The cause, in one line.
    pub fn why(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// What to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, about something in this file.
    pub fn within(self, path: &Path) -> Self {
        Self { what: format!("{}: {}", path.display(), self.what), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\nwhy:   {why}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\ntry:   {hint}")?;
        }
        Ok(())
    }
}
