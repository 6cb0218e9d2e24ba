//! Setting a group's positions: what would happen first, then that, and nothing else.
//!
//! A look makes a [`Plan`]: every position that would be set, from where to where. The page's form carries the plan as text, so what is
//! confirmed is what was seen, also when records have come meanwhile; it is refused when the group has moved since, or has members. A
//! program may leave the look out. As in Kafka, a group with members is not touched: they would go on
//! from where they are.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::limits::{RECENT_BLOCK_MIN, RECENT_SLOTS};
use tidings::said_time;
use tidings_engine::{Error, GroupDescription, Offset, TopicPartition};
use tidings_gateway::route::{
    Answer, Parameter, Route, Said, Taken, Verb, json as json_answer, problem, query, read,
};
use tidings_gateway::{ApiTrouble, Body, Trouble, sent_form, url_encoded};

use super::super::observe::now;
use super::super::pages::{Frame, Page, page};
use super::super::quantity::{Count, Moment};
use super::super::trouble::PageTrouble;
use super::super::{LogAddress, Shared};
use super::view::described;
use crate::limits::RESET_PARTITIONS_MAX;

type Console = State<Arc<Shared>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/groups/{group}/reset", get(preview).post(confirmed))
}

pub(super) fn table() -> Vec<Route<Arc<Shared>>> {
    const WHERE_TO: &[Parameter] = &[
        query("to", "string", "start, end, offset or time."),
        query("offset", "integer", "Of offset: which; where there is none, the nearest there is."),
        query(
            "time",
            "string",
            "Of time: in UTC, 2026-12-01T08:26, or milliseconds since the epoch.",
        ),
        query(
            "topic",
            "string",
            "Only the positions of this topic, also if it has none there yet.",
        ),
        query("partition", "integer", "Only this partition of the topic."),
    ];
    const LOOKED_AT: &[Answer] =
        &[json_answer(200, "What would be set."), problem(404, "There is no such group or topic.")];
    const SET: Said = Said {
        verb: Verb::Post,
        path: "/groups/{group}/reset",
        summary: "Sets positions of a group, or with `dry_run` says what would be set.",
        parameters: &[],
        takes: &[Taken { media: "application/json", schema: "Reset" }],
        answers: &[
            json_answer(200, "They are set, or a dry run."),
            problem(404, "There is no such group or topic."),
            problem(409, "It has members, or has moved since the plan was made."),
            problem(415, "It is not JSON."),
        ],
    };
    vec![
        Route {
            said: read("/groups/{group}/reset", "What a reset would do.", WHERE_TO, LOOKED_AT),
            handler: || get(would),
        },
        Route { said: SET, handler: || axum::routing::post(set) },
    ]
}

/// What is asked for, by a page's form, a query or a JSON body.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    to: String,
    #[serde(deserialize_with = "number")]
    offset: Option<i64>,
    time: Option<TimeSaid>,
    topic: Option<String>,
    #[serde(deserialize_with = "number")]
    partition: Option<i32>,
    /// What a look has said, to be carried out as it is.
    plan: Option<String>,
    #[serde(deserialize_with = "flag")]
    dry_run: bool,
}

/// Text, or a number in JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TimeSaid {
    Text(String),
    Ms(i64),
}

/// A number, or what a form's field says; an empty one says nothing.
fn number<'de, D, N>(deserializer: D) -> Result<Option<N>, D::Error>
where
    D: serde::Deserializer<'de>,
    N: std::str::FromStr + Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said<N> {
        Number(N),
        Text(String),
        Nothing,
    }
    match Said::deserialize(deserializer)? {
        Said::Number(number) => Ok(Some(number)),
        Said::Nothing => Ok(None),
        Said::Text(text) if text.trim().is_empty() => Ok(None),
        Said::Text(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is no number"))),
    }
}

fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Flag(bool),
        Text(String),
    }
    Ok(match Said::deserialize(deserializer)? {
        Said::Flag(flag) => flag,
        Said::Text(text) => !text.is_empty() && text != "false",
    })
}

