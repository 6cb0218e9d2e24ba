//! The table of `tidings top`: for files, pipes and `-o`, and for terminals that cannot be drawn on.
//!
//! Rates are what changed between two looks, so the first has none. In a terminal as many rows are shown as fit; all
//! are in every other form.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use serde::Serialize;
use serde_json::{Value, json};
use tidings_terminal::failure::Failure;
use tidings_terminal::output::{Answer, Item};
use tidings_terminal::table::{Look, left, right, table};

use super::super::log::count;
use super::super::watch::watched;
use super::sample::{Sample, TopicLoad};
use crate::args::{Top, Watch};
use crate::client::{Client, GroupLoad};

/// Lines that are no rows: those of `--watch`, the summary, headings and blanks between.
const LINES_BESIDE: usize = 9;

/// Asks once, or again and again.
pub(super) async fn top(said: Top) -> Result<(), Failure> {
    let mut client = Client::connect(&said.common.kafka).await?;
    let mut before = None;
    let watch = Watch { watch: Some(said.every) };
    let rows = rows_that_fit();
    watched(watch, said.common.output, async || {
        let now = Sample::take(&mut client).await?;
        let busy = Busy::between(before.as_ref(), &now, rows);
        before = Some(now);
        Ok(busy)
    })
    .await
}

