//! `tidings top`: what is wrong first, then which groups fall behind, how services do, and which topics gain records, again
//! and again.
//!
//! In a terminal a dashboard ([`board`] is what is known, [`screen`] what is chosen, [`draw`] how it looks, [`terminal`] the
//! loop); otherwise, and with `-o`, a table for each look ([`plain`]).

mod board;
mod draw;
mod plain;
mod sample;
mod screen;
mod terminal;

use std::io::IsTerminal as _;
use tidings_terminal::Form;
use tidings_terminal::failure::Failure;

use crate::args::Top;

pub(crate) async fn top(said: Top) -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if is_terminal && !dumb && said.common.output == Form::Table {
        terminal::run(said).await
    } else {
        plain::top(said).await
    }
}
