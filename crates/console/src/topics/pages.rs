//! The pages of topics and records, and the markup that their streams send.

use std::sync::Arc;

use askama::Template as _;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tidings_gateway::{Trouble, sent_form, url_encoded};

use super::api::Queried;
use super::asked::{Asked, Said, pairs};
use super::command_line::CommandLine;
use super::produce::{Form, produce};
use super::scan::{Ended, Looked, Row};
use super::template::{self, Template};
use super::view::{self, OpenRecord, PartitionLine, TopicView, host};
use super::{search, tail};
use crate::api::Search;
use crate::event::{RecordView, contains_ignoring_case};
use crate::limits::{FILTER_CHARS_MAX, JSON_PATH_CHARS_MAX, PAYLOAD_SHOWN_BYTES};
use crate::observe::now;
use crate::pages::{Frame, Page, page};
use crate::snapshot::TopicLine;
use crate::trouble::PageTrouble;
use crate::{LogAddress, Shared};

type Console = State<Arc<Shared>>;

/// What a page's stream is told that the page had looked at and found already.
const LOOKED_BEFORE: &str = "looked";
const FOUND_BEFORE: &str = "found";

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/topics", get(topics))
        .route("/topics/{topic}", get(topic))
        .route("/topics/{topic}/search", get(search::stream_page))
        .route("/topics/{topic}/tail", get(tail::stream_page))
        .route("/topics/{topic}/produce", get(produce_form).post(produce_sent))
        .route("/topics/{topic}/{partition}/{offset}", get(record))
        .route("/topics/{topic}/{partition}/{offset}/part", get(record_part))
}

#[derive(askama::Template)]
#[template(path = "topics.html")]
struct TopicsPage<'a> {
    frame: Frame<'a>,
    search: &'a str,
    topics: Vec<&'a TopicLine>,
}

async fn topics(State(shared): Console, search: Result<Query<Search>, QueryRejection>) -> Page {
    let Query(Search { q: search }) = search?;
    let sampled = shared.frame();
    let topics = sampled.snapshot.topics.iter();
    let topics = topics.filter(|topic| contains_ignoring_case(&topic.name, &search)).collect();
    let frame = Frame::new(&shared, &sampled.snapshot, "topics", "Topics");
    page(&TopicsPage { frame, search: &search, topics })
}

/// The page's own URL, and those of what it leads to.
struct Here<'a> {
    topic: &'a str,
    said: &'a Said,
    open: Option<(i32, i64)>,
    /// It shows less than all records.
    narrows: bool,
    searches: bool,
    internal: bool,
}

impl<'a> Here<'a> {
    /// For rows that a stream sends.
    fn of_stream(topic: &'a str, said: &'a Said) -> Self {
        Self { topic, said, open: None, narrows: true, searches: true, internal: false }
    }

    fn at(&self, changes: &[(&str, Option<&str>)]) -> String {
        let own = [LOOKED_BEFORE, FOUND_BEFORE].map(|name| (name, None));
        let changes = [&own[..], changes].concat();
        format!("/topics/{}{}", url_encoded(self.topic), self.said.but(&changes))
    }

    fn id(&self, row: &Row) -> String {
        format!("r-{}-{}", row.line.partition, row.line.offset)
    }

    fn is_open(&self, row: &Row) -> bool {
        self.open == Some((row.line.partition, row.line.offset))
    }

    fn opened(&self, row: &Row) -> String {
        let open = format!("{}/{}", row.line.partition, row.line.offset);
        format!("{}#{}", self.at(&[("open", Some(&open)), ("live", None)]), self.id(row))
    }

    fn closed(&self, row: &Row) -> String {
        format!("{}#{}", self.at(&[("open", None)]), self.id(row))
    }

    fn is_live(&self) -> bool {
        self.said.one("live").is_some()
    }

    fn is_paged(&self) -> bool {
        self.said.one("before").is_some()
    }

    fn live(&self) -> String {
        self.at(&[("live", Some("1")), ("before", None), ("open", None)])
    }

    fn still(&self) -> String {
        self.at(&[("live", None)])
    }

    fn newest(&self) -> String {
        self.at(&[("before", None), ("open", None)])
    }

    fn older(&self, cursor: Option<&str>) -> String {
        self.at(&[("before", cursor), ("open", None)])
    }

    fn tail(&self) -> String {
        let but = self.said.but(&[("before", None), ("open", None), ("live", None)]);
        format!("/topics/{}/tail{but}", url_encoded(self.topic))
    }

