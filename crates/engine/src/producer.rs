//! The idempotent producer.

use bytes::Bytes;

#[cfg(feature = "embedded")]
use crate::embedded::EmbeddedProducer;
#[cfg(feature = "kafka")]
use crate::kafka::KafkaProducer;
use crate::{Error, Position, SentRecord};

/// Appends records; one owner, or share it behind clones: order is kept per partition.
#[derive(Clone, Debug)]
pub struct Producer {
    kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    #[cfg(feature = "embedded")]
    Embedded(EmbeddedProducer),
    #[cfg(feature = "kafka")]
    Kafka(KafkaProducer),
}

impl Producer {
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind }
    }

    /// Appends the records in order and returns where each went once all are durable, in the order of
    /// the records.
    ///
    /// The records of a partition go in one batch or a few
    /// ([`crate::limits::BATCH_RECORDS_BYTES_MAX`] each, or less where the topic takes less), of which the
    /// first ones may be appended when a later one is refused. On an error, other partitions may have
    /// taken their records.
    ///
    /// Sends of one task follow each other; those of concurrent tasks share group commits.
    pub async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        match &self.kind {
            #[cfg(feature = "embedded")]
            Kind::Embedded(embedded) => embedded.send(records).await,
            #[cfg(feature = "kafka")]
            Kind::Kafka(kafka) => kafka.send(records).await,
        }
    }
}

/// Most bytes that the record may take inside a batch: its bytes, and every number at its longest.
pub(crate) fn encoded_size_max(record: &SentRecord) -> usize {
    const NUMBERS: usize = 36;
    const HEADER_NUMBERS: usize = 10;
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| HEADER_NUMBERS + header.name.len() + length(&header.value));
    NUMBERS + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}
