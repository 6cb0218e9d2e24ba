//! Quotas of clients: how fast each may produce, fetch, take the node's time, change topics and
//! connect (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612).
//!
//! Definitions are a fold of the catalog. What clients use is charged to buckets in memory; one that
//! has used more than its window allows is told how long to pause (KIP-219). Only the creation and deletion
//! of partitions is refused, and only to those who know the error.
//! Invariants: a definition names clients or addresses, never both; its rates are above 0.
//!
//! Limits: [`limits::QUOTAS_MAX`] definitions, [`limits::QUOTA_BUCKETS_MAX`] buckets.

mod bucket;
mod clients;
mod entity;
mod mutations;
mod requests;

pub(crate) use bucket::Buckets;
pub(crate) use clients::Quotas;
pub use clients::{Client, Usage};
pub(crate) use entity::Parts;
pub use entity::{QuotaFilter, QuotaKey, QuotaMatch};
pub(crate) use mutations::Mutations;
pub use mutations::OverQuota;
pub use requests::{
    AlterQuotas, ConnectionOpened, DescribeQuotas, DescribedQuota, QuotaAlteration,
};
