//! Transactions that are open in a partition and that the coordinator has ended, or never knew.
//!
//! A log in memory may lose a marker whose transaction is complete by the journal, and damage may take a
//! marker from any log. Readers of committed records would wait at the first record of such a transaction
//! for ever: what `kafka-transactions find-hanging` looks for (KIP-664). Opening the node aborts them, since
//! nothing says any more which of its records are left.

use std::collections::{BTreeMap, BTreeSet};

use tidings_coordinator::{
    TransactionEnd, TransactionMarker, TransactionPartitions, TransactionVersion,
};
use tidings_log::ProducerEntry;

use crate::OpenReport;
use crate::broker::{Broker, Now};

/// An open transaction of a partition.
struct Hanging {
    topic: String,
    partition: i32,
    producer: ProducerEntry,
}

impl Broker {
    /// For when the transactions are loaded: what they do not have is ended.
    pub(crate) fn end_hanging(&mut self, now: Now, report: &mut OpenReport) {
        for Hanging { topic, partition, producer } in self.hanging() {
            let ProducerEntry { producer_id, epoch, .. } = producer;
            // The first protocol's markers need no raised epoch, which nobody has given out here.
            let version = TransactionVersion::One;
            let marker =
                TransactionMarker { producer_id, epoch, end: TransactionEnd::Abort, version };
            let ended = self.end_in_partition(now, &topic, partition, marker);
            let what = if ended { "aborted" } else { "left open, for the log has failed" };
            report.findings.push(format!(
                "{topic}-{partition}: a transaction of producer {producer_id} that lost its end: {what}"
            ));
        }
    }

    fn hanging(&self) -> Vec<Hanging> {
        let mut under_way: BTreeMap<i64, Vec<&TransactionPartitions>> = BTreeMap::new();
        for (_, held) in self.ledger.state.iter() {
            under_way.entry(held.producer_id).or_default().push(&held.partitions);
        }
        let goes_on = |producer_id: i64, topic: &str, partition: i32| {
            under_way.get(&producer_id).is_some_and(|transactions| {
                let has = |held: &BTreeSet<i32>| held.contains(&partition);
                transactions.iter().any(|held| held.get(topic).is_some_and(has))
            })
        };
        let mut hanging = Vec::new();
        for topic in self.catalog.topics() {
            for (partition, id) in topic.logs() {
                let Some(log) = self.logs.log(id) else { continue };
                for producer in log.producers() {
                    if producer.transaction_offset.is_some()
                        && !goes_on(producer.producer_id, &topic.name, partition)
                    {
                        hanging.push(Hanging { topic: topic.name.clone(), partition, producer });
                    }
                }
            }
        }
        hanging
    }
}
