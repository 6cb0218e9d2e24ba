//! Who may ask the console and the registry, and under which names.

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::Engine;
use tidings_gateway::{Access, AccessOptions, Accounts, Router, registry};
use tower::ServiceExt as _;

/// bcrypt's own example, of [`PASSWORD`].
const ANN: &str = "ann:$2a$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi";
const PASSWORD: &str = "correctbatteryhorsestapler";
const TOKEN: &str = "b5c0b187fe309af0f4d35982fd961d7e";
const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9");

struct Served {
    _console: Console,
    console: Router,
    registry: Router,
}

struct Answer {
    status: u16,
    head: header::HeaderMap,
    body: String,
}

impl Answer {
    fn head(&self, name: &str) -> &str {
        self.head.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// What a browser sends back of the cookie that it was given.
    fn cookie(&self) -> String {
        self.head("set-cookie").split(';').next().unwrap().to_owned()
    }
}

async fn served(options: AccessOptions) -> Served {
    let engine = Engine::in_memory().await.unwrap();
    let access = Access::new(options).unwrap();
    let options = ConsoleOptions { access: access.clone(), ..ConsoleOptions::default() };
    let console = Console::start(engine.clone(), options).await;
    let registry = access.guard(registry(engine).await.unwrap());
    Served { console: console.router(), _console: console, registry }
}

async fn locked() -> Served {
    let accounts = Accounts::parse(&format!("{ANN}\n{TOKEN}")).unwrap();
    served(AccessOptions { accounts: Some(accounts), ..AccessOptions::default() }).await
}

async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    head: &[(&str, &str)],
    body: &str,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = head.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    // The live stream has no end.
    let ends = parts.headers.get("content-type").is_none_or(|kind| kind != "text/event-stream");
    let body = if ends { to_bytes(body, usize::MAX).await.unwrap() } else { Default::default() };
    Answer {
        status: parts.status.as_u16(),
        head: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(router: &Router, path: &str, head: &[(&str, &str)]) -> Answer {
    ask(router, "GET", path, head, "").await
}

fn basic(said: &str) -> String {
    format!("Basic {}", STANDARD.encode(said))
}

async fn log_in(router: &Router, form: &str) -> Answer {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    ask(router, "POST", "/login", &[kind, ("sec-fetch-site", "same-origin")], form).await
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_answered_to_nobody() {
    let served =
        served(AccessOptions { hosts: vec!["tidings".to_owned()], ..AccessOptions::default() })
            .await;
    // What a page of a rebound name sends: its origin and the host are the same.
    let rebound = [("host", "evil.example:8080"), ("origin", "http://evil.example:8080")];
    for (router, path) in [(&served.console, "/api/topics"), (&served.registry, "/subjects")] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = ask(router, method, path, &rebound, "{}").await;
            assert_eq!(answer.status, 421, "{method} {path}");
            assert_eq!(answer.head("content-type"), "application/problem+json");
            let said: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(said["try"].as_str().unwrap().contains("--http-host"), "{said}");
        }
        for host in ["tidings:8080", "localhost:8080", "10.1.2.3:8080", "[::1]:8080"] {
            assert_eq!(get(router, path, &[("host", host)]).await.status, 200, "{host}");
        }
    }
    // A probe may ask under any.
    assert_eq!(get(&served.console, "/livez", &rebound).await.status, 200);
}

#[tokio::test]
async fn programs_say_a_token_or_a_password_with_each_request() {
    let served = locked().await;
    for (router, path) in [
        (&served.console, "/api/overview"),
        (&served.console, "/metrics"),
        (&served.console, "/openapi.json"),
        (&served.console, "/live"),
        (&served.console, "/"),
        (&served.console, "/no-such-page"),
        (&served.registry, "/subjects"),
        (&served.registry, "/livez"),
    ] {
        let bearer = format!("Bearer {TOKEN}");
        let (right, wrong) = (basic(&format!("ann:{PASSWORD}")), basic("ann:other"));
        for said in [bearer.as_str(), right.as_str()] {
            let status = get(router, path, &[("authorization", said)]).await.status;
            let there = !path.contains("no-such") && (path != "/livez");
            assert_eq!(status, if there { 200 } else { 404 }, "{path} {said}");
        }
        for head in [
            &[][..],
            &[("authorization", wrong.as_str())],
            &[("authorization", "Bearer x")],
            &[("authorization", "Bearer x"), PAGE],
        ] {
            let answer = get(router, path, head).await;
            assert_eq!(answer.status, 401, "{path} {head:?}");
            assert_eq!(answer.head("content-type"), "application/problem+json");
            let wanted = "Bearer realm=\"tidings\", Basic realm=\"tidings\", charset=\"UTF-8\"";
            assert_eq!(answer.head("www-authenticate"), wanted);
        }
    }
    let change = ask(&served.console, "POST", "/api/topics/t/events", &[PAGE], "{}").await;
    assert_eq!(change.status, 401);
}

#[tokio::test]
async fn probes_are_open_and_metrics_where_that_is_said() {
    let served = locked().await;
    for path in ["/livez", "/readyz", "/assets/console.css", "/login"] {
        assert_eq!(get(&served.console, path, &[]).await.status, 200, "{path}");
    }
    let accounts = Accounts::parse(TOKEN).unwrap();
    let open =
        AccessOptions { accounts: Some(accounts), open_metrics: true, ..AccessOptions::default() };
    let served = self::served(open).await;
    assert_eq!(get(&served.console, "/metrics", &[]).await.status, 200);
    assert_eq!(get(&served.console, "/api/topics", &[]).await.status, 401);
    assert_eq!(get(&served.registry, "/metrics", &[]).await.status, 401);
}

#[tokio::test]
async fn a_person_logs_in_on_a_page_and_out_again() {
    let served = locked().await;
    let console = &served.console;
    let led = get(console, "/dead/order?after=x", &[PAGE]).await;
    assert_eq!(
        (led.status, led.head("location")),
        (303, "/login?next=%2Fdead%2Forder%3Fafter%3Dx")
    );
    let page = get(console, led.head("location"), &[PAGE]).await;
    assert!(page.body.contains(r#"name="next" value="/dead/order?after=x""#), "{}", page.body);
    assert!(page.head("content-security-policy").contains("form-action 'self'"));

    for form in ["user=ann&password=other", "user=&password=other", "user=eve&password=other"] {
        let refused = log_in(console, form).await;
        assert_eq!((refused.status, refused.head("set-cookie")), (403, ""), "{form}");
        assert!(refused.body.contains("not known here"), "{form}");
    }
    for form in [
        format!("user=ann&password={PASSWORD}&next=%2Fdead"),
        format!("user=&password={TOKEN}&next=%2Fdead"),
    ] {
        let entered = log_in(console, &form).await;
        assert_eq!((entered.status, entered.head("location")), (303, "/dead"), "{form}");
        let attributes = entered.head("set-cookie").split_once("; ").unwrap().1;
        assert_eq!(attributes, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        let cookie = entered.cookie();
        let has = [("cookie", cookie.as_str())];
        assert_eq!(get(console, "/api/topics", &has).await.status, 200);
        let dead = get(console, "/dead", &has).await;
        assert!(dead.body.contains("Log out"), "{}", dead.body);
        assert_eq!(get(console, "/login?next=/dead", &has).await.head("location"), "/dead");
        // A session is a person's with pages; the registry has none.
        assert_eq!(get(&served.registry, "/subjects", &has).await.status, 401);
        let foreign = [has[0], ("sec-fetch-site", "cross-site")];
        assert_eq!(ask(console, "POST", "/logout", &foreign, "").await.status, 403);
        let left = ask(console, "POST", "/logout", &has, "").await;
        assert_eq!((left.status, left.head("location")), (303, "/login"));
        assert!(left.head("set-cookie").contains("Max-Age=0"));
        assert_eq!(get(console, "/api/topics", &has).await.status, 401);
    }
}

#[tokio::test]
async fn a_page_in_the_background_does_not_make_its_browser_ask_for_a_password() {
    let served = locked().await;
    let head = [("sec-fetch-mode", "cors"), ("accept", "text/event-stream")];
    let answer = get(&served.console, "/live", &head).await;
    assert_eq!((answer.status, answer.head("www-authenticate")), (401, "Bearer realm=\"tidings\""));
}

#[tokio::test]
async fn without_accounts_there_is_nothing_to_log_in_to() {
    let served = served(AccessOptions::default()).await;
    assert_eq!(get(&served.console, "/login", &[]).await.status, 404);
    let page = get(&served.console, "/", &[PAGE]).await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("Log out"));
}
