//! Unsuccessful answers as pages for people.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use tidings_gateway::Trouble;

/// Trouble on a page.
#[derive(Debug)]
pub(crate) struct PageTrouble(Trouble);

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
    hint: &'a str,
}

impl IntoResponse for PageTrouble {
    fn into_response(self) -> Response {
        let Trouble { status, detail, hint, .. } = &self.0;
        let (title, hint) = (self.0.title(), hint.unwrap_or_default());
        let page = TroublePage { status: status.as_u16(), title, detail, hint };
        match page.render() {
            Ok(page) => (*status, Html(page)).into_response(),
            Err(_) => (*status, detail.clone()).into_response(),
        }
    }
}
