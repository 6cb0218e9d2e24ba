//! The lag of groups over the last day, kept in a topic of the engine: [`HISTORY_TOPIC`].
//!
//! A point is a record: its key `["<group>",<milliseconds>]`, on the grid of [`LAG_POINT_EVERY`]; its value JSON ([`Point`]). The last
//! word on a key counts, the topic is compacted, and a tombstone takes a point back. Points are kept for
//! [`LAG_FINE_FOR`]; of older ones only those on the grid of [`LAG_COARSE_EVERY`], for [`LAG_KEPT_FOR`]. So a group has
//! no more than [`LAG_POINTS_MAX`], of [`LAG_GROUPS_MAX`] groups.
//!
//! Any number of consoles may share the topic. Before one writes it reads what others wrote, and leaves alone what is there; where two
//! write at once, they write the same key, with what both have seen. Taking a point back twice does nothing. Whoever writes
//! what is no point of these is not listened to.
//!
//! Nothing is written before a console has been there for [`LAG_POINT_EVERY`]. Where the topic cannot be made or written (no permission, no engine) the points are in memory only, that is said once, and tried again
//! every [`LAG_RETRY_AFTER`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidings_engine::{Engine, Error, NewTopic, Producer, ReadLimit, SentRecord};
use tokio::sync::watch;
use tracing::{info, warn};

use super::super::Frame;
use super::super::snapshot::{GroupLine, Snapshot};
use crate::limits::{
    LAG_COARSE_EVERY, LAG_FINE_FOR, LAG_GROUP_NAME_BYTES_MAX, LAG_GROUPS_MAX, LAG_KEPT_FOR,
    LAG_POINTS_MAX, LAG_READ_BYTES, LAG_READS_PER_SAMPLE, LAG_RETENTION, LAG_RETRY_AFTER,
    LAG_SEGMENT_BYTES, LAG_WRITES_PER_SAMPLE,
};

/// The topic of the history.
pub(crate) const HISTORY_TOPIC: &str = "tidings.groups";

/// How far behind a group was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Records.
    pub(crate) lag: i64,
    /// How long ago the oldest record was written that was not done, in seconds; at least, when it was there before anybody looked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) behind_s: Option<u64>,
    /// The sum of its positions.
    #[serde(default)]
    pub(crate) committed: i64,
    #[serde(default)]
    pub(crate) members: i64,
}

impl Point {
    fn of(group: &GroupLine) -> Self {
        Self {
            lag: group.lag.0,
            behind_s: group.behind.map(|behind| behind.seconds),
            committed: group.committed.0,
            members: group.members.0,
        }
    }
}

/// A point's name.
type Key = (String, i64);

/// A point that is new, or none where one is taken back.
type Change = (Key, Option<Point>);

/// All points that are kept. Pure.
#[derive(Debug, Default)]
struct Kept {
    groups: BTreeMap<String, BTreeMap<i64, Point>>,
}

