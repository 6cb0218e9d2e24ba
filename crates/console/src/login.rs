//! The login page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use tidings_gateway::Login;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    next: &'a str,
    user: &'a str,
    /// Why the page is shown again.
    trouble: &'a str,
}

pub(crate) fn page(Login { status, next, user, trouble }: Login<'_>) -> Response {
    match (LoginPage { next, user, trouble }).render() {
        Ok(page) => (status, Html(page)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
