//! Which quota binds a client, and what the client owes for what it used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::bucket::{BucketId, Buckets};
use super::entity::{Entity, Part, QuotaKey};
use crate::limits::QUOTA_WINDOW_MS;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The principal's name; `ANONYMOUS` for who has not said it.
    pub user: String,
    /// What the client calls itself; may be empty.
    pub client_id: String,
    pub ip: IpAddr,
}

/// What one request used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of batches.
    pub produced_bytes: u64,
    /// Of batches.
    pub fetched_bytes: u64,
    /// Time of the thread that decides requests.
    pub handler_ns: u64,
}

/// The definitions.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    pub(super) by_entity: BTreeMap<Entity, BTreeMap<QuotaKey, f64>>,
}

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// The rate that binds a client, and whose bucket it is; the most specific definition wins.
    pub(super) fn of(&self, client: &Client, key: QuotaKey) -> Option<(f64, BucketId)> {
        let user = || Part::Named(client.user.clone());
        let client_id = || Part::Named(client.client_id.clone());
        let levels = [
            (user(), client_id()),
            (user(), Part::Default),
            (user(), Part::Absent),
            (Part::Default, client_id()),
            (Part::Default, Part::Default),
            (Part::Default, Part::Absent),
            (Part::Absent, client_id()),
            (Part::Absent, Part::Default),
        ];
        for (user, client_id) in levels {
            let entity = Entity { user, client_id, ip: Part::Absent };
            let Some(rate) = self.by_entity.get(&entity).and_then(|rates| rates.get(&key)) else {
                continue;
            };
            let present =
                |part: &Part, name: &str| (*part != Part::Absent).then(|| name.to_owned());
            let id = BucketId {
                key,
                user: present(&entity.user, &client.user),
                client_id: present(&entity.client_id, &client.client_id),
                ip: None,
            };
            return Some((*rate, id));
        }
        None
    }

    /// The rate that binds an address.
    fn of_address(&self, ip: IpAddr) -> Option<(f64, BucketId)> {
        let key = QuotaKey::ConnectionCreationRate;
        let ip = ip.to_canonical().to_string();
        for part in [Part::Named(ip.clone()), Part::Default] {
            let entity = Entity { ip: part, ..Entity::default() };
            if let Some(rate) = self.by_entity.get(&entity).and_then(|rates| rates.get(&key)) {
                let id = BucketId { key, user: None, client_id: None, ip: Some(ip) };
                return Some((*rate, id));
            }
        }
        None
    }

    /// Most bytes that a client should fetch at once: what its window gives.
    pub(crate) fn fetch_bytes_max(&self, client: &Client) -> Option<usize> {
        let (rate, _) = self.of(client, QuotaKey::ConsumerByteRate)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate is above 0, and what is too much saturates"
        )]
        Some((rate * QUOTA_WINDOW_MS as f64 / 1000.0) as usize)
    }

    /// Charges what a request used; returns how long its client must pause.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a meter may be off by a millionth of a percent"
    )]
    pub(crate) fn charge(
        &self,
        buckets: &mut Buckets,
        client: &Client,
        usage: &Usage,
        now_ms: u64,
    ) -> u64 {
        let charges = [
            (QuotaKey::ProducerByteRate, usage.produced_bytes as f64),
            (QuotaKey::ConsumerByteRate, usage.fetched_bytes as f64),
            // In percent of a second.
            (QuotaKey::RequestPercentage, usage.handler_ns as f64 / 1e7),
        ];
        let pauses =
            charges.into_iter().filter(|(_, amount)| *amount > 0.0).map(|(key, amount)| match self
                .of(client, key)
            {
                Some((rate, id)) => buckets.charge(id, rate, amount, now_ms),
                None => 0,
            });
        pauses.max().unwrap_or(0)
    }

    /// Charges a new connection; returns how long it must wait before it is closed, 0 to serve it.
    pub(crate) fn charge_connection(&self, buckets: &mut Buckets, ip: IpAddr, now_ms: u64) -> u64 {
        self.of_address(ip).map_or(0, |(rate, id)| buckets.charge(id, rate, 1.0, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(user: &str, client_id: &str) -> Client {
        let (user, client_id) = (user.to_owned(), client_id.to_owned());
        Client { user, client_id, ip: IpAddr::from([127, 0, 0, 1]) }
    }

    fn part(text: &str) -> Part {
        match text {
            "-" => Part::Absent,
            "*" => Part::Default,
            name => Part::Named(name.to_owned()),
        }
    }

    #[test]
    fn the_most_specific_definition_binds() {
        // From the weakest to the strongest: user, client id, whose bucket.
        let levels = [
            ("-", "*", (None, Some("c"))),
            ("-", "c", (None, Some("c"))),
            ("*", "-", (Some("u"), None)),
            ("*", "*", (Some("u"), Some("c"))),
            ("*", "c", (Some("u"), Some("c"))),
            ("u", "-", (Some("u"), None)),
            ("u", "*", (Some("u"), Some("c"))),
            ("u", "c", (Some("u"), Some("c"))),
        ];
        let key = QuotaKey::ProducerByteRate;
        let mut quotas = Quotas::default();
        assert_eq!(quotas.of(&client("u", "c"), key), None);
        for (rate, (user, client_id, bucket)) in (1u8..).zip(levels) {
            let entity = Entity { user: part(user), client_id: part(client_id), ip: Part::Absent };
            quotas.by_entity.insert(entity, BTreeMap::from([(key, f64::from(rate))]));
            let (bound, id) = quotas.of(&client("u", "c"), key).unwrap();
            assert_eq!(bound, f64::from(rate), "{user} {client_id}");
            assert_eq!((id.user.as_deref(), id.client_id.as_deref()), bucket);
            assert_eq!(quotas.of(&client("u", "c"), QuotaKey::ConsumerByteRate), None);
        }
        let (other, _) = quotas.of(&client("v", "d"), key).unwrap();
        assert_eq!(other, 4.0, "the default of both");
    }

    #[test]
    fn each_kind_of_use_has_its_own_unit() {
        let percent = |ms: u64| Usage { handler_ns: ms * 1_000_000, ..Usage::default() };
        let window_ms = QUOTA_WINDOW_MS;
        let cases = [
            (QuotaKey::ProducerByteRate, 10.0, Usage { produced_bytes: 110, ..Usage::default() }),
            (QuotaKey::ConsumerByteRate, 10.0, Usage { fetched_bytes: 110, ..Usage::default() }),
            // Ten percent of the window, and of one second more.
            (QuotaKey::RequestPercentage, 10.0, percent((window_ms + 1000) / 10)),
        ];
        for (key, rate, usage) in cases {
            let mut quotas = Quotas::default();
            let entity = Entity { user: Part::Default, ..Entity::default() };
            quotas.by_entity.insert(entity, BTreeMap::from([(key, rate)]));
            let mut buckets = Buckets::default();
            let pause_ms = quotas.charge(&mut buckets, &client("u", "c"), &usage, 0);
            assert_eq!(pause_ms, 1000, "{key:?}");
        }
    }

    #[test]
    fn connections_count_by_address() {
        let key = QuotaKey::ConnectionCreationRate;
        let mut quotas = Quotas::default();
        let everywhere = Entity { ip: Part::Default, ..Entity::default() };
        quotas.by_entity.insert(everywhere, BTreeMap::from([(key, 1.0)]));
        let here = Entity { ip: part("10.0.0.1"), ..Entity::default() };
        quotas.by_entity.insert(here, BTreeMap::from([(key, 2.0)]));
        let mut buckets = Buckets::default();
        let mut opened = |ip: [u8; 4]| {
            let pauses = (0..).map(|_| quotas.charge_connection(&mut buckets, ip.into(), 0));
            pauses.take_while(|pause_ms| *pause_ms == 0).count() as u64
        };
        let window_s = QUOTA_WINDOW_MS / 1000;
        assert_eq!(opened([10, 0, 0, 1]), 2 * window_s);
        assert_eq!(opened([10, 0, 0, 2]), window_s);
        assert_eq!(opened([10, 0, 0, 3]), window_s);
    }
}
