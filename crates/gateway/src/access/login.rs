//! The login page: a form, and a session for whoever fills it in rightly.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tracing::info;

use super::Locked;
use super::credentials::Verdict;
use crate::limits::LOGIN_BYTES_MAX;
use crate::trouble::sent_form;

pub(super) const PATH: &str = "/login";

/// What a login page is to show.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    pub status: StatusCode,
    /// Where to afterwards: a path of this server.
    pub next: &'a str,
    pub user: &'a str,
    /// Why the page is shown again; empty at first.
    pub trouble: &'a str,
}

/// Who draws it: a form that posts `user`, `password` and `next` to the page's own path.
pub type LoginPage = fn(Login<'_>) -> Response;

#[derive(Clone)]
struct Door {
    locked: Arc<Locked>,
    page: LoginPage,
}

pub(super) fn routes(locked: Arc<Locked>, page: LoginPage) -> Router {
    Router::new()
        .route(PATH, get(show).post(enter))
        .route("/logout", post(leave))
        .layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX))
        .with_state(Door { locked, page })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filled {
    user: String,
    password: String,
    next: String,
}

async fn show(
    State(Door { locked, page }): State<Door>,
    Query(filled): Query<Filled>,
    headers: HeaderMap,
) -> Response {
    let next = local(&filled.next);
    if locked.has_session(&headers) {
        return Redirect::to(next).into_response();
    }
    page(Login { status: StatusCode::OK, next, user: "", trouble: "" })
}

async fn enter(State(Door { locked, page }): State<Door>, request: Request) -> Response {
    // A proxy that has spoken TLS with the browser says so.
    let secure = request.headers().get("x-forwarded-proto").is_some_and(|said| said == "https");
    let Ok(filled) = sent_form::<Filled>(request).await else {
        let trouble = "The form did not come whole.";
        return page(Login { status: StatusCode::BAD_REQUEST, next: "/", user: "", trouble });
    };
    let next = local(&filled.next);
    let again = |status, trouble: &str| page(Login { status, next, user: &filled.user, trouble });
    let verdict = match filled.user.trim() {
        "" => locked.credentials.token(filled.password.trim()),
        user => locked.credentials.password(user, &filled.password).await,
    };
    match verdict {
        Verdict::Known => match locked.sessions.begin(Instant::now(), secure) {
            Ok(cookie) => with_cookie(next, &cookie),
            Err(error) => {
                let why = format!("There is no session to be had: {error}.");
                again(StatusCode::SERVICE_UNAVAILABLE, &why)
            }
        },
        Verdict::Busy => {
            let why = "Too many passwords are being tried. Try again in a moment.";
            again(StatusCode::TOO_MANY_REQUESTS, why)
        }
        Verdict::Unsaid | Verdict::Wrong => {
            info!(user = %filled.user.escape_debug(), "a login was refused");
            let why = "This user with this password, or this token, is not known here.";
            again(StatusCode::FORBIDDEN, why)
        }
    }
}

async fn leave(State(Door { locked, .. }): State<Door>, headers: HeaderMap) -> Response {
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
