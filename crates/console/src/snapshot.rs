//! What the console shows, as plain values: made once a second, shown by pages, the API and the
//! live stream alike.

use std::sync::Arc;

use serde::Serialize;

use super::chart::Spark;
use super::dead::{DeadCause, DeadLine};
use super::event::{EventLine, topic_hue};
use super::groups::health::TopicPartition;
use super::history::{Drain, Trend};
use super::map::Sighting;
use super::quantity::{Behind, Bytes, Count, Moment, Rate};
use super::services::Instance;
use super::services::view::ServiceLine;
use super::slos::Slos;
use super::topics::{Retention, Skew};

/// Everything, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    #[serde(rename = "time_ms")]
    pub(crate) time: Moment,
    pub(crate) problems: Vec<Problem>,
    pub(crate) totals: Totals,
    /// By name.
    pub(crate) topics: Vec<TopicLine>,
    /// By name.
    pub(crate) groups: Vec<GroupLine>,
    /// Newest first.
    pub(crate) events: Vec<EventLine>,
    pub(crate) dead: Dead,
    /// Who writes to which topic; [`map`](super::map) shows them.
    #[serde(skip)]
    pub(crate) sightings: Vec<Sighting>,
    /// By name and instance; [`services`](super::services) shows them.
    #[serde(skip)]
    pub(crate) services: Vec<Instance>,
    /// By name.
    #[serde(skip)]
    pub(crate) service_lines: Vec<ServiceLine>,
    #[serde(skip)]
    pub(crate) slos: Slos,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) what: String,
    pub(crate) detail: String,
    pub(crate) href: String,
}

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Bad,
    Warn,
}

impl Severity {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
        }
    }
}

/// Sums over all topics that are not internal, and over all groups.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) topics: Count,
    pub(crate) partitions: Count,
    pub(crate) records: Count,
    /// None where the engine does not know sizes; so is the rate.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) records_per_second: Rate,
    pub(crate) bytes_per_second: Option<Rate>,
    pub(crate) groups: Count,
    pub(crate) lag: Count,
    pub(crate) dead_letters: Count,
    #[serde(skip)]
    pub(crate) spark: Spark,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TopicLine {
    pub(crate) name: String,
    pub(crate) internal: bool,
    pub(crate) dead_letters: bool,
    pub(crate) partitions: Count,
    pub(crate) records: Count,
    /// None where the engine does not know sizes; so is the rate.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) records_per_second: Rate,
    pub(crate) bytes_per_second: Option<Rate>,
    /// None until its configuration has had its turn.
    pub(crate) retention: Option<Retention>,
    /// A partition that gets far more than its share.
    pub(crate) skew: Option<Skew>,
    #[serde(skip)]
    pub(crate) spark: Spark,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GroupLine {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) members: Count,
    pub(crate) lag: Count,
    pub(crate) behind: Option<Behind>,
    pub(crate) trend: Trend,
    pub(crate) drain: Drain,
    pub(crate) stuck: bool,
    /// Partitions with far more lag than the others of their topic.
    pub(crate) hot: Vec<TopicPartition>,
    /// Members that have nothing to read.
    pub(crate) idle_members: Count,
    /// Those that it reads, or has read.
    pub(crate) topics: Vec<String>,
    /// The sum of its positions.
    pub(crate) committed: Count,
    pub(crate) committed_per_second: Rate,
    /// How far behind it is in the partitions with the most lag.
    #[serde(skip)]
    pub(crate) behind_at: Arc<[(TopicPartition, Behind)]>,
    #[serde(skip)]
    pub(crate) spark: Spark,
}

impl TopicLine {
    /// Its colour; dead letters have none, they are red where it matters.
    pub(crate) fn hue(&self) -> &'static str {
        if self.internal || self.dead_letters { "" } else { topic_hue(&self.name) }
    }

    /// Worth a row on the overview.
    fn is_of_interest(&self) -> bool {
        !self.internal && (!self.dead_letters || self.records.0 > 0)
    }
}

impl GroupLine {
    /// A group of which nothing has been sampled yet.
    pub(crate) fn unseen(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// What is wrong, if anything is.
    pub(crate) fn severity(&self) -> Option<Severity> {
        match (self.stuck, self.lag.0 > 0 && self.members.0 == 0) {
            (true, _) => Some(Severity::Bad),
            (false, true) => Some(Severity::Warn),
            (false, false) => None,
        }
    }

    pub(crate) fn class(&self) -> &'static str {
        self.severity().map_or("", Severity::class)
    }

    pub(crate) fn trend_sign(&self) -> &'static str {
        match self.trend {
            Trend::Rising => "↑",
            Trend::Steady => "",
            Trend::Falling => "↓",
        }
    }
}

