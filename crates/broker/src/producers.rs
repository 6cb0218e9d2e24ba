//! Ids of idempotent and transactional producers.
//!
//! Ids are reserved in the catalog in blocks of [`limits::PRODUCER_ID_BLOCK`]; an id is given out
//! only when its block's reservation is on disk, so that no id is given out twice.

use tidings_coordinator::TransactionRecord;

use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, CatalogRecord};
use crate::held::{Mark, Wait};
use crate::{InitProducer, ProduceRefused, ProducerIdentity, Reply, limits};

/// The reserved ids that are left.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    next: i64,
    end: i64,
    /// The catalog must be durable up to here before they are given out.
    reserved_past: i64,
}

impl ProducerIds {
    /// After a start nothing is left: what the last run reserved may have been given out.
    pub(crate) fn none_below(end: i64) -> Self {
        Self { next: end, end, reserved_past: 0 }
    }

    /// The next id is a transactional producer's now.
    pub(crate) fn take_if_used_by(&mut self, record: &TransactionRecord) {
        self.next += i64::from(record.uses(self.next));
    }
}

impl Broker {
    pub(crate) fn init_producer(&mut self, now: Now, ticket: Ticket, request: &InitProducer) {
        if let Some(identity) = request.resume.and_then(|held| self.next_epoch(held)) {
            return self.answer(ticket, Reply::InitProducer(Ok(identity)), &[]);
        }
        let id = match self.fresh_producer_id(now) {
            Ok(id) => id,
            Err(trouble) => {
                let refused = ProduceRefused::Storage(trouble);
                return self.answer(ticket, Reply::InitProducer(Err(refused)), &[]);
            }
        };
        let ids = &mut self.producer_ids;
        let identity = ProducerIdentity { id, epoch: 0 };
        ids.next += 1;
        let past = ids.reserved_past;
        let wait = Wait { log: CATALOG, mark: Mark::End, past, part: 0 };
        let waits: &[Wait] = if past > self.logs.durable(CATALOG) { &[wait] } else { &[] };
        self.answer(ticket, Reply::InitProducer(Ok(identity)), waits);
    }

    /// A producer id that nobody has, reserved in the catalog's log if need be. It stays the next one until
    /// it is used.
    pub(crate) fn fresh_producer_id(&mut self, now: Now) -> Result<i64, String> {
        if self.producer_ids.next == self.producer_ids.end {
            self.reserve_ids(now).map_err(|trouble| format!("no producer id: {trouble}"))?;
        }
        Ok(self.producer_ids.next)
    }

    /// The same id with its next epoch; none for an id that was never given out, or whose epochs
    /// are used up.
    fn next_epoch(&self, (id, epoch): (i64, i16)) -> Option<ProducerIdentity> {
        let known = (0..self.producer_ids.next).contains(&id) && epoch >= 0;
        let epoch = epoch.checked_add(1).filter(|epoch| known && *epoch < i16::MAX)?;
        Some(ProducerIdentity { id, epoch })
    }

    fn reserve_ids(&mut self, now: Now) -> Result<(), String> {
        let first = self.catalog.producer_ids_end;
        let next =
            first.checked_add(limits::PRODUCER_ID_BLOCK).ok_or("producer ids are used up")?;
        let record = CatalogRecord::ProducerIdsReserved { next };
        let reserved_past = self.append_catalog(now, &record)?;
        self.catalog.apply(record);
        self.producer_ids = ProducerIds { next: first, end: next, reserved_past };
        Ok(())
    }
}
