//! The JSON twins of topics and records, under `/api`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tidings_gateway::route::{
    Answer, Parameter, Route, Said, Taken, Verb, json, problem, query, read,
};
use tidings_gateway::{ApiTrouble, Body};

use super::asked::{Asked, Pairs, pairs};
use super::produce::{self, Produced};
use super::template::{self, Template};
use super::view::{self, OpenRecord, TopicView, host};
use super::{search, tail};
use crate::Shared;
use crate::observe::now;
use crate::snapshot::TopicLine;

type Console = State<Arc<Shared>>;
type Answered<T> = Result<Json<T>, ApiTrouble>;
pub(super) type Queried = Result<Query<Pairs>, QueryRejection>;

const NARROWED: &[Parameter] = &[
    query("partition", "integer", "Only this partition's records."),
    query("offset", "integer", "This offset and those before it, with `partition`."),
    query(
        "since",
        "string",
        "From this time on: `-10m`, `2010-12-01`, `2010-12-01T08:26:00Z`, or milliseconds.",
    ),
    query("until", "string", "Before this time."),
    query("key", "string", "Only records with this key."),
    query("q", "string", "Text whatever its case, or `/REGEX/`, in key, value or headers."),
    query("json", "string", "`PATH` or `PATH=VALUE`, JSONPath in the value; may be repeated."),
    query("cel", "string", "An expression of CEL, such as `value.total > 100`."),
    query("col", "string", "A JSONPath whose findings are in `columns`; may be repeated."),
    query("before", "string", "Records older than these: `partition:offset,…`."),
];
const LOOKED_UP: &[Answer] =
    &[json(200, "As the page shows it."), problem(404, "It is not there.")];
const STREAMED: &[Answer] = &[Answer {
    status: 200,
    media: "text/event-stream",
    meaning: "Messages `record`, `looked`, `ended`, `trouble`.",
}];

const PRODUCE: Said = Said {
    verb: Verb::Post,
    path: "/topics/{topic}/records",
    summary: "Produces one record; answered when it is durable.",
    parameters: &[],
    takes: &[Taken { media: "application/json", schema: "NewRecord" }],
    answers: &[
        json(201, "Where it went: topic, partition, offset."),
        problem(404, "There is no such topic or partition."),
        problem(422, "It is not the record that it should be."),
    ],
};
const VALUE: Said = Said {
    verb: Verb::Get,
    path: "/topics/{topic}/{partition}/{offset}/value",
    summary: "A record's whole value, byte for byte.",
    parameters: &[],
    takes: &[],
    answers: &[
        Answer { status: 200, media: "application/octet-stream", meaning: "The value." },
        problem(404, "There is no such record, or its value is null."),
    ],
};

/// Below `/api`.
pub(crate) fn table() -> Vec<Route<Arc<Shared>>> {
    const SAMPLED: &[Answer] = &[json(200, "As it was sampled last.")];
    vec![
        Route { said: read("/topics", "All topics.", &[], SAMPLED), handler: || get(topics) },
        Route {
            said: read(
                "/topics/{topic}",
                "A topic and its newest records, or those that a search finds within a budget.",
                NARROWED,
                LOOKED_UP,
            ),
            handler: || get(topic),
        },
        Route {
            said: read(
                "/topics/{topic}/search",
                "The same search as server-sent events, as far as it takes.",
                NARROWED,
                STREAMED,
            ),
            handler: || get(search::stream_json),
        },
        Route {
            said: read(
                "/topics/{topic}/tail",
                "Records as they come, sampled when they come fast.",
                NARROWED,
                STREAMED,
            ),
            handler: || get(tail::stream_json),
        },
        Route {
            said: read(
                "/topics/{topic}/template",
                "What a new record of the topic could look like.",
                &[],
                LOOKED_UP,
            ),
            handler: || get(a_template),
        },
        Route { said: PRODUCE, handler: || post(produce) },
        Route {
            said: read(
                "/topics/{topic}/{partition}/{offset}",
                "One record with everything it carries.",
                &[],
                LOOKED_UP,
            ),
            handler: || get(record),
        },
        Route { said: VALUE, handler: || get(value) },
    ]
}

#[derive(Serialize)]
struct Topics {
    topics: Vec<TopicLine>,
}

async fn topics(State(shared): Console) -> Json<Topics> {
    Json(Topics { topics: shared.frame().snapshot.topics.clone() })
}

async fn topic(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    query: Queried,
    headers: HeaderMap,
) -> Answered<TopicView> {
    let Path(name) = path?;
    let asked = Asked::parse(pairs(query)?, now())?;
    let frame = shared.frame();
    Ok(Json(view::topic(&shared, &frame.snapshot, &name, asked, host(&headers)).await?))
}

async fn record(
    State(shared): Console,
    path: Result<Path<(String, i32, i64)>, PathRejection>,
    headers: HeaderMap,
) -> Answered<OpenRecord> {
    let Path((topic, partition, offset)) = path?;
    Ok(Json(view::record(&shared, &topic, partition, offset, host(&headers)).await?))
}

/// A file to be kept, never a page: what it holds is anybody's.
pub(super) async fn value(
    State(shared): Console,
    path: Result<Path<(String, i32, i64)>, PathRejection>,
) -> Result<Response, ApiTrouble> {
    let Path((topic, partition, offset)) = path?;
    let record = view::read_record(&shared, &topic, partition, offset).await?;
    let Some(value) = record.value else {
        let why = format!("the value at {topic}-{partition} {offset} is null");
        return Err(ApiTrouble(tidings_gateway::Trouble::not_found(why)));
    };
    let name = format!("attachment; filename=\"{topic}-{partition}-{offset}\"");
    let name = HeaderValue::from_str(&name)
        .unwrap_or_else(|_no_text| HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], value).into_response())
}

async fn a_template(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
) -> Answered<Template> {
    let Path(topic) = path?;
    Ok(Json(template::of(&shared, &topic).await?))
}

async fn produce(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    Body(new): Body<produce::NewRecord>,
) -> Result<(StatusCode, Json<Produced>), ApiTrouble> {
    let Path(topic) = path?;
    let produced = produce::produce(&shared, &topic, new).await?;
    Ok((StatusCode::CREATED, Json(produced)))
}
