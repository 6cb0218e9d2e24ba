//! The registry's routes: parse, one call to the store or its state, answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_schema::{
    Definition, Level, Listing, Reference, Refused, SchemaId, SchemaType, SubjectVersion,
    VersionRef,
};
use tokio::time::timeout;

use super::answer::{Answer, Trouble};
use super::store::Store;
use crate::limits::{BODY_BYTES_MAX, HTTP_BODY_TIMEOUT};

type Registry = State<Arc<Store>>;
type Answered<T> = Result<Answer<T>, Trouble>;

pub(super) fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/", get(root).post(root))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", axum::routing::post(look_up).delete(delete_subject))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version).delete(delete_version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_text))
        .route("/schemas/types", get(types))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(schema_text))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/compatibility/subjects/{subject}/versions", axum::routing::post(compatible))
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            axum::routing::post(compatible_with),
        )
        .route("/config", get(level).put(set_level))
        .route("/config/", get(level).put(set_level))
        .route(
            "/config/{subject}",
            get(subject_level).put(set_subject_level).delete(delete_subject_level),
        )
        .route("/mode", get(mode))
        .route("/contexts", get(contexts))
        .fallback(|| async { plain(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED) })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&store), look_again))
        .with_state(store)
}

/// What is not there may have been written by another registry a moment ago.
async fn look_again(State(store): Registry, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let answered = next.clone().run(Request::from_parts(parts, body)).await;
    if answered.status() != StatusCode::NOT_FOUND {
        return answered;
    }
    match store.catch_up().await {
        Ok(true) => next.run(again).await,
        // Nothing new, or nothing that can be read: then this is all that is known.
        Ok(false) | Err(_) => answered,
    }
}

fn plain(status: StatusCode) -> Trouble {
    Trouble { code: status.as_u16().into(), message: format!("HTTP {status}") }
}

/// Which of a list's entries are wanted.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    deleted: bool,
    deleted_only: bool,
    permanent: bool,
    default_to_global: bool,
    verbose: bool,
    subject_prefix: Option<String>,
    offset: usize,
    /// Below zero: all.
    limit: Option<i64>,
}

impl Wanted {
    fn listing(&self) -> Listing {
        match (self.deleted_only, self.deleted) {
            (true, _) => Listing::OnlyDeleted,
            (false, true) => Listing::All,
            (false, false) => Listing::Live,
        }
    }

    fn page<T>(&self, all: Vec<T>) -> Vec<T> {
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        all.into_iter().skip(self.offset).take(limit).collect()
    }

    /// `:*:` and the default context `:.:` mean every subject there is.
    fn prefix(&self) -> &str {
        let said = self.subject_prefix.as_deref().unwrap_or_default();
        said.strip_prefix(":*:").or_else(|| said.strip_prefix(":.:")).unwrap_or(said)
    }
}

