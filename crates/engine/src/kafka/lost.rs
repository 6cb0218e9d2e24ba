//! Brokers that a cluster has lost, as whoever is held up finds out.
//!
//! A broker that is cut off does not know that it leads no more. What asks it goes on asking it: it may answer, with what
//! was true before. So who is held up looks round ([`native::look_round`]), which tells its client who is there: records
//! on their way to a broker that is gone go to whoever leads by then. Where the client does not find its way all the same,
//! a transaction's coordinator for one, it is given up for another, which begins at the brokers that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::native::{self, Named};
use super::{Kafka, Looker, blocking};
use crate::limits::{
    COORDINATOR_FOUND_WITHIN, LOOKS_AFTER_A_LOSS, LOOKS_WITHOUT_A_LOSS, LOST_REMEMBERED,
    REFUSED_WITHIN, WAY_FOUND_WITHIN,
};

/// The brokers that there are, as far as anybody has looked.
#[derive(Debug)]
pub(super) struct Brokers {
    seen: Mutex<Seen>,
    /// How often one was lost.
    losses: watch::Sender<u64>,
}

#[derive(Debug)]
struct Seen {
    there: BTreeSet<i32>,
    /// Where those are or were that anybody has named.
    addresses: BTreeMap<i32, String>,
    /// Where those are that were left when one was lost.
    left: Option<(String, Instant)>,
}

impl Brokers {
    pub(super) fn of(there: impl IntoIterator<Item = i32>) -> Self {
        let there = there.into_iter().collect();
        let seen = Seen { there, addresses: BTreeMap::new(), left: None };
        Self { seen: Mutex::new(seen), losses: watch::Sender::new(0) }
    }

    pub(super) fn there(&self) -> BTreeSet<i32> {
        self.seen().there.clone()
    }

    /// Where a new client begins, when not at all the brokers that the URL names: one that was lost a moment ago may
    /// answer, and name itself for what others do by now.
    pub(super) fn left(&self, now: Instant) -> Option<String> {
        let seen = self.seen();
        let (left, since) = seen.left.as_ref()?;
        (now.saturating_duration_since(*since) < LOST_REMEMBERED).then(|| left.clone())
    }

    fn found(&self, named: &[Named], now: Instant) {
        let mut seen = self.seen();
        let found: BTreeSet<i32> = named.iter().map(|broker| broker.id).collect();
        if is_one_lost(&seen.there, &found) {
            let left: Vec<&str> = named.iter().map(|broker| broker.address.as_str()).collect();
            seen.left = Some((left.join(","), now));
            self.losses.send_modify(|losses| *losses += 1);
        }
        let named = named.iter().map(|broker| (broker.id, broker.address.clone()));
        seen.addresses.extend(named);
        seen.there = found;
    }

