//! What is known of the cluster, and asked anew when it is old.
//!
//! Who knows something waits for the new answer only briefly, and goes on with what is known: a broker that is silent
//! holds up nobody who has no need of it. The question goes on meanwhile, and whoever comes next takes its answer.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::limits::{KNOWN_WAIT, METADATA_AGE_MAX};

#[derive(Debug)]
pub(super) struct Known<T> {
    /// With when it was answered.
    value: Option<(T, Instant)>,
    asking: Option<JoinHandle<Result<T, Error>>>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { value: None, asking: None }
    }
}

impl<T: Copy + Send + 'static> Known<T> {
    /// Where it is not old.
    pub(super) fn fresh(&self) -> Option<T> {
        self.value
            .filter(|(_, answered)| answered.elapsed() < METADATA_AGE_MAX)
            .map(|known| known.0)
    }

    /// As it is now, or was when nobody says how it is now. A refusal is an answer: then nothing is known any more.
    pub(super) async fn look<F>(&mut self, ask: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let patience = if self.asking.is_some() { Duration::ZERO } else { KNOWN_WAIT };
        let asking = self.asking.get_or_insert_with(|| tokio::spawn(ask()));
        let answer = match self.value {
            None => asking.await,
            Some((known, _)) => match timeout(patience, asking).await {
                Ok(answer) => answer,
                Err(_) => return Ok(known),
            },
        };
        self.asking = None;
        let answer = answer.unwrap_or_else(|stop| Err(Error::Unavailable(stop.to_string())));
        match (answer, self.value) {
            (Ok(value), _) => {
                self.value = Some((value, Instant::now()));
                Ok(value)
            }
            (Err(Error::Unavailable(_)), Some((known, _))) => Ok(known),
            (Err(refused), _) => {
                self.value = None;
                Err(refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn gone() -> Error {
        Error::UnknownTopic("t".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_old_is_not_asked_again() {
        let mut known = Known::default();
        assert_eq!(known.look(|| ready(Ok(1))).await, Ok(1));
        assert_eq!(known.look(|| ready(Ok(2))).await, Ok(1));
        tokio::time::advance(METADATA_AGE_MAX).await;
        assert_eq!(known.look(|| ready(Ok(2))).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_right_while_nobody_answers() {
        let mut known = Known::default();
        let (answer, answered) = tokio::sync::oneshot::channel::<Result<i32, Error>>();
        assert_eq!(known.look(|| ready(Ok(1))).await, Ok(1));
        tokio::time::advance(METADATA_AGE_MAX).await;
        let begun = Instant::now();
        let asked = || async { answered.await.expect("it is answered") };
        assert_eq!(known.look(asked).await, Ok(1));
        assert_eq!(begun.elapsed(), KNOWN_WAIT, "whoever asks waits briefly");
        let begun = Instant::now();
        assert_eq!(known.look(|| ready(Ok(3))).await, Ok(1), "it is asked once");
        assert_eq!(begun.elapsed(), Duration::ZERO, "the others do not wait");
        answer.send(Ok(2)).expect("somebody listens");
        tokio::task::yield_now().await;
        assert_eq!(known.look(|| ready(Ok(3))).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_says_nothing_and_a_refusal_is_an_answer() {
        let silence = || Error::Unavailable("no answer".to_owned());
        for (answer, then) in [(silence(), Ok(1)), (gone(), Err(gone()))] {
            let mut known = Known::default();
            assert_eq!(known.look(|| ready(Ok(1))).await, Ok(1));
            tokio::time::advance(METADATA_AGE_MAX).await;
            assert_eq!(known.look(|| ready(Err(answer))).await, then);
        }
        let mut nothing = Known::<i32>::default();
        assert_eq!(nothing.look(|| ready(Err(silence()))).await, Err(silence()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_nothing_waits() {
        let mut known = Known::<i32>::default();
        let waits = timeout(KNOWN_WAIT * 10, known.look(pending)).await;
        assert!(waits.is_err(), "{waits:?}");
    }
}