/// Whether a point of that age is kept.
fn is_kept(at_ms: i64, now_ms: i64) -> bool {
    let age_ms = now_ms.saturating_sub(at_ms);
    age_ms <= ms(LAG_FINE_FOR) || (age_ms <= ms(LAG_KEPT_FOR) && at_ms % ms(LAG_COARSE_EVERY) == 0)
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Kept {
    /// Takes what the topic says of a key. What lies in the future is nobody's, beyond what clocks differ by.
    fn apply(&mut self, key: Key, point: Option<Point>, now_ms: i64) {
        let (group, at_ms) = key;
        let Some(point) = point else { return self.forget(&group, at_ms) };
        let is_new = !self.groups.contains_key(&group);
        if group.len() > LAG_GROUP_NAME_BYTES_MAX
            || at_ms > now_ms.saturating_add(ms(LAG_COARSE_EVERY))
            || (is_new && self.groups.len() >= LAG_GROUPS_MAX)
        {
            return;
        }
        let points = self.groups.entry(group).or_default();
        points.insert(at_ms, point);
        if points.len() > LAG_POINTS_MAX {
            points.pop_first();
        }
    }

    fn forget(&mut self, group: &str, at_ms: i64) {
        if let Some(points) = self.groups.get_mut(group) {
            points.remove(&at_ms);
            if points.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// What is to be written at this place of the grid, within the limit of one sample, and whether that is all.
    fn changes(&self, groups: &[GroupLine], at_ms: i64, now_ms: i64) -> (Vec<Change>, bool) {
        // What goes comes first: it makes room.
        let mut changes: Vec<Change> =
            self.expired(now_ms).into_iter().map(|key| (key, None)).collect();
        let due = self.due(groups, at_ms).into_iter().map(|(key, point)| (key, Some(point)));
        changes.extend(due);
        let is_all = changes.len() <= LAG_WRITES_PER_SAMPLE;
        changes.truncate(LAG_WRITES_PER_SAMPLE);
        (changes, is_all)
    }

    fn apply_all(&mut self, changes: Vec<Change>, now_ms: i64) {
        for (key, point) in changes {
            self.apply(key, point, now_ms);
        }
    }

    /// Points that these groups have not got yet at this place of the grid.
    fn due(&self, groups: &[GroupLine], at_ms: i64) -> Vec<(Key, Point)> {
        let mut room = LAG_GROUPS_MAX.saturating_sub(self.groups.len());
        let mut is_due = |group: &GroupLine| match self.groups.get(&group.name) {
            Some(points) => !points.contains_key(&at_ms),
            // One that has no place is not written either.
            None if room == 0 || group.name.len() > LAG_GROUP_NAME_BYTES_MAX => false,
            None => {
                room -= 1;
                true
            }
        };
        let due = groups.iter().filter(|group| is_due(group));
        due.map(|group| ((group.name.clone(), at_ms), Point::of(group))).collect()
    }

    /// Points that are to be taken back.
    fn expired(&self, now_ms: i64) -> Vec<Key> {
        let old = self.groups.iter().flat_map(|(group, points)| {
            let old = points.keys().filter(|at_ms| !is_kept(**at_ms, now_ms));
            old.map(|at_ms| (group.clone(), *at_ms))
        });
        old.collect()
    }
}

/// The points, to be looked at by whoever shows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    kept: Arc<Mutex<Kept>>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The points of a group since then, oldest first.
    pub(super) fn since(&self, group: &str, from_ms: i64) -> Vec<(i64, Point)> {
        let kept = self.lock();
        let points = kept.groups.get(group).into_iter().flat_map(|points| points.range(from_ms..));
        points.map(|(at_ms, point)| (*at_ms, *point)).collect()
    }
}

/// Reads and writes [`HISTORY_TOPIC`] as frames come.
pub(crate) struct Keeper {
    engine: Engine,
    history: History,
    every: Duration,
    started: Instant,
    /// Everything that was there at the start has been read.
    is_loaded: bool,
    /// The first record not read.
    next: i64,
    /// The place of the grid that is written, with nothing left to write for it.
    done_ms: i64,
    producer: Option<Producer>,
    failed_at: Option<Instant>,
    /// Counts the places of the grid that are written.
    written: watch::Sender<u64>,
}

/// Keeps the history until there are no frames any more.
pub(crate) async fn keep(mut keeper: Keeper, mut frames: watch::Receiver<Arc<Frame>>) {
    loop {
        let frame = frames.borrow_and_update().clone();
        if frame.fresh {
            keeper.step(&frame.snapshot).await;
        }
        drop(frame);
        if frames.changed().await.is_err() {
            return;
        }
    }
}

impl Keeper {
    pub(crate) fn new(engine: Engine, history: History, every: Duration) -> Self {
        let (written, _) = watch::channel(0);
        Self {
            engine,
            history,
            every: every.max(Duration::from_millis(1)),
            started: Instant::now(),
            is_loaded: false,
            next: 0,
            done_ms: i64::MIN,
            producer: None,
            failed_at: None,
            written,
        }
    }

    /// How many places of the grid have been written.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Reads what there is to read, then writes what is due.
    async fn step(&mut self, snapshot: &Snapshot) {
        let now_ms = snapshot.time.0;
        let at_ms = now_ms - now_ms.rem_euclid(ms(self.every));
        if at_ms == self.done_ms || self.failed_at.is_some_and(|at| at.elapsed() < LAG_RETRY_AFTER)
        {
            return self.take(snapshot, at_ms);
        }
        // A console that lives no longer than that leaves no topic behind.
        let is_early = self.started.elapsed() < self.every;
        if is_early && self.is_loaded {
            return;
        }
        match self.read(now_ms).await {
            Ok(true) => self.is_loaded = true,
            Ok(false) => return,
            Err(error) => return self.failed(&error),
        }
        if is_early {
            return;
        }
        let (changes, is_all) = self.history.lock().changes(&snapshot.groups, at_ms, now_ms);
        match self.write(&changes).await {
            Ok(()) => self.failed_at = None,
            Err(error) => return self.failed(&error),
        }
        self.history.lock().apply_all(changes, now_ms);
        if is_all {
            self.done_ms = at_ms;
            self.written.send_modify(|count| *count += 1);
        }
    }

    /// What cannot be written is kept in memory.
    fn take(&self, snapshot: &Snapshot, at_ms: i64) {
        if self.failed_at.is_none() {
            return;
        }
        let (mut kept, now_ms) = (self.history.lock(), snapshot.time.0);
        let (changes, _) = kept.changes(&snapshot.groups, at_ms, now_ms);
        kept.apply_all(changes, now_ms);
    }

    fn failed(&mut self, error: &Error) {
        if self.failed_at.is_none() {
            let hint = "charts of lag begin anew with the console";
            match error {
                Error::Denied(_) => info!(%error, "cannot keep the history of groups; {hint}"),
                _ => warn!(%error, "cannot keep the history of groups; {hint}"),
            }
        }
        (self.producer, self.failed_at) = (None, Some(Instant::now()));
    }

    /// Reads on; false when there is more than what is read in one step.
    async fn read(&mut self, now_ms: i64) -> Result<bool, Error> {
        let mut room = LAG_READS_PER_SAMPLE;
        while room > 0 {
            let limit = ReadLimit { records: room, bytes: LAG_READ_BYTES, wait: Duration::ZERO };
            let read = match self.engine.read(HISTORY_TOPIC, 0, self.next, limit).await {
                Ok(read) => read,
                Err(Error::UnknownTopic(_)) => {
                    self.next = 0;
                    return Ok(true);
                }
                // It was trimmed, or made anew.
                Err(Error::OffsetOutOfRange { first, .. }) if first != self.next => {
                    self.next = first;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for record in &read.records {
                let key = record.key.as_deref().and_then(|key| serde_json::from_slice(key).ok());
                let Some(key): Option<Key> = key else { continue };
                let point = match &record.value {
                    None => None,
                    Some(value) => match serde_json::from_slice(value) {
                        Ok(point) => Some(point),
                        Err(_) => continue,
                    },
                };
                self.history.lock().apply(key, point, now_ms);
            }
            if read.next <= self.next {
                return Ok(true);
            }
            room = room.saturating_sub(read.records.len());
            self.next = read.next;
            if self.next >= read.high_watermark {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.producer.is_none() {
            make_topic(&self.engine).await?;
            self.producer = Some(self.engine.producer().await?);
        }
        let Some(producer) = &self.producer else { return Ok(()) };
        let record = |(key, point): &Change| SentRecord {
            topic: HISTORY_TOPIC.to_owned(),
            partition: Some(0),
            key: Some(serde_json::to_vec(key).expect("text and a number are JSON").into()),
            value: point.map(|point| serde_json::to_vec(&point).expect("numbers are JSON").into()),
            ..SentRecord::default()
        };
        match producer.send(changes.iter().map(record).collect()).await {
            Ok(_) => Ok(()),
            // Somebody has deleted it: the next try makes it again.
            Err(Error::UnknownTopic(_)) => {
                self.producer = None;
                make_topic(&self.engine).await
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes it unless it is there. What somebody has made of it is left alone.
async fn make_topic(engine: &Engine) -> Result<(), Error> {
    match engine.topic(HISTORY_TOPIC).await {
        Ok(_) => return Ok(()),
        Err(Error::UnknownTopic(_)) => {}
        Err(error) => return Err(error),
    }
    let configs = [
        ("cleanup.policy", "compact,delete".to_owned()),
        ("retention.ms", LAG_RETENTION.as_millis().to_string()),
        ("segment.bytes", LAG_SEGMENT_BYTES.to_string()),
        ("min.cleanable.dirty.ratio", "0.1".to_owned()),
    ];
    let configs = configs.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let topic = NewTopic { name: HISTORY_TOPIC.to_owned(), partitions: Some(1), configs };
    match engine.create_topic(topic).await {
        Ok(()) | Err(Error::TopicExists(_)) => engine.can_append(HISTORY_TOPIC).await,
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LAG_POINT_EVERY;

    const NOW: i64 = 1_700_000_100_000;

    fn lag(lag: i64) -> Point {
        Point { lag, ..Point::default() }
    }

    #[test]
    fn old_points_are_thinned_and_at_last_go() {
        let (minute, coarse) = (60_000, ms(LAG_COARSE_EVERY));
        assert_eq!(NOW % coarse, 0);
        for (age_ms, kept) in [
            (0, true),
            (minute, true),
            (30 * minute, true),
            (31 * minute, false),
            (35 * minute, true),
            (24 * 60 * minute, true),
            (24 * 60 * minute + coarse, false),
            (-minute, true),
        ] {
            assert_eq!(is_kept(NOW - age_ms, NOW), kept, "{age_ms} ms");
        }
    }

    #[test]
    fn a_day_of_points_stays_within_its_limit() {
        let mut kept = Kept::default();
        let every = ms(LAG_POINT_EVERY);
        let (mut most, mut taken_back) = (0, 0);
        for n in 0..(2 * 24 * 3_600_000 / every) {
            let now = NOW + n * every;
            kept.apply(("g".into(), now), Some(lag(n)), now);
            for (group, at_ms) in kept.expired(now) {
                kept.apply((group, at_ms), None, now);
                taken_back += 1;
            }
            most = most.max(kept.groups["g"].len());
        }
        assert!(most < LAG_POINTS_MAX && most > 340, "{most}");
        assert!(taken_back > 5_000, "{taken_back}");
        kept.apply(("g".into(), NOW), None, NOW);
        assert!(kept.expired(NOW + 100 * 3_600_000).len() == kept.groups["g"].len());
    }

    #[test]
    fn what_is_due_is_what_nobody_has_written() {
        let groups = [GroupLine::unseen("a"), GroupLine::unseen("b")];
        let mut kept = Kept::default();
        kept.apply(("a".into(), NOW), Some(lag(5)), NOW);
        let due: Vec<_> = kept.due(&groups, NOW).into_iter().map(|(key, _)| key).collect();
        assert_eq!(due, [("b".to_owned(), NOW)]);
        assert_eq!(kept.due(&groups, NOW + 1).len(), 2);
        let crowd: Vec<_> =
            (0..LAG_GROUPS_MAX + 50).map(|n| GroupLine::unseen(&n.to_string())).collect();
        let mut rounds = 0;
        loop {
            let (changes, is_all) = kept.changes(&crowd, NOW, NOW);
            assert!(changes.len() <= LAG_WRITES_PER_SAMPLE);
            kept.apply_all(changes, NOW);
            rounds += 1;
            if is_all {
                break;
            }
        }
        assert_eq!((rounds, kept.groups.len()), (4, LAG_GROUPS_MAX));
    }

    #[test]
    fn what_others_write_does_not_fill_the_memory() {
        let mut kept = Kept::default();
        for n in 0..LAG_GROUPS_MAX + 10 {
            kept.apply((format!("{n:05}"), NOW), Some(lag(1)), NOW);
        }
        assert_eq!(kept.groups.len(), LAG_GROUPS_MAX);
        for n in 0..2 * LAG_POINTS_MAX as i64 {
            kept.apply(("00001".into(), NOW - n), Some(lag(n)), NOW);
        }
        assert_eq!(kept.groups["00001"].len(), LAG_POINTS_MAX);
        kept.forget("00000", NOW);
        kept.apply(("x".repeat(LAG_GROUP_NAME_BYTES_MAX + 1), NOW), Some(lag(1)), NOW);
        kept.apply(("later".into(), NOW + 3_600_000), Some(lag(1)), NOW);
        assert_eq!(
            kept.groups.len(),
            LAG_GROUPS_MAX - 1,
            "a long name and the far future are none"
        );
    }
}
