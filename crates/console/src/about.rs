//! What is asked of the process itself: health, metrics, the live stream, and the document of the HTTP API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::Value;
use tidings_gateway::events;
use tidings_gateway::route::{Answer, Parameter, Route, Said, json, problem, query, read};

use super::{Shared, api, compat, live, metrics};
use crate::openapi::document;

pub(super) fn table() -> Vec<Route<Arc<Shared>>> {
    const ALIVE: &[Answer] = &[text(200, "It is.")];
    const READY: &[Answer] = &[text(200, "It does."), text(503, "It does not.")];
    const FIGURES: &[Answer] = &[text(200, "In Prometheus' text format.")];
    const STYLED: &[Answer] = &[
        text(200, "In Prometheus' text format."),
        problem(400, "There is no such style."),
        problem(503, "The engine does not answer."),
    ];
    const LIVE: &[Answer] = &[Answer {
        status: 200,
        media: "text/event-stream",
        meaning: "Parts of a page that have changed, as markup, every second.",
    }];
    const FOLLOWED: &[Parameter] = &[
        query("page", "string", "overview, services, service, groups or group."),
        query("name", "string", "Of which service or group."),
        query("q", "string", "Text that names in a list contain."),
        query("range", "string", "Of a group's chart: 30m or 24h."),
    ];
    const DOCUMENT: &[Answer] = &[json(200, "OpenAPI 3.1.")];
    vec![
        Route {
            said: read("/livez", "Whether the process runs.", &[], ALIVE),
            handler: || get(|| async { "ok\n" }),
        },
        Route {
            said: read("/readyz", "Whether the engine answers.", &[], READY),
            handler: || get(metrics::ready),
        },
        Route {
            said: read("/metrics", "Figures of topics, groups and the node.", &[], FIGURES),
            handler: || get(metrics::metrics),
        },
        Route {
            said: read(
                "/metrics/compat",
                "Figures of topics and groups under the names of another exporter.",
                const { &[query("style", "string", "kafka_exporter or kminion.")] },
                STYLED,
            ),
            handler: || get(compat::metrics),
        },
        Route {
            said: read("/live", "What a page shows, as it changes.", FOLLOWED, LIVE),
            handler: || get(live::stream),
        },
        Route {
            said: read("/openapi.json", "This document.", &[], DOCUMENT),
            handler: || get(openapi),
        },
    ]
}

const fn text(status: u16, meaning: &'static str) -> Answer {
    Answer { status, media: "text/plain", meaning }
}

async fn openapi(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(document(shared.options.version, &all()))
}

/// Every route that is no page or asset, with what precedes its path.
fn all() -> Vec<(&'static str, Said)> {
    let root = table().into_iter().map(|route| ("", route.said));
    let api = api::table().into_iter().map(|route| ("/api", route.said));
    let events = events::table().into_iter().map(|route| ("/api", route.said));
    root.chain(api).chain(events).collect()
}
