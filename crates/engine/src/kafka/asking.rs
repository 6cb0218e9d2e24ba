//! Questions to a cluster: a broker that is silent is not waited for longer than its time to answer; then the
//! same is asked again, of whoever is to be asked by then, as long as one question may take.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;

use super::native::Refused;
use super::{Looker, refusals};
use crate::Error;
use crate::limits::CHANGE_LOOK_PAUSE;

/// `ask` is told how long it may wait, and must not change anything.
pub(super) fn until_answered<T>(
    looker: &Looker,
    mut ask: impl FnMut(Duration) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let context = looker.context();
    let deadline = Instant::now() + context.request_timeout();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(context.answer_timeout().min(left).max(CHANGE_LOOK_PAUSE)) {
            Err(refused) if passes(refused.code) && Instant::now() < deadline => {
                std::thread::sleep(CHANGE_LOOK_PAUSE);
            }
            answered => return answered,
        }
    }
}

/// Nobody answered, or nobody who can: this says nothing of what was asked.
pub(super) fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::OffsetNotAvailable
            | Code::WaitingForCoordinator
            | Code::DestroyBroker
            | Code::NetworkException
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
    )
}

/// Brokers and topics: all of them, or one.
pub(super) fn metadata(looker: &Looker, topic: Option<&str>) -> Result<Metadata, Error> {
    let answered = until_answered(looker, |timeout| {
        looker.fetch_metadata(topic, timeout).map_err(|error| Refused {
            code: error.rdkafka_error_code().unwrap_or(Code::Unknown),
            text: error.to_string(),
        })
    });
    answered.map_err(|refused| refusals::of(topic.unwrap_or("the cluster"), &refused))
}
