//! `--watch`: the same answer again and again.

use std::io::IsTerminal;
use std::time::Duration;

use tidings::rfc3339;
use tidings_terminal::Form;
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Answer, Reader, rendered, show, write};
use tidings_terminal::table::Look;

use crate::args::Watch;
use crate::time::now_ms;

/// How often at most.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Goes to the upper left corner.
const CORNER: &str = "\u{1b}[H";
/// Takes away what is left of the line, and what is below.
const LINE_END: &str = "\u{1b}[K\n";
const BELOW: &str = "\u{1b}[J";

/// Asks once, or until nobody reads any more. In a terminal each answer takes the place of the one before; elsewhere
/// they follow one another.
pub(super) async fn watched<A: Answer>(
    watch: Watch,
    form: Form,
    mut ask: impl AsyncFnMut() -> Result<A, Failure>,
) -> Result<(), Failure> {
    let Some(every) = watch.watch else { return show(form, &ask().await?) };
    let every = every.0.max(EVERY_MIN);
    let in_place = form.is_table() && std::io::stdout().is_terminal();
    loop {
        let mut text = rendered(form, &ask().await?, Look::of(form));
        if in_place {
            let now = rfc3339::format(now_ms());
            text = format!("{now}, every {} s; ctrl-c ends it\n\n{text}", every.as_secs());
            // Written over the one before line by line: a cleared screen flickers.
            text = format!("{CORNER}{}{BELOW}", text.replace('\n', LINE_END));
        }
        if write(text.as_bytes())? == Reader::Gone {
            return Ok(());
        }
        tokio::time::sleep(every).await;
    }
}
