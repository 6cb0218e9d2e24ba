//! Buckets: how much of a rate each client has used, as a pure function of time.
//!
//! A bucket fills with what is used and drains at the rate. While it holds no more than the rate
//! gives in [`QUOTA_WINDOW_MS`] its client need not pause; beyond, until it does again. So in any
//! time t a client that pauses as told uses at most rate × (window + t), and one request more.
//!
//! An empty bucket is forgotten. Beyond [`QUOTA_BUCKETS_MAX`], or [`QUOTA_BUCKET_NAMES_BYTES_MAX`] of
//! names, which clients choose, the one that would be empty first is, which costs least of what is known.

use std::collections::{BTreeMap, BTreeSet};

use super::entity::QuotaKey;
use crate::limits::{
    QUOTA_BUCKET_NAMES_BYTES_MAX, QUOTA_BUCKETS_MAX, QUOTA_THROTTLE_MAX_MS, QUOTA_WINDOW_MS,
};

/// Whose bucket it is: one client, or all of them that a definition takes together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BucketId {
    pub(super) key: QuotaKey,
    pub(super) user: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) ip: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In the unit of the rate, as of `at_ms`.
    used: f64,
    at_ms: u64,
    /// When it will be empty.
    empty_at_ms: u64,
}

impl Bucket {
    fn used_at(&self, now_ms: u64, rate: f64) -> f64 {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        (self.used - rate * seconds(passed_ms)).max(0.0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Buckets {
    by_id: BTreeMap<BucketId, Bucket>,
    by_end: BTreeSet<(u64, BucketId)>,
    names_bytes: usize,
}

impl BucketId {
    fn names_bytes(&self) -> usize {
        [&self.user, &self.client_id, &self.ip].into_iter().flatten().map(String::len).sum()
    }
}

impl Buckets {
    /// Charges `amount` at a rate per second; returns how long the client must pause.
    pub(super) fn charge(&mut self, id: BucketId, rate: f64, amount: f64, now_ms: u64) -> u64 {
        self.forget_empty(now_ms);
        let before = self.by_id.get(&id).copied();
        if let Some(before) = before {
            self.by_end.remove(&(before.empty_at_ms, id.clone()));
        } else {
            self.names_bytes += id.names_bytes();
            while (self.by_id.len() >= QUOTA_BUCKETS_MAX
                || self.names_bytes > QUOTA_BUCKET_NAMES_BYTES_MAX)
                && self.forget_first()
            {}
        }
        let used = before.map_or(0.0, |before| before.used_at(now_ms, rate)) + amount;
        let bucket = Bucket {
            used,
            at_ms: now_ms,
            empty_at_ms: now_ms.saturating_add(milliseconds(used / rate)),
        };
        self.by_end.insert((bucket.empty_at_ms, id.clone()));
        self.by_id.insert(id, bucket);
        let over = used - rate * seconds(QUOTA_WINDOW_MS);
        if over > 0.0 { milliseconds(over / rate).min(QUOTA_THROTTLE_MAX_MS) } else { 0 }
    }

    /// What the window leaves at this rate; below zero when more was used.
    pub(super) fn left(&self, id: &BucketId, rate: f64, now_ms: u64) -> f64 {
        let used = self.by_id.get(id).map_or(0.0, |bucket| bucket.used_at(now_ms, rate));
        rate * seconds(QUOTA_WINDOW_MS) - used
    }

    fn forget_empty(&mut self, now_ms: u64) {
        while self.by_end.first().is_some_and(|(empty_at_ms, _)| *empty_at_ms <= now_ms) {
            self.forget_first();
        }
    }

    /// Forgets the bucket that would be empty first, if there is any.
    fn forget_first(&mut self) -> bool {
        let Some((_, id)) = self.by_end.pop_first() else { return false };
        self.names_bytes -= id.names_bytes();
        self.by_id.remove(&id);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_id.len(), self.by_end.len());
        self.by_id.len()
    }
}

#[expect(clippy::cast_precision_loss, reason = "centuries of milliseconds fit 52 bits")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Rounded up, so that a pause is never too short.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and what is too much for 64 bits saturates"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(client: &str) -> BucketId {
        let client_id = Some(client.to_owned());
        BucketId { key: QuotaKey::ProducerByteRate, user: None, client_id, ip: None }
    }

