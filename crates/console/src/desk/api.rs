//! `/api/dead/…`: the twins of the desk's pages, and commands as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{Act, CommandOutcome, DeadKey, Desk, NewCommand, Selection};
use tidings_gateway::route::{
    Answer, Parameter, Route, Said, Taken, Verb, json as json_answer, problem, query, read,
};
use tidings_gateway::{ApiTrouble, Body, Trouble};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::super::Shared;
use super::super::quantity::{Count, Moment};
use super::super::reading::Reader;
use super::command::{Asked, Form, check_edit};
use super::view::{AuditView, Death, KeyLine, KeyView, KeysView, ServiceLine, ServiceView, page};
use super::{dead_keys, desk, give, letter, look};
use crate::limits::{DESK_LIST_TIMEOUT, DESK_SERVICES, DRY_RUN_KEYS};

type Console = State<Arc<Shared>>;
type Answered<T> = Result<Json<T>, ApiTrouble>;

pub(in super::super) fn table() -> Vec<Route<Arc<Shared>>> {
    const LOOKED_UP: &[Answer] =
        &[json_answer(200, "As it is now."), problem(404, "There is no such service or key.")];
    const PREVIEWED: &[Parameter] = &[
        query("act", "string", "redrive, edit or discard."),
        query("letter", "string", "For the key with this letter,"),
        query("cause", "string", "for all that died of this, word for word,"),
        query("all", "string", "or, when it is not empty, for all dead keys."),
        query("value", "string", "Of an edit: what the event would say instead."),
        query("rate", "integer", "Of a redrive: keys a second, in each partition."),
        query(
            "force",
            "string",
            "Of a redrive, when it is not empty: also keys redriven too often, and those that await a value.",
        ),
        query("cut_off_ms", "integer", "Only keys that were dead by then."),
    ];
    const GIVEN: Said = Said {
        verb: Verb::Post,
        path: "/dead/{service}/commands",
        summary: "Gives a command, or with `dry_run` says what it would do.",
        parameters: &[],
        takes: &[Taken { media: "application/json", schema: "Command" }],
        answers: &[
            json_answer(200, "Carried out for every key, or a dry run."),
            json_answer(202, "Given; of some keys nothing has been heard yet."),
            problem(404, "There is no such service, or nothing for the command."),
            problem(415, "It is not JSON."),
        ],
    };
    vec![
        Route {
            said: read("/dead/{service}", "Dead keys by cause.", &[], LOOKED_UP),
            handler: || get(service),
        },
        Route {
            said: read(
                "/dead/{service}/keys",
                "Dead keys, the longest dead first.",
                const {
                    &[
                        query("cause", "string", "Only those that died of this, word for word."),
                        query("after", "string", "The `next` of the page before."),
                        query("open", "string", "The letter of a key to be shown in full."),
                    ]
                },
                LOOKED_UP,
            ),
            handler: || get(keys),
        },
        Route {
            said: read("/dead/{service}/keys/{letter}", "One dead key in full.", &[], LOOKED_UP),
            handler: || get(key),
        },
        Route {
            said: read("/dead/{service}/command", "What a command would do.", PREVIEWED, LOOKED_UP),
            handler: || get(preview),
        },
        Route {
            said: read(
                "/dead/{service}/commands",
                "The audit: every command, the last one first.",
                const { &[query("before", "integer", "The `older` of the page before.")] },
                LOOKED_UP,
            ),
            handler: || get(audit),
        },
        Route { said: GIVEN, handler: || post(command) },
    ]
}

/// Services that have ever given a key up.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Services {
    pub(crate) services: Vec<ServiceLine>,
    /// The `after` of the next page of services.
    pub(crate) next: Option<String>,
    /// Why they cannot be read just now; what was sampled is shown nevertheless.
    pub(crate) services_unread: Option<String>,
}

/// A page of them by name.
pub(in super::super) async fn services(shared: &Arc<Shared>, after: Option<&str>) -> Services {
    read_services(shared, after).await.unwrap_or_else(|trouble| Services {
        services_unread: Some(trouble.detail),
        ..Services::default()
    })
}