/// Where positions are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Start,
    End,
    Offset(i64),
    Time(Moment),
}

fn refused(why: impl Into<String>) -> Trouble {
    Trouble::bad_request(why).titled("The reset is not understood")
}

impl Asked {
    /// The same with a time that stays what it is: `-2h` is another one a moment later.
    fn at(mut self, now: Moment) -> Self {
        if let Some(TimeSaid::Text(text)) = &self.time
            && let Some(Moment(ms)) = Moment::said(text, now)
        {
            self.time = Some(TimeSaid::Ms(ms));
        }
        self
    }

    fn meant(&self) -> Result<To, Trouble> {
        match self.to.as_str() {
            "start" | "earliest" => Ok(To::Start),
            "end" | "latest" => Ok(To::End),
            "offset" => match self.offset {
                Some(offset) if offset >= 0 => Ok(To::Offset(offset)),
                Some(offset) => Err(refused(format!("the offset {offset} is negative"))),
                None => Err(refused("it does not say which offset").hint("say `offset`")),
            },
            "time" => {
                let Some(TimeSaid::Ms(ms)) = self.time else {
                    return Err(
                        refused("it does not say a time that is one").hint(said_time::EXAMPLES)
                    );
                };
                Ok(To::Time(Moment(ms)))
            }
            other => {
                Err(refused(format!("`to` is {other:?}"))
                    .hint("`to` is start, end, offset or time"))
            }
        }
    }

    fn topic(&self) -> Option<&str> {
        self.topic.as_deref().map(str::trim).filter(|topic| !topic.is_empty())
    }

    /// What of the form a page shows again.
    fn time_field(&self) -> String {
        match &self.time {
            Some(TimeSaid::Ms(ms)) => Moment(*ms).field(),
            Some(TimeSaid::Text(_)) | None => String::new(),
        }
    }
}

/// Every position that is to be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Plan {
    positions: Vec<Step>,
    /// Records that will be read again, in all.
    again: Count,
    /// Records that will not be read.
    skipped: Count,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Step {
    topic: String,
    partition: i32,
    /// Where it is; none where the group has no position.
    committed: Option<i64>,
    to: i64,
}

impl Step {
    fn is_at(&self) -> Option<Count> {
        self.committed.map(Count)
    }

    fn goes_to(&self) -> Count {
        Count(self.to)
    }

    fn read_again(&self) -> Option<Count> {
        Some(Count(self.again())).filter(|records| records.0 > 0)
    }

    fn passed_over(&self) -> Option<Count> {
        Some(Count(-self.again())).filter(|records| records.0 > 0)
    }

    /// Records from `to` up to where it is; negative when they are passed over.
    fn again(&self) -> i64 {
        self.committed.map_or(0, |committed| committed - self.to)
    }
}

impl Plan {
    fn of(positions: Vec<Step>) -> Self {
        let moves = || positions.iter().map(Step::again);
        let again = Count(moves().filter(|records| *records > 0).sum());
        let skipped = Count(-moves().filter(|records| *records < 0).sum::<i64>());
        Self { again, skipped, positions }
    }

