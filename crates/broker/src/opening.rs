//! Opening a node: what was promised is loaded, what was left over is removed, the rest reported.
//!
//! 1. The catalog is loaded; a node without one gets a cluster id.
//! 2. Folders of partitions that the catalog does not know are removed: they are left of a creation
//!    or a deletion that a crash cut short, and nothing in them was acknowledged. If the catalog is
//!    new, cut or damaged, those with records are moved aside and reported, as it may be the catalog
//!    that is wrong.
//! 3. Every partition's log is opened; one that cannot be stays there, refusing use.
//! 4. The groups are loaded from `__consumer_offsets`; offsets in topics that are gone are forgotten,
//!    and no such name is given to a new topic before that is on disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_coordinator::{Coordinator, Record as GroupRecord};
use tidings_log::{
    CommitLog, Disk, Fault, FaultKind, LogConfig, OpenMode, ReadRefused, Record, Recovered, split,
};

use crate::broker::{Broker, BrokerConfig, Now, OpenReport};
use crate::catalog::{Catalog, CatalogRecord, LogId};
use crate::config::TopicSettings;
use crate::fetch::WaitingFetches;
use crate::held::HeldReplies;
use crate::limits;
use crate::partition::{Logs, Partition};
use crate::producers::ProducerIds;
use crate::random::{Random, base64};
use crate::topic_name::{self, CONSUMER_OFFSETS};
use crate::topics::remove_folder;

const CATALOG_FOLDER: &str = "__tidings_catalog-0";