async fn read_services(shared: &Arc<Shared>, after: Option<&str>) -> Result<Services, Trouble> {
    let all = look(shared, Desk::services(&shared.engine)).await?;
    let first = after.map_or(0, |after| all.partition_point(|name| name.as_str() <= after));
    let more = all.len() > first + DESK_SERVICES;
    let names: Vec<String> = all.into_iter().skip(first).take(DESK_SERVICES).collect();
    let looks = names.iter().map(|name| {
        let (shared, desk) = (Arc::clone(shared), Desk::of(&shared.engine, name));
        async move { look(&shared, desk.dead()).await }
    });
    let looked = side_by_side(looks.collect(), DESK_LIST_TIMEOUT).await;
    let line = |(name, looked): (String, Option<Result<Vec<DeadKey>, Trouble>>)| match looked {
        Some(Ok(keys)) => ServiceLine::of(name, &keys),
        Some(Err(trouble)) => ServiceLine::unread(name, trouble.detail),
        None => {
            let why = format!("not read within {DESK_LIST_TIMEOUT:?}; its own page waits longer");
            ServiceLine::unread(name, why)
        }
    };
    let lines: Vec<ServiceLine> = names.into_iter().zip(looked).map(line).collect();
    let next = lines.last().filter(|_| more).map(|line| line.service.clone());
    Ok(Services { services: lines, next, services_unread: None })
}

/// What each of these comes to by one deadline; none for what has not come by then.
async fn side_by_side<T: Send + 'static>(
    looks: Vec<impl Future<Output = T> + Send + 'static>,
    within: Duration,
) -> Vec<Option<T>> {
    let mut looked: Vec<Option<T>> = looks.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    for (number, look) in looks.into_iter().enumerate() {
        running.spawn(async move { (number, look.await) });
    }
    let deadline = Instant::now() + within;
    // One that panicked is as one that has not come.
    while let Ok(Some(ended)) = timeout_at(deadline, running.join_next()).await {
        if let Ok((number, came)) = ended
            && let Some(place) = looked.get_mut(number)
        {
            *place = Some(came);
        }
    }
    looked
}

pub(super) async fn view_service(shared: &Shared, name: String) -> Result<ServiceView, Trouble> {
    let keys = dead_keys(shared, &desk(shared, &name).await?).await?;
    Ok(ServiceView::of(name, &keys))
}

async fn service(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
) -> Answered<ServiceView> {
    let Path(name) = path?;
    Ok(Json(view_service(&shared, name).await?))
}

/// Which keys of a service are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    pub(super) cause: Option<String>,
    pub(super) after: Option<String>,
    /// The letter of the key that is shown in full.
    pub(super) open: Option<String>,
}

pub(super) async fn view_keys(
    shared: &Shared,
    service: String,
    wanted: Wanted,
) -> Result<KeysView, Trouble> {
    let Wanted { cause, after, open } = wanted;
    let dead = dead_keys(shared, &desk(shared, &service).await?).await?;
    let meant = |key: &&DeadKey| cause.as_ref().is_none_or(|cause| key.cause == *cause);
    let meant: Vec<&DeadKey> = dead.iter().filter(meant).collect();
    let (shown, next) = page(&meant, after.as_deref()).ok_or_else(|| {
        Trouble::bad_request("`after` is no cursor that was given here")
            .hint("leave it out for the first page")
    })?;
    let opened = match &open {
        None => None,
        Some(id) => Some(Box::new(whole(shared, &service, find(&service, &dead, id)?).await?)),
    };
    let reader = Reader::of_list(shared.schemas.current().await);
    let keys = shown.into_iter().map(|key| KeyLine::of(key, &reader)).collect();
    let total = Count::of(meant.len());
    Ok(KeysView { service, cause, total, keys, next, open: opened })
}

async fn keys(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answered<KeysView> {
    let (Path(service), Query(wanted)) = (path?, wanted?);
    Ok(Json(view_keys(&shared, service, wanted).await?))
}

fn find<'k>(service: &str, dead: &'k [DeadKey], id: &str) -> Result<&'k DeadKey, Trouble> {
    let found = dead.iter().find(|key| key.letters.iter().any(|letter| *letter == *id));
    found.ok_or_else(|| {
        Trouble::not_found(format!("{service} has no dead key with letter {id}"))
            .titled("There is no such key")
            .hint("it may have been redriven or discarded: look at the audit")
    })
}

async fn whole(shared: &Shared, service: &str, key: &DeadKey) -> Result<KeyView, Trouble> {
    let mut death = None;
    for id in &key.letters {
        death = letter(&shared.engine, service, id, key).await?;
        if death.is_some() {
            break;
        }
    }
    let death = death.map(|(letter, at)| Death::of(letter, &at));
    let reader = Reader::new(shared.schemas.current().await);
    Ok(KeyView::of(service, key, death, &reader))
}

pub(super) async fn view_key(shared: &Shared, service: &str, id: &str) -> Result<KeyView, Trouble> {
    let dead = dead_keys(shared, &desk(shared, service).await?).await?;
    whole(shared, service, find(service, &dead, id)?).await
}

