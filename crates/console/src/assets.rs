//! Style, script and icon, compiled into the binary.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Shared;

const STYLE: &str = include_str!("../assets/console.css");
const VIEWS: &str = include_str!("../assets/views.css");
const SCRIPT: &str = include_str!("../assets/console.js");
const TOPICS_SCRIPT: &str = include_str!("../assets/topics.js");
const ICON: &str = include_str!("../assets/icon.svg");

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/assets/console.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/views.css", get(|| async { asset("text/css; charset=utf-8", VIEWS) }))
        .route(
            "/assets/console.js",
            get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(
            "/assets/topics.js",
            get(|| async { asset("text/javascript; charset=utf-8", TOPICS_SCRIPT) }),
        )
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        // Browsers ask for it where what they show has no icon of its own, as JSON.
        .route("/favicon.ico", get(|| async { asset("image/svg+xml", ICON) }))
}

/// Asked for again after a minute, so that a new binary is soon seen.
fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=60")], text)
}
