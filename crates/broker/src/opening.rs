//! Opening a node: what was promised is loaded, what was left over is removed, the rest reported.
//!
//! 1. The store reads its checkpoint and its journal; the catalog is loaded.
//! 2. Folders of partitions that the catalog says were deleted are removed: a crash cut the deletion
//!    short. Others that the catalog does not know are removed if they have no records; if they have,
//!    they are moved aside and reported, as it may be the catalog that is wrong. If it is new or
//!    damaged, so are those of deleted topics, and what the journal has of unknown logs is kept.
//! 3. Every partition's log is opened; one that cannot be stays there, refusing use. The store
//!    begins; a node without a catalog gets a cluster id.
//! 4. The groups are loaded from `__consumer_offsets`; offsets in topics that are gone are forgotten,
//!    and no such name is given to a new topic before that is on disk.
//! 5. The transactions are loaded from `__transaction_state`, those that were decided are carried out, and
//!    what is open in a partition without one is aborted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_coordinator::{Coordinator, Record as GroupRecord, TransactionEnd, TransactionRecord};
use tidings_log::{
    Batch, Disk, Ending, Fault, FaultKind, LogConfig, LogId, LogKey, OpenMode, ReadRefused, Record,
    Recovered, Store, StoreRecovered, split,
};

use crate::admission::Admission;
use crate::broker::{Broker, BrokerConfig, Now, OpenReport};
use crate::catalog::{CATALOG, Catalog, CatalogRecord, log_key};
use crate::fetch::WaitingFetches;
use crate::fetch_sessions::{FetchSessions, SessionLimits};
use crate::held::HeldReplies;
use crate::jobs::{Jobs, moment};
use crate::limits;
use crate::partition::{FIRST_EPOCH, Logs, Partition};
use crate::producers::ProducerIds;
use crate::quotas::Buckets;
use crate::random::{Random, base64};
use crate::read_ahead::ReadAhead;
use crate::topic_name::{self, CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::topics::remove_folder;
use crate::transactions::Ledger;

const CATALOG_FOLDER: &str = "__tidings_catalog-0";
/// The catalog is never deleted; of what was said of a name long ago only the last word is kept.
const CATALOG_CONFIG: LogConfig =
    LogConfig { segment_bytes: 16 << 20, delete: false, compact: true, ..LogConfig::KAFKA };

impl Broker {
    /// Opens the node whose files are on `disk`, creating it when there are none.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: BrokerConfig,
        now: Now,
    ) -> Result<(Self, OpenReport), Fault> {
        let mut report = OpenReport::default();
        let (mut store, found) = Store::open(Arc::clone(&disk), config.store)?;
        report.add_store(&found);
        let recovered =
            store.open_log(CATALOG, LogKey::default(), CATALOG_FOLDER, CATALOG_CONFIG)?;
        report.add(CATALOG_FOLDER, &recovered);
        let mut catalog = Catalog::new(config.kept);
        let deleted = load_catalog(&store, &mut catalog)?;
        let unharmed = recovered.damaged.is_empty() && found.damaged.is_empty();
        let catalog_is_whole = catalog.cluster_id.is_some() && unharmed;
        // Ids of this run must not repeat those of the last, should it have had the same seed.
        let catalog_end = store.log(CATALOG).map_or(0, |log| log.end_offset());
        let run = u64::try_from(now.wall_ms).unwrap_or(0) ^ catalog_end.unsigned_abs();
        let free_bytes = disk.free_bytes().unwrap_or_else(|fault| {
            report.findings.push(format!("free space is not known: {fault}"));
            u64::MAX
        });
        let mut logs = Logs { store, by_id: Default::default() };
        logs.by_id.insert(CATALOG, Partition::new(CATALOG_FOLDER.to_owned(), 0, FIRST_EPOCH));
        let mut broker = Self {
            random: Random::new(config.seed ^ run),
            quota_buckets: Buckets::default(),
            producer_ids: ProducerIds::none_below(catalog.producer_ids_end),
            cluster_id: String::new(),
            disk,
            sessions: FetchSessions::new(SessionLimits::of(&config.kept)),
            config,
            catalog,
            logs,
            groups: Coordinator::new(),
            groups_trouble: None,
            ledger: Ledger::default(),
            held: HeldReplies::default(),
            mutations: None,
            fetches: WaitingFetches::default(),
            admission: Admission::default(),
            jobs: Jobs::default(),
            ahead: ReadAhead::default(),
            completions: VecDeque::new(),
            unsettled: BTreeSet::new(),
            removals: Default::default(),
            free_bytes,
            journal_has_failed: false,
            damage: VecDeque::new(),
        };
        let gone = if catalog_is_whole { deleted } else { BTreeSet::new() };
        broker.clear_strays(&gone, &mut report)?;
        broker.configure_node();
        report.findings.extend(broker.catalog.exceeds());
        let damaged = broker.open_partitions(&mut report) || !unharmed;
        let volatile = broker.catalog.topics().any(|topic| topic.settings.log.volatile);
        let left = broker.logs.store.begin(!catalog_is_whole)?;
        if !catalog_is_whole {
            report.add_kept(&left);
        }
        broker.name_cluster(now)?;
        if damaged || (volatile && !found.closed) {
            broker.raise_epochs(now, &mut report);
        }
        broker.tell_groups_of_topics();
        broker.load_groups(now, &mut report);
        broker.load_transactions(now, &mut report);
        broker.advance(now);
        Ok((broker, report))
    }

    fn name_cluster(&mut self, now: Now) -> Result<(), Fault> {
        if self.catalog.cluster_id.is_none() {
            let record = CatalogRecord::ClusterNamed { cluster_id: base64(self.random.uuid()) };
            let failed = |trouble| Fault {
                operation: "write",
                path: CATALOG_FOLDER.to_owned(),
                offset: None,
                kind: FaultKind::Io(trouble),
            };
            let past = self.append_catalog(now, &record).map_err(failed)?;
            self.logs.store.settle(moment(now));
            if self.logs.durable(CATALOG) < past {
                let trouble = self.logs.writable(CATALOG).err();
                return Err(failed(trouble.unwrap_or_else(|| "is not on disk".to_owned())));
            }
            self.catalog.apply(record);
        }
        self.cluster_id = self.catalog.cluster_id.clone().unwrap_or_default();
        Ok(())
    }

    /// Sees to the folders of partitions that are not in the catalog; `gone` are topics that were
    /// deleted.
    fn clear_strays(
        &mut self,
        gone: &BTreeSet<String>,
        report: &mut OpenReport,
    ) -> Result<(), Fault> {
        let mut changed = false;
        for entry in self.disk.list("")? {
            let Some((topic, partition)) = topic_name::of_folder(&entry.name) else { continue };
            let known = self.catalog.log(topic, partition).is_some();
            if !entry.is_dir || known || entry.name == CATALOG_FOLDER {
                continue;
            }
            changed = true;
            if gone.contains(topic) || !self.has_records(&entry.name)? {
                remove_folder(&*self.disk, &entry.name)?;
                report.findings.push(format!("{}: removed, it belongs to no topic", entry.name));
            } else {
                let aside = topic_name::stray(&entry.name, self.random.bytes());
                self.move_folder(&entry.name, &aside)?;
                report.findings.push(format!(
                    "{}: belongs to no topic; kept as {aside}, for the catalog may be wrong",
                    entry.name
                ));
            }
        }
        if changed { self.disk.sync_dir("") } else { Ok(()) }
    }

    fn has_records(&self, folder: &str) -> Result<bool, Fault> {
        for entry in self.disk.list(folder)? {
            if !entry.is_dir && entry.name.ends_with(".log") {
                let file =
                    self.disk.open(&format!("{folder}/{}", entry.name), OpenMode::Existing)?;
                if file.len()? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn move_folder(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.disk.create_dir_all(to)?;
        for file in self.disk.list(from)?.iter().filter(|entry| !entry.is_dir) {
            self.disk.rename(&format!("{from}/{}", file.name), &format!("{to}/{}", file.name))?;
        }
        self.disk.sync_dir(to)?;
        self.disk.sync_dir("")?;
        remove_folder(&*self.disk, from)
    }

    /// Tells whether any of them is damaged.
    fn open_partitions(&mut self, report: &mut OpenReport) -> bool {
        let mut damaged = false;
        for topic in self.catalog.topics() {
            report.topics += usize::from(!topic.internal);
            for (partition, id) in topic.logs() {
                report.partitions += usize::from(!topic.internal);
                let folder = topic_name::folder(&topic.name, partition);
                if folder == CATALOG_FOLDER {
                    // Two logs on the same files would destroy each other.
                    report.findings.push(format!("{folder}: is the catalog's, and no partition"));
                    continue;
                }
                let key = log_key(&topic.id, partition);
                let opened = self.logs.store.open_log(id, key, &folder, topic.settings.log);
                let mut held = Partition::new(folder, 0, FIRST_EPOCH);
                match opened {
                    Ok(recovered) => {
                        damaged |= !recovered.damaged.is_empty();
                        report.add(&held.folder, &recovered);
                    }
                    Err(fault) => {
                        let folder = &held.folder;
                        report.findings.push(format!("{folder}: could not be opened: {fault}"));
                        held.unopened = Some(fault);
                    }
                }
                held.leader_epoch = self.logs.opened_epoch(id, self.catalog.leader_epoch);
                self.logs.by_id.insert(id, held);
            }
        }
        damaged
    }

    fn load_groups(&mut self, now: Now, report: &mut OpenReport) {
        let Some(id) = self.catalog.log(CONSUMER_OFFSETS, 0) else { return };
        let groups = &mut self.groups;
        let loaded = self.logs.readable(id).and_then(|_| {
            for_each_batch(&self.logs.store, id, |batch| load_group_batch(groups, now, batch))
                .map_err(|trouble| trouble.to_string())
        });
        if let Err(trouble) = loaded {
            let trouble =
                format!("{CONSUMER_OFFSETS} cannot be read, groups are refused: {trouble}");
            report.findings.push(trouble.clone());
            self.groups_trouble = Some(trouble);
            return;
        }
        let gone: BTreeSet<String> = self
            .groups
            .committed_topics()
            .filter(|topic| self.catalog.topic(topic).is_none())
            .map(str::to_owned)
            .collect();
        for topic in gone {
            if let Err(trouble) = self.finish_deletion(now, &topic) {
                report
                    .findings
                    .push(format!("offsets in {topic} could not be forgotten: {trouble}"));
            }
        }
    }
}

impl Broker {
    fn load_transactions(&mut self, now: Now, report: &mut OpenReport) {
        let Some(id) = self.catalog.log(TRANSACTION_STATE, 0) else {
            return self.end_hanging(now, report);
        };
        let state = &mut self.ledger.state;
        let loaded = self.logs.readable(id).and_then(|_| {
            for_each_record(&self.logs.store, id, |record| {
                let key = record.key.as_deref().unwrap_or_default();
                let decoded = TransactionRecord::decode(key, record.value.as_deref());
                if let Some(change) = decoded.map_err(|error| error.to_string())? {
                    state.apply(now, change);
                }
                Ok(())
            })
            .map_err(|trouble| trouble.to_string())
        });
        if let Err(trouble) = loaded {
            let trouble =
                format!("{TRANSACTION_STATE} cannot be read, transactions are refused: {trouble}");
            report.findings.push(trouble.clone());
            self.ledger.trouble = Some(trouble);
            return;
        }
        self.close_prepared(now);
        self.end_hanging(now, report);
    }
}

impl OpenReport {
    fn add_store(&mut self, found: &StoreRecovered) {
        if found.torn_frames > 0 {
            let count = found.torn_frames;
            self.findings
                .push(format!("journal: dropped {count} writes that were never acknowledged"));
        }
        for fault in &found.damaged {
            self.findings.push(format!("journal: damaged: {fault}"));
        }
    }

    /// Entries of the journal that belong to no topic of a catalog that may be wrong.
    fn add_kept(&mut self, left: &[(LogKey, u64)]) {
        let entries: u64 = left.iter().map(|(_, entries)| entries).sum();
        if entries > 0 {
            let logs = left.len();
            self.findings.push(format!(
                "journal: {entries} entries of {logs} unknown logs are kept, for the catalog is \
                 new or damaged"
            ));
        }
    }

    fn add(&mut self, folder: &str, recovered: &Recovered) {
        if recovered.cut_bytes > 0 {
            let kept = recovered.kept_aside.as_ref();
            let kept = kept.map(|file| format!(", kept aside in {file}")).unwrap_or_default();
            self.findings.push(format!(
                "{folder}: cut {} bytes that were never completely written{kept}",
                recovered.cut_bytes
            ));
        }
        if recovered.rebuilt_indexes > 0 {
            let count = recovered.rebuilt_indexes;
            self.findings.push(format!("{folder}: rebuilt {count} index files"));
        }
        for fault in &recovered.damaged {
            self.findings.push(format!("{folder}: damaged, reads of it are refused: {fault}"));
        }
    }
}

/// Folds the catalog's records; returns the names whose last topic was deleted.
fn load_catalog(store: &Store, catalog: &mut Catalog) -> Result<BTreeSet<String>, Fault> {
    let mut deleted = BTreeSet::new();
    for_each_record(store, CATALOG, |record| {
        let record = CatalogRecord::decode(record.value.as_ref())?;
        match &record {
            CatalogRecord::TopicCreated { name, .. } => {
                deleted.remove(name);
            }
            CatalogRecord::TopicDeleted { name, .. } => {
                deleted.insert(name.clone());
            }
            _ => {}
        }
        catalog.apply(record);
        Ok(())
    })?;
    Ok(deleted)
}

/// Folds a batch of `__consumer_offsets`: commits and groups, those of a transaction, or the end of one.
fn load_group_batch(groups: &mut Coordinator, now: Now, batch: &Batch) -> Result<(), String> {
    let header = batch.header();
    if let Some(marker) = batch.end_marker().map_err(|error| error.to_string())? {
        let end = match marker.ending {
            Ending::Commit => TransactionEnd::Commit,
            Ending::Abort => TransactionEnd::Abort,
        };
        groups.end_transaction(now, header.producer_id, end);
        return Ok(());
    }
    if header.attributes.control() {
        return Ok(());
    }
    for record in batch.records().map_err(|error| error.to_string())? {
        let key = record.key.as_deref().unwrap_or_default();
        let decoded = GroupRecord::decode(key, record.value.as_deref());
        match decoded.map_err(|error| format!("offset {}: {error}", record.offset))? {
            Some(change) if header.attributes.transactional() => {
                groups.apply_in_transaction(header.producer_id, change);
            }
            Some(change) => groups.apply(now, change),
            None => {}
        }
    }
    Ok(())
}

/// Hands every record of a log of the broker's own to `take`, in order.
fn for_each_record(
    store: &Store,
    id: LogId,
    mut take: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), Fault> {
    for_each_batch(store, id, |batch| {
        for record in batch.records().map_err(|error| error.to_string())? {
            let offset = record.offset;
            take(record).map_err(|trouble| format!("record {offset}: {trouble}"))?;
        }
        Ok(())
    })
}

/// Hands every batch of a log of the broker's own to `take`, in order.
fn for_each_batch(
    store: &Store,
    id: LogId,
    mut take: impl FnMut(&Batch) -> Result<(), String>,
) -> Result<(), Fault> {
    let corrupt = |offset: i64, trouble: String| Fault {
        operation: "load",
        path: format!("record {offset}"),
        offset: None,
        kind: FaultKind::Corrupt(trouble),
    };
    let Some(log) = store.log(id) else { return Ok(()) };
    let (mut next, end) = (log.start_offset(), log.end_offset());
    while next < end {
        let read = store.read_now(id, next, end, limits::LOAD_CHUNK_BYTES);
        let batches = read.map_err(|refused| match refused {
            ReadRefused::Fault(fault) => fault,
            ReadRefused::OutOfRange { .. } => corrupt(next, refused.to_string()),
        })?;
        let before = next;
        for batch in batches.into_iter().flat_map(split) {
            let batch = batch.map_err(|error| corrupt(next, error.to_string()))?;
            take(&batch).map_err(|trouble| corrupt(next, trouble))?;
            next = batch.last_offset() + 1;
        }
        if next == before {
            return Err(corrupt(next, "no batch where one was expected".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidings_log::{MemoryDisk, StoreConfig};

    use super::*;
    use crate::limits::KeptLimits;

    #[test]
    fn a_recorded_topic_with_the_catalogs_folder_is_never_opened_as_a_partition() {
        let disk = MemoryDisk::new();
        let now = Now { wall_ms: 1, mono_ms: 0 };
        let open = || {
            let config = BrokerConfig {
                kept: KeptLimits::default(),
                node_id: 1,
                brokers: 1,
                default_partitions: 1,
                auto_create_topics: true,
                delete_topics: true,
                disk_reserve_bytes: 0,
                store: StoreConfig::small(),
                seed: 1,
            };
            Broker::open(Arc::new(disk.clone()), config, now).expect("the disk is healthy")
        };
        let (mut broker, _) = open();
        let record = CatalogRecord::TopicCreated {
            name: "__tidings_catalog".to_owned(),
            id: base64([7; 16]),
            partitions: 1,
            configs: BTreeMap::new(),
            replicas: Vec::new(),
        };
        broker.append_catalog(now, &record).expect("there is room");
        broker.close().expect("a clean close");
        drop(broker);
        let (broker, report) = open();
        assert_eq!(report.findings, ["__tidings_catalog-0: is the catalog's, and no partition"]);
        assert_eq!(broker.logs.by_id.len(), 1, "the catalog alone");
    }
}