    /// The search that goes on, and counts on, where the page's ended.
    fn search(&self, topic: &TopicView) -> String {
        let Looked { records, found, .. } = &topic.looked;
        let (records, found) = (records.0.to_string(), found.0.to_string());
        let before = topic.older.as_deref();
        let but = self.said.but(&[
            ("before", before),
            ("open", None),
            ("live", None),
            (LOOKED_BEFORE, Some(&records)),
            (FOUND_BEFORE, Some(&found)),
        ]);
        format!("/topics/{}/search{but}", url_encoded(self.topic))
    }

    /// Whether its budget ended before the page was full.
    fn goes_on(&self, topic: &TopicView) -> bool {
        self.searches && topic.older.is_some() && topic.ended != Ended::Rows
    }

    fn may_produce(&self) -> bool {
        !self.internal
    }

    fn more_is_said(&self) -> bool {
        ["cel", "json", "col", "partition", "offset"].iter().any(|it| self.said.one(it).is_some())
    }

    /// What was said, and an empty field for one more.
    fn json_fields(&self) -> Vec<&str> {
        self.said.all("json").chain([""]).collect()
    }

    fn column_fields(&self) -> Vec<&str> {
        self.said.all("col").chain([""]).collect()
    }

    fn is_skewed(&self, topic: &TopicView, partition: &PartitionLine) -> bool {
        let skewed = topic.line.skew.map(|skew| skew.partition);
        skewed.is_some() && skewed == usize::try_from(partition.id).ok()
    }
}

#[derive(askama::Template)]
#[template(path = "topic.html")]
struct TopicPage<'a> {
    frame: Frame<'a>,
    topic: &'a TopicView,
    here: Here<'a>,
}

async fn topic(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
    headers: HeaderMap,
) -> Page {
    let Path(name) = path?;
    let asked = Asked::parse(pairs(query)?, now())?;
    let (said, open) = (asked.said.clone(), asked.open);
    let (narrows, searches) = (asked.narrows(), asked.searches());
    let sampled = shared.frame();
    let topic = view::topic(&shared, &sampled.snapshot, &name, asked, host(&headers)).await?;
    let internal = name.starts_with("__");
    let here = Here { topic: &name, said: &said, open, narrows, searches, internal };
    let frame = Frame::new(&shared, &sampled.snapshot, "topics", &name);
    page(&TopicPage { frame, topic: &topic, here })
}

#[derive(askama::Template)]
#[template(path = "record.html")]
struct RecordPage<'a> {
    frame: Frame<'a>,
    record: &'a RecordView,
    commands: &'a [CommandLine],
}

async fn record(
    State(shared): Console,
    path: Result<Path<(String, i32, i64)>, PathRejection>,
    headers: HeaderMap,
) -> Page {
    let Path((topic, partition, offset)) = path?;
    let OpenRecord { record, commands } =
        view::record(&shared, &topic, partition, offset, host(&headers)).await?;
    let title = format!("{topic}-{partition} at {offset}");
    let sampled = shared.frame();
    let frame = Frame::new(&shared, &sampled.snapshot, "topics", &title);
    page(&RecordPage { frame, record: &record, commands: &commands })
}

#[derive(askama::Template)]
#[template(path = "part/record.html")]
struct RecordPart<'a> {
    record: &'a RecordView,
    commands: &'a [CommandLine],
}

/// What a row opens to, for the script; without it the row's link leads to the same.
async fn record_part(
    State(shared): Console,
    path: Result<Path<(String, i32, i64)>, PathRejection>,
    headers: HeaderMap,
) -> Page {
    let Path((topic, partition, offset)) = path?;
    let OpenRecord { record, commands } =
        view::record(&shared, &topic, partition, offset, host(&headers)).await?;
    page(&RecordPart { record: &record, commands: &commands })
}

#[derive(askama::Template)]
#[template(path = "part/record_row.html")]
struct RowPart<'a> {
    row: &'a Row,
    here: &'a Here<'a>,
}

#[derive(askama::Template)]
#[template(path = "part/looked.html")]
struct LookedPart<'a> {
    looked: &'a Looked,
}

/// Markup of rows; none where it cannot be made, which no record brings about.
fn rows(said: &Said, rows: &[Row]) -> String {
    let row = |row: &Row| {
        let here = Here::of_stream(&row.line.topic, said);
        RowPart { row, here: &here }.render().unwrap_or_default()
    };
    rows.iter().map(row).collect()
}