/// In each of the two tables.
fn rows_that_fit() -> usize {
    if !std::io::stdout().is_terminal() {
        return usize::MAX;
    }
    let height = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
    (height.saturating_sub(LINES_BESIDE) / 2).max(3)
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct BusyTopic {
    name: String,
    records: i64,
    records_per_second: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct BusyGroup {
    name: String,
    state: String,
    members: usize,
    lag: i64,
    lag_per_second: Option<f64>,
}

/// The most first.
#[derive(Clone, Debug)]
struct Busy {
    topics: Vec<BusyTopic>,
    groups: Vec<BusyGroup>,
    /// That are shown in a table.
    rows: usize,
}

impl Busy {
    fn between(before: Option<&Sample>, now: &Sample, rows: usize) -> Self {
        let seconds = before.map(|before| (now.at_ms - before.at_ms) as f64 / 1000.0);
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        let rate = |was: Option<i64>, is: i64| Some((is - was?) as f64 / seconds?);
        let ends: BTreeMap<&str, i64> = before.map_or_else(BTreeMap::new, |before| {
            before.topics.iter().map(|topic| (topic.name.as_str(), topic.end)).collect()
        });
        let lags: BTreeMap<&str, i64> = before.map_or_else(BTreeMap::new, |before| {
            before.groups.iter().map(|(group, behind)| (group.name.as_str(), *behind)).collect()
        });
        let topic = |topic: &TopicLoad| BusyTopic {
            name: topic.name.clone(),
            records: topic.records,
            records_per_second: rate(ends.get(topic.name.as_str()).copied(), topic.end),
        };
        let group = |(group, behind): &(GroupLoad, i64)| BusyGroup {
            name: group.name.clone(),
            state: group.state.clone(),
            members: group.members,
            lag: *behind,
            lag_per_second: rate(lags.get(group.name.as_str()).copied(), *behind),
        };
        let mut topics: Vec<_> = now.topics.iter().map(topic).collect();
        topics.sort_by(|a, b| {
            let rates = (b.records_per_second.unwrap_or(0.0), a.records_per_second.unwrap_or(0.0));
            rates.0.total_cmp(&rates.1).then(b.records.cmp(&a.records)).then(a.name.cmp(&b.name))
        });
        let mut groups: Vec<_> = now.groups.iter().map(group).collect();
        groups.sort_by(|a, b| b.lag.cmp(&a.lag).then(a.name.cmp(&b.name)));
        Self { topics, groups, rows }
    }
}

/// The items are topics, then groups.
impl Answer for Busy {
    fn document(&self) -> Value {
        json!({ "topics": self.topics, "groups": self.groups })
    }

    fn items(&self) -> Vec<Item> {
        let topics = self.topics.iter().map(|t| Item::new(&t.name, json!({ "topic": t })));
        topics
            .chain(self.groups.iter().map(|g| Item::new(&g.name, json!({ "group": g }))))
            .collect()
    }

    fn text(&self, look: Look) -> String {
        // None at the first look, which knows of no earlier one.
        let gained = self.topics.iter().filter_map(|topic| topic.records_per_second);
        let gained = gained.reduce(|sum, rate| sum + rate);
        let gained =
            gained.map_or_else(String::new, |rate| format!(", {rate:.1} records a second"));
        let behind: i64 = self.groups.iter().map(|group| group.lag).sum();
        let topics = count(self.topics.len() as u64, "topic");
        let groups = count(self.groups.len() as u64, "group");
        let shown = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |r| format!("{r:.1}"));
        let rows: Vec<_> = self
            .topics
            .iter()
            .take(self.rows)
            .map(|t| [t.name.clone(), t.records.to_string(), shown(t.records_per_second)])
            .collect();
        let busy = table([left("TOPIC"), right("RECORDS"), right("GAINED/S")], &rows, look);
        let rows: Vec<_> = self
            .groups
            .iter()
            .take(self.rows)
            .map(|g| {
                let (members, lag) = (g.members.to_string(), g.lag.to_string());
                [g.name.clone(), g.state.clone(), members, lag, shown(g.lag_per_second)]
            })
            .collect();
        let columns =
            [left("GROUP"), left("STATE"), right("MEMBERS"), right("BEHIND"), right("CHANGE/S")];
        let late = table(columns, &rows, look);
        format!("{topics}{gained}; {groups}, {behind} records behind\n\n{busy}\n{late}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{PartitionView, TopicView};
    use tidings_terminal::Form;

    fn sample(at_ms: i64, topics: &[(&str, i64)], groups: &[(&str, i64)]) -> Sample {
        let topic = |(name, end): &(&str, i64)| TopicView {
            name: (*name).to_owned(),
            internal: false,
            records: *end,
            partitions: vec![PartitionView {
                id: 0,
                leader: 1,
                replicas: vec![1],
                in_sync: vec![1],
                start_offset: 0,
                end_offset: *end,
            }],
        };
        let group = |(name, committed): &(&str, i64)| GroupLoad {
            name: (*name).to_owned(),
            state: "Stable".to_owned(),
            members: 2,
            committed: vec![("a".to_owned(), 0, *committed), ("gone".to_owned(), 0, 5)],
        };
        let topics: Vec<_> = topics.iter().map(topic).collect();
        Sample::of(at_ms, &topics, groups.iter().map(group).collect())
    }

    #[test]
    fn the_busiest_topics_and_the_latest_groups_come_first() {
        let before = sample(1_000, &[("a", 10), ("b", 100)], &[("early", 10), ("late", 4)]);
        let now =
            sample(3_000, &[("a", 30), ("b", 100), ("new", 7)], &[("early", 29), ("late", 4)]);
        let busy = Busy::between(Some(&before), &now, 2);
        let topics: Vec<_> =
            busy.topics.iter().map(|t| (t.name.as_str(), t.records_per_second)).collect();
        assert_eq!(topics, [("a", Some(10.0)), ("b", Some(0.0)), ("new", None)]);
        let groups: Vec<_> =
            busy.groups.iter().map(|g| (g.name.as_str(), g.lag, g.lag_per_second)).collect();
        assert_eq!(groups, [("late", 26, Some(10.0)), ("early", 1, Some(0.5))]);
        let wanted = "3 topics, 10.0 records a second; 2 groups, 27 records behind\n\n\
                      TOPIC  RECORDS  GAINED/S\n\
                      a           30      10.0\n\
                      b          100       0.0\n\n\
                      GROUP  STATE   MEMBERS  BEHIND  CHANGE/S\n\
                      late   Stable        2      26      10.0\n\
                      early  Stable        2       1       0.5\n";
        assert_eq!(busy.text(Look::plain(Form::Table)), wanted);
    }

    #[test]
    fn the_first_look_has_no_rates() {
        let now = sample(3_000, &[("a", 30)], &[("late", 4)]);
        for before in [None, Some(&now)] {
            let busy = Busy::between(before, &now, usize::MAX);
            assert_eq!(busy.topics[0].records_per_second, None);
            assert_eq!(busy.groups[0].lag_per_second, None);
            let text = busy.text(Look::plain(Form::Table));
            assert!(text.starts_with("1 topic; 1 group, 26 records behind\n"), "{text}");
        }
    }
}
