//! Unsuccessful answers: a page for people, `application/problem+json` (RFC 9457) under `/api`.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use tidings_engine::Error;

/// Why something cannot be shown.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into() }
    }

    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. } => StatusCode::NOT_FOUND,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::TopicExists(_) | Error::Fenced(_) => StatusCode::CONFLICT,
            Error::Denied(_) => StatusCode::FORBIDDEN,
            Error::Unavailable(_) | Error::Connect { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::Storage(_) | Error::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, detail: error.to_string() }
    }
}

/// Trouble under `/api`.
#[derive(Debug)]
pub(super) struct ApiTrouble(Trouble);

impl<E: Into<Trouble>> From<E> for ApiTrouble {
    fn from(trouble: E) -> Self {
        Self(trouble.into())
    }
}

impl IntoResponse for ApiTrouble {
    fn into_response(self) -> Response {
        let Trouble { status, detail } = &self.0;
        let body = json!({ "title": self.0.title(), "status": status.as_u16(), "detail": detail });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (*status, kind, body.to_string()).into_response()
    }
}

/// Trouble on a page.
#[derive(Debug)]
pub(super) struct PageTrouble(Trouble);

impl<E: Into<Trouble>> From<E> for PageTrouble {
    fn from(trouble: E) -> Self {
        Self(trouble.into())
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
}

impl IntoResponse for PageTrouble {
    fn into_response(self) -> Response {
        let Trouble { status, detail } = &self.0;
        let page = TroublePage { status: status.as_u16(), title: self.0.title(), detail };
        match page.render() {
            Ok(page) => (*status, Html(page)).into_response(),
            Err(_) => (*status, detail.clone()).into_response(),
        }
    }
}
