//! An event's life over the console's router: real services on an engine in memory, and records of others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{
    Backoff, Dep, Event, Outcome, Outgoing, Publisher, Received, Service, done, reject, retry,
};
use tidings_console::{ConsoleOptions, limits};
use tidings_engine::{Header, NewTopic, SentRecord};

mod shown;

use shown::Shown;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "account")]
struct Placed {
    account: String,
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "account")]
struct Paid {
    account: String,
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "shipping", key = "account")]
struct Shipped {
    account: String,
    order: String,
}

async fn charge(event: Received<Placed>) -> Outcome<Paid> {
    if event.order.starts_with("refused") {
        return reject("card declined");
    }
    let Placed { account, order } = event.into_event();
    done(Paid { account, order })
}

/// Orders that cannot be sent.
type Broken = Arc<Mutex<BTreeSet<String>>>;

async fn ship(event: Received<Paid>, broken: Dep<Broken>) -> Outcome<Shipped> {
    if broken.lock().unwrap().contains(&event.order) {
        return retry("no truck");
    }
    let Paid { account, order } = event.into_event();
    done(Shipped { account, order })
}

impl Shown {
    async fn new() -> Self {
        Self::with(ConsoleOptions::default()).await
    }

    async fn trace(&self, query: &str) -> Value {
        self.json(&format!("/api/trace?{query}")).await
    }

    async fn place(&self, account: &str, order: &str) {
        let till = Publisher::open(&self.engine, "till").await.unwrap();
        let placed = Placed { account: account.into(), order: order.into() };
        till.publish(vec![Outgoing::new(&placed)]).await.unwrap();
    }

    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), configs: vec![] };
        self.engine.create_topic(topic).await.unwrap();
    }
}

