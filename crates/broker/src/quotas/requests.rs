//! Quotas as clients read and change them, and as the node charges them (KIP-546).
//!
//! A change is one record of the catalog with all rates of the entity; it holds at once and is
//! answered when the record is on disk.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::clients::{Client, Quotas, Usage};
use super::entity::{Entity, Filters, Parts, QuotaFilter, QuotaKey};
use super::mutations::OverQuota;
use crate::broker::{Broker, Now, Ticket};
use crate::catalog::{CATALOG, CatalogRecord};
use crate::held::{Mark, Wait};
use crate::{DescribeTopics, FetchInSession, QuotaRefused, Reply, Request, limits};

/// Asks for the quotas of the entities that every filter takes.
#[derive(Clone, Debug)]
pub struct DescribeQuotas {
    pub filters: Vec<QuotaFilter>,
    /// Leaves out entities with parts that no filter names.
    pub strict: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedQuota {
    /// Kinds and names, none for the default.
    pub entity: BTreeMap<String, Option<String>>,
    pub rates: Vec<(QuotaKey, f64)>,
}

/// Changes quotas; every entry has its own outcome, in the order of the request.
#[derive(Clone, Debug)]
pub struct AlterQuotas {
    pub entries: Vec<QuotaAlteration>,
    /// Check only; change nothing.
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct QuotaAlteration {
    /// Kinds and names, none for the default.
    pub entity: Vec<(String, Option<String>)>,
    /// New rates by key; none: no quota of that key any more.
    pub rates: Vec<(String, Option<f64>)>,
}

/// A connection was opened; answered with the milliseconds after which it is to be closed unserved,
/// 0 when it may be served.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOpened {
    pub ip: IpAddr,
}

impl Quotas {
    fn decide_alter(
        &self,
        alteration: &QuotaAlteration,
    ) -> Result<Option<CatalogRecord>, QuotaRefused> {
        let entity = Entity::parse(&alteration.entity)?;
        let before = self.by_entity.get(&entity).cloned().unwrap_or_default();
        let mut after = before.clone();
        for (name, rate) in &alteration.rates {
            let key = QuotaKey::of(name).filter(|key| entity.allows(*key));
            let invalid = || QuotaRefused::Invalid(format!("Invalid configuration key {name}"));
            let key = key.ok_or_else(invalid)?;
            match rate {
                Some(rate) => {
                    key.check(*rate)?;
                    after.insert(key, *rate);
                }
                None => {
                    after.remove(&key);
                }
            }
        }
        if after == before {
            return Ok(None);
        }
        if before.is_empty() && self.by_entity.len() >= limits::QUOTAS_MAX {
            let most = limits::QUOTAS_MAX;
            return Err(QuotaRefused::Full(format!("there are {most} quotas already")));
        }
        let rates = after.into_iter().map(|(key, rate)| (key.name().to_owned(), rate.to_string()));
        Ok(Some(CatalogRecord::QuotaSet { entity: entity.to_parts(), rates: rates.collect() }))
    }

    /// Whether there is a quota for this entity.
    pub(crate) fn has(&self, entity: &Parts) -> bool {
        let parts: Vec<_> = entity.clone().into_iter().collect();
        Entity::parse(&parts).is_ok_and(|entity| self.by_entity.contains_key(&entity))
    }

