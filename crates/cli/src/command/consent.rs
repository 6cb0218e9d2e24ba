//! Before something is destroyed: what goes is told, and whoever is there says its name.
//!
//! With `--dry-run` it is only told. With `--yes` nobody is asked. In a terminal the name must be typed, as a `y` is
//! typed too easily; without one, nobody can be asked and nothing is done.

use std::io::{IsTerminal, Write};
use tidings_terminal::Form;
use tidings_terminal::failure::{Exit, Failure};
use tidings_terminal::output::{Answer, rendered, show};
use tidings_terminal::table::Look;

use crate::args::Consent;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    Do,
    /// It was only to be told.
    Told,
}

/// `what` says what was not done when it was not, such as `topic t was not deleted`.
pub(super) fn decide(
    consent: Consent,
    form: Form,
    plan: &impl Answer,
    name: &str,
    what: &str,
) -> Result<Decided, Failure> {
    if consent.dry_run {
        show(form, plan)?;
        return Ok(Decided::Told);
    }
    if consent.yes {
        return Ok(Decided::Do);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, what)
            .why("nobody can be asked: standard input is no terminal")
            .hint("--yes to do it, --dry-run to see what it would do"));
    }
    let shown = rendered(Form::Table, plan, Look::plain(Form::Table));
    eprint!("{shown}\nType {name} to go on: ");
    let mut said = String::new();
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut said))
        .map_err(|e| Failure::failed("the question could not be asked").why(e).hint("--yes"))?;
    if said.trim() == name {
        return Ok(Decided::Do);
    }
    Err(Failure::failed(what).why(format!("{:?} was typed", said.trim())))
}