/// Depth, type and readers that the way stops at.
fn told(trace: &Value) -> Vec<(u64, String, Vec<String>)> {
    let events = trace["life"]["event_list"].as_array().unwrap_or_else(|| panic!("{trace}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event = |event: &Value| {
        let readers = event["readers"].as_array().unwrap().iter();
        let stops = readers.filter(|reader| reader["standing"] != "handled");
        let stops = stops.map(|r| format!("{}: {}", text(&r["group"]), text(&r["standing"])));
        (event["depth"].as_u64().unwrap(), text(&event["type"]), stops.collect())
    };
    events.iter().map(event).collect()
}

fn said(depth: u64, its_type: &str, stops: &[&str]) -> (u64, String, Vec<String>) {
    (depth, its_type.to_owned(), stops.iter().map(|stop| (*stop).to_owned()).collect())
}

#[tokio::test]
async fn the_life_of_an_order_is_found_by_its_number_its_key_and_its_ids() {
    let shop = Shown::new().await;
    let payment = Service::new("payment").on(charge).start(&shop.engine).await.unwrap();
    let shipping = Service::new("shipping").on(ship).with(Broken::default());
    let shipping = shipping.start(&shop.engine).await.unwrap();
    shop.place("ann", "536365").await;
    shop.place("bob", "536366").await;
    shipping.until(|figures| figures.emitted == 2).await;
    shop.console.sampled().await;
    let whole = [said(0, "Placed", &[]), said(1, "Paid", &[]), said(2, "Shipped", &[])];
    let by_number = shop.trace("q=536365").await;
    assert_eq!(told(&by_number), whole, "{by_number}");
    assert_eq!((&by_number["left"], &by_number["next"]), (&json!(0), &json!(null)));
    let events = &by_number["life"]["event_list"];
    assert_eq!(events[1]["cause"]["topic"], "orders");
    assert_eq!(events[0]["readers"], json!([{ "group": "payment", "standing": "handled" }]));
    let (correlation, id) = (&events[2]["correlation"], &events[2]["id"]);
    let place = format!("shipping/{}/{}", events[2]["partition"], events[2]["offset"]);
    for query in
        [correlation.as_str().unwrap(), id.as_str().unwrap(), "ann", &place.replace('/', "%2F")]
    {
        let found = shop.trace(&format!("q={query}")).await;
        assert_eq!(told(&found), whole, "{query}: {found}");
    }
    let last = shop.trace(&format!("q={}", id.as_str().unwrap())).await;
    let matches: Vec<_> =
        last["life"]["event_list"].as_array().unwrap().iter().map(|e| &e["match"]).collect();
    assert_eq!(matches, [false, false, true]);
    assert_eq!(told(&shop.trace("q=536365&depth=1").await), whole[..2]);
    assert_eq!(shop.trace("q=536365&depth=1").await["life"]["hidden"], 1);

    let (status, page) = shop.get("/trace?q=536365").await;
    assert_eq!(status, 200);
    for part in
        ["It went all its way", "class=\"graph\"", "class=\"timeline\"", "Shipped", "payment · +"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(" style=") && !page.contains("onclick"), "{page}");
    assert!(shop.get("/trace").await.1.contains("Latest"));
    assert!(shop.get("/trace?q=nobody").await.1.contains("Nothing mentions"));
    payment.stop().await.unwrap();
    shipping.stop().await.unwrap();
}

#[tokio::test]
async fn several_lives_of_a_key_are_listed_and_one_is_shown() {
    let shop = Shown::new().await;
    let payment = Service::new("payment").on(charge).start(&shop.engine).await.unwrap();
    for order in ["1001", "1002", "1003"] {
        shop.place("ann", order).await;
    }
    payment.until(|figures| figures.emitted == 3).await;
    shop.console.sampled().await;
    let all = shop.trace("q=ann").await;
    let lives = all["lives"].as_array().unwrap();
    assert_eq!((lives.len(), &all["life"]), (3, &json!(null)));
    assert_eq!(lives[0]["events"], 2);
    let life = lives[1]["life"].as_str().unwrap();
    let one = shop.trace(&format!("q=ann&life={life}")).await;
    assert_eq!(one["life"]["event_list"][0]["correlation"], life);
    assert_eq!(one["lives"].as_array().unwrap().len(), 3, "the others are still listed");
    payment.stop().await.unwrap();
}

#[tokio::test]
async fn where_a_life_has_stopped_is_said_with_the_reason() {
    let shop = Shown::new().await;
    let broken = Broken::default();
    broken.lock().unwrap().insert("stuck-1".into());
    let payment = Service::new("payment").on(charge).start(&shop.engine).await.unwrap();
    let start = async || {
        let quick = Backoff { attempts: 2, first: Duration::from_millis(1), ..Backoff::default() };
        let shipping = Service::new("shipping").on(ship).with(Arc::clone(&broken)).retry(quick);
        shipping.start(&shop.engine).await.unwrap()
    };
    let shipping = start().await;
    for (account, order) in
        [("ann", "refused-1"), ("bob", "stuck-1"), ("bob", "after-1"), ("cid", "fine-1")]
    {
        shop.place(account, order).await;
    }
    shipping.until(|figures| figures.dead_keys == 1 && figures.parked == 2).await;
    shop.console.sampled().await;

    let refused = shop.trace("q=refused-1").await;
    assert_eq!(told(&refused), [said(0, "Placed", &["payment: given-up"])]);
    let reader = &refused["life"]["event_list"][0]["readers"][0];
    assert_eq!((&reader["kind"], &reader["cause"]), (&json!("rejected"), &json!("card declined")));
    assert_eq!(refused["life"]["letter_list"].as_array().unwrap().len(), 1);

    let stuck = shop.trace("q=stuck-1").await;
    assert_eq!(told(&stuck), [said(0, "Placed", &[]), said(1, "Paid", &["shipping: dead"])]);
    let reader = &stuck["life"]["event_list"][1]["readers"][0];
    assert_eq!(reader["cause"], "no truck");
    let page = shop.get("/trace?q=stuck-1").await.1;
    let desk = format!("/dead/shipping/keys/{}", reader["letter"].as_str().unwrap());
    assert!(page.contains(&desk) && page.contains("shipping: dead"), "{page}");
    assert_eq!(shop.get(&desk).await.0, 200);
    let after = shop.trace("q=after-1").await;
    assert_eq!(told(&after)[1], said(1, "Paid", &["shipping: parked"]));

    shipping.stop().await.unwrap();
    shop.place("dan", "late-1").await;
    payment.until(|figures| figures.emitted == 4).await;
    shop.console.sampled().await;
    let late = shop.trace("q=late-1").await;
    assert_eq!(told(&late)[1], said(1, "Paid", &["shipping: behind"]), "{late}");
    assert_eq!(late["life"]["event_list"][1]["readers"][0]["why"], "no-members");
    payment.stop().await.unwrap();
}

#[tokio::test]
async fn what_others_write_is_drawn_as_far_as_it_goes() {
    let shop = Shown::new().await;
    shop.topic("t", 1).await;
    let event = |id: &str, cause: &str, value: &str| {
        let headers = [("ce_id", id), ("ce_causationid", cause), ("ce_type", "x.<b>Thing")];
        let headers = headers.into_iter().filter(|(_, text)| !text.is_empty());
        SentRecord {
            topic: "t".into(),
            partition: Some(0),
            value: Some(value.to_owned().into()),
            headers: headers.map(|(name, text)| Header::text(name, text)).collect(),
            ..SentRecord::default()
        }
    };
    let records = vec![
        event("child", "gone", "needle"),
        event("grandchild", "child", ""),
        event("r1", "r2", "ring"),
        event("r2", "r1", ""),
        event("", "", "bare needle-2"),
    ];
    shop.engine.producer().await.unwrap().send(records).await.unwrap();
    let found = shop.trace("q=child").await;
    let events = found["life"]["event_list"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{found}");
    assert_eq!((&events[0]["missing_cause"], &events[0]["depth"]), (&json!("gone"), &json!(1)));
    let page = shop.get("/trace?q=child").await.1;
    assert!(page.contains("not found") && !page.contains("<b>"), "{page}");
    let ring = shop.trace("q=r1").await;
    let marks: Vec<_> =
        ring["life"]["event_list"].as_array().unwrap().iter().map(|e| &e["in_ring"]).collect();
    assert_eq!(marks, [true, false], "{ring}");
    let bare = shop.trace("q=bare").await;
    assert_eq!(bare["life"]["life"], "t/0/4");
    assert_eq!(shop.trace("q=needle").await["lives"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_search_that_is_not_understood_is_refused() {
    let shop = Shown::new().await;
    let long = "x".repeat(limits::TRACE_QUERY_CHARS_MAX + 1);
    for (query, status) in [
        ("q=x&from=soon", 400),
        ("q=x&before=y", 400),
        ("q=x&have=y", 400),
        ("q=x&depth=y", 400),
        ("q=x&topic=none", 404),
        (&format!("q={long}"), 400),
        ("q=x&from=2026-12-01T08:26&to=2026-12-01", 200),
    ] {
        for path in ["/trace", "/api/trace"] {
            let (found, body) = shop.get(&format!("{path}?{query}")).await;
            assert_eq!(found, status, "{path}?{query}: {body}");
        }
    }
}