/// Dead letters of all topics.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Dead {
    pub(crate) total: Count,
    /// Not read yet, so not among the causes.
    pub(crate) unread: Count,
    /// Most frequent first.
    pub(crate) causes: Vec<DeadCause>,
    /// Letters with causes beyond those.
    pub(crate) other: Count,
    /// Newest first.
    pub(crate) last: Vec<DeadLine>,
}

impl Snapshot {
    /// What is wrong, worst first: open breakers, stuck groups, dead letters, then what may be as it should.
    pub(super) fn find_problems(&self) -> Vec<Problem> {
        let mut problems = super::services::problems(&self.services);
        for group in &self.groups {
            let Some(severity) = group.severity() else { continue };
            let what = match severity {
                Severity::Bad => format!("Group {} is stuck", group.name),
                Severity::Warn => format!("Group {} has no members", group.name),
            };
            let lag = group.lag;
            let detail = match group.behind {
                Some(behind) => format!("{lag} records behind, the oldest written {behind} ago"),
                None => format!("{lag} records behind"),
            };
            let href = format!("/groups/{}", tidings_gateway::url_encoded(&group.name));
            problems.push(Problem { severity, what, detail, href });
        }
        if self.dead.total.0 > 0 {
            let causes = self.dead.causes.len();
            let most = self.dead.causes.first();
            let detail = most.map_or_else(String::new, |most| {
                let causes =
                    if causes == 1 { "1 cause".into() } else { format!("{causes} causes") };
                format!("{causes}, most often: {} ({})", most.cause, most.count)
            });
            let one = self.dead.total.0 == 1;
            problems.push(Problem {
                severity: Severity::Bad,
                what: format!("{} dead letter{}", self.dead.total, if one { "" } else { "s" }),
                detail,
                href: "/dead".to_owned(),
            });
        }
        problems.sort_by_key(|problem| problem.severity);
        problems
    }

    /// The busiest topics, then the largest, those with dead letters last; internal topics and
    /// those for dead letters that never came are left out.
    pub(crate) fn busiest_topics(&self, count: usize) -> Vec<&TopicLine> {
        let mut topics: Vec<_> = self.topics.iter().filter(|t| t.is_of_interest()).collect();
        if topics.len() > count {
            topics.sort_by(|a, b| {
                let by_rate = b.records_per_second.0.total_cmp(&a.records_per_second.0);
                by_rate.then(b.records.cmp(&a.records)).then(a.name.cmp(&b.name))
            });
            topics.truncate(count);
        }
        topics.sort_by_key(|topic| topic.dead_letters);
        topics
    }

    /// Groups with something wrong, then those furthest behind.
    pub(crate) fn worst_groups(&self, count: usize) -> Vec<&GroupLine> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        if groups.len() > count {
            groups.sort_by(|a, b| {
                let class = |group: &GroupLine| group.severity().map_or(2, |s| s as u8);
                class(a).cmp(&class(b)).then(b.lag.cmp(&a.lag)).then(a.name.cmp(&b.name))
            });
            groups.truncate(count);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, members: i64, lag: i64, stuck: bool) -> GroupLine {
        let state = "Stable".into();
        let (members, lag) = (Count(members), Count(lag));
        GroupLine { state, members, lag, stuck, ..GroupLine::unseen(name) }
    }

    #[test]
    fn problems_are_listed_worst_first() {
        let mut snapshot = Snapshot {
            groups: vec![
                group("idle", 0, 5, false),
                group("ok", 1, 5, false),
                group("a/b", 2, 7, true),
                group("gone", 0, 0, false),
            ],
            ..Snapshot::default()
        };
        snapshot.dead.total = Count(1);
        let problems = snapshot.find_problems();
        let said: Vec<_> =
            problems.iter().map(|p| (p.severity, p.what.as_str(), p.href.as_str())).collect();
        let wanted = [
            (Severity::Bad, "Group a/b is stuck", "/groups/a%2Fb"),
            (Severity::Bad, "1 dead letter", "/dead"),
            (Severity::Warn, "Group idle has no members", "/groups/idle"),
        ];
        assert_eq!(said, wanted);
        assert_eq!(problems[0].detail, "7 records behind");
    }

    #[test]
    fn the_overview_shows_what_matters_of_many() {
        let snapshot = Snapshot {
            groups: vec![group("a", 1, 0, false), group("b", 1, 9, false), group("c", 1, 1, true)],
            ..Snapshot::default()
        };
        let names = |count| {
            snapshot.worst_groups(count).iter().map(|g| g.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names(3), ["a", "b", "c"], "all fit: by name");
        assert_eq!(names(2), ["c", "b"]);
    }
}
