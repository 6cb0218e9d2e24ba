//! Questions to the coordinators of groups, on a client of their own.
//!
//! librdkafka (2.12.1; its issue 4605) ends the process when such a question has run out of its time while its
//! coordinator was away, and the coordinator comes back. So no question ever does: it has an hour
//! ([`native::COORDINATOR_TIME`]), is waited for as long as a broker may be silent, and its client, with whatever is
//! still asked through it, is given up when it was not answered. Another client takes the next question.
//!
//! Nor does librdkafka ever ask another than it took for the coordinator, as long as it is asked again within
//! `metadata.max.age.ms`: not when that one says that it is not, and not when it is gone. Then the client is given up
//! too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::asking::passes;
use super::native::{ConsumerQueue, Refused};
use super::{Kafka, Looker, blocking};
use crate::Error;
use crate::limits::{CHANGE_LOOK_PAUSE, COMMIT_RETRY_PAUSE};

/// The client, when there is one.
#[derive(Default)]
pub(super) struct Coordinators {
    client: Mutex<Option<Arc<ConsumerQueue>>>,
}

impl Coordinators {
    /// Gives a client up, unless that was done already.
    fn give_up(&self, silent: Arc<ConsumerQueue>) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.take_if(|current| Arc::ptr_eq(current, &silent));
        drop(client);
        // Ending a client waits for its threads.
        std::thread::spawn(move || drop(silent));
    }

    pub(super) fn take(&mut self) -> Option<Arc<ConsumerQueue>> {
        self.client.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Kafka {
    /// Asks what changes nothing, again while the coordinator is silent or being found.
    pub(super) async fn ask_coordinator<T: Send + 'static>(
        &self,
        question: impl Fn(&Looker) -> Result<T, Refused> + Send + Sync + 'static,
    ) -> Result<Result<T, Refused>, Error> {
        let deadline = Instant::now() + self.settings().request_timeout;
        let question = Arc::new(question);
        loop {
            let asked = Arc::clone(&question);
            match self.order_coordinator(move |looker| asked(looker)).await? {
                Err(refused) if passes(refused.code) && Instant::now() < deadline => {
                    // Another client is to be made for the next.
                    let is_given_up = stays_away(refused.code);
                    let pause = if is_given_up { COMMIT_RETRY_PAUSE } else { CHANGE_LOOK_PAUSE };
                    tokio::time::sleep(pause).await;
                }
                answered => return Ok(answered),
            }
        }
    }

    /// Asks once: what came of a change is not known when nobody answers.
    pub(super) async fn order_coordinator<T: Send + 'static>(
        &self,
        order: impl FnOnce(&Looker) -> Result<T, Refused> + Send + 'static,
    ) -> Result<Result<T, Refused>, Error> {
        let client = self.coordinators_client()?;
        let shared = Arc::clone(&self.shared);
        // Whoever asked may be gone when there is no answer.
        blocking(move || {
            let answered = order(client.consumer());
            if answered.as_ref().is_err_and(|refused| stays_away(refused.code)) {
                shared.coordinators.give_up(client);
            }
            answered
        })
        .await
    }

    fn coordinators_client(&self) -> Result<Arc<ConsumerQueue>, Error> {
        self.open()?;
        let mut client = self.shared.coordinators.client.lock();
        let client = client.as_deref_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
        if let Some(client) = client {
            return Ok(Arc::clone(client));
        }
        let made = super::looker(self.settings(), self.watch(), |_| {})?;
        Ok(Arc::clone(client.insert(made)))
    }
}

/// The coordinator that the client knows will not be one again for it.
fn stays_away(code: Code) -> bool {
    matches!(code, Code::OperationTimedOut | Code::NotCoordinator | Code::DestroyBroker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_given_up_whose_coordinator_stays_away() {
        for (code, given_up) in [
            (Code::OperationTimedOut, true),
            (Code::NotCoordinator, true),
            (Code::DestroyBroker, true),
            // It is the right one, and on its way.
            (Code::CoordinatorLoadInProgress, false),
            (Code::CoordinatorNotAvailable, false),
            (Code::GroupIdNotFound, false),
        ] {
            assert_eq!(stays_away(code), given_up, "{code:?}");
        }
    }
}
