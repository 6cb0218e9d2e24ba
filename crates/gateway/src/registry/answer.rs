//! Answers in the registry's own form.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tidings_schema::Refused;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

/// A successful answer.
pub(super) struct Answer<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
            Err(e) => Trouble { code: 50001, message: e.to_string() }.into_response(),
        }
    }
}

/// An unsuccessful answer; the first three digits of the code are the HTTP status.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) code: u32,
    pub(super) message: String,
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self { code: refused.code(), message: refused.to_string() }
    }
}

impl From<tidings_engine::Error> for Trouble {
    fn from(error: tidings_engine::Error) -> Self {
        Self { code: 50001, message: format!("the registry's topic: {error}") }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let status = if self.code >= 1000 { self.code / 100 } else { self.code };
        let status = u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok());
        let body = json!({ "error_code": self.code, "message": self.message }).to_string();
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
    }
}
