//! A wall clock that leaps, stands still or flickers: nothing is lost, reordered or forgotten for it.

use bytes::Bytes;
use tidings_broker::log::{MemoryDisk, StoreConfig};
use tidings_broker::{BrokerConfig, DescribeTopics, Heartbeat, NewTopic, TopicName, Topics};

use crate::groups::{join, sync};
use crate::rig::{Rig, WALL_MS, config, fetch, sequenced};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const TEN_YEARS_MS: i64 = 3_653 * 24 * HOUR_MS;
/// The last second of a signed 32-bit clock.
const END_OF_2038_MS: i64 = i32::MAX as i64 * 1_000;
/// Less than the session timeout of a member.
const STEP_MS: u64 = 8_000;
/// A day in short.
const EXPIRY_MS: i64 = 2 * HOUR_MS;

/// Short enough that a wall clock ten years ahead would end it at once.
const RETENTION: [(&str, &str); 1] = [("retention.ms", "86400000")];

fn true_time(mono_ms: u64) -> i64 {
    WALL_MS + i64::try_from(mono_ms).expect("a short test")
}

/// `leap` away for half an hour, then right for half an hour.
fn by_turns(mono_ms: u64, leap: i64) -> i64 {
    let half_hour = true_time(mono_ms).saturating_sub(WALL_MS) / (30 * MINUTE_MS);
    true_time(mono_ms) + if half_hour % 2 == 0 { 0 } else { leap }
}

/// A broker with a topic `a` that stamps what comes, a topic `b` that does not, and a member in a group.
struct Shaken {
    rig: Rig,
    member: String,
    sequence: i32,
    /// What answers said: base offset and time.
    stamped: Vec<(i64, i64)>,
}

impl Shaken {
    fn new() -> Self {
        let store = StoreConfig {
            retention_check_ms: 10_000,
            producer_expiry_ms: EXPIRY_MS,
            ..StoreConfig::small()
        };
        let mut rig = Rig::with(MemoryDisk::new(), BrokerConfig { store, ..config() });
        let stamping = [RETENTION[0], ("message.timestamp.type", "LogAppendTime")];
        // The clock of a client is not that of the node.
        let free = [RETENTION[0], ("message.timestamp.after.max.ms", "9223372036854775807")];
        for (name, configs) in [("a", stamping), ("b", free)] {
            let said = |(name, value): &(&str, &str)| (name.to_string(), Some(value.to_string()));
            let configs = configs.iter().map(said).collect();
            let new = NewTopic { name: name.into(), configs, ..NewTopic::default() };
            rig.create(new).expect("a new topic");
        }
        rig.produce("b", 0, sequenced(9, 0, 0, &["once"])).expect("it is taken");
        let member = rig.call(join("g", "")).expect("it joins").member_id;
        rig.call(sync("g", &member, b"mine")).expect("it is assigned");
        Self { rig, member, sequence: 0, stamped: Vec::new() }
    }

    /// Produces and beats until this much time has passed.
    fn go_on_for(&mut self, ms: i64) {
        for _ in 0..u64::try_from(ms).expect("a time ahead") / STEP_MS {
            self.rig.pass(STEP_MS);
            let batch = sequenced(7, 0, self.sequence, &["v"]);
            let at = self.rig.produce("a", 0, batch).expect("it is taken");
            self.stamped.push((at.base_offset, at.log_append_time_ms.expect("a time")));
            self.sequence += 1;
            assert_eq!(self.beat(), Ok(()));
        }
    }

    fn beat(&mut self) -> Result<(), tidings_broker::GroupRefused> {
        self.rig.call(Heartbeat {
            group: "g".into(),
            generation: 1,
            member_id: self.member.clone(),
            instance_id: None,
        })
    }

    fn start_offset(&mut self, topic: &str) -> i64 {
        let topics = Topics::These(vec![TopicName::Name(topic.into())]);
        let described = self.rig.call(DescribeTopics { topics, auto_create: false }).remove(0);
        described.topic.expect("it is there").partitions[0].start_offset
    }

