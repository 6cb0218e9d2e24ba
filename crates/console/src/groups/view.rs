//! What the page of a group and its twin show, asked of the engine.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidings_engine::{GroupDescription, GroupMember, TopicPartition};
use tidings_gateway::Trouble;

use super::super::Shared;
use super::super::quantity::{Behind, Count, Moment};
use super::super::snapshot::{GroupLine, Snapshot};
use super::chart::LagChart;
use super::kept::Point;
use super::{Range, health};

/// How often a chart moves on.
const CHART_STEP_MS: i64 = 10_000;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct GroupView {
    #[serde(flatten)]
    pub(crate) line: GroupLine,
    pub(crate) protocol: String,
    pub(crate) member_list: Vec<MemberLine>,
    pub(crate) offsets: Vec<OffsetLine>,
    pub(crate) history: Lags,
    /// A service of the SDK has this group.
    pub(crate) is_service: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemberLine {
    pub(crate) member_id: String,
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// `topic[partition,…]`, one for each topic.
    pub(crate) assignment: Vec<String>,
    /// Records that it has still to process.
    pub(crate) lag: Count,
    /// It has nothing to read, as there are fewer partitions than members.
    pub(crate) idle: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OffsetLine {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) committed: Option<Count>,
    pub(crate) end_offset: Count,
    pub(crate) lag: Count,
    /// Of the group's lag, in hundredths.
    pub(crate) share: u8,
    pub(crate) behind: Option<Behind>,
    /// It has far more lag than the topic's other partitions.
    pub(crate) hot: bool,
    /// The client that reads it.
    pub(crate) member: Option<String>,
    pub(crate) metadata: Option<String>,
}

/// The group's lag in a range of time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Lags {
    pub(crate) range: Range,
    #[serde(rename = "from_ms")]
    pub(crate) from: Moment,
    #[serde(rename = "to_ms")]
    pub(crate) to: Moment,
    pub(crate) most: Count,
    /// Oldest first.
    pub(crate) points: Vec<PointLine>,
    #[serde(skip)]
    pub(crate) chart: LagChart,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PointLine {
    #[serde(rename = "time_ms")]
    pub(crate) time: Moment,
    #[serde(flatten)]
    pub(crate) point: Point,
}

impl Lags {
    /// Of what is kept, and of now.
    fn of(mut points: Vec<(i64, Point)>, range: Range, now: Moment, lag: Count) -> Self {
        // A part of the page that has not changed is not sent again.
        let now = Moment((now.0 / CHART_STEP_MS + 1) * CHART_STEP_MS);
        let from = Moment(now.0 - range.ms());
        let last = points.last().map(|(_, point)| *point).unwrap_or_default();
        points.push((now.0, Point { lag: lag.0, ..last }));
        let most = points.iter().map(|(_, point)| point.lag).max().unwrap_or(0);
        let chart = LagChart::of(&points, from.0, now.0);
        points.pop();
        let points = points.into_iter().map(|(ms, point)| PointLine { time: Moment(ms), point });
        Self { range, from, to: now, most: Count(most), points: points.collect(), chart }
    }

    /// The points for a table, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &PointLine> {
        self.points.iter().rev()
    }

    pub(crate) fn ranges(&self) -> [Range; 2] {
        Range::ALL
    }
}

impl GroupView {
    /// The end of the path of its page.
    pub(crate) fn path(&self) -> String {
        tidings_gateway::url_encoded(&self.line.name)
    }
}

/// A group as it is now; refused when there is none.
pub(crate) async fn look(
    shared: &Shared,
    snapshot: &Snapshot,
    name: &str,
    range: Range,
) -> Result<GroupView, Trouble> {
    let group = described(shared, name).await?;
    let sampled = snapshot.groups.iter().find(|line| line.name == name).cloned();
    let mut line = sampled.unwrap_or_else(|| GroupLine::unseen(name));
    line.state.clone_from(&group.state);
    line.members = Count::of(group.members.len());
    line.lag = Count(group.offsets.iter().map(|o| o.lag).sum());
    line.hot = health::hot(&group.offsets);
    let points = shared.history.since(name, snapshot.time.0 - range.ms());
    let history = Lags::of(points, range, snapshot.time, line.lag);
    let changelog = format!("{name}.changelog");
    let is_service = snapshot.topics.iter().any(|topic| topic.name == changelog);
    let (members, offsets) = (members(&group), offsets(&group, &line));
    let protocol = group.protocol;
    Ok(GroupView { line, protocol, member_list: members, offsets, history, is_service })
}

/// What the engine says of it.
pub(super) async fn described(shared: &Shared, name: &str) -> Result<GroupDescription, Trouble> {
    let group = shared.engine.group(name).await?;
    if group.state == "Dead" {
        return Err(Trouble::not_found(format!("there is no group {name}")));
    }
    Ok(group)
}

fn members(group: &GroupDescription) -> Vec<MemberLine> {
    let idle: BTreeSet<&str> = health::idle(group).map(|one| one.member_id.as_str()).collect();
    let lags = group.offsets.iter().map(|at| ((at.topic.as_str(), at.partition), at.lag));
    let lags: BTreeMap<(&str, i32), i64> = lags.collect();
    let lag = |member: &GroupMember| {
        let its = member.assignment.iter();
        Count(its.filter_map(|at| lags.get(&(at.topic.as_str(), at.partition))).sum())
    };
    let line = |member: &GroupMember| MemberLine {
        member_id: member.member_id.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        assignment: by_topic(&member.assignment),
        lag: lag(member),
        idle: idle.contains(member.member_id.as_str()),
    };
    group.members.iter().map(line).collect()
}

fn offsets(group: &GroupDescription, line: &GroupLine) -> Vec<OffsetLine> {
    let mut owners: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for member in &group.members {
        let assigned = member.assignment.iter();
        owners.extend(assigned.map(|at| ((at.topic.as_str(), at.partition), &*member.client_id)));
    }
    let total = i128::from(line.lag.0);
    let offsets = group.offsets.iter().map(|at| {
        let share = (i128::from(at.lag) * 100).checked_div(total).unwrap_or(0);
        let behind = line.behind_at.iter().find(|(of, _)| of.is(&at.topic, at.partition));
        OffsetLine {
            topic: at.topic.clone(),
            partition: at.partition,
            committed: at.committed.map(Count),
            end_offset: Count(at.end_offset),
            lag: Count(at.lag),
            share: u8::try_from(share).unwrap_or(100),
            behind: behind.filter(|_| at.lag > 0).map(|(_, behind)| *behind),
            hot: line.hot.iter().any(|of| of.is(&at.topic, at.partition)),
            member: owners.get(&(at.topic.as_str(), at.partition)).map(|name| (*name).to_owned()),
            metadata: at.metadata.clone().filter(|text| !text.is_empty()),
        }
    });
    let mut offsets: Vec<_> = offsets.collect();
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    offsets
}

/// Partitions as the command line writes them.
fn by_topic(assignment: &[TopicPartition]) -> Vec<String> {
    let mut topics = BTreeMap::<&str, BTreeSet<i32>>::new();
    for at in assignment {
        topics.entry(&at.topic).or_default().insert(at.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        format!("{topic}[{}]", partitions.join(","))
    });
    topics.collect()
}
