//! What the rdkafka crate does not offer, through librdkafka's C functions: administration with answers
//! per item, offsets of many partitions at once, descriptions of groups, and a consumer's queue with the offsets
//! of ends and headers of any bytes.
//!
//! Every function here that asks something blocks until the answer has come or the client's time for a
//! question is over; callers run it where blocking is allowed.
//!
//! Safety, for the whole module: every pointer comes from librdkafka or from an owner that lives until the
//! call has returned; what `*_new` gives is owned by an [`Owned`], which destroys it; what is read out of an
//! event is copied before the event is destroyed. A client is only used behind a reference to the consumer that
//! owns it, and librdkafka's clients may be used from any thread.
#![expect(unsafe_code, reason = "these functions of librdkafka are not in the rdkafka crate")]

mod first;
mod groups;
mod queue;
mod round;
mod topics;

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::Looker;
use super::asking::until_answered;
use crate::TopicPartition;
pub(super) use first::{answers, wrong_with_certificate};
pub(super) use groups::{
    DescribedMember, ListedGroup, delete_group, describe_group, group_offsets, list_groups,
    set_group_offsets,
};
pub(super) use queue::{ConsumerQueue, LastTopic, News, watermarks};
pub(super) use round::{Named, look_round, who_is_there};
pub(super) use topics::{
    Making, broker_configs, configure_topic, create_topic, delete_topic, grow_topic, list_offsets,
    topic_configs,
};

/// A refusal of the cluster or of librdkafka, with its own words where it has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Refused {
    pub(in crate::kafka) code: Code,
    pub(in crate::kafka) text: String,
}

/// A partition in an answer.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Place {
    pub(in crate::kafka) topic: String,
    pub(in crate::kafka) partition: i32,
    /// Negative where there is none.
    pub(in crate::kafka) offset: i64,
    pub(in crate::kafka) metadata: Option<String>,
    pub(in crate::kafka) refused: Option<Code>,
}

/// Something of librdkafka's with what destroys it.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// None when librdkafka could not make it.
    fn of(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        // Not `then_some`, which would make one to drop.
        (!pointer.is_null()).then(|| Self { pointer, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: owned, not null, and destroyed nowhere else.
        unsafe { (self.destroy)(self.pointer) }
    }
}

type Event = Owned<c::rd_kafka_event_t>;
type Options = *mut c::rd_kafka_AdminOptions_t;
type Queue = *mut c::rd_kafka_queue_t;

fn unusable(what: &str) -> Refused {
    Refused { code: Code::InvalidArgument, text: format!("{what} cannot be used") }
}

fn c_text(text: &str) -> Result<CString, Refused> {
    CString::new(text).map_err(|_| unusable(&format!("{text:?}")))
}

/// SAFETY of the caller: `text` is null or ends with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn code(error: c::rd_kafka_resp_err_t) -> Option<Code> {
    (error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
}

/// SAFETY of the caller: `said` is null or ends with a zero.
unsafe fn outcome(error: c::rd_kafka_resp_err_t, said: *const c_char) -> Result<(), Refused> {
    match code(error) {
        None => Ok(()),
        // SAFETY: as the caller says.
        Some(code) => Err(Refused { code, text: unsafe { text(said) } }),
    }
}

/// SAFETY of the caller: `error` is null or an error of librdkafka's that lives.
unsafe fn error_outcome(error: *const c::rd_kafka_error_t) -> Result<(), Refused> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller says.
    unsafe { outcome(c::rd_kafka_error_code(error), c::rd_kafka_error_string(error)) }
}

/// SAFETY of the caller: the list is null, or it and its entries live.
unsafe fn places(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<Place> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller says; `elems` has `cnt` entries.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|index| place((*list).elems.add(index))).collect()
    }
}

/// SAFETY of the caller: the entry lives; its metadata is `metadata_size` bytes.
unsafe fn place(entry: *const c::rd_kafka_topic_partition_t) -> Place {
    // SAFETY: as the caller says.
    unsafe {
        let entry = &*entry;
        let metadata = (!entry.metadata.is_null() && entry.metadata_size > 0).then(|| {
            let bytes =
                std::slice::from_raw_parts(entry.metadata.cast::<u8>(), entry.metadata_size);
            String::from_utf8_lossy(bytes).into_owned()
        });
        Place {
            topic: text(entry.topic),
            partition: entry.partition,
            offset: entry.offset,
            metadata,
            refused: code(entry.err),
        }
    }
}

