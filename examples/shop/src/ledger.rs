//! What the log says: every event of the shop read back, for the reconciliation.

use std::collections::HashMap;
use std::time::Duration;

use tidings::{DeadLetter, Event, Received, decode};
use tidings_engine::{Engine, Error as EngineError, Offset, ReadLimit, Record};

use crate::Error;
use crate::events::{
    CancellationAccepted, InvoiceReceived, NotificationSent, OrderCancelled, OrderCompleted,
    OrderPlaced, PaymentCompleted, PaymentFailed, PaymentRefunded, ReturnDeclined, ReturnRequested,
    RevenueChanged, ShippingScheduled, StockNotAvailable, StockReleased, StockReserved, topics,
};
use crate::services::LISTENS;

const READ: ReadLimit = ReadLimit { records: 5_000, bytes: 8 << 20, wait: Duration::ZERO };

/// Every record of a topic, partition by partition; none when the topic is not there.
pub(crate) async fn read_topic(engine: &Engine, topic: &str) -> Result<Vec<Record>, Error> {
    let partitions = match engine.topic(topic).await {
        Ok(topic) => topic.partitions,
        Err(EngineError::UnknownTopic(_)) => return Ok(vec![]),
        Err(e) => return Err(e.into()),
    };
    let mut records = Vec::new();
    for partition in partitions {
        // Asked one by one, because a partition that cannot be read says so then.
        let mut from = engine.offset(topic, partition.id, Offset::Earliest).await?;
        let end = engine.offset(topic, partition.id, Offset::Latest).await?;
        while from < end {
            let read = engine.read(topic, partition.id, from, READ).await?;
            from = read.next;
            records.extend(read.records);
        }
    }
    Ok(records)
}

/// Whether every service has handled everything there is, so that nothing more can come of it.
///
/// A service commits after its outputs are durable; so when all have committed up to ends that have
/// not moved between two looks, no output is still on its way.
pub(crate) async fn is_quiet(engine: &Engine) -> Result<bool, Error> {
    let before = ends(engine).await?;
    for (group, listens) in LISTENS {
        let description = engine.group(group).await?;
        let committed: HashMap<_, _> = description
            .offsets
            .iter()
            .map(|o| ((o.topic.as_str(), o.partition), o.committed))
            .collect();
        let behind = |((topic, partition), end): (&(String, i32), &i64)| {
            let position = committed.get(&(topic.as_str(), *partition)).copied().flatten();
            listens.contains(&topic.as_str()) && position.unwrap_or(0) < *end
        };
        if before.iter().any(behind) {
            return Ok(false);
        }
    }
    Ok(before == ends(engine).await?)
}

async fn ends(engine: &Engine) -> Result<HashMap<(String, i32), i64>, Error> {
    let mut ends = HashMap::new();
    for (name, _) in topics::ALL {
        for partition in engine.topic(name).await?.partitions {
            ends.insert((name.to_owned(), partition.id), partition.end_offset);
        }
    }
    Ok(ends)
}

/// Everything that was said, by kind, in the order of the log within each partition.
pub(crate) struct Ledger {
    pub invoices: Vec<Received<InvoiceReceived>>,
    pub placed: Vec<Received<OrderPlaced>>,
    pub cancellations: Vec<Received<CancellationAccepted>>,
    pub completed: Vec<Received<OrderCompleted>>,
    pub cancelled: Vec<Received<OrderCancelled>>,
    pub paid: Vec<Received<PaymentCompleted>>,
    pub payments_failed: Vec<Received<PaymentFailed>>,
    pub returns: Vec<Received<ReturnRequested>>,
    pub refunds: Vec<Received<PaymentRefunded>>,
    pub reserved: Vec<Received<StockReserved>>,
    pub unavailable: Vec<Received<StockNotAvailable>>,
    pub released: Vec<Received<StockReleased>>,
    pub declined: Vec<Received<ReturnDeclined>>,
    pub shipped: Vec<Received<ShippingScheduled>>,
    pub notifications: Vec<Received<NotificationSent>>,
    pub revenue: Vec<Received<RevenueChanged>>,
    pub dead: Vec<Dead>,
    /// How often each event id stands in the topics that services write, with the topic.
    pub copies: HashMap<(String, String), usize>,
}

/// A dead letter with the event that died.
pub(crate) struct Dead {
    pub id: String,
    pub invoice: Option<InvoiceReceived>,
}

impl Ledger {
    pub(crate) async fn read(engine: &Engine) -> Result<Self, Error> {
        let mut topics = HashMap::new();
        for (name, _) in topics::ALL {
            topics.insert(name, read_topic(engine, name).await?);
        }
        let mut dead = Vec::new();
        for (service, _) in LISTENS {
            for record in read_topic(engine, &format!("{service}.dead")).await? {
                let letter = DeadLetter::from_record(&record);
                let id = letter.and_then(|letter| letter.id).ok_or_else(|| Error::Record {
                    topic: record.topic.to_string(),
                    why: "it is no dead letter of a service".into(),
                })?;
                let invoice = decode::<InvoiceReceived>(&record).ok().map(|r| (*r).clone());
                dead.push(Dead { id: id.to_string(), invoice });
            }
        }
        let copies = copies(&topics);
        Ok(Self {
            invoices: said(&topics)?,
            placed: said(&topics)?,
            cancellations: said(&topics)?,
            completed: said(&topics)?,
            cancelled: said(&topics)?,
            paid: said(&topics)?,
            payments_failed: said(&topics)?,
            returns: said(&topics)?,
            refunds: said(&topics)?,
            reserved: said(&topics)?,
            unavailable: said(&topics)?,
            released: said(&topics)?,
            declined: said(&topics)?,
            shipped: said(&topics)?,
            notifications: said(&topics)?,
            revenue: said(&topics)?,
            dead,
            copies,
        })
    }
}

/// The events of type `E` in its topic.
fn said<E: Event>(topics: &HashMap<&str, Vec<Record>>) -> Result<Vec<Received<E>>, Error> {
    let records = topics.get(E::TOPIC).map_or(&[][..], Vec::as_slice);
    records
        .iter()
        .filter(|record| record.header("ce_type") == Some(E::TYPE))
        .map(|record| {
            decode(record).map_err(|e| Error::Record { topic: E::TOPIC.into(), why: e.to_string() })
        })
        .collect()
}

fn copies(topics: &HashMap<&str, Vec<Record>>) -> HashMap<(String, String), usize> {
    let mut copies = HashMap::new();
    for record in topics.iter().filter(|(t, _)| **t != topics::INVOICES).flat_map(|(_, r)| r) {
        let id = record.header("ce_id").unwrap_or_default().to_owned();
        *copies.entry((record.topic.to_string(), id)).or_default() += 1;
    }
    copies
}