    /// What the catalog kept; it was checked when it was said.
    pub(crate) fn apply(&mut self, entity: Parts, rates: &BTreeMap<String, String>) {
        let parts: Vec<_> = entity.into_iter().collect();
        let Ok(entity) = Entity::parse(&parts) else { return };
        let rates = rates.iter().filter_map(|(name, rate)| {
            let rate = rate.parse().ok().filter(|rate| *rate > 0.0)?;
            Some((QuotaKey::of(name)?, rate))
        });
        let rates: BTreeMap<_, _> = rates.collect();
        if rates.is_empty() {
            self.by_entity.remove(&entity);
        } else {
            self.by_entity.insert(entity, rates);
        }
    }
}

impl Broker {
    pub(crate) fn describe_quotas(
        &self,
        request: &DescribeQuotas,
    ) -> Result<Vec<DescribedQuota>, QuotaRefused> {
        let filters = Filters::check(&request.filters, request.strict)?;
        let quotas = self.catalog.quotas.by_entity.iter();
        let described = quotas.filter(|(entity, _)| filters.take(entity)).map(|(entity, rates)| {
            let rates = rates.iter().map(|(key, rate)| (*key, *rate)).collect();
            DescribedQuota { entity: entity.to_parts(), rates }
        });
        Ok(described.collect())
    }

    pub(crate) fn alter_quotas(&mut self, now: Now, ticket: Ticket, request: &AlterQuotas) {
        let mut answers = Vec::new();
        let mut waits = Vec::new();
        for alteration in &request.entries {
            let decided = self.catalog.quotas.decide_alter(alteration);
            let decided = decided.and_then(|record| match &record {
                Some(new) => {
                    self.catalog.has_room_for(new).map_err(QuotaRefused::Full).map(|()| record)
                }
                None => Ok(None),
            });
            let outcome = match decided {
                Ok(Some(record)) if !request.validate_only => {
                    let appended = self.append_catalog(now, &record);
                    appended.map_err(QuotaRefused::Storage).map(|past| {
                        self.catalog.apply(record);
                        let part = answers.len();
                        waits.push(Wait { log: CATALOG, mark: Mark::End, past, part });
                    })
                }
                decided => decided.map(|_| ()),
            };
            answers.push(outcome);
        }
        self.answer(ticket, Reply::AlterQuotas(answers), &waits);
    }

    pub(crate) fn charge_connection(&mut self, now: Now, opened: ConnectionOpened) -> u64 {
        let quotas = &self.catalog.quotas;
        quotas.charge_connection(&mut self.quota_buckets, opened.ip, now.mono_ms)
    }

    /// Whether anybody has a quota: only then is there anything to charge.
    pub fn has_quotas(&self) -> bool {
        !self.catalog.quotas.is_empty()
    }

    /// Makes a request ready to be decided: holds a fetch to what its client's window gives, and what
    /// creates or deletes partitions to what that leaves.
    pub fn prepare(&mut self, now: Now, client: &Client, over: OverQuota, request: &mut Request) {
        let (quotas, buckets) = (&self.catalog.quotas, &self.quota_buckets);
        self.mutations = None;
        match request {
            Request::Fetch(fetch) | Request::FetchInSession(FetchInSession { fetch, .. }) => {
                if let Some(most) = quotas.fetch_bytes_max(client) {
                    fetch.max_bytes = fetch.max_bytes.min(most);
                }
            }
            Request::CreateTopics(_) | Request::CreatePartitions(_) | Request::DeleteTopics(_) => {
                self.mutations = Some(quotas.mutations(buckets, client, over, now.mono_ms));
            }
            Request::DescribeTopics(DescribeTopics { auto_create: true, .. }) => {
                self.mutations = Some(quotas.mutations_by_naming(buckets, client, now.mono_ms));
            }
            _ => {}
        }
    }

    /// Charges the partitions that the request prepared and decided last has created and deleted;
    /// returns how many milliseconds its client must pause.
    pub fn charge_mutations(&mut self, now: Now, client: &Client) -> u64 {
        let Some(mutations) = self.mutations.take() else { return 0 };
        let buckets = &mut self.quota_buckets;
        self.catalog.quotas.charge_mutations(buckets, client, mutations, now.mono_ms)
    }

    /// Charges what a request of this client used; returns how many milliseconds it must pause.
    pub fn charge(&mut self, now: Now, client: &Client, usage: &Usage) -> u64 {
        self.catalog.quotas.charge(&mut self.quota_buckets, client, usage, now.mono_ms)
    }
}