/// The pointers of an answer's array.
///
/// SAFETY of the caller: the array has `count` entries and lives as long as they are used.
unsafe fn entries<T>(array: *mut *const T, count: usize) -> Vec<*const T> {
    if array.is_null() {
        return Vec::new();
    }
    // SAFETY: as the caller says.
    (0..count).map(|index| unsafe { *array.add(index) }).collect()
}

/// Asks for something that changes nothing, again where nobody answers.
fn ask(
    looker: &Looker,
    about: c::rd_kafka_admin_op_t,
    set: impl Fn(Options),
    mut call: impl FnMut(*mut c::rd_kafka_t, Options, Queue),
) -> Result<Event, Refused> {
    until_answered(looker, |timeout| ask_once(looker, about, timeout, &set, &mut call))
}

/// Asks for a change, once: what came of it is not known when nobody answers.
fn order(
    looker: &Looker,
    about: c::rd_kafka_admin_op_t,
    call: impl FnOnce(*mut c::rd_kafka_t, Options, Queue),
) -> Result<Event, Refused> {
    let timeout = looker.context().request_timeout();
    let set = |options: Options| {
        // What the brokers have for it; without, librdkafka waits for no longer than for any answer. It
        // fails for a change that brokers make at once.
        let mut said = [0; 512];
        // SAFETY: the options live.
        unsafe {
            let (pointer, size) = (said.as_mut_ptr(), said.len());
            c::rd_kafka_AdminOptions_set_operation_timeout(options, ms(timeout), pointer, size);
        }
    };
    ask_once(looker, about, timeout, set, call)
}

/// How long a coordinator has for its answer: the most that librdkafka takes.
pub(in crate::kafka) const COORDINATOR_TIME: Duration = Duration::from_secs(3600);

/// Asks a group's coordinator, and does not wait for it longer than `wait`. The caller gives the client up
/// when there was no answer.
fn ask_coordinator(
    looker: &Looker,
    about: c::rd_kafka_admin_op_t,
    wait: Duration,
    call: impl FnOnce(*mut c::rd_kafka_t, Options, Queue),
) -> Result<Event, Refused> {
    wait_for(looker, about, (COORDINATOR_TIME, ms(wait)), no_options, call)
}

/// Waits for the answer's event, which comes at the latest when the time is over.
fn ask_once(
    looker: &Looker,
    about: c::rd_kafka_admin_op_t,
    timeout: Duration,
    set: impl FnOnce(Options),
    call: impl FnOnce(*mut c::rd_kafka_t, Options, Queue),
) -> Result<Event, Refused> {
    wait_for(looker, about, (timeout, -1), set, call)
}

fn ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// `wait_ms` below zero: for as long as it takes.
fn wait_for(
    looker: &Looker,
    about: c::rd_kafka_admin_op_t,
    (timeout, wait_ms): (Duration, i32),
    set: impl FnOnce(Options),
    call: impl FnOnce(*mut c::rd_kafka_t, Options, Queue),
) -> Result<Event, Refused> {
    let client = looker.client().native_ptr();
    // SAFETY: the client lives as long as `looker`; the queue and the options are owned, and outlive the
    // answer that is waited for.
    unsafe {
        let options = Owned::of(
            c::rd_kafka_AdminOptions_new(client, about),
            c::rd_kafka_AdminOptions_destroy,
        );
        let options = options.ok_or_else(|| unusable("the request"))?;
        set(options.pointer);
        let mut said = [0; 512];
        let set = c::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer,
            ms(timeout),
            said.as_mut_ptr(),
            said.len(),
        );
        outcome(set, said.as_ptr())?;
        let queue = Owned::of(c::rd_kafka_queue_new(client), c::rd_kafka_queue_destroy);
        let queue = queue.ok_or_else(|| unusable("a queue"))?;
        call(client, options.pointer, queue.pointer);
        let event = c::rd_kafka_queue_poll(queue.pointer, wait_ms);
        let event = Owned::of(event, c::rd_kafka_event_destroy);
        let silence = || Refused { code: Code::OperationTimedOut, text: "no answer".to_owned() };
        let event = event.ok_or_else(silence)?;
        outcome(
            c::rd_kafka_event_error(event.pointer),
            c::rd_kafka_event_error_string(event.pointer),
        )?;
        Ok(event)
    }
}

fn no_options(_: Options) {}

impl Place {
    pub(in crate::kafka) fn at(self) -> TopicPartition {
        TopicPartition { topic: self.topic, partition: self.partition }
    }
}
