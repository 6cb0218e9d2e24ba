//! Who may ask this server, and under which names of it.
//!
//! One guard stands before everything: a request under a name that is not the server's own is answered 421
//! ([`host`]); where there are accounts, one that says nobody's credentials is 401, or led to the login page when a
//! person's browser navigates. Programs say a token or a password with each request; browsers have a session
//! ([`sessions`]). There are no roles: who may ask, may ask everything.
//!
//! Open to everybody: `/livez` and `/readyz`, which say one word and are asked by probes, the login page and its
//! assets, and `/metrics` where that was said. Passwords are tried by [`TRIALS_MAX`](crate::limits::TRIALS_MAX) threads
//! at once, with a bounded queue, as each costs what its hash was made to cost.

mod accounts;
mod credentials;
mod host;
mod login;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};

pub use accounts::{Accounts, BadAccounts};
use credentials::{Credentials, Verdict};
pub use host::BadHost;
use host::Hosts;
pub use login::{Login, LoginPage};
use sessions::Sessions;

use crate::trouble::{ApiTrouble, Trouble};
use crate::url::url_encoded;

/// What is said once of who may ask. By default: everybody, under loopback names and addresses.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// Names under which the server is reached; `*` is any.
    pub hosts: Vec<String>,
    /// Nobody else may ask.
    pub accounts: Option<Accounts>,
    /// `/metrics` may be asked by everybody all the same.
    pub open_metrics: bool,
}

/// The guard, of which all listeners share one.
#[derive(Clone, Debug, Default)]
pub struct Access {
    hosts: Arc<Hosts>,
    locked: Option<Arc<Locked>>,
    open_metrics: bool,
}

#[derive(Debug)]
struct Locked {
    credentials: Credentials,
    sessions: Sessions,
}

/// What a listener serves to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// Pages to people, and everything to programs.
    Console,
    /// To programs only.
    Registry,
}

impl Access {
    /// Refuses names that no host can have.
    pub fn new(options: AccessOptions) -> Result<Self, BadHost> {
        let AccessOptions { hosts, accounts, open_metrics } = options;
        let hosts = Arc::new(Hosts::of(&hosts)?);
        let locked = accounts.map(|accounts| {
            let (credentials, sessions) = (Credentials::new(accounts), Sessions::default());
            Arc::new(Locked { credentials, sessions })
        });
        Ok(Self { hosts, locked, open_metrics })
    }

    /// Whether people have to log in.
    pub fn asks_who(&self) -> bool {
        self.locked.is_some()
    }

    /// Routes that only programs use, behind the guard.
    pub fn guard(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state((self.clone(), Served::Registry), admit))
    }

    /// A console's routes, with its login page, behind the guard.
    pub fn guard_pages(&self, routes: Router, login: LoginPage) -> Router {
        let routes = match &self.locked {
            Some(locked) => routes.merge(login::routes(Arc::clone(locked), login)),
            None => routes,
        };
        routes.layer(from_fn_with_state((self.clone(), Served::Console), admit))
    }

    fn is_open(&self, path: &str, served: Served) -> bool {
        match path {
            "/livez" | "/readyz" => served == Served::Console,
            "/metrics" | "/metrics/compat" => self.open_metrics && served == Served::Console,
            path => {
                served == Served::Console && (path == login::PATH || path.starts_with("/assets/"))
            }
        }
    }
}

async fn admit(
    State((access, served)): State<(Access, Served)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_probe = served == Served::Console && matches!(path, "/livez" | "/readyz");
    if !is_probe && !access.hosts.answer_to(&request) {
        return not_its_name(request.headers());
    }
    let Some(locked) = &access.locked else { return next.run(request).await };
    if access.is_open(path, served) {
        return next.run(request).await;
    }
    let verdict = match (locked.credentials.of(request.headers()).await, served) {
        (Verdict::Unsaid, Served::Console) if locked.has_session(request.headers()) => {
            Verdict::Known
        }
        (verdict, _) => verdict,
    };
    match verdict {
        Verdict::Known => next.run(request).await,
        Verdict::Unsaid if served == Served::Console && is_navigation(&request) => {
            let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
            Redirect::to(&format!("{}?next={}", login::PATH, url_encoded(wanted))).into_response()
        }
        Verdict::Unsaid | Verdict::Wrong => unauthorized(&request),
        Verdict::Busy => busy(),
    }
}

impl Locked {
    fn has_session(&self, headers: &HeaderMap) -> bool {
        self.sessions.has(headers, std::time::Instant::now())
    }
}

/// A page that a person's browser goes to; the API's answers are no pages.
fn is_navigation(request: &Request) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let wants = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    reads
        && !request.uri().path().starts_with("/api/")
        && wants.is_some_and(|wants| wants.contains("text/html"))
}

fn not_its_name(headers: &HeaderMap) -> Response {
    let name = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let why = format!(
        "this server does not answer to the name {:?}",
        String::from_utf8_lossy(name).chars().take(255).collect::<String>()
    );
    let trouble = Trouble::new(StatusCode::MISDIRECTED_REQUEST, why)
        .titled("Not this server's name")
        .hint("start it with --http-host NAME for each name that it is reached by; localhost and addresses always do");
    ApiTrouble(trouble).into_response()
}

fn unauthorized(request: &Request) -> Response {
    let trouble = Trouble::new(StatusCode::UNAUTHORIZED, "the request says nobody's credentials")
        .hint("authorization: Bearer TOKEN, or Basic with a user and password; people log in at /login");
    let mut response = ApiTrouble(trouble).into_response();
    // A page that is asked for a password in the background would make its browser ask the person, beside the login
    // page. Whoever says how it fetches is a browser.
    let challenge = match request.headers().contains_key("sec-fetch-mode") {
        true => "Bearer realm=\"tidings\"",
        false => "Bearer realm=\"tidings\", Basic realm=\"tidings\", charset=\"UTF-8\"",
    };
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn busy() -> Response {
    let trouble = Trouble::new(StatusCode::TOO_MANY_REQUESTS, "too many passwords are being tried")
        .hint("try again in a second; tokens and sessions are not held up");
    let mut response = ApiTrouble(trouble).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
