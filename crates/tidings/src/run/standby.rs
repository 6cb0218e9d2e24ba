//! Copies of the values by key of partitions that other instances serve, kept up in this instance's folder, so that a
//! partition that moves here is served when the last of what was written has been read.
//!
//! Invariants: a store is written by the loop while this instance serves its partition and by the copying while it does
//! not ([`Folder::unserved`]), never by both. A copy's mark is moved only when everything up to the end that its topic
//! had when the look began has been written, as that of a store that is restored: whatever happens in between, the
//! next look, or the loop, reads that part again.
//!
//! Nobody assigns copies: an instance that keeps any keeps all that it does not serve, one after the other. What goes wrong
//! is tried again with the next look, and is never in the service's way.
//!
//! Limits: a look every [`limits::STANDBY_EVERY`]; [`limits::REPLAY_BYTES`] in memory and in one write.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidings_engine::{Engine, TopicPartition};
use tokio::task::JoinSet;

use super::{Broken, Worker, values::tombstones_ms};
use crate::{
    figures::Figures,
    keyed::state_topic,
    limits,
    publisher::now_ms,
    replay::{Tail, Until},
    store::disk::{Folder, Reached},
};

/// The copying, which ends with this.
pub(super) struct Standby {
    shown: Arc<Shown>,
    copying: JoinSet<()>,
}

/// What it has done.
#[derive(Debug, Default)]
struct Shown {
    copied: AtomicU64,
    behind: AtomicU64,
}

struct Copier {
    service: String,
    engine: Engine,
    folder: Arc<Folder>,
    /// Those of states.
    topics: Vec<String>,
    shown: Arc<Shown>,
}

/// A copy that lacks something.
struct Lacking {
    at: TopicPartition,
    tombstones_ms: i64,
    records: u64,
}

impl Standby {
    /// Ends it; the folder is nobody's then.
    pub(super) async fn stop(mut self) {
        self.copying.shutdown().await;
    }

    pub(super) fn show(&self, figures: &mut Figures) {
        figures.copied = self.shown.copied.load(Ordering::Relaxed);
        figures.copies_behind = self.shown.behind.load(Ordering::Relaxed);
    }
}

impl Worker {
    /// Begins to keep copies, if the service is to and does not yet.
    pub(super) fn stand_by(&mut self) {
        let (true, Some(folder), None) = (self.service.standby, &self.folder, &self.standby) else {
            return;
        };
        let (service, shown) = (self.service.name.clone(), Arc::<Shown>::default());
        let states = self.service.wiring.keyed.states.iter();
        let topics = states.map(|state| state_topic(&service, &state.name)).collect();
        let (engine, folder) = (self.engine.clone(), Arc::clone(folder));
        let copier = Copier { service, engine, folder, topics, shown: Arc::clone(&shown) };
        let mut copying = JoinSet::new();
        copying.spawn(copier.run());
        self.standby = Some(Standby { shown, copying });
    }
}

impl Copier {
    async fn run(self) {
        let mut is_failing = false;
        loop {
            let looked = self.look().await;
            if let Err(broken) = &looked
                && !is_failing
            {
                let service = &self.service;
                tracing::warn!(%service, ?broken, "copies are not kept up, looks again");
            }
            is_failing = looked.is_err();
            tokio::time::sleep(limits::STANDBY_EVERY).await;
        }
    }

    /// Brings every copy up to where its topic ends now.
    async fn look(&self) -> Result<(), Broken> {
        let lacking = self.lacking().await?;
        let mut behind = lacking.iter().map(|lacking| lacking.records).sum();
        self.shown.behind.store(behind, Ordering::Relaxed);
        for Lacking { at, tombstones_ms, records } in lacking {
            self.copy(&at, tombstones_ms).await?;
            behind -= records;
            self.shown.behind.store(behind, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The copies that something is to be done for.
    async fn lacking(&self) -> Result<Vec<Lacking>, Broken> {
        let mut lacking = Vec::new();
        for topic in &self.topics {
            let tombstones_ms = tombstones_ms(&self.engine, topic).await?;
            for partition in self.engine.topic(topic).await?.partitions {
                let at = TopicPartition { topic: topic.clone(), partition: partition.id };
                let end = partition.end_offset;
                // The loop may begin to serve it meanwhile; then it is none that something is done for.
                let records =
                    self.folder.unserved(&at, tombstones_ms, |store| Ok(store.lacks(end)));
                if let Some(Some(records)) = records? {
                    lacking.push(Lacking { at, tombstones_ms, records });
                }
            }
        }
        Ok(lacking)
    }

    async fn copy(&self, at: &TopicPartition, tombstones_ms: i64) -> Result<(), Broken> {
        let since_ms = now_ms();
        let mut tail = Tail::of(&self.engine, at, Until::Readable).await?;
        let end = tail.end();
        let begun = self
            .folder
            .unserved(at, tombstones_ms, |store| Ok((store.restores_from(end)?, store.turn())))?;
        let Some((from, turn)) = begun else { return Ok(()) };
        tail.begin(from);
        loop {
            let part = tail.part(&self.engine).await?;
            let written = self.folder.unserved(at, tombstones_ms, |store| {
                // Served here meanwhile, and no more: it may have been emptied.
                if store.turn() != turn {
                    return Ok(false);
                }
                match part.is_empty() {
                    true => store.copied(Reached { next: end, at_ms: since_ms })?,
                    false => store.copy(&part)?,
                }
                Ok(true)
            })?;
            if part.is_empty() || written != Some(true) {
                return Ok(());
            }
            self.shown.copied.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
    }
}