    /// The time that each stored batch of `a` has.
    fn stored_times(&mut self) -> Vec<i64> {
        let (mut times, mut next) = (Vec::new(), 0);
        loop {
            let data = self.rig.fetch_now(fetch("a", 0, next)).remove(0).outcome.expect("readable");
            let batches: Vec<Bytes> = data.batches;
            let stored = batches.into_iter().flat_map(tidings_broker::log::split);
            let before = next;
            for batch in stored {
                let batch = batch.expect("whole batches");
                times.push(batch.header().max_timestamp);
                next = batch.last_offset() + 1;
            }
            if next == before {
                return times;
            }
        }
    }
}

#[test]
fn a_clock_that_leaps_changes_nothing_but_times() {
    type Clock = fn(u64) -> i64;
    let table: [(&str, Clock); 8] = [
        ("an hour ahead", |t| by_turns(t, HOUR_MS)),
        ("an hour back", |t| by_turns(t, -HOUR_MS)),
        ("ten years ahead", |t| by_turns(t, TEN_YEARS_MS)),
        ("ten years back", |t| by_turns(t, -TEN_YEARS_MS)),
        ("1970", |t| by_turns(t, -WALL_MS)),
        ("over the end of 2038", |t| by_turns(t, END_OF_2038_MS - WALL_MS - HOUR_MS)),
        ("flickering", |t| true_time(t) + if t % 3 == 0 { TEN_YEARS_MS } else { -TEN_YEARS_MS }),
        ("standing still", |_| WALL_MS),
    ];
    for (name, clock) in table {
        let mut shaken = Shaken::new();
        shaken.rig.clock = clock;
        shaken.go_on_for(EXPIRY_MS - 10 * MINUTE_MS);

        let offsets = shaken.stamped.iter().map(|&(offset, _)| offset);
        assert!(offsets.eq(0..i64::from(shaken.sequence)), "{name}: the order of offsets");
        let times: Vec<i64> = shaken.stamped.iter().map(|&(_, time)| time).collect();
        assert!(times.is_sorted(), "{name}: time goes back");
        assert_eq!(shaken.stored_times(), times, "{name}");
        assert_eq!((shaken.start_offset("a"), shaken.start_offset("b")), (0, 0), "{name}");
        let again = shaken.rig.produce("b", 0, sequenced(9, 0, 0, &["once"])).unwrap();
        assert_eq!(again.base_offset, 0, "{name}: the producer is not forgotten");

        // Sessions end when they should.
        shaken.rig.pass(20_000);
        assert!(shaken.beat().is_err(), "{name}: a member that was silent");
    }
}

/// Who sets the clock right after years gets the retention of now, after an hour.
#[test]
fn a_leap_that_stands_is_believed_by_retention_and_by_nothing_else() {
    let mut shaken = Shaken::new();
    shaken.rig.clock = |t| true_time(t) + TEN_YEARS_MS;
    shaken.go_on_for(HOUR_MS - MINUTE_MS);
    assert_eq!(shaken.start_offset("b"), 0, "not yet");
    shaken.go_on_for(2 * MINUTE_MS);
    assert_eq!(shaken.start_offset("b"), 1);
    assert_eq!(shaken.start_offset("a"), 0, "these are of now");
    let again = shaken.rig.produce("b", 0, sequenced(9, 0, 0, &["once"])).unwrap();
    assert_eq!(again.base_offset, 0, "the producer is not forgotten");
}

/// Time that really passes is what ends a producer, whatever the clock says.
#[test]
fn a_producer_is_forgotten_by_the_time_that_passed() {
    for clock in [|_| WALL_MS, |t| true_time(t) - TEN_YEARS_MS] {
        let mut shaken = Shaken::new();
        shaken.rig.clock = clock;
        shaken.go_on_for(EXPIRY_MS + MINUTE_MS);
        let again = shaken.rig.produce("b", 0, sequenced(9, 0, 0, &["once"])).unwrap();
        assert_eq!(again.base_offset, 1, "taken as new");
    }
}
