//! librdkafka as the load: the same for every peer.
//!
//! [`produce`] hands messages over in arrays and without copies, so that the client is the limit as
//! late as it can be; [`super::sink`] shows where that is. [`open_loop`] sends by the clock, whatever
//! comes back: a stall of the peer is in the latency of everything that was due meanwhile (what is
//! called coordinated omission otherwise).

use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

/// Messages that are handed over at once.
const CHUNK: usize = 1000;
/// The default of a topic's `max.message.bytes`, less what a batch adds.
const BATCH_BYTES: &str = "1000000";
/// When the queue is full: until it is looked at again.
const ROOM_AFTER: Duration = Duration::from_millis(1);
/// For all that is out to be acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Produced {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Counts what was not delivered.
#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        if delivery.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("acks", "all").set("batch.size", BATCH_BYTES);
    config.set("queue.buffering.max.messages", "500000");
    config
}

/// Messages of `size` bytes into partitions `0..partitions` for `span`, and until all of them are
/// acknowledged.
pub(super) fn produce(
    address: &str,
    topic: &str,
    partitions: i32,
    size: usize,
    span: Duration,
) -> anyhow::Result<Produced> {
    // Outlives the producer, whose queue points to it.
    let value = vec![0x5a_u8; size];
    let mut config = config(address);
    config.set("delivery.report.only.error", "true");
    let producer: BaseProducer<Failures> = config.create_with_context(Failures::default())?;
    let handed = Handed::new(&producer, topic)?;
    let (begun, mut messages, mut chunk) = (Instant::now(), 0, 0);
    while begun.elapsed() < span {
        let taken = handed.hand_over(&value, chunk % partitions)?;
        if taken < CHUNK as u64 {
            producer.poll(ROOM_AFTER);
        }
        messages += taken;
        chunk += 1;
    }
    producer.flush(ACKNOWLEDGED_WITHIN)?;
    let took = begun.elapsed();
    drop(handed);
    let failed = producer.context().0.load(Ordering::Relaxed);
    ensure!(failed == 0, "{failed} messages were not delivered");
    Ok(Produced { messages, bytes: messages * size as u64, took })
}

/// A topic of librdkafka's, for its array interface.
struct Handed {
    topic: *mut sys::rd_kafka_topic_t,
}

impl Handed {
    fn new(producer: &BaseProducer<Failures>, topic: &str) -> anyhow::Result<Self> {
        let name = CString::new(topic)?;
        #[expect(unsafe_code, reason = "rdkafka has no array interface")]
        // SAFETY: the client is alive, the name ends in zero, and no configuration is passed.
        let topic = unsafe {
            sys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut())
        };
        ensure!(!topic.is_null(), "librdkafka does not take the topic");
        Ok(Self { topic })
    }

    /// Up to [`CHUNK`] messages of this value, as many as there is room for.
    fn hand_over(&self, value: &[u8], partition: i32) -> anyhow::Result<u64> {
        let message = sys::rd_kafka_message_t {
            err: Code::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition,
            payload: value.as_ptr().cast_mut().cast(),
            len: value.len(),
            key: ptr::null_mut(),
            key_len: 0,
            offset: 0,
            _private: ptr::null_mut(),
        };
        let mut messages = [message; CHUNK];
        #[expect(unsafe_code, reason = "rdkafka has no array interface")]
        // SAFETY: the topic lives; librdkafka reads the value and never writes it, and the caller
        // keeps it for longer than the producer.
        let taken = unsafe {
            sys::rd_kafka_produce_batch(
                self.topic,
                partition,
                0,
                messages.as_mut_ptr(),
                CHUNK.try_into()?,
            )
        };
        let no_matter = [Code::RD_KAFKA_RESP_ERR_NO_ERROR, Code::RD_KAFKA_RESP_ERR__QUEUE_FULL];
        if let Some(refused) = messages.iter().find(|message| !no_matter.contains(&message.err)) {
            bail!("librdkafka does not take a message: {:?}", refused.err);
        }
        Ok(u64::try_from(taken)?)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "rdkafka has no array interface")]
        // SAFETY: it came from `rd_kafka_topic_new` and is used no more.
        unsafe {
            sys::rd_kafka_topic_destroy(self.topic);
        }
    }
}

