//! What the page and its twin show, and the URLs that lead on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use tidings::{rfc3339, said_time};
use tidings_gateway::{Trouble, url_encoded};
use tokio::time::timeout;

use super::super::Shared;
use super::super::observe::now;
use super::super::quantity::{Count, Moment, Span};
use super::super::reading;
use super::super::snapshot::Snapshot;
use super::life::{LifeLine, What, lives, lives_of, order, tree};
use super::place::{Reader, readers};
use super::scan::{Budget, Cursor, Search, Wanted, search};
use super::{Found, Spot};
use crate::limits::{
    TRACE_DEPTH, TRACE_DEPTH_MAX, TRACE_EVENTS_MAX, TRACE_LIVES, TRACE_QUERY_CHARS_MAX, TRACE_WAIT,
};

/// What a URL says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) q: String,
    pub(super) topic: String,
    pub(super) from: String,
    pub(super) to: String,
    /// Of several lives, the one that is shown.
    pub(super) life: String,
    pub(super) depth: Option<usize>,
    pub(super) before: String,
    pub(super) have: String,
}

impl Asked {
    /// The same with times that stay what they are, so that a link that goes on means the same range: `-2h` is another time
    /// a moment later. What is no time is left to be refused.
    fn at(mut self, now: Moment) -> Self {
        for said in [&mut self.from, &mut self.to] {
            if let Some(Moment(ms)) = Moment::said(said, now) {
                *said = rfc3339::format(ms);
            }
        }
        self
    }

    fn wanted(&self) -> Result<Wanted, Trouble> {
        let refused =
            |why: String| Trouble::bad_request(why).titled("The search is not understood");
        let text = self.q.trim().to_owned();
        if text.chars().count() > TRACE_QUERY_CHARS_MAX {
            return Err(refused(format!(
                "more than {TRACE_QUERY_CHARS_MAX} characters are searched for"
            )));
        }
        let time = |name: &str, said: &str| match said.trim() {
            "" => Ok(None),
            said => rfc3339::parse(said)
                .map(|ms| Some(Moment(ms)))
                .ok_or_else(|| refused(format!("`{name}` is {said:?}")).hint(said_time::EXAMPLES)),
        };
        let before = match self.before.as_str() {
            "" => None,
            said => Some(Cursor::parse(said).ok_or_else(|| {
                refused("`before` is no cursor that was given here".to_owned())
                    .hint("leave it out to begin with the newest")
            })?),
        };
        let have = self.have.split(',').filter(|spot| !spot.is_empty());
        let have: Option<Vec<Spot>> = have.map(Spot::parse).collect();
        let have = have
            .filter(|have| have.len() <= TRACE_EVENTS_MAX)
            .ok_or_else(|| refused("`have` is no list of places that was given here".to_owned()))?;
        Ok(Wanted {
            text,
            topic: Some(self.topic.trim().to_owned()).filter(|topic| !topic.is_empty()),
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            before,
            have,
        })
    }

    fn depth(&self) -> usize {
        self.depth.unwrap_or(TRACE_DEPTH).min(TRACE_DEPTH_MAX)
    }

    /// The query that says this, with some of it said otherwise; what is empty is left out.
    fn query(&self, otherwise: &[(&str, &str)]) -> String {
        let depth = self.depth.map(|depth| depth.to_string()).unwrap_or_default();
        let said = [
            ("q", &self.q),
            ("topic", &self.topic),
            ("from", &self.from),
            ("to", &self.to),
            ("life", &self.life),
            ("depth", &depth),
            ("before", &self.before),
            ("have", &self.have),
        ];
        let parts = said.iter().filter_map(|(name, value)| {
            let other = otherwise.iter().find(|(of, _)| of == name);
            let value = other.map_or(value.as_str(), |(_, value)| value);
            (!value.is_empty()).then(|| format!("{name}={}", url_encoded(value)))
        });
        parts.collect::<Vec<_>>().join("&")
    }
}