/// A JSON body under one of the registry's content types; another type is refused, which also
/// keeps a foreign web page from writing through a visitor's browser.
struct Json<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &S) -> Result<Self, Trouble> {
        if !is_json(request.headers()) {
            return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = timeout(HTTP_BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let body = body.map_err(|_elapsed| plain(StatusCode::REQUEST_TIMEOUT))?;
        let body: Bytes = body.map_err(|e: BytesRejection| Trouble {
            code: e.status().as_u16().into(),
            message: e.body_text(),
        })?;
        serde_json::from_slice(&body).map(Self).map_err(|e| Trouble {
            code: 400,
            message: format!("the body is not as expected: {e}"),
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.and_then(|said| said.split(';').next()).map(str::trim);
    matches!(
        essence,
        Some(
            "application/vnd.schemaregistry.v1+json"
                | "application/vnd.schemaregistry+json"
                | "application/json"
        )
    )
}

/// A schema as clients send it; unknown fields are passed over.
#[derive(Deserialize)]
struct SchemaBody {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
    metadata: Option<Value>,
    #[serde(rename = "ruleSet")]
    rule_set: Option<Value>,
}

impl SchemaBody {
    fn parse(&self) -> Result<Definition, Refused> {
        if self.metadata.is_some() || self.rule_set.is_some() {
            return Err(Refused::invalid_schema(
                "metadata and rule sets are not supported yet by this node",
            ));
        }
        let kind = self.kind.as_deref().map_or(Ok(SchemaType::Avro), SchemaType::named)?;
        Definition::parse(kind, &self.schema, self.references.as_deref().unwrap_or_default())
    }
}

#[derive(Deserialize)]
struct LevelBody {
    compatibility: Option<String>,
}

impl LevelBody {
    fn parse(&self) -> Result<Level, Refused> {
        Level::named(self.compatibility.as_deref().unwrap_or_default())
    }
}

/// A schema as it is answered; Avro is not named, as clients expect.
#[derive(Serialize)]
struct SchemaAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<SchemaId>,
    #[serde(rename = "schemaType", skip_serializing_if = "SchemaType::is_avro")]
    kind: SchemaType,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    schema: String,
}

impl From<SubjectVersion<'_>> for SchemaAnswer {
    fn from(found: SubjectVersion<'_>) -> Self {
        Self {
            subject: Some(found.subject.to_owned()),
            version: Some(found.version),
            id: Some(found.id),
            kind: found.schema.kind,
            references: found.schema.references.clone(),
            schema: found.schema.text.clone(),
        }
    }
}

async fn root() -> Answer<Value> {
    Answer(json!({}))
}

async fn subjects(State(store): Registry, Query(wanted): Query<Wanted>) -> Answer<Vec<String>> {
    let state = store.read();
    let names = state.subjects(wanted.prefix(), wanted.listing());
    Answer(wanted.page(names).into_iter().map(str::to_owned).collect())
}

async fn register(
    State(store): Registry,
    Path(subject): Path<String>,
    Json(body): Json<SchemaBody>,
) -> Answered<Value> {
    let definition = body.parse()?;
    let id = store
        .write(move |state| {
            let registered = state.decide_register(&subject, &definition)?;
            Ok((registered.id, registered.change.into_iter().collect()))
        })
        .await?;
    Ok(Answer(json!({ "id": id })))
}

async fn look_up(
    State(store): Registry,
    Path(subject): Path<String>,
    Query(wanted): Query<Wanted>,
    Json(body): Json<SchemaBody>,
) -> Answered<SchemaAnswer> {
    let definition = body.parse()?;
    let state = store.read();
    Ok(Answer(state.look_up(&subject, &definition, wanted.listing())?.into()))
}

async fn delete_subject(
    State(store): Registry,
    Path(subject): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answered<Vec<i32>> {
    let decided = store.write(move |state| state.decide_delete_subject(&subject, wanted.permanent));
    Ok(Answer(decided.await?))
}

async fn versions(
    State(store): Registry,
    Path(subject): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answered<Vec<i32>> {
    Ok(Answer(wanted.page(store.read().versions(&subject, wanted.listing())?)))
}

async fn version(
    State(store): Registry,
    Path((subject, version)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Answered<SchemaAnswer> {
    let version = VersionRef::parse(&version)?;
    let state = store.read();
    Ok(Answer(state.version(&subject, version, wanted.listing())?.into()))
}

async fn version_text(
    State(store): Registry,
    Path((subject, version)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<String, Trouble> {
    let version = VersionRef::parse(&version)?;
    Ok(store.read().version(&subject, version, wanted.listing())?.schema.text.clone())
}

async fn delete_version(
    State(store): Registry,
    Path((subject, version)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Answered<i32> {
    let version = VersionRef::parse(&version)?;
    let decided = store.write(move |state| {
        let (number, change) = state.decide_delete_version(&subject, version, wanted.permanent)?;
        Ok((number, vec![change]))
    });
    Ok(Answer(decided.await?))
}

/// The types that can be registered; Protobuf is not among them yet.
async fn types() -> Answer<[SchemaType; 2]> {
    Answer([SchemaType::Json, SchemaType::Avro])
}

fn schema_id(said: &str) -> Result<SchemaId, Refused> {
    said.parse().map_err(|_| Refused::SchemaNotFound)
}

async fn schema(State(store): Registry, Path(id): Path<String>) -> Answered<SchemaAnswer> {
    let state = store.read();
    let schema = state.schema(schema_id(&id)?)?;
    Ok(Answer(SchemaAnswer {
        subject: None,
        version: None,
        id: None,
        kind: schema.kind,
        references: schema.references.clone(),
        schema: schema.text.clone(),
    }))
}

async fn schema_text(State(store): Registry, Path(id): Path<String>) -> Result<String, Trouble> {
    Ok(store.read().schema(schema_id(&id)?)?.text.clone())
}

async fn schema_subjects(
    State(store): Registry,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answered<Vec<String>> {
    let state = store.read();
    let names = state.subjects_of(schema_id(&id)?, wanted.listing())?;
    Ok(Answer(wanted.page(names).into_iter().map(str::to_owned).collect()))
}

async fn schema_versions(
    State(store): Registry,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answered<Vec<Value>> {
    let state = store.read();
    let uses = wanted.page(state.uses(schema_id(&id)?, wanted.listing())?);
    let uses = uses.into_iter();
    Ok(Answer(uses.map(|(s, v)| json!({ "subject": s, "version": v })).collect()))
}

/// With the one level `NONE`, every valid schema is compatible.
fn compatible_answer(verbose: bool) -> Answer<Value> {
    Answer(if verbose {
        json!({ "is_compatible": true, "messages": [] })
    } else {
        json!({ "is_compatible": true })
    })
}

async fn compatible(Query(wanted): Query<Wanted>, Json(body): Json<SchemaBody>) -> Answered<Value> {
    body.parse()?;
    Ok(compatible_answer(wanted.verbose))
}

/// A missing number is refused; a subject without versions is compatible with anything.
async fn compatible_with(
    State(store): Registry,
    Path((subject, version)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    Json(body): Json<SchemaBody>,
) -> Answered<Value> {
    body.parse()?;
    let version = VersionRef::parse(&version)?;
    if version != VersionRef::Latest {
        store.read().version(&subject, version, Listing::Live)?;
    }
    Ok(compatible_answer(wanted.verbose))
}

async fn level(State(store): Registry) -> Answer<Value> {
    Answer(json!({ "compatibilityLevel": store.read().level() }))
}

async fn set_level(State(store): Registry, Json(body): Json<LevelBody>) -> Answered<Value> {
    let level = body.parse()?;
    store.write(move |state| Ok(((), vec![state.decide_level(None, level)]))).await?;
    Ok(Answer(json!({ "compatibility": level })))
}

async fn subject_level(
    State(store): Registry,
    Path(subject): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answered<Value> {
    let state = store.read();
    let level = match state.subject_level(&subject) {
        Err(_) if wanted.default_to_global => state.level(),
        own => own?,
    };
    Ok(Answer(json!({ "compatibilityLevel": level })))
}

async fn set_subject_level(
    State(store): Registry,
    Path(subject): Path<String>,
    Json(body): Json<LevelBody>,
) -> Answered<Value> {
    let level = body.parse()?;
    store.write(move |state| Ok(((), vec![state.decide_level(Some(&subject), level)]))).await?;
    Ok(Answer(json!({ "compatibility": level })))
}

async fn delete_subject_level(
    State(store): Registry,
    Path(subject): Path<String>,
) -> Answered<Value> {
    let decided = store.write(move |state| {
        let (level, change) = state.decide_no_level(&subject)?;
        Ok((level, vec![change]))
    });
    Ok(Answer(json!({ "compatibilityLevel": decided.await? })))
}

async fn mode() -> Answer<Value> {
    Answer(json!({ "mode": "READWRITE" }))
}

async fn contexts() -> Answer<[&'static str; 1]> {
    Answer(["."])
}
