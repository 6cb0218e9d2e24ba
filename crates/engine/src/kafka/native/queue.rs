//! The queue of a consumer, and what comes out of it.

use std::ffi::{CStr, CString, c_void};
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::ClientContext as _;
use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::Notify;

use super::{Owned, Place, c_text, code, place, places, text};
use crate::kafka::Looker;
use crate::{Error, Header, Record, TopicPartition};

/// What a consumer has to tell.
#[derive(Debug)]
pub(in crate::kafka) enum News {
    Record(Record),
    /// Nothing is before this offset any more.
    End(TopicPartition, i64),
    Assigned(Vec<TopicPartition>),
    /// All of this member's: the assignor is eager.
    Revoked,
    Trouble {
        code: Code,
        text: String,
        is_fatal: bool,
    },
    /// Nothing that a reader of records cares about.
    Other,
}

/// The queue of a consumer, polled here because the rdkafka crate keeps back the offset of a partition's end,
/// and panics at header names that are not UTF-8, which whoever wrote the record may have chosen.
pub(in crate::kafka) struct ConsumerQueue {
    queue: Owned<c::rd_kafka_queue_t>,
    /// Told when the queue is not empty any more.
    filled: Arc<Notify>,
    consumer: Arc<Looker>,
}

/// The topic of the record before, whose name the next one most likely shares.
#[derive(Debug)]
pub(in crate::kafka) struct LastTopic(Arc<str>);

impl Default for LastTopic {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl LastTopic {
    fn named(&mut self, topic: &CStr) -> Arc<str> {
        if self.0.as_bytes() != topic.to_bytes() {
            self.0 = Arc::from(topic.to_string_lossy());
        }
        Arc::clone(&self.0)
    }
}

// SAFETY: librdkafka's queues may be polled from any thread.
unsafe impl Send for ConsumerQueue {}
// SAFETY: as above.
unsafe impl Sync for ConsumerQueue {}

impl std::fmt::Debug for ConsumerQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConsumerQueue")
    }
}

unsafe extern "C" fn queue_filled(_: *mut c::rd_kafka_t, filled: *mut c_void) {
    // SAFETY: `ConsumerQueue` owns it, and takes the callback away before it lets go.
    unsafe { &*filled.cast::<Notify>() }.notify_one();
}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is owned; after this the callback is not called.
        unsafe { c::rd_kafka_queue_cb_event_enable(self.queue.pointer, None, std::ptr::null_mut()) }
    }
}

impl ConsumerQueue {
    /// The consumer's, which must have a group.
    pub(in crate::kafka) fn of(consumer: Looker) -> Result<Self, Error> {
        let (consumer, filled) = (Arc::new(consumer), Arc::new(Notify::new()));
        // SAFETY: the consumer lives as long as this, and so does `filled`.
        unsafe {
            let queue = c::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
            let queue = Owned::of(queue, c::rd_kafka_queue_destroy);
            let none = || Error::Unavailable("a consumer has no queue".to_owned());
            let queue = queue.ok_or_else(none)?;
            let told = Arc::as_ptr(&filled).cast_mut().cast::<c_void>();
            c::rd_kafka_queue_cb_event_enable(queue.pointer, Some(queue_filled), told);
            Ok(Self { queue, filled, consumer })
        }
    }

    pub(in crate::kafka) fn consumer(&self) -> &Arc<Looker> {
        &self.consumer
    }

