//! The login page: a form, and a session for whoever fills it in rightly.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::info;

use super::Locked;
use super::credentials::Verdict;
use crate::limits::{HTTP_BODY_TIMEOUT, LOGIN_BYTES_MAX};

pub(super) const PATH: &str = "/login";

pub(super) fn routes(locked: Arc<Locked>) -> Router {
    Router::new()
        .route(PATH, get(page).post(enter))
        .route("/logout", post(leave))
        .layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX))
        .with_state(locked)
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    next: &'a str,
    user: &'a str,
    /// Why the page is shown again.
    trouble: &'a str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filled {
    user: String,
    password: String,
    next: String,
}

async fn page(
    State(locked): State<Arc<Locked>>,
    Query(filled): Query<Filled>,
    headers: HeaderMap,
) -> Response {
    let next = local(&filled.next);
    if locked.has_session(&headers) {
        return Redirect::to(next).into_response();
    }
    show(StatusCode::OK, next, "", "")
}

fn show(status: StatusCode, next: &str, user: &str, trouble: &str) -> Response {
    match (LoginPage { next, user, trouble }).render() {
        Ok(page) => (status, Html(page)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn enter(State(locked): State<Arc<Locked>>, request: Request) -> Response {
    // A proxy that has spoken TLS with the browser says so.
    let secure = request.headers().get("x-forwarded-proto").is_some_and(|said| said == "https");
    let form = timeout(HTTP_BODY_TIMEOUT, axum::Form::<Filled>::from_request(request, &())).await;
    let Ok(Ok(axum::Form(filled))) = form else {
        return show(StatusCode::BAD_REQUEST, "/", "", "The form did not come whole.");
    };
    let next = local(&filled.next);
    let verdict = match filled.user.trim() {
        "" => locked.credentials.token(filled.password.trim()),
        user => locked.credentials.password(user, &filled.password).await,
    };
    match verdict {
        Verdict::Known => match locked.sessions.begin(Instant::now(), secure) {
            Ok(cookie) => with_cookie(next, &cookie),
            Err(error) => {
                let why = format!("There is no session to be had: {error}.");
                show(StatusCode::SERVICE_UNAVAILABLE, next, &filled.user, &why)
            }
        },
        Verdict::Busy => {
            let why = "Too many passwords are being tried. Try again in a moment.";
            show(StatusCode::TOO_MANY_REQUESTS, next, &filled.user, why)
        }
        Verdict::Unsaid | Verdict::Wrong => {
            info!(user = %filled.user.escape_debug(), "a login was refused");
            show(
                StatusCode::FORBIDDEN,
                next,
                &filled.user,
                "This user with this password, or this token, is not known here.",
            )
        }
    }
}

async fn leave(State(locked): State<Arc<Locked>>, headers: HeaderMap) -> Response {
    with_cookie(PATH, &locked.sessions.end(&headers, Instant::now()))
}

fn with_cookie(to: &str, cookie: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Where to after the login: a path of this server, whatever the URL says.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_this_server_only() {
        for (next, wanted) in [
            ("/dead/order?after=x", "/dead/order?after=x"),
            ("/", "/"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local(next), wanted, "{next:?}");
        }
    }
}
