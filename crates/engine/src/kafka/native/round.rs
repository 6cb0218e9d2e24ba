//! Who is there, as a client that is held up asks it.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::client::Client;

use super::{Owned, code, ms, text};

/// A broker, as another names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Named {
    pub(in crate::kafka) id: i32,
    /// `host:port`.
    pub(in crate::kafka) address: String,
}

/// The brokers that are there, as one of them says; none when it does not.
///
/// librdkafka (2.12.1) asks the broker that it spoke with last. One that is cut off from the others and not from its
/// clients names itself as the leader as before, answers, and so is asked again. Here all are asked for something first,
/// so that each is as likely to be asked who is there; what one says of it the client goes by from then on.
pub(in crate::kafka) fn look_round<C: ClientContext>(
    client: &Client<C>,
    answer_timeout: Duration,
) -> Option<Vec<Named>> {
    speak_with_all(client.native_ptr(), answer_timeout);
    // Whoever is silent may have been asked as well. That question goes on, and the next may go to another.
    let waits = [ASKED_AGAIN_AFTER, ASKED_AGAIN_AFTER, answer_timeout];
    waits.into_iter().find_map(|wait| who_is_there(client, wait))
}

/// The same, as the broker says that the client has spoken with last, if it does so in this time.
pub(in crate::kafka) fn who_is_there<C: ClientContext>(
    client: &Client<C>,
    wait: Duration,
) -> Option<Vec<Named>> {
    let client = client.native_ptr();
    let (none, mut answer) = (std::ptr::null_mut(), std::ptr::null());
    // SAFETY: the caller's client lives; the answer is read before it is destroyed, and its array has as many
    // entries as it says.
    unsafe {
        let refused = code(c::rd_kafka_metadata(client, 0, none, &raw mut answer, ms(wait)));
        let answer = Owned::of(answer.cast_mut(), destroy)?;
        if refused.is_some() {
            return None;
        }
        let said = &*answer.pointer;
        let count = usize::try_from(said.broker_cnt).unwrap_or(0);
        let named = (0..count).map(|index| {
            let broker = &*said.brokers.add(index);
            Named { id: broker.id, address: format!("{}:{}", text(broker.host), broker.port) }
        });
        Some(named.collect())
    }
}

unsafe extern "C" fn destroy(metadata: *mut c::rd_kafka_metadata_t) {
    // SAFETY: the caller's metadata is nobody else's.
    unsafe { c::rd_kafka_metadata_destroy(metadata) }
}

/// Asks each broker for its groups in a state in which there are none, and waits a moment for what they answer.
fn speak_with_all(client: *mut c::rd_kafka_t, answer_timeout: Duration) {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS as OP;
    use c::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD as DEAD;

    // SAFETY: the client lives, the options and the queue are owned; an answer that comes when the queue is gone is
    // thrown away by librdkafka. What is refused changes nothing: then the look round is as good as it can be.
    unsafe {
        let (Some(options), Some(queue)) = (
            Owned::of(c::rd_kafka_AdminOptions_new(client, OP), c::rd_kafka_AdminOptions_destroy),
            Owned::of(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy),
        ) else {
            return;
        };
        let set = c::rd_kafka_AdminOptions_set_match_consumer_group_states(
            options.pointer,
            [DEAD].as_ptr(),
            1,
        );
        drop(Owned::of(set, c::rd_kafka_error_destroy));
        // No less than any question: one that is not answered in time costs the connection.
        let mut said = [0; 512];
        c::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer,
            ms(answer_timeout),
            said.as_mut_ptr(),
            said.len(),
        );
        c::rd_kafka_ListConsumerGroups(client, options.pointer, queue.pointer);
        drop(Owned::of(
            c::rd_kafka_queue_poll(queue.pointer, ms(ANSWERED_WITHIN)),
            c::rd_kafka_event_destroy,
        ));
    }
}

/// Most brokers that are not cut off answer by then; that they were asked is enough.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);
/// The same; the last question has all the time that there is for an answer.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(200);
