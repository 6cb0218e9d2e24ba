//! The desk over the console's router: a real service on an engine in memory, and what it gives up.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{
    Backoff, BreakerOptions, Dep, Event, Outcome, Outgoing, Publisher, Received, Running, Service,
    done, retry,
};
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::{Engine, Record};
use tower::ServiceExt;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct Placed {
    order: String,
    pence: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "order")]
struct Paid {
    order: String,
    pence: i64,
}

/// Orders whose cards are refused.
type Broken = Arc<Mutex<BTreeSet<String>>>;

async fn charge(event: Received<Placed>, broken: Dep<Broken>) -> Outcome<Paid> {
    if broken.lock().unwrap().contains(&event.order) {
        return retry(format!("no card <{}>", &event.order[..1]));
    }
    done(Paid { order: event.order.clone(), pence: event.pence })
}

struct Shop {
    engine: Engine,
    console: Console,
    broken: Broken,
}

struct Answer {
    status: u16,
    kind: String,
    location: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Shop {
    /// Every order whose name begins with `x` or `y` fails.
    async fn with(orders: &[&str]) -> (Self, Running) {
        let engine = Engine::in_memory().await.unwrap();
        let broken = orders.iter().filter(|order| order.starts_with(['x', 'y']));
        let broken: BTreeSet<String> = broken.map(|order| (*order).to_owned()).collect();
        let broken = Arc::new(Mutex::new(broken));
        let console = Console::start(engine.clone(), ConsoleOptions::default()).await;
        let shop = Self { engine, console, broken };
        let running = shop.start().await;
        let dead = shop.broken.lock().unwrap().len() as u64;
        for (n, order) in (1..).zip(orders) {
            shop.place(order, n).await;
        }
        // Failing keys are taken for an outage until others work.
        for n in 0.. {
            shop.place(&format!("good-{n}"), 1).await;
            running.until(|figures| figures.emitted > n).await;
            if running.figures().dead_keys == dead {
                return (shop, running);
            }
        }
        unreachable!("the loop ends by returning");
    }

    async fn start(&self) -> Running {
        let quick = Backoff { attempts: 2, first: Duration::from_millis(1), ..Backoff::default() };
        let service = Service::new("payment").on(charge).with(Arc::clone(&self.broken));
        let probes = BreakerOptions { probe: quick, ..BreakerOptions::default() };
        service.retry(quick).breaker(probes).start(&self.engine).await.unwrap()
    }

    async fn place(&self, order: &str, pence: i64) {
        let till = Publisher::open(&self.engine, "till").await.unwrap();
        let placed = Placed { order: order.to_owned(), pence };
        till.publish(vec![Outgoing::new(&placed)]).await.unwrap();
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.console.router().oneshot(request).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (kind, location) = (text(header::CONTENT_TYPE), text(header::LOCATION));
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, kind, location, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn page(&self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"), "{path}");
        page.body
    }

    async fn twin(&self, path: &str) -> Value {
        let twin = self.get(path).await;
        assert_eq!((twin.status, twin.kind.as_str()), (200, "application/json"), "{path}");
        twin.json()
    }

    async fn command(&self, service: &str, body: &Value) -> Answer {
        let request = Request::post(format!("/api/dead/{service}/commands"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        self.ask(request.unwrap()).await
    }

    async fn form(&self, fields: &str) -> Answer {
        let request = Request::post("/dead/payment/commands")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(fields.to_owned()));
        self.ask(request.unwrap()).await
    }

    /// Keys and amounts that were paid, those of `good-…` left out.
    async fn paid(&self) -> Vec<(String, i64)> {
        let mut paid = Vec::new();
        for partition in self.engine.topic("payments").await.unwrap().partitions {
            let limit =
                tidings_engine::ReadLimit { records: 1_000, bytes: 1 << 20, wait: Duration::ZERO };
            let read = self.engine.read("payments", partition.id, 0, limit).await.unwrap();
            let of = |record: &Record| {
                let event = tidings::decode::<Paid>(record).unwrap();
                (event.order.clone(), event.pence)
            };
            paid.extend(read.records.iter().map(of));
        }
        paid.retain(|(order, _)| !order.starts_with("good"));
        paid.sort();
        paid
    }
}

#[tokio::test]
async fn what_a_service_gave_up_is_shown_by_service_cause_and_key() {
    let (shop, running) = Shop::with(&["x1", "x2", "y1", "x1", "a"]).await;
    let all = shop.twin("/api/dead").await;
    let [line] = &all["services"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&line["service"], &line["keys"]), (&json!("payment"), &json!(3)));
    assert_eq!((&line["events"], &line["causes"]), (&json!(4), &json!(2)));
    assert_eq!(line["most"], "no card <x>");

    let service = shop.twin("/api/dead/payment").await;
    let causes: Vec<_> = service["cause_list"].as_array().unwrap().iter().collect();
    assert_eq!((&causes[0]["cause"], &causes[0]["keys"]), (&json!("no card <x>"), &json!(2)));
    assert_eq!((&causes[1]["cause"], &causes[1]["keys"]), (&json!("no card <y>"), &json!(1)));

    let keys = shop.twin("/api/dead/payment/keys?cause=no%20card%20%3Cx%3E").await;
    assert_eq!(
        (&keys["total"], &keys["next"], &keys["open"]),
        (&json!(2), &json!(null), &json!(null))
    );
    let x1 = keys["keys"].as_array().unwrap().iter().find(|key| key["key"] == "x1").unwrap();
    assert_eq!(
        (&x1["followers"], &x1["attempts"], &x1["redrives"]),
        (&json!(1), &json!(2), &json!(0))
    );

    let letter = x1["letter"].as_str().unwrap();
    let key = shop.twin(&format!("/api/dead/payment/keys/{letter}")).await;
    assert_eq!(key["value"], json!({ "form": "json", "text": r#"{"order":"x1","pence":1}"# }));
    assert_eq!(key["whole_cause"], "no card <x>");
    assert_eq!(key["record"]["envelope"]["source"], "till");
    assert_eq!(
        (&key["death"]["kind"], &key["death"]["handler"]),
        (&json!("failed"), &json!("charge"))
    );
    assert_eq!(key["death"]["letter_at"]["topic"], "payment.dead");
    let opened = shop.twin(&format!("/api/dead/payment/keys?open={letter}")).await;
    assert_eq!(opened["open"], key, "a key opened in the list is the same");

    let of_cause = "/dead/payment/keys?cause=no%20card%20%3Cx%3E";
    for (path, parts) in [
        ("/dead", &["<h2>Services</h2>", "href=\"/dead/payment\""][..]),
        ("/dead/payment", &[of_cause, "Redrive all…", "no card &#60;x&#62;"]),
        (of_cause, &[">x1</a>", "Discard these…"]),
        (
            &format!("{of_cause}&open={letter}"),
            &["class=\"detail\"", "<dt>Handler</dt><dd>charge</dd>"],
        ),
        (&format!("/dead/payment/keys/{letter}"), &["j-number", "act=edit", "payment.dead"]),
        ("/dead/payment/commands", &["No command was given"]),
    ] {
        let page = shop.page(path).await;
        for part in parts {
            assert!(page.contains(part), "{path}: {part}: {page}");
        }
        assert!(!page.contains("<x>"), "{path}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_is_looked_at_then_given_then_in_the_audit() {
    let (shop, running) = Shop::with(&["x1", "x2", "y1"]).await;
    let look = json!({ "act": "redrive", "cause": "no card <x>", "dry_run": true });
    let would = shop.command("payment", &look).await.json();
    assert_eq!(
        (&would["keys"], &would["events"], &would["left"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!(shop.paid().await, [], "a look changes nothing");
    assert_eq!(shop.twin("/api/dead/payment/commands").await["commands"], json!([]));
    let same = shop.twin("/api/dead/payment/command?act=redrive&cause=no%20card%20%3Cx%3E").await;
    assert_eq!(same, would);

    // What died later than the look is not for the command that was looked at.
    let before = would["would"][0]["since_ms"].as_i64().unwrap() - 1;
    let mut command = json!({ "act": "redrive", "cause": "no card <x>", "by": "ann" });
    command["cut_off_ms"] = json!(before);
    assert_eq!(shop.command("payment", &command).await.status, 404);

    shop.broken.lock().unwrap().clear();
    command["cut_off_ms"] = would["cut_off_ms"].clone();
    command["rate"] = json!(1_000);
    command["reason"] = json!("the bank is back");
    let given = shop.command("payment", &command).await;
    assert_eq!(given.status, 200, "{}", given.body);
    let answer = given.json();
    assert_eq!(
        (&answer["done"], &answer["left"], &answer["unheard"]),
        (&json!(2), &json!(0), &json!(0))
    );
    running.until(|figures| figures.dead_keys == 1 && figures.parked == 1).await;
    assert_eq!(shop.paid().await, [("x1".to_owned(), 1), ("x2".to_owned(), 2)]);

    let audit = shop.twin("/api/dead/payment/commands").await;
    let [one] = &audit["commands"].as_array().unwrap()[..] else { panic!("{audit}") };
    assert_eq!((&one["by"], &one["reason"]), (&json!("ann"), &json!("the bank is back")));
    assert_eq!((&one["id"], &one["done"]), (&answer["command"], &json!(2)));
    let again = shop.command("payment", &command).await;
    assert_eq!((again.status, again.kind.as_str()), (404, "application/problem+json"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn forms_edit_and_discard_with_a_look_in_between() {
    let (shop, running) = Shop::with(&["x1", "y1"]).await;
    let keys = shop.twin("/api/dead/payment/keys").await;
    let letter = |of: &str| {
        let keys = keys["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["key"] == of).unwrap();
        key["letter"].as_str().unwrap().to_owned()
    };
    let (x1, y1) = (letter("x1"), letter("y1"));
    let page = shop.page(&format!("/dead/payment/command?act=edit&letter={x1}")).await;
    for part in ["<textarea", "{&#34;order&#34;:&#34;x1&#34;,&#34;pence&#34;:1}", "Edit 1 key"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = shop.page("/dead/payment/command?act=discard&all=true").await;
    assert!(page.contains("Discard 2 keys") && !page.contains("name=\"rate\""), "{page}");

    let broken = shop.form(&format!("act=edit&letter={x1}&value=%7B%22order&by=ann")).await;
    assert_eq!(broken.status, 422, "{}", broken.body);
    assert!(broken.body.contains("it is not JSON"), "{}", broken.body);
    assert_eq!(shop.form(&format!("act=discard&letter={y1}&by=")).await.status, 400);
    shop.broken.lock().unwrap().clear();
    let value = "%7B%22order%22%3A%22x1%22%2C%0D%0A%22pence%22%3A700%7D";
    let given =
        shop.form(&format!("act=edit&letter={x1}&value={value}&rate=&by=ann&reason=")).await;
    assert_eq!(given.status, 303, "{}", given.body);
    let audit = shop.page(&given.location).await;
    assert!(audit.contains("The command was carried out"), "{audit}");
    let given = shop.form(&format!("act=discard&letter={y1}&by=ann&reason=a+test")).await;
    assert_eq!(given.status, 303, "{}", given.body);
    running.until(|figures| figures.parked == 0).await;
    assert_eq!(shop.paid().await, [("x1".to_owned(), 700)]);
    let audit = shop.page("/dead/payment/commands").await;
    assert!(audit.find("discard") < audit.find("edit") && audit.contains("a test"), "{audit}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_edit_that_no_topic_takes_is_refused_before_it_is_given_and_names_the_limit() {
    let (shop, running) = Shop::with(&["x1"]).await;
    let keys = shop.twin("/api/dead/payment/keys").await;
    let letter = &keys["keys"][0]["letter"];
    let value = |bytes: usize| json!({ "order": "x1", "pence": 1, "note": "x".repeat(bytes) });
    for dry_run in [true, false] {
        let large = json!({
            "act": "edit", "letter": letter, "by": "ann", "value": value(1_000_000).to_string(),
            "dry_run": dry_run,
        });
        let refused = shop.command("payment", &large).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("payment.control, and 982991 are the most"), "{detail}");
    }
    assert_eq!(shop.twin("/api/dead/payment/commands").await["commands"], json!([]));
    shop.broken.lock().unwrap().clear();
    let fits = json!({
        "act": "edit", "letter": letter, "by": "ann", "value": value(900_000).to_string(),
    });
    let given = shop.command("payment", &fits).await;
    assert_eq!((given.status, &given.json()["done"]), (200, &json!(1)), "{}", given.body);
    running.until(|figures| figures.parked == 0).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_for_a_service_that_does_not_run_stands_until_it_does() {
    let (shop, running) = Shop::with(&["x1", "x1"]).await;
    running.stop().await.unwrap();
    let body = json!({ "act": "discard", "all": true, "by": "ann" });
    let given = shop.command("payment", &body).await;
    assert_eq!((given.status, &given.json()["unheard"]), (202, &json!(1)));
    let id = given.json()["command"].as_str().unwrap().to_owned();
    let page = shop.page(&format!("/dead/payment/commands?given={id}&keys=1")).await;
    assert!(page.contains("Not heard of 1 key yet"), "{page}");
    shop.broken.lock().unwrap().clear();
    let running = shop.start().await;
    // What waited behind the discarded event is handled after it.
    running.until(|figures| figures.emitted == 1).await;
    running.stop().await.unwrap();
    assert_eq!(shop.paid().await, [("x1".to_owned(), 2)]);
    let page = shop.page(&format!("/dead/payment/commands?given={id}&keys=1")).await;
    assert!(page.contains("The command was carried out"), "{page}");
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_that_says_what_to_try() {
    let (shop, running) = Shop::with(&["x1"]).await;
    for (path, status) in [
        ("/dead/nobody", 404),
        ("/dead/nobody/keys", 404),
        ("/dead/nobody/commands", 404),
        ("/dead/payment/keys/none", 404),
        ("/dead/payment/keys?open=none", 404),
        ("/dead/payment/keys?after=x", 400),
        ("/dead/payment/command?act=redrive", 400),
        ("/dead/payment/command?act=redrive&cause=", 400),
        ("/dead/payment/command?act=redrive&all=true&rate=fast", 400),
        ("/dead/payment/commands?before=x", 400),
    ] {
        assert_eq!(shop.get(path).await.status, status, "{path}");
        let twin = shop.get(&format!("/api{path}")).await;
        assert_eq!(
            (twin.status, twin.kind.as_str()),
            (status, "application/problem+json"),
            "{path}"
        );
        assert_eq!(twin.json()["status"], status, "{path}");
    }
    let unknown =
        shop.command("nobody", &json!({ "act": "discard", "all": true, "by": "ann" })).await;
    assert_eq!((unknown.status, unknown.json()["try"].is_string()), (404, true));
    assert!(shop.engine.topic("nobody.control").await.is_err(), "nothing was made for it");

    let post = |kind: &str, name: &str, value: &str| {
        let body = json!({ "act": "discard", "all": true, "by": "eve" }).to_string();
        Request::post("/api/dead/payment/commands")
            .header(header::HOST, "localhost:8080")
            .header(header::CONTENT_TYPE, kind)
            .header(name, value)
            .body(Body::from(body))
            .unwrap()
    };
    for (kind, name, value, status) in [
        ("text/plain", "accept", "*/*", 415),
        ("application/x-www-form-urlencoded", "accept", "*/*", 415),
        ("application/json", "origin", "http://evil.example", 403),
        ("application/json", "origin", "null", 403),
        ("application/json", "sec-fetch-site", "cross-site", 403),
        ("application/json", "sec-fetch-site", "same-site", 403),
    ] {
        let refused = shop.ask(post(kind, name, value)).await;
        assert_eq!(
            (refused.status, refused.kind.as_str()),
            (status, "application/problem+json"),
            "{name}: {value}"
        );
    }
    let large = "x".repeat(tidings_gateway::limits::BODY_BYTES_MAX + 1);
    assert_eq!(shop.command("payment", &json!({ "value": large })).await.status, 413);
    assert_eq!(shop.twin("/api/dead/payment/commands").await["commands"], json!([]));
    assert_eq!(shop.twin("/api/dead/payment").await["keys"], 1);
    running.stop().await.unwrap();
}