    const WINDOW_S: f64 = (QUOTA_WINDOW_MS / 1000) as f64;

    #[test]
    fn a_pause_lasts_until_the_window_allows_again() {
        let mut buckets = Buckets::default();
        let rate = 100.0;
        let cases = [
            (0, rate * WINDOW_S, 0),
            (0, 50.0, 500),
            (0, 0.0, 500),
            (500, 0.0, 0),
            (500, 1.0, 10),
            (600, 0.0, 0),
            (20_000, rate * WINDOW_S + 1.0, 10),
            (20_000, rate * 1e6, QUOTA_THROTTLE_MAX_MS),
        ];
        for (now_ms, amount, pause_ms) in cases {
            assert_eq!(
                buckets.charge(id("a"), rate, amount, now_ms),
                pause_ms,
                "{now_ms} {amount}"
            );
        }
    }

    #[test]
    fn clients_do_not_pay_for_each_other() {
        let mut buckets = Buckets::default();
        assert!(buckets.charge(id("a"), 1.0, 1e9, 0) > 0);
        assert_eq!(buckets.charge(id("b"), 1.0, 1.0, 0), 0);
    }

    #[test]
    fn a_client_that_pauses_as_told_keeps_its_rate() {
        for seed in 0..100u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            let (rate, mut buckets) = ((1 + next(1_000_000)) as f64, Buckets::default());
            let largest = 1 + next(100_000);
            let (mut now_ms, mut total) = (0, 0.0);
            for _ in 0..2_000 {
                let amount = next(largest) as f64;
                total += amount;
                let pause_ms = buckets.charge(id("a"), rate, amount, now_ms);
                let allowed = rate * (WINDOW_S + seconds(now_ms)) + largest as f64;
                let told_less = pause_ms == QUOTA_THROTTLE_MAX_MS;
                assert!(
                    total <= allowed * 1.000_001 || told_less,
                    "seed {seed}: {total}, {allowed}"
                );
                now_ms += pause_ms + next(3);
            }
        }
    }

    #[test]
    fn idle_clients_are_forgotten_and_their_number_is_bounded() {
        let mut buckets = Buckets::default();
        for client in 0..QUOTA_BUCKETS_MAX + 5 {
            // The later, the sooner empty.
            let amount = (2 * QUOTA_BUCKETS_MAX - client) as f64;
            buckets.charge(id(&client.to_string()), 1.0, amount, 0);
        }
        assert_eq!(buckets.len(), QUOTA_BUCKETS_MAX);
        let kept = buckets.charge(id("0"), 1.0, 0.0, 0);
        assert_eq!(kept, QUOTA_THROTTLE_MAX_MS, "the fullest is known");
        buckets.charge(id("other"), 1.0, 1.0, 3_600_000 * 1000);
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn the_names_that_clients_choose_take_no_more_than_they_may() {
        let mut buckets = Buckets::default();
        let name = |client: usize| format!("{client:0>30000}");
        for client in 0..200 {
            buckets.charge(id(&name(client)), 1.0, 1e9 + client as f64, 0);
            assert!(buckets.names_bytes <= QUOTA_BUCKET_NAMES_BYTES_MAX);
        }
        assert_eq!(buckets.len(), QUOTA_BUCKET_NAMES_BYTES_MAX / 30_000);
        buckets.charge(id("other"), 1.0, 1.0, u64::MAX);
        assert_eq!((buckets.len(), buckets.names_bytes), (1, 5));
    }
}