/// Time since another event: `+1.2 s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct After(pub(crate) i64);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "−" } else { "+" };
        match self.0.unsigned_abs() {
            ms if ms < 1_000 => write!(f, "{sign}{ms} ms"),
            ms if ms < 60_000 => write!(f, "{sign}{:.1} s", ms as f64 / 1_000.0),
            ms => write!(f, "{sign}{}", Span(ms / 1_000)),
        }
    }
}

/// An event of a life.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventView {
    #[serde(flatten)]
    pub(crate) found: Found,
    /// Steps from the first event.
    pub(crate) depth: usize,
    /// Where its cause is.
    pub(crate) cause: Option<Spot>,
    /// The type of its cause.
    #[serde(skip)]
    pub(crate) cause_type: String,
    #[serde(skip)]
    pub(crate) cause_ms: Option<i64>,
    /// The id of its cause, where that was not found.
    pub(crate) missing_cause: Option<String>,
    /// Since the first event of the life.
    #[serde(rename = "after_ms")]
    pub(crate) after: After,
    /// An event of its id has come before.
    #[serde(rename = "again")]
    pub(crate) is_again: bool,
    /// Its causes lead back to it.
    pub(crate) in_ring: bool,
    /// It mentions what is searched for.
    #[serde(rename = "match")]
    pub(crate) is_match: bool,
    /// Groups that read its topic.
    pub(crate) readers: Vec<Reader>,
}

impl EventView {
    /// How long it took from its cause.
    pub(crate) fn since_cause(&self) -> String {
        let took = self.cause_ms.map(|cause_ms| After(self.found.line.time.0 - cause_ms));
        took.map(|took| took.to_string()).unwrap_or_default()
    }
}

/// One life.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LifeView {
    #[serde(flatten)]
    pub(crate) line: LifeLine,
    /// Each after its cause.
    #[serde(rename = "event_list")]
    pub(crate) events: Vec<EventView>,
    /// Events that are deeper than what is shown.
    pub(crate) hidden: Count,
    /// Dead letters among what was found.
    pub(crate) letter_list: Vec<Found>,
    /// Services and publishers that wrote them.
    pub(crate) sources: Vec<String>,
}

impl LifeView {
    pub(crate) fn graph(&self) -> super::graph::Graph {
        super::graph::Graph::of(self)
    }

    pub(crate) fn timeline(&self) -> super::timeline::Timeline {
        super::timeline::Timeline::of(self)
    }

    /// Where the way of its events ends, the worst first.
    pub(crate) fn stops(&self) -> Vec<(&EventView, &Reader)> {
        let all = self.events.iter().flat_map(|event| {
            event.readers.iter().filter(|reader| reader.stops()).map(move |reader| (event, reader))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, reader)| match reader.class() {
            "bad" => 0,
            "warn" => 1,
            _ => 2,
        });
        all
    }

    /// Then it tells nothing that one does.
    pub(crate) fn all_match(&self) -> bool {
        self.events.iter().all(|event| event.is_match)
    }

    /// From its first record to its last: `130 ms`.
    pub(crate) fn took(&self) -> String {
        let took = After(self.line.last.0.saturating_sub(self.line.first.0)).to_string();
        took.trim_start_matches('+').to_owned()
    }
}

/// All that a page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TraceView {
    pub(crate) q: String,
    /// Lives that what is searched for is in, the newest first.
    pub(crate) lives: Vec<LifeLine>,
    /// Lives beyond those.
    pub(crate) other_lives: Count,
    pub(crate) life: Option<LifeView>,
    /// Records in the range that is searched.
    pub(crate) records: Count,
    pub(crate) looked: Count,
    pub(crate) left: Count,
    /// Everything newer has been looked at.
    #[serde(rename = "back_to_ms")]
    pub(crate) back_to: Option<Moment>,
    /// The query of the page that goes on; none when all has been looked at.
    pub(crate) next: Option<String>,
    /// More belongs to it than is shown.
    #[serde(rename = "cut")]
    pub(crate) is_cut: bool,
    /// Why it is not known how far groups are.
    pub(crate) readers_unread: Option<String>,
    #[serde(skip)]
    pub(super) asked: Asked,
}

