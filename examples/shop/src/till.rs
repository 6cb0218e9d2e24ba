//! The till: publishes the file's messages in order, at the pace of the month or as fast as the
//! log takes them, and goes on where an earlier run stopped.
//!
//! Invariant: each message of the file is in the log once, in file order per partition. A send is
//! all or none per partition, so after a crash the log lacks messages only at the end of partitions.
//! While the log has no room, or cannot be reached, the till waits and looks again at what it holds.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidings::{Id, Outgoing, Publisher};
use tidings_engine::{Engine, Recourse};
use tokio::time::{Instant, sleep, sleep_until};

use crate::events::topics;
use crate::ledger::read_topic;
use crate::{Dataset, Error, Speed};

/// Names a message's place in the file, so that the till knows what it has published.
pub(crate) const NUMBER_HEADER: &str = "shop-message";

/// Messages in one send; what falls due within [`TICK`] goes together.
const SEND_MAX: usize = 100;
const TICK: Duration = Duration::from_millis(50);
/// Pause before messages that the log refused are offered again, and how long the till keeps on
/// without one that is taken.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const REFUSED_MAX: Duration = Duration::from_secs(600);

pub(crate) struct Till {
    engine: Engine,
    dataset: Arc<Dataset>,
    /// The numbers of the messages that the log held when the till opened.
    published: HashSet<usize>,
}

impl Till {
    /// Reads what earlier runs have published.
    pub(crate) async fn open(engine: &Engine, dataset: Arc<Dataset>) -> Result<Self, Error> {
        let published = published(engine).await?;
        Ok(Self { engine: engine.clone(), dataset, published })
    }

    /// How many messages earlier runs have published.
    pub(crate) fn fed(&self) -> usize {
        self.published.len()
    }

    pub(crate) async fn run(mut self, speed: Speed) -> Result<(), Error> {
        let mut last_taken = Instant::now();
        let mut is_behind = false;
        loop {
            match self.go_on(speed, is_behind, &mut last_taken).await {
                Err(Error::Sdk(tidings::Error::Engine(why)) | Error::Engine(why))
                    if why.recourse() == Recourse::Retry =>
                {
                    if last_taken.elapsed() > REFUSED_MAX {
                        return Err(why.into());
                    }
                    tracing::warn!(%why, "the till waits until the log takes its messages");
                    sleep(REFUSED_PAUSE).await;
                    is_behind = true;
                }
                ended => return ended,
            }
        }
    }

    /// Feeds what is missing, after a look at what the log has taken where that is not known.
    async fn go_on(
        &mut self,
        speed: Speed,
        is_behind: bool,
        last_taken: &mut Instant,
    ) -> Result<(), Error> {
        if is_behind {
            let before = self.fed();
            self.published = published(&self.engine).await?;
            if self.fed() > before {
                *last_taken = Instant::now();
            }
        }
        self.feed(speed).await
    }

    async fn feed(&self, speed: Speed) -> Result<(), Error> {
        let publisher = Publisher::open(&self.engine, "till").await?;
        let all = 0..self.dataset.messages.len();
        let missing: Vec<usize> = all.filter(|n| !self.published.contains(n)).collect();
        let due = due_times(&self.dataset, &missing, speed);
        let start = Instant::now();
        let mut rest = missing.as_slice();
        let mut due = due.as_slice();
        while let Some(first) = due.first() {
            sleep_until(start + *first).await;
            let horizon = start.elapsed().max(*first) + TICK;
            let count = due.iter().take(SEND_MAX).take_while(|d| **d <= horizon).count();
            let (now, later) = rest.split_at(count);
            let messages = now.iter().map(|n| self.outgoing(*n)).collect();
            publisher.publish(messages).await?;
            (rest, due) = (later, &due[count..]);
        }
        Ok(())
    }

    /// The id is derived from the invoice, so that both exports deliver the same event.
    fn outgoing(&self, number: usize) -> Outgoing {
        let message = &self.dataset.messages[number];
        Outgoing::new(message)
            .id(Id::derived(&["shop", &message.invoice]))
            .header(NUMBER_HEADER, number.to_string())
    }
}

/// The numbers of the messages that the log holds.
async fn published(engine: &Engine) -> Result<HashSet<usize>, Error> {
    let records = read_topic(engine, topics::INVOICES).await?;
    Ok(records.iter().filter_map(|r| r.header(NUMBER_HEADER)?.parse().ok()).collect())
}

/// When each of these messages falls due after the start, given that time runs from the first one
/// on and stands still where an export steps back.
fn due_times(dataset: &Dataset, numbers: &[usize], speed: Speed) -> Vec<Duration> {
    let Speed::Times(times) = speed else { return vec![Duration::ZERO; numbers.len()] };
    let mut passed_ms = 0;
    let mut previous = None;
    let mut due = Vec::with_capacity(numbers.len());
    for number in numbers {
        let at_ms = dataset.messages[*number].at_ms;
        passed_ms += (at_ms - previous.unwrap_or(at_ms)).max(0);
        previous = Some(at_ms);
        due.push(Duration::from_millis(passed_ms.unsigned_abs()).div_f64(times));
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_takes_about_two_minutes_by_default() {
        let dataset = Dataset::load().unwrap();
        let all: Vec<_> = (0..dataset.messages.len()).collect();
        let due = due_times(&dataset, &all, Speed::DEFAULT);
        assert!(due.is_sorted());
        let seconds = due.last().unwrap().as_secs();
        assert!((110..=130).contains(&seconds), "{seconds}");
    }
}
