//! Whom a quota is for, and what it bounds: Kafka's names and rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::QuotaRefused;

/// What a quota bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKey {
    ProducerByteRate,
    ConsumerByteRate,
    /// Percent of the time of the one thread that decides requests.
    RequestPercentage,
    /// Partitions created and deleted per second.
    ControllerMutationRate,
    /// Connections per second from one address.
    ConnectionCreationRate,
}

impl QuotaKey {
    const ALL: [Self; 5] = [
        Self::ProducerByteRate,
        Self::ConsumerByteRate,
        Self::RequestPercentage,
        Self::ControllerMutationRate,
        Self::ConnectionCreationRate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
            Self::ControllerMutationRate => "controller_mutation_rate",
            Self::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Whether a rate is one that this may have.
    pub(super) fn check(self, rate: f64) -> Result<(), QuotaRefused> {
        let name = self.name();
        let (kind, most) = match self {
            Self::ProducerByteRate | Self::ConsumerByteRate => ("LONG", i64::MAX as f64),
            Self::ConnectionCreationRate => ("INT", f64::from(i32::MAX)),
            Self::RequestPercentage | Self::ControllerMutationRate => ("DOUBLE", f64::MAX),
        };
        let trouble = if rate.is_nan() || rate <= 0.0 {
            format!("Quota {name} must be greater than 0")
        } else if rate > most {
            format!("Proposed value for {name} is too large for a {kind}.")
        } else if kind != "DOUBLE" && rate.fract() != 0.0 {
            format!("{name} cannot be a fractional value.")
        } else {
            return Ok(());
        };
        Err(QuotaRefused::Invalid(trouble))
    }
}

/// One part of whom a quota is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    #[default]
    Absent,
    /// Everybody who has no quota under a name.
    Default,
    Named(String),
}

/// Whom a quota is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entity {
    pub(super) user: Part,
    pub(super) client_id: Part,
    pub(super) ip: Part,
}

pub(super) const USER: &str = "user";
pub(super) const CLIENT_ID: &str = "client-id";
pub(super) const IP: &str = "ip";

/// As the protocol has an entity: kinds and names, null for the default.
pub(crate) type Parts = BTreeMap<String, Option<String>>;

impl Entity {
    /// What a client wrote; each kind once.
    pub(super) fn parse(parts: &[(String, Option<String>)]) -> Result<Self, QuotaRefused> {
        let invalid = |text: String| Err(QuotaRefused::Invalid(text));
        if parts.is_empty() {
            return invalid("Invalid empty client quota entity".to_owned());
        }
        let mut entity = Self::default();
        for (kind, name) in parts {
            let Some(part) = entity.part_mut(kind) else {
                return invalid(format!("Unhandled client quota entity type: {kind}"));
            };
            if *part != Part::Absent {
                return invalid(format!("Entity type {kind} appears more than once"));
            }
            *part = match name {
                None => Part::Default,
                Some(name) if name.is_empty() => {
                    return invalid(format!("Empty {kind} not supported"));
                }
                Some(name) if kind == IP => match name.parse::<IpAddr>() {
                    Ok(ip) => Part::Named(ip.to_string()),
                    Err(_) => return invalid(format!("{name} is not a valid IP.")),
                },
                Some(name) => Part::Named(name.clone()),
            };
        }
        let of_client = entity.user != Part::Absent || entity.client_id != Part::Absent;
        if entity.ip != Part::Absent && of_client {
            return invalid(
                "Invalid quota entity combination, IP entity should not be combined with User or \
                 ClientId"
                    .to_owned(),
            );
        }
        Ok(entity)
    }

    fn part_mut(&mut self, kind: &str) -> Option<&mut Part> {
        match kind {
            USER => Some(&mut self.user),
            CLIENT_ID => Some(&mut self.client_id),
            IP => Some(&mut self.ip),
            _ => None,
        }
    }

    fn parts(&self) -> [(&'static str, &Part); 3] {
        [(USER, &self.user), (CLIENT_ID, &self.client_id), (IP, &self.ip)]
    }

    /// What a client reads.
    pub(crate) fn to_parts(&self) -> Parts {
        let present = self.parts().into_iter().filter_map(|(kind, part)| match part {
            Part::Absent => None,
            Part::Default => Some((kind.to_owned(), None)),
            Part::Named(name) => Some((kind.to_owned(), Some(name.clone()))),
        });
        present.collect()
    }

    /// Whether this may have a quota of such a key.
    pub(super) fn allows(&self, key: QuotaKey) -> bool {
        (key == QuotaKey::ConnectionCreationRate) == (self.ip != Part::Absent)
    }
}

/// One condition on the entities that are described.
#[derive(Clone, Debug)]
pub struct QuotaFilter {
    pub entity_type: String,
    pub wanted: QuotaMatch,
}

#[derive(Clone, Debug)]
pub enum QuotaMatch {
    Exact(String),
    /// The default of this type.
    Default,
    /// Any name, and the default.
    Any,
}

/// What a client asks to see; checked.
pub(super) struct Filters<'a> {
    filters: &'a [QuotaFilter],
    /// Only entities without other parts.
    strict: bool,
}

impl<'a> Filters<'a> {
    pub(super) fn check(filters: &'a [QuotaFilter], strict: bool) -> Result<Self, QuotaRefused> {
        let invalid = |text: String| Err(QuotaRefused::Invalid(text));
        let mut seen = Vec::new();
        for QuotaFilter { entity_type, .. } in filters {
            match entity_type.as_str() {
                "" => return invalid("Invalid empty entity type.".to_owned()),
                USER | CLIENT_ID | IP => {}
                other => return Err(QuotaRefused::UnknownType(other.to_owned())),
            }
            if seen.contains(&entity_type.as_str()) {
                return invalid(format!(
                    "Entity type {entity_type} cannot appear more than once in the filter."
                ));
            }
            seen.push(entity_type.as_str());
        }
        if seen.contains(&IP) && seen.len() > 1 {
            return invalid(
                "Invalid entity filter component combination. IP filter component should not be \
                 used with user or clientId filter component."
                    .to_owned(),
            );
        }
        Ok(Self { filters, strict })
    }

    pub(super) fn take(&self, entity: &Entity) -> bool {
        let parts = entity.parts();
        let all = self.filters.iter().all(|filter| {
            let part = parts.iter().find(|(kind, _)| *kind == filter.entity_type);
            match (part.map(|(_, part)| *part), &filter.wanted) {
                (Some(Part::Named(name)), QuotaMatch::Exact(wanted)) => name == wanted,
                (Some(Part::Default), QuotaMatch::Default | QuotaMatch::Any)
                | (Some(Part::Named(_)), QuotaMatch::Any) => true,
                _ => false,
            }
        });
        let present = parts.iter().filter(|(_, part)| **part != Part::Absent).count();
        all && (!self.strict || present == self.filters.len())
    }
}