    /// Told when there is something in the queue again.
    pub(in crate::kafka) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.filled)
    }

    /// Returns when the queue has been filled since it was last seen empty.
    pub(in crate::kafka) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How much is there to be taken.
    pub(in crate::kafka) fn len(&self) -> usize {
        // SAFETY: the queue is owned.
        unsafe { c::rd_kafka_queue_length(self.queue.pointer) }
    }

    /// What is next in the queue, if anything is there.
    pub(in crate::kafka) fn next(&self, topic: &mut LastTopic) -> Option<News> {
        // SAFETY: the queue is owned; the event is destroyed after everything has been copied out of it.
        unsafe {
            let event = c::rd_kafka_queue_poll(self.queue.pointer, 0);
            let event = Owned::of(event, c::rd_kafka_event_destroy)?;
            Some(self.news(event.pointer, topic))
        }
    }

    /// SAFETY of the caller: the event lives.
    unsafe fn news(&self, event: *mut c::rd_kafka_event_t, topic: &mut LastTopic) -> News {
        // SAFETY: as the caller says.
        unsafe {
            match c::rd_kafka_event_type(event) {
                c::RD_KAFKA_EVENT_FETCH => {
                    let message = c::rd_kafka_event_message_next(event);
                    if message.is_null() {
                        News::Other
                    } else {
                        News::Record(record(message, topic))
                    }
                }
                c::RD_KAFKA_EVENT_ERROR => self.trouble(event),
                c::RD_KAFKA_EVENT_REBALANCE => {
                    let list = places(c::rd_kafka_event_topic_partition_list(event));
                    let list = list.into_iter().map(Place::at).collect();
                    match Code::from(c::rd_kafka_event_error(event)) {
                        Code::AssignPartitions => News::Assigned(list),
                        _ => News::Revoked,
                    }
                }
                c::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) =
                        (std::ptr::null(), std::ptr::null(), 0);
                    let found = c::rd_kafka_event_log(
                        event,
                        &raw mut facility,
                        &raw mut line,
                        &raw mut level,
                    );
                    if found == 0 {
                        self.consumer.context().line(level, text(facility).trim(), &text(line));
                    }
                    News::Other
                }
                c::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                    self.give_token();
                    News::Other
                }
                _ => News::Other,
            }
        }
    }

    /// SAFETY of the caller: the event lives, and is one of an error.
    unsafe fn trouble(&self, event: *mut c::rd_kafka_event_t) -> News {
        // SAFETY: as the caller says; the partition is this function's to destroy.
        unsafe {
            let code = Code::from(c::rd_kafka_event_error(event));
            if code == Code::PartitionEOF {
                let partition = c::rd_kafka_event_topic_partition(event);
                let Some(partition) = Owned::of(partition, c::rd_kafka_topic_partition_destroy)
                else {
                    return News::Other;
                };
                let end = place(partition.pointer);
                let offset = end.offset;
                return News::End(end.at(), offset);
            }
            let text = text(c::rd_kafka_event_error_string(event));
            self.consumer.context().error(KafkaError::Global(code), &text);
            let is_fatal = c::rd_kafka_event_error_is_fatal(event) != 0;
            News::Trouble { code, text, is_fatal }
        }
    }

    fn give_token(&self) {
        let client = self.consumer.client().native_ptr();
        let texts = self.consumer.context().generate_oauth_token(None).and_then(|given| {
            let texts = (CString::new(given.token)?, CString::new(given.principal_name)?);
            Ok((texts, given.lifetime_ms))
        });
        // SAFETY: the client and the texts live; librdkafka copies them.
        unsafe {
            match texts {
                Ok(((token, principal), lifetime_ms)) => {
                    let mut said = [0; 512];
                    let set = c::rd_kafka_oauthbearer_set_token(
                        client,
                        token.as_ptr(),
                        lifetime_ms,
                        principal.as_ptr(),
                        std::ptr::null_mut(),
                        0,
                        said.as_mut_ptr(),
                        said.len(),
                    );
                    if code(set).is_some() {
                        c::rd_kafka_oauthbearer_set_token_failure(client, said.as_ptr());
                    }
                }
                Err(error) => {
                    let why = CString::new(error.to_string()).unwrap_or_default();
                    c::rd_kafka_oauthbearer_set_token_failure(client, why.as_ptr());
                }
            }
        }
    }
}

/// SAFETY of the caller: the message lives, and is a record and not an error.
unsafe fn record(message: *const c::rd_kafka_message_t, topic: &mut LastTopic) -> Record {
    // SAFETY: as the caller says; key and value have the sizes beside them.
    unsafe {
        let held = &*message;
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        Record {
            topic: topic.named(CStr::from_ptr(c::rd_kafka_topic_name(held.rkt))),
            partition: held.partition,
            offset: held.offset,
            timestamp: c::rd_kafka_message_timestamp(message, &raw mut kind),
            key: bytes(held.key, held.key_len),
            value: bytes(held.payload, held.len),
            headers: headers(message),
        }
    }
}

/// SAFETY of the caller: null, or so many bytes that live.
unsafe fn bytes(pointer: *const c_void, length: usize) -> Option<Bytes> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(Bytes::copy_from_slice(unsafe {
        std::slice::from_raw_parts(pointer.cast::<u8>(), length)
    }))
}

/// SAFETY of the caller: the message lives.
unsafe fn headers(message: *const c::rd_kafka_message_t) -> Vec<Header> {
    let mut all = Vec::new();
    let mut list = std::ptr::null_mut();
    // SAFETY: the message owns its headers; each name ends with a zero, each value has its size.
    unsafe {
        let found = c::rd_kafka_message_headers(message, &raw mut list);
        if code(found).is_some() || list.is_null() {
            return all;
        }
        for index in 0..c::rd_kafka_header_cnt(list) {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            let found = c::rd_kafka_header_get_all(
                list,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if code(found).is_some() {
                break;
            }
            all.push(Header { name: text(name).into(), value: bytes(value, size) });
        }
    }
    all
}

/// First offset and the one after the last, as of the last fetch; none before the first.
pub(in crate::kafka) fn watermarks(consumer: &Looker, at: &TopicPartition) -> Option<(i64, i64)> {
    let topic = c_text(&at.topic).ok()?;
    let (mut low, mut high) = (0, 0);
    // SAFETY: the client and the text live.
    let found = unsafe {
        c::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            at.partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (code(found).is_none() && high >= 0).then_some((low, high))
}
