//! The forms that an answer may have.

use clap::ValueEnum;

/// What `-o` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// The same with more columns
    Wide,
    /// For programs, as one document
    Json,
    /// One object a line
    Jsonl,
    /// The document as YAML
    Yaml,
    /// Bare names, one a line
    Name,
}

impl Form {
    /// For people, not for programs.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
