//! Topics and their records: what there is, a search that goes backwards from the newest, one record in full, a live tail, and
//! a form that produces.
//!
//! A page and its JSON twin are made of the same values. What a page shows is all in its URL ([`asked`]). Filters run
//! here, next to the log, within a budget ([`scan`]); a page whose budget ended says where, and a stream goes on from there.

mod api;
mod asked;
mod cel;
mod command_line;
mod filter;
mod pages;
mod partitions;
mod produce;
mod scan;
mod search;
mod tail;
mod template;
mod view;

pub(super) use api::table;
pub(super) use pages::routes;
pub(crate) use partitions::{Retention, Skew};
