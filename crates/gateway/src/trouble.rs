//! Unsuccessful answers, as `application/problem+json` (RFC 9457), and bodies that come in time.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FormRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidings_engine::Error;
use tokio::time::timeout;

use crate::limits::HTTP_BODY_TIMEOUT;

/// Why something cannot be shown or done.
#[derive(Debug)]
pub struct Trouble {
    pub status: StatusCode,
    /// What; the status says it when there is none.
    pub title: Option<&'static str>,
    /// Why.
    pub detail: String,
    /// What to try.
    pub hint: Option<&'static str>,
}

impl Trouble {
    /// Why, under a status that says what.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, title: None, detail: detail.into(), hint: None }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 500.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// With another title than the status has.
    pub fn titled(self, title: &'static str) -> Self {
        Self { title: Some(title), ..self }
    }

    /// With what to try.
    pub fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// As RFC 9457 says it, with what to `try`.
    pub fn to_json(&self) -> Value {
        let Self { status, detail, hint, .. } = self;
        let mut body =
            json!({ "title": self.title(), "status": status.as_u16(), "detail": detail });
        if let Some(hint) = hint {
            body["try"] = Value::from(*hint);
        }
        body
    }

    /// What; never empty.
    pub fn title(&self) -> &'static str {
        self.title.or(self.status.canonical_reason()).unwrap_or("Error")
    }
}

impl From<PathRejection> for Trouble {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Trouble {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
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
        Self::new(status, error.to_string())
    }
}

impl From<tidings::Error> for Trouble {
    fn from(error: tidings::Error) -> Self {
        match error {
            tidings::Error::Engine(error) => error.into(),
            other => Self::internal(other.to_string()),
        }
    }
}

/// Trouble under `/api`.
#[derive(Debug)]
pub struct ApiTrouble(pub Trouble);

impl<E: Into<Trouble>> From<E> for ApiTrouble {
    fn from(trouble: E) -> Self {
        Self(trouble.into())
    }
}

impl IntoResponse for ApiTrouble {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.0.status, kind, self.0.to_json().to_string()).into_response()
    }
}

/// A JSON body. Another content type is refused, which also keeps a foreign web page from sending one
/// through a visitor's browser without being asked first.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiTrouble;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiTrouble> {
        let said = media_type(request.headers());
        if said != "application/json" {
            let why = format!("the content type is {said:?}");
            let trouble = Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
            return Err(ApiTrouble(trouble.hint("send JSON, with content-type: application/json")));
        }
        let body = body_bytes(request, state).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let why = format!("the body is not as expected: {error}");
            ApiTrouble(Trouble::bad_request(why).hint("/openapi.json says what is expected"))
        })
    }
}

/// The content type without its parameters, in lower case; empty when none is said.
pub fn media_type(headers: &HeaderMap) -> String {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.and_then(|said| said.split(';').next()).unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// What a page's form says, when it comes in time.
pub async fn sent_form<F: DeserializeOwned>(request: Request) -> Result<F, Trouble> {
    let form = axum::Form::<F>::from_request(request, &());
    let form = timeout(HTTP_BODY_TIMEOUT, form).await.map_err(|_elapsed| {
        let why = format!("the form did not come within {HTTP_BODY_TIMEOUT:?}");
        Trouble::new(StatusCode::REQUEST_TIMEOUT, why)
    })?;
    let axum::Form(form) = form.map_err(|rejection: FormRejection| {
        Trouble::new(rejection.status(), rejection.body_text())
    })?;
    Ok(form)
}

/// All of a body that is not too large and comes in time.
async fn body_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Trouble> {
    let body = timeout(HTTP_BODY_TIMEOUT, Bytes::from_request(request, state)).await;
    let body = body.map_err(|_elapsed| {
        let why = format!("the body did not come within {HTTP_BODY_TIMEOUT:?}");
        Trouble::new(StatusCode::REQUEST_TIMEOUT, why)
    })?;
    body.map_err(|rejection: BytesRejection| {
        Trouble::new(rejection.status(), rejection.body_text())
    })
}