/// A message of the search stream for the page's script: `rows`, `looked`, the URL of what is `older`, and whether it is
/// the `last`.
pub(super) fn search_event(said: &Said, told: search::Told) -> Event {
    let before = |name| said.one(name).and_then(|said| said.parse().ok()).unwrap_or(0_i64);
    let looked = |looked: &Looked| {
        let mut looked = looked.clone();
        looked.records.0 = looked.records.0.saturating_add(before(LOOKED_BEFORE));
        looked.found.0 = looked.found.0.saturating_add(before(FOUND_BEFORE));
        LookedPart { looked: &looked }.render().unwrap_or_default()
    };
    // The script keeps the page's path.
    let older = |cursor: Option<String>| {
        let but = |cursor: &str| {
            let own = [LOOKED_BEFORE, FOUND_BEFORE, "open", "live"].map(|name| (name, None));
            said.but(&[&own[..], &[("before", Some(cursor))]].concat())
        };
        cursor.as_deref().map(but)
    };
    let data: Value = match told {
        search::Told::Row { row, .. } => json!({ "rows": rows(said, &[*row]) }),
        search::Told::Looked { looked: its, cursor } => {
            json!({ "looked": looked(&its), "older": older(cursor) })
        }
        search::Told::Ended { looked: its, cursor, .. } => {
            json!({ "looked": looked(&its), "older": older(cursor), "last": true })
        }
        search::Told::Trouble { trouble, cursor } => {
            json!({ "trouble": trouble.detail, "older": older(cursor), "last": true })
        }
    };
    Event::default().data(data.to_string())
}

/// A message of the tail for the page's script: `rows`, newest first, and how many were left out.
pub(super) fn tail_event(said: &Said, told: tail::Told) -> Event {
    let data = match told {
        tail::Told::Came(mut came) => {
            came.records.reverse();
            json!({
                "rows": rows(said, &came.records),
                "left_out": came.left_out,
                "not_shown": came.not_shown,
            })
        }
        tail::Told::Trouble(trouble) => json!({ "trouble": trouble.detail }),
    };
    Event::default().data(data.to_string())
}

#[derive(askama::Template)]
#[template(path = "produce.html")]
struct ProducePage<'a> {
    frame: Frame<'a>,
    topic: &'a str,
    form: &'a Form,
    template: &'a Template,
    trouble: Option<&'a Trouble>,
}

/// Which template fills the form: `latest`, `schema` or `empty`.
#[derive(Debug, Default, serde::Deserialize)]
struct From {
    from: Option<String>,
}

async fn produce_form(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    from: Result<Query<From>, QueryRejection>,
) -> Page {
    let (Path(topic), Query(From { from })) = (path?, from?);
    tidings_gateway::events::refuse_internal(&topic)?;
    let template = template::of(&shared, &topic).await?;
    let form = filled(&template, from.as_deref());
    shown(&shared, &topic, &form, &template, None)
}

fn filled(template: &Template, from: Option<&str>) -> Form {
    let schema = template.schema.as_ref().and_then(|schema| schema.value.clone());
    match (from, &template.latest, schema) {
        (Some("schema"), _, Some(value)) => Form { value, ..Form::default() },
        (Some("latest"), Some(latest), _) => {
            let headers = latest.headers.iter().map(|(name, value)| format!("{name}: {value}"));
            Form {
                key: latest.key.clone().unwrap_or_default(),
                form: if latest.is_json { "json" } else { "text" }.to_owned(),
                value: latest.value.clone(),
                headers: headers.collect::<Vec<_>>().join("\n"),
                ..Form::default()
            }
        }
        _ => Form::default(),
    }
}

fn shown(
    shared: &Shared,
    topic: &str,
    form: &Form,
    template: &Template,
    trouble: Option<&Trouble>,
) -> Page {
    let sampled = shared.frame();
    let frame = Frame::new(shared, &sampled.snapshot, "topics", "Produce a record");
    page(&ProducePage { frame, topic, form, template, trouble })
}

async fn produce_sent(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, PageTrouble> {
    let Path(topic) = path?;
    let form: Form = sent_form(request).await?;
    let produced = match form.meant() {
        Ok(new) => produce(&shared, &topic, new).await,
        Err(trouble) => Err(trouble),
    };
    let trouble = match produced {
        // Loading the page again produces nothing.
        Ok(at) => {
            let to = format!("/topics/{}/{}/{}", url_encoded(&topic), at.partition, at.offset);
            return Ok(Redirect::to(&to).into_response());
        }
        Err(trouble) if Form::keeps(trouble.status) => trouble,
        Err(trouble) => return Err(trouble.into()),
    };
    let template = template::of(&shared, &topic).await.unwrap_or_default();
    let again = shown(&shared, &topic, &form, &template, Some(&trouble))?;
    Ok((trouble.status, again).into_response())
}