/// `rate` messages of 100 bytes a second for `span`, each read again by a consumer at the head: how
/// long after it was due each one came out.
pub(super) fn open_loop(
    address: &str,
    topic: &str,
    rate: u32,
    span: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let count = u64::from(rate) * span.as_millis() as u64 / 1000;
    let consumer: BaseConsumer =
        config(address).set("group.id", "bench").set("enable.auto.commit", "false").create()?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, 0, Offset::Offset(0))?;
    consumer.assign(&assigned)?;
    let producer: BaseProducer = config(address).set("linger.ms", "0").create()?;
    // The first message finds leader and connection; it is not counted.
    send(&producer, topic, u64::MAX)?;
    producer.flush(ACKNOWLEDGED_WITHIN)?;
    receive(&consumer)?;

    let start = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| -> anyhow::Result<()> {
            for number in 0..count {
                let due = Duration::from_secs(number) / rate;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
                send(&producer, topic, u64::try_from(due.as_nanos())?)?;
                producer.poll(Duration::ZERO);
            }
            Ok(producer.flush(ACKNOWLEDGED_WITHIN)?)
        });
        let mut latencies = Vec::with_capacity(usize::try_from(count)?);
        while latencies.len() as u64 != count {
            let due = Duration::from_nanos(receive(&consumer)?);
            latencies.push(start.elapsed().saturating_sub(due));
        }
        let Ok(sent) = sending.join() else { bail!("the sending thread panicked") };
        sent.map(|()| latencies)
    })
}

fn send(producer: &BaseProducer, topic: &str, stamp: u64) -> anyhow::Result<()> {
    let mut value = [0x5a; 100];
    value[..8].copy_from_slice(&stamp.to_be_bytes());
    let record: BaseRecord<'_, (), [u8]> =
        BaseRecord::to(topic).partition(0).payload(value.as_slice());
    producer.send(record).map_err(|(error, _)| error).context("librdkafka took no message")
}

fn receive(consumer: &BaseConsumer) -> anyhow::Result<u64> {
    let message = consumer.poll(ACKNOWLEDGED_WITHIN).context("nothing comes out")??;
    let value = message.payload().and_then(|value| value.first_chunk());
    Ok(u64::from_be_bytes(*value.context("no stamp")?))
}

/// How a producer ends its hundred messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Idempotent; waits for the acknowledgements.
    Flush,
    Commit,
}

/// Waits for all that is out. The crate's own `flush` looks every 100 ms, which would be all that is
/// measured; a commit finds nothing left to wait for.
fn acknowledged(producer: &BaseProducer) -> anyhow::Result<()> {
    let begun = Instant::now();
    while producer.in_flight_count() > 0 {
        ensure!(begun.elapsed() < ACKNOWLEDGED_WITHIN, "messages are not acknowledged");
        producer.poll(ROOM_AFTER);
    }
    Ok(())
}

/// `producers` side by side, each with `per_round` messages of 100 bytes and then the ending, over
/// and over for `span`.
pub(super) fn rounds(
    address: &str,
    topic: &str,
    ending: Ending,
    producers: usize,
    per_round: usize,
    span: Duration,
) -> anyhow::Result<Produced> {
    let ready = (0..producers).map(|number| {
        let mut config = config(address);
        config.set("enable.idempotence", "true").set("linger.ms", "0");
        if ending == Ending::Commit {
            config.set("transactional.id", format!("bench-{topic}-{number}"));
        }
        let producer: BaseProducer = config.create()?;
        if ending == Ending::Commit {
            producer.init_transactions(ACKNOWLEDGED_WITHIN)?;
        }
        Ok(producer)
    });
    let ready: Vec<BaseProducer> = ready.collect::<anyhow::Result<_>>()?;
    let begun = Instant::now();
    let messages = std::thread::scope(|scope| {
        let work = |producer: BaseProducer| -> anyhow::Result<u64> {
            let mut messages = 0;
            while begun.elapsed() < span {
                if ending == Ending::Commit {
                    producer.begin_transaction()?;
                }
                for _ in 0..per_round {
                    send(&producer, topic, 0)?;
                }
                acknowledged(&producer)?;
                if ending == Ending::Commit {
                    producer.commit_transaction(ACKNOWLEDGED_WITHIN)?;
                }
                messages += per_round as u64;
            }
            Ok(messages)
        };
        let running: Vec<_> =
            ready.into_iter().map(|producer| scope.spawn(move || work(producer))).collect();
        running.into_iter().try_fold(0, |sum, thread| {
            let Ok(messages) = thread.join() else { bail!("a producing thread panicked") };
            Ok(sum + messages?)
        })
    })?;
    Ok(Produced { messages, bytes: messages * 100, took: begun.elapsed() })
}