impl TraceView {
    /// The query of this page with another life.
    pub(crate) fn with_life(&self, life: &str) -> String {
        self.asked.query(&[("life", life)])
    }

    pub(crate) fn deeper(&self) -> String {
        let depth = (self.asked.depth() * 2).clamp(1, TRACE_DEPTH_MAX).to_string();
        self.asked.query(&[("depth", &depth)])
    }

    pub(crate) fn depth(&self) -> usize {
        self.asked.depth()
    }

    /// Whether only a part of the log is searched.
    pub(crate) fn is_narrow(&self) -> bool {
        let Asked { topic, from, to, .. } = &self.asked;
        [topic, from, to].iter().any(|said| !said.is_empty())
    }

    pub(crate) fn topic(&self) -> &str {
        &self.asked.topic
    }

    /// A time of the form, as its field takes it.
    pub(crate) fn begin_field(&self) -> String {
        field(&self.asked.from)
    }

    pub(crate) fn end_field(&self) -> String {
        field(&self.asked.to)
    }
}

fn field(said: &str) -> String {
    rfc3339::parse(said).map(|ms| Moment(ms).field()).unwrap_or_default()
}

/// Searches, when it has its turn.
pub(super) async fn look(
    shared: &Shared,
    snapshot: &Snapshot,
    asked: Asked,
) -> Result<TraceView, Trouble> {
    let asked = asked.at(now());
    let wanted = asked.wanted()?;
    if wanted.text.is_empty() && wanted.have.is_empty() {
        return Ok(TraceView { asked, ..TraceView::default() });
    }
    let searched = {
        let turn = timeout(TRACE_WAIT, shared.trace_searches.acquire());
        // The semaphore is never closed.
        let Ok(Ok(_turn)) = turn.await else {
            let why = format!("other searches have taken longer than {TRACE_WAIT:?}");
            return Err(Trouble::unavailable(why).hint("try again"));
        };
        let reader = reading::Reader::of_list(shared.schemas.current().await);
        search(&shared.engine, &reader, &wanted, Budget::PAGE).await?
    };
    let Search { found, matches, records, left, back_to, next, is_cut } = searched;
    let of = lives_of(&found);
    let mut lines = lives(&found, &of, &matches);
    let said = |name: &str| lines.iter().find(|line| line.life == name);
    let shown = said(&asked.life).or_else(|| said(&wanted.text));
    let only = lines.first().filter(|_| lines.len() == 1);
    let shown = shown.or(only).cloned();
    let other_lives = Count::of(lines.len().saturating_sub(TRACE_LIVES));
    lines.truncate(TRACE_LIVES);
    let next = next.map(|cursor| {
        let have = found.iter().take(TRACE_EVENTS_MAX).map(|one| one.spot().to_string());
        let have = have.collect::<Vec<_>>().join(",");
        asked.query(&[("before", &cursor.text()), ("have", &have)])
    });
    let mut view = TraceView {
        q: wanted.text,
        lives: lines,
        other_lives,
        life: None,
        records,
        looked: Count((records.0 - left.0).max(0)),
        left,
        back_to,
        next,
        is_cut,
        readers_unread: None,
        asked,
    };
    if let Some(line) = shown {
        let its = found.into_iter().zip(of).filter(|(_, life)| *life == line.life);
        let its = its.map(|(one, _)| one).collect();
        view.show(shared, snapshot, line, its, &matches).await;
    }
    Ok(view)
}

