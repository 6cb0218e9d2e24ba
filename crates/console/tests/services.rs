//! The pages of services over the console's router, on an engine in memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings::{
    Backoff, BreakerOptions, Event, Outcome, Outgoing, Publisher, Received, Service, done, outage,
};
use tidings_console::ConsoleOptions;
use tokio_stream::StreamExt;
use tower::ServiceExt;

mod shown;

use shown::Shown;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", key = "order")]
struct Placed {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payments", key = "order")]
struct Paid {
    order: String,
}

async fn charge(event: Received<Placed>) -> Outcome<Paid> {
    if event.order == "closed" {
        return outage("the bank is <closed>");
    }
    done(Paid { order: event.into_event().order })
}

impl Shown {
    async fn new() -> Self {
        Self::with(ConsoleOptions::default()).await
    }

    async fn place(&self, order: &str) {
        let till = Publisher::open(&self.engine, "till").await.unwrap();
        till.publish(vec![Outgoing::new(&Placed { order: order.into() })]).await.unwrap();
    }
}

#[tokio::test]
async fn an_open_breaker_is_on_the_overview_first_and_on_the_service_with_its_cause() {
    let shown = Shown::new().await;
    let (status, page) = shown.get("/services").await;
    assert!(status == 200 && page.contains("No services yet"), "{page}");
    assert_eq!(shown.get("/services/payment").await.0, 404);
    assert_eq!(shown.get("/api/services/payment").await.0, 404);
    let often = Backoff { first: Duration::from_millis(5), ..BreakerOptions::default().probe };
    let probes = BreakerOptions { probe: often, ..BreakerOptions::default() };
    let service = Service::new("payment").on(charge).breaker(probes);
    let running = service.start(&shown.engine).await.unwrap();
    shown.place("a").await;
    running.until(|figures| figures.emitted == 1).await;
    shown.place("closed").await;
    running.until(|figures| figures.outages > 0).await;
    let line = loop {
        shown.console.sampled().await;
        let listed = shown.json("/api/services").await;
        let line = listed["by_service"][0].clone();
        if line["breaker"].is_object() {
            break line;
        }
    };
    assert_eq!((&line["name"], &line["instances"]), (&"payment".into(), &1.into()));
    assert_eq!(line["breaker"]["cause"], "the bank is <closed>");
    let problems = shown.json("/api/overview").await["problems"].clone();
    assert_eq!(problems[0]["href"], "/services/payment", "{problems}");
    let service = shown.json("/api/services/payment").await;
    assert_eq!(service["handlers"][0]["name"], "charge");
    assert_eq!(service["handlers"][0]["processed"], 1);
    assert!(service["handlers"][0]["processing"]["p95_ms"].is_number());
    assert_eq!(service["inputs"], Value::from(vec!["orders"]));
    assert_eq!(service["outputs"], Value::from(vec!["payments"]));
    for (path, parts) in [
        ("/services", ["breaker open", "href=\"/services/payment\""]),
        ("/services/payment", ["It takes a dependency for down", "the bank is &#60;closed&#62;"]),
        ("/services/payment", ["href=\"/topics/payments\"", "href=\"/groups/payment\""]),
        ("/services/payment", ["href=\"/dead/payment\"", "Turned away"]),
    ] {
        let (status, page) = shown.get(path).await;
        assert_eq!(status, 200, "{path}");
        for part in parts {
            assert!(page.contains(part), "{part} on {path}: {page}");
        }
        assert!(!page.contains(" style=") && !page.contains("<closed>"), "{path}");
    }

    running.stop().await.unwrap();
    shown.console.sampled().await;
    let line = shown.json("/api/services").await["by_service"][0].clone();
    assert_eq!((&line["name"], &line["instances"]), (&"payment".into(), &0.into()));
    assert!(shown.get("/services").await.1.contains("not running"));
    assert!(shown.get("/services/payment").await.1.contains("No instance reports"));
}

#[tokio::test]
async fn pages_of_services_and_groups_are_live() {
    let shown = Shown::new().await;
    let running = Service::new("payment").on(charge).start(&shown.engine).await.unwrap();
    shown.place("a").await;
    running.until(|figures| figures.emitted == 1).await;
    shown.console.sampled().await;
    for (path, part, wanted) in [
        ("/live?page=services&q=pay", "rows", "payment"),
        ("/live?page=services&q=none", "rows", "No services yet"),
        ("/live?page=groups&q=pay", "rows", "payment"),
        ("/live?page=group&name=payment&range=24h", "body", "Time to drain"),
        ("/live?page=service&name=payment", "body", "Handlers"),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = shown.console.router().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let mut stream = response.into_body().into_data_stream();
        loop {
            let chunk = stream.next().await.unwrap().unwrap();
            let text = std::str::from_utf8(&chunk).unwrap();
            let parts: Value =
                serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap();
            if parts[part].as_str().is_some_and(|markup| markup.contains(wanted)) {
                break;
            }
        }
    }
    for path in ["/live?page=nothing", "/live?page=group&range=1y"] {
        assert_eq!(shown.get(path).await.0, 400, "{path}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_map_shows_who_writes_and_who_reads() {
    let shown = Shown::new().await;
    assert!(shown.get("/map").await.1.contains("Nobody was seen"));
    let running = Service::new("payment").on(charge).start(&shown.engine).await.unwrap();
    shown.place("a").await;
    running.until(|figures| figures.emitted == 1).await;
    let names = |map: &Value| -> Vec<String> {
        let name = |node: &Value| {
            format!("{}:{}", node["kind"].as_str().unwrap(), node["name"].as_str().unwrap())
        };
        map["nodes"].as_array().unwrap().iter().map(name).collect()
    };
    let whole = ["producer:till", "topic:orders", "topic:payments", "service:payment"];
    loop {
        shown.console.sampled().await;
        if names(&shown.json("/api/map").await) == whole {
            break;
        }
    }
    let near = shown.json("/api/map?focus=producer:till&depth=1").await;
    assert_eq!(
        (names(&near), &near["hidden"]),
        (vec![whole[0].into(), whole[1].into()], &2.into())
    );
    let (status, page) = shown.get("/map?focus=topic%3Aorders").await;
    assert_eq!(status, 200);
    for part in
        ["class=\"map\"", "href=\"/services/payment\"", "href=\"/topics/payments\"", "2 steps"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains(" style="), "{page}");
    assert_eq!(shown.get("/map?focus=topic:none").await.0, 404);
    running.stop().await.unwrap();
}
