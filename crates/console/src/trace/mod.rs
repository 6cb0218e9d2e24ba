//! One event's life: what caused it, what it caused, and where that stopped, from the log itself.
//!
//! 1. [`scan`] looks through the log, newest records first, for those that mention what is searched for: an id, a correlation, a
//!    key, a number in a value. It remembers who belongs to whom of everything it looks at, so that what has the same
//!    correlation, or is cause or effect, is found as well ([`index`]). It ends with its budget, and a cursor to go on from.
//! 2. [`life`] makes of what was found the lives it is about, and of one life a tree: each event below its cause.
//! 3. [`place`] asks the groups that read an event's topic how far they are, and services what they have put aside.
//! 4. [`graph`] and [`timeline`] draw it.
//!
//! Nothing is kept between two pages: the URL carries the cursor and the places of what was found.

mod graph;
mod index;
mod life;
mod page;
pub(super) mod pages;
mod place;
mod scan;
mod timeline;

use std::fmt;

use serde::Serialize;

use super::dead::{DeathView, is_dead_topic};
use super::event::EventLine;
use super::payload::shortened;
use super::reading::Reading;
use crate::limits::PREVIEW_CHARS;

/// Where a record is; as URLs write it, `topic/partition/offset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Spot {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Spot {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches("/topics/").rsplitn(3, '/');
        let offset = parts.next()?.parse().ok().filter(|offset| *offset >= 0)?;
        let partition = parts.next()?.parse().ok()?;
        let topic = parts.next().filter(|topic| !topic.is_empty() && !topic.contains('/'))?;
        Some(Self { topic: topic.to_owned(), partition, offset })
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A record that was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub(crate) line: EventLine,
    pub(crate) causation: Option<String>,
    /// Of a dead letter.
    pub(crate) death: Option<DeathView>,
}

impl Found {
    fn of(reading: &Reading<'_>) -> Self {
        let record = reading.record.as_ref();
        let header = |name| record.header(name).map(|text| shortened(text, PREVIEW_CHARS));
        let is_letter = is_dead_topic(&record.topic);
        Self {
            line: EventLine::of(reading),
            causation: header("ce_causationid"),
            death: is_letter.then(|| DeathView::of(record)).flatten(),
        }
    }

    pub(crate) fn spot(&self) -> Spot {
        let EventLine { topic, partition, offset, .. } = &self.line;
        Spot { topic: topic.clone(), partition: *partition, offset: *offset }
    }

    /// The path of its page.
    pub(crate) fn path(&self) -> String {
        let EventLine { topic, partition, offset, .. } = &self.line;
        format!("/topics/{}/{partition}/{offset}", tidings_gateway::url_encoded(topic))
    }

    /// Who wrote it, as far as it says so.
    pub(crate) fn source(&self) -> &str {
        self.line.source.as_deref().unwrap_or("unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_log_is_read_as_it_is_written() {
        for (text, wanted) in [
            ("shop.orders/0/17", Some("shop.orders/0/17")),
            ("/topics/shop.orders/0/17", Some("shop.orders/0/17")),
            ("shop.orders/0", None),
            ("shop.orders/x/17", None),
            ("shop.orders/0/-1", None),
            ("/0/17", None),
            ("a/b/0/17", None),
            ("536365", None),
        ] {
            assert_eq!(
                Spot::parse(text).map(|s| s.to_string()),
                wanted.map(str::to_owned),
                "{text}"
            );
        }
    }
}