    /// Where brokers were; none when one of them was never named.
    fn addresses(&self, of: &BTreeSet<i32>) -> Option<Vec<String>> {
        let seen = self.seen();
        of.iter().map(|id| seen.addresses.get(id).cloned()).collect()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody who names none is believed.
fn is_one_lost(before: &BTreeSet<i32>, found: &BTreeSet<i32>) -> bool {
    !found.is_empty() && !before.is_subset(found)
}

/// There is nobody at an address, and whoever was connected has been told so by the machine that it is at. Silence says
/// nothing, and who takes connections may be cut off from the others only.
async fn is_refused(address: &str) -> bool {
    let connected = timeout(REFUSED_WITHIN, TcpStream::connect(address)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

impl Kafka {
    /// The numbers of the brokers that are there, as a client finds out that is held up; none when nobody says.
    pub(super) async fn look_round<C: ProducerContext + ClientContext + 'static>(
        &self,
        client: ThreadedProducer<C>,
    ) -> Option<BTreeSet<i32>> {
        let answer_timeout = self.settings().answer_timeout;
        let looked = blocking(move || native::look_round(client.client(), answer_timeout));
        Some(self.found(&looked.await.ok().flatten()?))
    }

    /// How long a client that is held up has to find its way when some of the brokers are gone that there were; none
    /// when none is. To one that has ended, its connections have ended too: then it looks for another by itself, and
    /// has found one before a new client would be ready. Of one that is cut off it may learn nothing, ever.
    pub(super) async fn way_found_within(
        &self,
        there: &BTreeSet<i32>,
        found: &BTreeSet<i32>,
    ) -> Option<Duration> {
        if !is_one_lost(there, found) {
            return None;
        }
        let gone = there.difference(found).copied().collect();
        let Some(addresses) = self.shared.alive.addresses(&gone) else {
            return Some(Duration::ZERO);
        };
        for address in addresses {
            if !is_refused(&address).await {
                return Some(Duration::ZERO);
            }
        }
        Some(WAY_FOUND_WITHIN)
    }

    /// The same, without much ado, as a client does that begins.
    pub(super) async fn who_is_there<C: ProducerContext + ClientContext + 'static>(
        &self,
        client: ThreadedProducer<C>,
    ) -> BTreeSet<i32> {
        let answer_timeout = self.settings().answer_timeout;
        let looked = blocking(move || native::who_is_there(client.client(), answer_timeout));
        match looked.await.ok().flatten() {
            Some(named) => self.found(&named),
            None => self.shared.alive.there(),
        }
    }

    /// A member of a group looks round when a broker was lost: its coordinator may be the one, and answer as if nothing
    /// was.
    pub(super) fn following(&self, consumer: &Arc<Looker>) -> JoinHandle<()> {
        let (kafka, consumer) = (self.clone(), Arc::downgrade(consumer));
        let mut losses = self.shared.alive.losses.subscribe();
        tokio::spawn(async move {
            while losses.changed().await.is_ok() {
                let (kafka, Some(consumer)) = (kafka.clone(), consumer.upgrade()) else { return };
                let (Ok(()) | Err(_)) = blocking(move || kafka.follow(&consumer)).await;
            }
        })
    }

    /// Looks round until the consumer knows what others have found, or has found itself; blocks. A view without a loss
    /// may be that of the broker that is lost: some are asked for.
    fn follow(&self, consumer: &Looker) {
        for look in 1..=LOOKS_AFTER_A_LOSS {
            let looked = native::look_round(consumer.client(), self.settings().answer_timeout);
            let named = looked.unwrap_or_default();
            let found: BTreeSet<i32> = named.iter().map(|broker| broker.id).collect();
            let there = self.shared.alive.there();
            if is_one_lost(&there, &found) {
                self.found(&named);
                return;
            }
            let is_known = self.has_lost_one();
            if (is_known && there == found) || (!is_known && look >= LOOKS_WITHOUT_A_LOSS) {
                return;
            }
        }
    }

    /// Waits until a member has found its coordinator; blocks. Whoever left where that was before a broker was lost, or
    /// nowhere, would be a member to the new one until its session is over, and the others would wait for it.
    pub(super) fn find_coordinator(&self, consumer: &Looker, topic: &str) {
        self.follow(consumer);
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(topic, 0);
        // What the answer is means nothing to who leaves; that there is one shows that somebody was asked.
        let (Ok(_) | Err(_)) = consumer.committed_offsets(asked, COORDINATOR_FOUND_WITHIN);
    }

    /// A broker was lost a moment ago.
    pub(super) fn has_lost_one(&self) -> bool {
        self.shared.alive.left(Instant::now()).is_some()
    }

    fn found(&self, named: &[Named]) -> BTreeSet<i32> {
        self.shared.alive.found(named, Instant::now());
        named.iter().map(|broker| broker.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(ids: &[i32]) -> Vec<Named> {
        ids.iter().map(|id| Named { id: *id, address: format!("h{id}:9092") }).collect()
    }

    #[test]
    fn a_broker_is_lost_that_is_not_named_any_more() {
        let set = |ids: &[i32]| ids.iter().copied().collect();
        for (before, found, lost) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], false),
            (&[1, 2, 3], &[1, 3], true),
            (&[1, 2], &[1, 2, 3], false),
            (&[1, 2], &[1, 3], true),
            (&[1, 2], &[], false),
        ] {
            assert_eq!(is_one_lost(&set(before), &set(found)), lost, "{before:?} {found:?}");
        }
    }

    #[test]
    fn new_clients_begin_at_those_that_are_left_for_a_while() {
        let (brokers, now) = (Brokers::of([1, 2, 3]), Instant::now());
        assert_eq!(brokers.left(now), None);
        brokers.found(&named(&[1, 3]), now);
        assert_eq!(brokers.left(now), Some("h1:9092,h3:9092".to_owned()));
        brokers.found(&named(&[1, 3]), now + LOST_REMEMBERED / 2);
        assert_eq!(brokers.left(now + LOST_REMEMBERED), None, "it was lost once");
        brokers.found(&named(&[1, 2, 3]), now);
        assert_eq!(brokers.there(), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn a_lost_broker_is_where_it_was_named_last() {
        let brokers = Brokers::of([1, 2, 3]);
        assert_eq!(brokers.addresses(&BTreeSet::from([2])), None, "nobody has named it");
        brokers.found(&named(&[1, 2, 3]), Instant::now());
        brokers.found(&named(&[1, 3]), Instant::now());
        assert_eq!(brokers.addresses(&BTreeSet::from([2])), Some(vec!["h2:9092".to_owned()]));
        assert_eq!(brokers.addresses(&BTreeSet::from([2, 4])), None);
    }

    #[tokio::test]
    async fn a_broker_has_ended_when_its_machine_refuses_connections() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one").to_string();
        assert!(!is_refused(&address).await, "it takes connections");
        drop(listener);
        assert!(is_refused(&address).await);
    }
}
