//! What a command says, and how it looks: failures with their exit codes, answers in every form, tables, and how far long
//! work is.
//!
//! Answers go to standard output, everything else to standard error. Colours are for terminals only, and `NO_COLOR` takes them
//! away. *Must not know* any command.

pub mod failure;
mod form;
pub mod output;
pub mod progress;
pub mod table;

pub use form::Form;