    /// As a form carries it: a line `topic:partition:committed:to` for each position.
    fn text(&self) -> String {
        let lines = self.positions.iter().map(|step| {
            let committed = step.committed.map_or_else(|| "-".to_owned(), |at| at.to_string());
            format!("{}:{}:{committed}:{}", step.topic, step.partition, step.to)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let step = |line: &str| -> Option<Step> {
            let mut parts = line.trim_end_matches('\r').split(':');
            let (topic, partition) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
            let committed = match parts.next()? {
                "-" => None,
                offset => Some(offset.parse().ok()?),
            };
            let to = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Step { topic, partition, committed, to })
        };
        let lines = text.lines().filter(|line| !line.is_empty());
        let steps: Option<Vec<_>> = lines.map(step).collect();
        steps.filter(|steps| !steps.is_empty() && steps.len() <= RESET_PARTITIONS_MAX).map(Self::of)
    }

    /// The first position that is not where it was when the plan was made.
    fn moved(&self, group: &GroupDescription) -> Option<&Step> {
        self.positions
            .iter()
            .find(|step| committed(group, &step.topic, step.partition) != step.committed)
    }
}

fn committed(group: &GroupDescription, topic: &str, partition: i32) -> Option<i64> {
    let mut offsets = group.offsets.iter();
    offsets.find(|at| at.topic == topic && at.partition == partition)?.committed
}

/// What a reset would do now.
async fn plan(shared: &Shared, group: &GroupDescription, asked: &Asked) -> Result<Plan, Trouble> {
    let to = asked.meant()?;
    let mut places = Vec::new();
    match asked.topic() {
        Some(name) => {
            let topic = shared.engine.topic(name).await?;
            let wanted = topic.partitions.iter().map(|partition| partition.id);
            let wanted = wanted.filter(|id| asked.partition.is_none_or(|only| only == *id));
            places.extend(wanted.map(|id| (name.to_owned(), id)));
        }
        None if asked.partition.is_some() => {
            return Err(refused("it says a partition and no topic").hint("say `topic`"));
        }
        None => {
            let held = group.offsets.iter().filter(|at| at.committed.is_some());
            places.extend(held.map(|at| (at.topic.clone(), at.partition)));
        }
    }
    if places.is_empty() {
        return Err(Trouble::not_found("there is no position that would be set")
            .titled("The reset is for nothing")
            .hint("say a topic and a partition that are there; a group without positions needs a topic"));
    }
    if places.len() > RESET_PARTITIONS_MAX {
        let why = format!("{} positions are more than {RESET_PARTITIONS_MAX}", places.len());
        return Err(refused(why).hint("reset topic by topic"));
    }
    let mut steps = Vec::with_capacity(places.len());
    for (topic, partition) in places {
        let to = target(shared, &topic, partition, to).await?;
        let committed = committed(group, &topic, partition);
        steps.push(Step { topic, partition, committed, to });
    }
    Ok(Plan::of(steps))
}

async fn target(shared: &Shared, topic: &str, partition: i32, to: To) -> Result<i64, Error> {
    let ask = |at| shared.engine.offset(topic, partition, at);
    match to {
        To::Start => ask(Offset::Earliest).await,
        To::End => ask(Offset::Latest).await,
        To::Time(Moment(ms)) => ask(Offset::Timestamp(ms)).await,
        To::Offset(offset) => {
            let (first, end) = (ask(Offset::Earliest).await?, ask(Offset::Latest).await?);
            Ok(offset.clamp(first, end.max(first)))
        }
    }
}

fn without_members(group: &GroupDescription) -> Result<(), Trouble> {
    let count = group.members.len();
    if count == 0 {
        return Ok(());
    }
    let members = if count == 1 { "a member".to_owned() } else { format!("{count} members") };
    let why = format!("group {} has {members}, who would go on from where they are", group.name);
    Err(Trouble::new(StatusCode::CONFLICT, why)
        .titled("The group is not reset")
        .hint("stop its members first, and wait until they are gone"))
}

/// Sets what a plan says, or else what is asked.
async fn carry_out(shared: &Shared, name: &str, asked: &Asked) -> Result<Plan, Trouble> {
    let group = described(shared, name).await?;
    without_members(&group)?;
    let plan = match &asked.plan {
        None => plan(shared, &group, asked).await?,
        Some(text) => Plan::parse(text).ok_or_else(|| {
            refused("`plan` is none that was made here")
                .hint("take the `plan` of a dry run as it is")
        })?,
    };
    if let Some(step) = plan.moved(&group) {
        let why = format!(
            "{}-{} is not where it was when this was looked at",
            step.topic, step.partition
        );
        return Err(Trouble::new(StatusCode::CONFLICT, why)
            .titled("The group is not reset")
            .hint("look again at what would be set"));
    }
    let positions = plan.positions.iter().map(|step| {
        let Step { topic, partition, to, .. } = step;
        (TopicPartition { topic: topic.clone(), partition: *partition }, *to, None)
    });
    let positions: Vec<_> = positions.collect();
    match shared.engine.reset_group(name, &positions).await {
        Ok(()) => Ok(plan),
        // Somebody has joined between the look and this.
        Err(Error::Invalid(_))
            if described(shared, name).await.is_ok_and(|g| !g.members.is_empty()) =>
        {
            let why = format!("group {name} has a member since a moment ago");
            Err(Trouble::new(StatusCode::CONFLICT, why)
                .titled("The group is not reset")
                .hint("stop its members first, and wait until they are gone"))
        }
        Err(error) => Err(error.into()),
    }
}

/// A plan with what is known besides.
#[derive(Serialize)]
struct Looked {
    #[serde(flatten)]
    plan: Plan,
    /// To be given back as it is, so that exactly this is done.
    #[serde(rename = "plan")]
    text: String,
    /// With members it is refused.
    members: Count,
}

async fn looked(shared: &Shared, name: &str, asked: &Asked) -> Result<Looked, Trouble> {
    let group = described(shared, name).await?;
    let plan = plan(shared, &group, asked).await?;
    Ok(Looked { text: plan.text(), plan, members: Count::of(group.members.len()) })
}

async fn would(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Looked>, ApiTrouble> {
    let (Path(name), Query(asked)) = (path?, asked?);
    Ok(Json(looked(&shared, &name, &asked.at(now())).await?))
}

async fn set(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, ApiTrouble> {
    let (Path(name), asked) = (path?, asked.at(now()));
    if asked.dry_run {
        return Ok(Json(json!(looked(&shared, &name, &asked).await?)));
    }
    let plan = carry_out(&shared, &name, &asked).await?;
    let Plan { positions, again, skipped } = plan;
    Ok(Json(
        json!({ "set": positions.len(), "positions": positions, "again": again, "skipped": skipped }),
    ))
}

#[derive(Template)]
#[template(path = "group_reset.html")]
struct ResetPage<'a> {
    frame: Frame<'a>,
    group: &'a GroupDescription,
    asked: &'a Asked,
    /// Of the topics that it has positions in.
    topics: Vec<String>,
    /// None until it is said where to.
    plan: Option<&'a Plan>,
    /// Why there is none, though it was said.
    trouble: Option<Trouble>,
    /// A service of the SDK has this group.
    is_service: bool,
}

impl ResetPage<'_> {
    fn path(&self) -> String {
        url_encoded(&self.group.name)
    }

    /// Inputs that a service of the SDK remembers of each partition.
    fn remembered(&self) -> Count {
        Count::of(RECENT_SLOTS as usize * RECENT_BLOCK_MIN)
    }

    fn partition(&self) -> String {
        self.asked.partition.map(|id| id.to_string()).unwrap_or_default()
    }

    fn offset(&self) -> String {
        self.asked.offset.map(|offset| offset.to_string()).unwrap_or_default()
    }
}

async fn preview(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Page {
    let (Path(name), Query(asked)) = (path?, asked?);
    let asked = asked.at(now());
    let group = described(&shared, &name).await?;
    let looked = match asked.to.as_str() {
        "" => None,
        _ => Some(plan(&shared, &group, &asked).await),
    };
    let (plan, trouble) = match looked {
        None => (None, None),
        Some(Ok(plan)) => (Some(plan), None),
        Some(Err(trouble)) => (None, Some(trouble)),
    };
    let sampled = shared.frame();
    let title = format!("Reset {name}");
    let changelog = format!("{name}.changelog");
    let is_service = sampled.snapshot.topics.iter().any(|topic| topic.name == changelog);
    let topics = super::health::topics(&group);
    let status = trouble.as_ref().map_or(StatusCode::OK, |trouble| trouble.status);
    let frame = Frame::new(&shared, &sampled.snapshot, "groups", &title);
    let (group, asked, plan) = (&group, &asked, plan.as_ref());
    let mut answer = page(&ResetPage { frame, group, asked, topics, plan, trouble, is_service })?;
    *answer.status_mut() = status;
    Ok(answer)
}

async fn confirmed(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Redirect, PageTrouble> {
    let Path(name) = path?;
    let asked: Asked = sent_form(request).await?;
    if asked.plan.is_none() {
        return Err(refused("it does not say what was looked at").hint("look first").into());
    }
    let plan = carry_out(&shared, &name, &asked).await?;
    Ok(Redirect::to(&format!("/groups/{}?set={}", url_encoded(&name), plan.positions.len())))
}

#[cfg(test)]
mod tests {
    use tidings_engine::GroupOffset;

    use super::*;

    #[test]
    fn where_positions_are_to_be_is_understood_or_refused() {
        for (body, wanted) in [
            (r#"{"to":"start"}"#, Ok(To::Start)),
            (r#"{"to":"latest"}"#, Ok(To::End)),
            (r#"{"to":"offset","offset":7}"#, Ok(To::Offset(7))),
            (r#"{"to":"offset","offset":"7"}"#, Ok(To::Offset(7))),
            (r#"{"to":"time","time":5}"#, Ok(To::Time(Moment(5)))),
            (r#"{"to":"time","time":"1970-01-01T00:01"}"#, Ok(To::Time(Moment(60_000)))),
            (r#"{"to":"time","time":"-1m"}"#, Ok(To::Time(Moment(60_000)))),
            (r#"{"to":"offset"}"#, Err("which offset")),
            (r#"{"to":"offset","offset":-1}"#, Err("negative")),
            (r#"{"to":"offset","offset":"x"}"#, Err("no number")),
            (r#"{"to":"time","time":"soon"}"#, Err("a time")),
            (r#"{"to":"time"}"#, Err("a time")),
            (r#"{"to":"back"}"#, Err("`to` is \"back\"")),
            (r#"{"to":"start","when":1}"#, Err("unknown field `when`")),
            ("{}", Err("`to` is \"\"")),
        ] {
            let asked = serde_json::from_str::<Asked>(body).map_err(|error| error.to_string());
            let meant = asked.and_then(|asked| {
                asked.at(Moment(120_000)).meant().map_err(|trouble| trouble.detail)
            });
            match (meant, wanted) {
                (Ok(meant), Ok(wanted)) => assert_eq!(meant, wanted, "{body}"),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{body}: {why}"),
                (meant, _) => panic!("{body}: {meant:?}"),
            }
        }
    }

    fn step(partition: i32, committed: Option<i64>, to: i64) -> Step {
        Step { topic: "t".into(), partition, committed, to }
    }

    #[test]
    fn a_plan_is_carried_as_text_and_says_what_it_means() {
        let plan = Plan::of(vec![step(0, Some(10), 4), step(1, None, 0), step(2, Some(3), 8)]);
        assert_eq!((plan.again, plan.skipped), (Count(6), Count(5)));
        assert_eq!(plan.text(), "t:0:10:4\nt:1:-:0\nt:2:3:8");
        assert_eq!(Plan::parse(&plan.text().replace('\n', "\r\n")), Some(plan));
        for text in ["", "t", "t:0:1", "t:0:1:2:3", "t:x:1:2", "t:0:?:2"] {
            assert_eq!(Plan::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_plan_is_for_the_positions_that_were_looked_at() {
        let offset = |partition, committed| GroupOffset {
            topic: "t".into(),
            partition,
            committed,
            end_offset: 9,
            lag: 0,
            metadata: None,
        };
        let group = GroupDescription {
            name: "g".into(),
            state: "Empty".into(),
            protocol: String::new(),
            members: Vec::new(),
            offsets: vec![offset(0, Some(5)), offset(1, None)],
        };
        for (steps, moved) in [
            (vec![step(0, Some(5), 0), step(1, None, 0), step(2, None, 0)], None),
            (vec![step(0, Some(4), 0)], Some(0)),
            (vec![step(0, Some(5), 0), step(1, Some(0), 0)], Some(1)),
        ] {
            let plan = Plan::of(steps);
            assert_eq!(plan.moved(&group).map(|step| step.partition), moved, "{plan:?}");
        }
    }
}
