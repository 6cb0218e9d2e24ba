//! Routes as data: the router and `/openapi.json` are built from one table, so that neither can say what the
//! other does not.

use axum::Router;
use axum::routing::MethodRouter;

/// A route, what is said about it, and who answers.
pub struct Route<S: 'static> {
    pub said: Said,
    pub handler: fn() -> MethodRouter<S>,
}

/// What a client has to know of a route.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub verb: Verb,
    /// As axum writes it, which is as OpenAPI does.
    pub path: &'static str,
    pub summary: &'static str,
    pub parameters: &'static [Parameter],
    /// Media types of the body; none when it takes no body.
    pub takes: &'static [Taken],
    pub answers: &'static [Answer],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// A parameter in the query or, in lower case, among the headers. Those of the path are in the path.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub place: &'static str,
    pub name: &'static str,
    pub kind: &'static str,
    pub meaning: &'static str,
}

/// A body that is taken: its media type, and the name of its schema.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub media: &'static str,
    pub schema: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    pub media: &'static str,
    pub meaning: &'static str,
}

/// A parameter in the query.
pub const fn query(name: &'static str, kind: &'static str, meaning: &'static str) -> Parameter {
    Parameter { place: "query", name, kind, meaning }
}

/// An answer in JSON.
pub const fn json(status: u16, meaning: &'static str) -> Answer {
    Answer { status, media: "application/json", meaning }
}

/// A refusal; every route may give others, these are its own.
pub const fn problem(status: u16, meaning: &'static str) -> Answer {
    Answer { status, media: "application/problem+json", meaning }
}

/// A route that reads and answers in JSON.
pub const fn read(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
) -> Said {
    Said { verb: Verb::Get, path, summary, parameters, takes: &[], answers }
}

/// The router of a table.
pub fn router<S: Clone + Send + Sync + 'static>(routes: Vec<Route<S>>) -> Router<S> {
    let add = |router: Router<S>, route: Route<S>| router.route(route.said.path, (route.handler)());
    routes.into_iter().fold(Router::new(), add)
}

/// The names in braces of a path.
pub fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}