async fn key(
    State(shared): Console,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answered<KeyView> {
    let Path((service, id)) = path?;
    Ok(Json(view_key(&shared, &service, &id).await?))
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Older {
    pub(super) before: Option<usize>,
}

pub(super) async fn view_audit(
    shared: &Shared,
    service: String,
    older: &Older,
) -> Result<AuditView, Trouble> {
    let desk = desk(shared, &service).await?;
    Ok(AuditView::of(service, look(shared, desk.audit()).await?, older.before))
}

async fn audit(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    older: Result<Query<Older>, QueryRejection>,
) -> Answered<AuditView> {
    let (Path(service), Query(older)) = (path?, older?);
    Ok(Json(view_audit(&shared, service, &older).await?))
}

/// What a command would do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DryRun {
    pub(crate) keys: Count,
    /// Their first events, and what waits behind them.
    pub(crate) events: Count,
    /// Keys that would be left alone: redriven too often, or awaiting a value.
    pub(crate) left: Count,
    /// When the last of them died: with this as `cut_off_ms`, a command is for these keys and none that die later.
    #[serde(rename = "cut_off_ms")]
    pub(crate) cut_off: Moment,
    /// The first of them.
    pub(crate) would: Vec<KeyLine>,
}

/// What a command would do now, and for which key when it is for one; refused when there is nothing for it.
pub(super) async fn dry_run(
    shared: &Shared,
    service: &str,
    command: &NewCommand,
) -> Result<DryRun, Trouble> {
    let desk = desk(shared, service).await?;
    let mut keys = look(shared, desk.would(command)).await?;
    keys.sort_by(|a, b| super::place_of(a).cmp(&super::place_of(b)));
    let Some(newest) = keys.iter().map(|key| key.since_ms).max() else {
        return Err(Trouble::not_found(format!("{service} has no {}", said(&command.of)))
            .titled("The command is for nothing")
            .hint("it may have been redriven or discarded: look at the keys and the audit"));
    };
    for key in &keys {
        check_edit(&command.act, key)?;
    }
    if let Act::Edit { value } = &command.act {
        desk.check_edit(value).await.map_err(|error| {
            let Trouble { status, detail, .. } = Trouble::from(error);
            // What is too large is told with its limit; all else is the engine's.
            let status = if status == StatusCode::BAD_REQUEST {
                StatusCode::UNPROCESSABLE_ENTITY
            } else {
                status
            };
            Trouble::new(status, detail).titled("The new value is not taken")
        })?;
    }
    let reader = Reader::of_list(shared.schemas.current().await);
    Ok(DryRun {
        keys: Count::of(keys.len()),
        events: Count::of(keys.iter().map(|key| 1 + key.followers).sum()),
        left: Count::of(keys.iter().filter(|key| command.spares(key)).count()),
        cut_off: Moment(newest),
        would: keys.iter().take(DRY_RUN_KEYS).map(|key| KeyLine::of(key, &reader)).collect(),
    })
}

fn said(of: &Selection) -> String {
    match of {
        Selection::Letter(id) => format!("dead key with letter {id}"),
        Selection::Cause(cause) => format!("dead key of cause {cause:?}"),
        _ => "dead key".to_owned(),
    }
}

async fn preview(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    form: Result<Query<Form>, QueryRejection>,
) -> Answered<DryRun> {
    let (Path(service), Query(form)) = (path?, form?);
    Ok(Json(dry_run(&shared, &service, &form.asked()?.previewed()?).await?))
}

async fn command(
    State(shared): Console,
    path: Result<Path<String>, PathRejection>,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Json<Value>), ApiTrouble> {
    let Path(service) = path?;
    if asked.dry_run {
        let would = dry_run(&shared, &service, &asked.previewed()?).await?;
        return Ok((StatusCode::OK, Json(json!(would))));
    }
    let command = asked.meant()?;
    dry_run(&shared, &service, &command).await?;
    let (given, outcome) = give(&shared, &desk(&shared, &service).await?, command).await?;
    let CommandOutcome { done, left, unheard } = outcome;
    let status = if unheard == 0 { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = json!({
        "command": given.id.as_str(), "keys": given.keys, "done": done, "left": left,
        "unheard": unheard,
    });
    Ok((status, Json(answer)))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_by_the_deadline_holds_up_nothing_else() {
        let begun = Instant::now();
        let seconds = [1, 3, 600, 2].map(|seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            seconds
        });
        let looked = side_by_side(seconds.into(), Duration::from_secs(10)).await;
        assert_eq!(looked, [Some(1), Some(3), None, Some(2)]);
        assert_eq!(begun.elapsed(), Duration::from_secs(10), "side by side, to one deadline");
        let quick = side_by_side(vec![ready(1), ready(2)], Duration::from_secs(10)).await;
        assert_eq!(quick, [Some(1), Some(2)]);
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }
}