impl TraceView {
    async fn show(
        &mut self,
        shared: &Shared,
        snapshot: &Snapshot,
        line: LifeLine,
        its: Vec<Found>,
        matches: &BTreeSet<Spot>,
    ) {
        let (letters, events): (Vec<Found>, Vec<Found>) =
            its.into_iter().partition(|one| one.death.is_some());
        let (event_refs, letter_refs): (Vec<&Found>, Vec<&Found>) =
            (events.iter().collect(), letters.iter().collect());
        let readers = readers(shared, snapshot, &event_refs, &letter_refs).await;
        let readers = readers.unwrap_or_else(|error| {
            self.readers_unread = Some(error.to_string());
            Vec::new()
        });
        let nodes = tree(&event_refs);
        let order = order(&nodes, self.asked.depth());
        let mut readers: BTreeMap<usize, Vec<Reader>> = readers.into_iter().enumerate().collect();
        let mut views = Vec::new();
        for number in order {
            let node = &nodes[number];
            let What::Event(at) = node.what else { continue };
            let event = &events[at];
            let cause = node.cause.map(|cause| nodes[cause].what);
            let known = match cause {
                Some(What::Event(cause)) => Some(&events[cause]),
                Some(What::Missing(_)) | None => None,
            };
            views.push(EventView {
                depth: node.depth,
                cause: known.map(Found::spot),
                cause_type: known.map_or("", |cause| cause.line.short_type()).to_owned(),
                cause_ms: known.map(|cause| cause.line.time.0),
                missing_cause: matches!(cause, Some(What::Missing(_)))
                    .then(|| event.causation.clone())
                    .flatten(),
                after: After(event.line.time.0 - line.first.0),
                is_again: node.is_again,
                in_ring: node.in_ring,
                is_match: matches.contains(&event.spot()),
                readers: readers.remove(&at).unwrap_or_default(),
                found: event.clone(),
            });
        }
        let hidden = Count::of(events.len() - views.len());
        let sources: BTreeSet<&str> = events.iter().map(Found::source).collect();
        let sources = sources.into_iter().map(str::to_owned).collect();
        self.life = Some(LifeView { line, events: views, hidden, letter_list: letters, sources });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_another_event_is_said_shortly() {
        for (ms, wanted) in [
            (0, "+0 ms"),
            (999, "+999 ms"),
            (1_250, "+1.2 s"),
            (-40, "−40 ms"),
            (3_720_000, "+1 h 2 min"),
        ] {
            assert_eq!(After(ms).to_string(), wanted);
        }
    }

    #[test]
    fn a_url_says_what_was_asked() {
        let asked = Asked {
            q: "536365 & more".into(),
            depth: Some(3),
            have: "t/0/1,t/0/2".into(),
            ..Asked::default()
        };
        assert_eq!(asked.query(&[("have", "")]), "q=536365%20%26%20more&depth=3");
        assert_eq!(asked.query(&[("q", "x"), ("life", "c"), ("have", "")]), "q=x&life=c&depth=3");
    }

    #[test]
    fn a_link_that_goes_on_means_the_same_time() {
        let asked = Asked { q: "x".into(), from: "-1m".into(), ..Asked::default() };
        let asked = asked.at(Moment(120_000));
        assert_eq!(asked.query(&[]), "q=x&from=1970-01-01T00%3A01%3A00.000Z");
        assert_eq!(field(&asked.from), "1970-01-01T00:01:00");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let asked = |change: fn(&mut Asked)| {
            let mut asked = Asked { q: "x".into(), ..Asked::default() };
            change(&mut asked);
            asked.at(Moment(1_000_000)).wanted().map(|_| ()).map_err(|trouble| trouble.detail)
        };
        assert_eq!(asked(|_| ()), Ok(()));
        assert_eq!(asked(|a| a.from = "2026-12-01T08:26".into()), Ok(()));
        assert_eq!(asked(|a| a.from = "-2h".into()), Ok(()));
        for (change, why) in [
            ((|a| a.from = "soon".into()) as fn(&mut Asked), "`from`"),
            (|a| a.to = "2026-13-01".into(), "`to`"),
            (|a| a.before = "x".into(), "`before`"),
            (|a| a.have = "t/0".into(), "`have`"),
            (|a| a.have = "t/0/1,".repeat(TRACE_EVENTS_MAX + 1), "`have`"),
            (|a| a.q = "x".repeat(TRACE_QUERY_CHARS_MAX + 1), "characters"),
        ] {
            let refused = asked(change).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