impl Broker {
    /// Opens the node whose files are on `disk`, creating it when there are none.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: BrokerConfig,
        now: Now,
    ) -> Result<(Self, OpenReport), Fault> {
        let mut report = OpenReport::default();
        let log_config = TopicSettings::new(Default::default()).log;
        let (log, recovered) = CommitLog::open(disk.clone(), CATALOG_FOLDER, log_config)?;
        report.add(CATALOG_FOLDER, &recovered);
        let mut catalog = Catalog::new();
        load_catalog(&log, &mut catalog)?;
        let catalog_is_whole = catalog.cluster_id.is_some()
            && recovered.damaged.is_empty()
            && recovered.cut_bytes == 0;
        // Ids of this run must not repeat those of the last, should it have had the same seed.
        let run = u64::try_from(now.wall_ms).unwrap_or(0) ^ log.end_offset().unsigned_abs();
        let free_bytes = disk.free_bytes().unwrap_or_else(|fault| {
            report.findings.push(format!("free space is not known: {fault}"));
            u64::MAX
        });
        let mut logs = Logs::default();
        let folder = CATALOG_FOLDER.to_owned();
        logs.by_id.insert(LogId::CATALOG, Partition { folder, log: Ok(log), settles_at: 0 });
        let mut broker = Self {
            random: Random::new(config.seed ^ run),
            producer_ids: ProducerIds::none_below(catalog.producer_ids_end),
            cluster_id: String::new(),
            disk,
            config,
            catalog,
            logs,
            groups: Coordinator::new(),
            groups_trouble: None,
            held: HeldReplies::default(),
            fetches: WaitingFetches::default(),
            completions: VecDeque::new(),
            dirty: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            removals: Default::default(),
            free_bytes,
            sync_is_out: false,
        };
        broker.name_cluster(now)?;
        broker.clear_strays(catalog_is_whole, &mut report)?;
        broker.open_partitions(&mut report);
        broker.load_groups(now, &mut report);
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
            self.append_catalog(now, &record).map_err(failed)?;
            if let Some(mut batch) = self.sync_begin() {
                batch.run();
                self.sync_end(now, batch);
            }
            let catalog = self.logs.get(LogId::CATALOG).and_then(|held| held.log.as_ref().ok());
            if let Some(fault) = catalog.and_then(CommitLog::poisoned) {
                return Err(fault.clone());
            }
            self.catalog.apply(record);
        }
        self.cluster_id = self.catalog.cluster_id.clone().unwrap_or_default();
        Ok(())
    }

    fn clear_strays(
        &mut self,
        catalog_is_whole: bool,
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
            if catalog_is_whole || !self.has_records(&entry.name)? {
                remove_folder(&*self.disk, &entry.name)?;
                report.findings.push(format!("{}: removed, it belongs to no topic", entry.name));
            } else {
                let aside = topic_name::stray(&entry.name, self.random.bytes());
                self.move_folder(&entry.name, &aside)?;
                report.findings.push(format!(
                    "{}: belongs to no topic; kept as {aside}, for the catalog is new, cut or damaged",
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

    fn open_partitions(&mut self, report: &mut OpenReport) {
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
                let log = open_log(&self.disk, &folder, topic.settings.log, report);
                self.logs.by_id.insert(id, Partition { folder, log, settles_at: 0 });
            }
        }
    }

    fn load_groups(&mut self, now: Now, report: &mut OpenReport) {
        let Some(id) = self.catalog.log(CONSUMER_OFFSETS, 0) else { return };
        let groups = &mut self.groups;
        let partition = self.logs.get(id).expect("every partition was opened");
        let loaded = partition.readable().and_then(|log| {
            for_each_record(log, |record| {
                let key = record.key.as_deref().unwrap_or_default();
                let decoded = GroupRecord::decode(key, record.value.as_deref());
                if let Some(change) =
                    decoded.map_err(|e| format!("offset {}: {e}", record.offset))?
                {
                    groups.apply(now, change);
                }
                Ok(())
            })
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

impl OpenReport {
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

fn open_log(
    disk: &Arc<dyn Disk>,
    folder: &str,
    config: LogConfig,
    report: &mut OpenReport,
) -> Result<CommitLog, Fault> {
    match CommitLog::open(disk.clone(), folder, config) {
        Ok((log, recovered)) => {
            report.add(folder, &recovered);
            Ok(log)
        }
        Err(fault) => {
            report.findings.push(format!("{folder}: could not be opened: {fault}"));
            Err(fault)
        }
    }
}

fn load_catalog(log: &CommitLog, catalog: &mut Catalog) -> Result<(), Fault> {
    for_each_record(log, |record| {
        catalog.apply(CatalogRecord::decode(record.value.as_ref())?);
        Ok(())
    })
}

/// Hands every record of a log of the broker's own to `take`, in order.
fn for_each_record(
    log: &CommitLog,
    mut take: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), Fault> {
    let corrupt = |offset: i64, trouble: String| Fault {
        operation: "load",
        path: format!("record {offset}"),
        offset: None,
        kind: FaultKind::Corrupt(trouble),
    };
    let (mut next, end) = (log.start_offset(), log.end_offset());
    while next < end {
        let bytes =
            log.read(next, end, limits::LOAD_CHUNK_BYTES).map_err(|refused| match refused {
                ReadRefused::Fault(fault) => fault,
                ReadRefused::OutOfRange { .. } => corrupt(next, refused.to_string()),
            })?;
        let before = next;
        for batch in split(bytes) {
            let batch = batch.map_err(|error| corrupt(next, error.to_string()))?;
            let records = batch.records().map_err(|error| corrupt(next, error.to_string()))?;
            for record in records {
                let offset = record.offset;
                take(record).map_err(|trouble| corrupt(offset, trouble))?;
            }
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

    use tidings_log::MemoryDisk;

    use super::*;

    #[test]
    fn a_recorded_topic_with_the_catalogs_folder_is_never_opened_as_a_partition() {
        let disk = MemoryDisk::new();
        let now = Now { wall_ms: 1, mono_ms: 0 };
        let open = || {
            let config = BrokerConfig {
                node_id: 1,
                default_partitions: 1,
                auto_create_topics: true,
                disk_reserve_bytes: 0,
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
        };
        broker.append_catalog(now, &record).expect("there is room");
        broker.close().expect("a clean close");
        drop(broker);
        let (broker, report) = open();
        assert_eq!(report.findings, ["__tidings_catalog-0: is the catalog's, and no partition"]);
        assert_eq!(broker.logs.by_id.len(), 1, "the catalog alone");
    }
}
