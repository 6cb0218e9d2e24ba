//! Metrics and reports: what a service says about itself.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;
use crate::{Dep, Metrics, Outcome, REPORTS_TOPIC, Received, Report, Service, done, reject, retry};

async fn moody(event: Received<OrderPlaced>) -> Outcome<PaymentCompleted> {
    match event.order.as_str() {
        "rejected" => reject("card declined"),
        "failing" => retry("no answer"),
        "panicking" => panic!("a bug"),
        _ => done(PaymentCompleted { order: event.order.clone(), pence: event.pence }),
    }
}

async fn ship(event: Received<PaymentCompleted>) -> Outcome<Vec<Shipped>> {
    done(vec![Shipped { order: event.order.clone() }; 2])
}

/// Its value in the text, by name and labels.
fn value(metrics: &Metrics, of: &str) -> f64 {
    let text = metrics.to_string();
    let line = text.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {of} in {text}")).parse().expect("a number")
}

#[tokio::test]
async fn every_handler_is_counted_and_timed() {
    let engine = engine(1).await;
    place(&engine, &["a", "b", "rejected", "failing", "panicking"]).await;
    let word_only = BreakerOptions { keys: usize::MAX, ..QUICK_PROBES };
    let service = Service::new("payment").on(moody).on(ship).retry(QUICK).breaker(word_only);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.emitted == 6 && f.dead == 3).await;
    place(&engine, &["a"]).await;
    until(&running, |f| f.duplicates == 1).await;
    let metrics = running.metrics();
    for (of, wanted) in [
        ("processed_total{service=\"payment\",handler=\"moody\"}", 5.0),
        ("processed_total{service=\"payment\",handler=\"ship\"}", 2.0),
        ("failed_total{service=\"payment\",handler=\"moody\"}", 6.0),
        ("panics_total{service=\"payment\",handler=\"moody\"}", 3.0),
        ("rejected_total{service=\"payment\",handler=\"moody\"}", 1.0),
        ("emitted_total{service=\"payment\",handler=\"moody\"}", 2.0),
        ("emitted_total{service=\"payment\",handler=\"ship\"}", 4.0),
        ("duplicates_total{service=\"payment\",handler=\"moody\"}", 1.0),
        ("duplicates_total{service=\"payment\",handler=\"ship\"}", 0.0),
        ("processing_seconds_count{service=\"payment\",handler=\"moody\"}", 9.0),
        ("processing_seconds_count{service=\"payment\",handler=\"ship\"}", 2.0),
        ("end_to_end_seconds_count{service=\"payment\",handler=\"moody\"}", 3.0),
        ("end_to_end_seconds_count{service=\"payment\",handler=\"ship\"}", 2.0),
        ("retried_total{service=\"payment\"}", 4.0),
        ("dead_total{service=\"payment\"}", 3.0),
        ("parked{service=\"payment\"}", 2.0),
        ("dead_keys{service=\"payment\"}", 2.0),
        ("breaker_open{service=\"payment\"}", 0.0),
    ] {
        assert_eq!(value(&metrics, &format!("tidings_service_{of}")), wanted, "{of}");
    }
    assert_eq!(
        metrics.figures.processed,
        metrics.handlers.iter().map(|h| h.figures.processed).sum::<u64>()
    );
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn times_end_with_the_commit_and_begin_when_the_event_happened() {
    let engine = engine(1).await;
    let running = Service::new("payment").on(moody).start(&engine).await.expect("started");
    let hour_ms = 3_600_000;
    let now_ms = crate::publisher::now_ms();
    let ahead = placed("ahead").time_ms(now_ms + hour_ms);
    let old = placed("old").time_ms(now_ms - hour_ms);
    till(&engine).await.publish(vec![ahead, old]).await.expect("published");
    until(&running, |f| f.emitted == 2).await;
    let figures = running.metrics().handlers.remove(0).figures;
    assert_eq!((figures.end_to_end.counts[0], figures.end_to_end.counts[14]), (1, 1));
    assert!(figures.end_to_end.sum() >= Duration::from_secs(3_600));
    assert!(figures.processing.sum() < Duration::from_secs(3_600));
    running.stop().await.expect("stopped");
}

async fn held(_: Received<OrderPlaced>, open: Dep<Arc<Semaphore>>) -> Outcome<()> {
    open.acquire().await.expect("never closed").forget();
    done(())
}

#[tokio::test]
async fn lag_is_what_is_there_and_not_done_and_the_age_of_the_oldest() {
    let engine = engine(2).await;
    let open = Arc::new(Semaphore::new(0));
    let service = Service::new("payment").with(Arc::clone(&open)).on(held).concurrency(2);
    let running = service.start(&engine).await.expect("started");
    let names: Vec<String> = (0..20).map(|n| format!("order-{n}")).collect();
    place(&engine, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    eventually(async || running.metrics().lag_records == 20).await;
    eventually(async || running.metrics().lag_seconds > 0.0).await;
    let oldest = records(&engine, "orders").await.iter().map(|r| r.timestamp).min().expect("some");
    let before = (crate::publisher::now_ms() - oldest) as f64 / 1_000.0;
    let lag = running.metrics().lag_seconds;
    let after = (crate::publisher::now_ms() - oldest) as f64 / 1_000.0;
    assert!((before..=after).contains(&lag), "{lag} in {before}..={after}");
    open.add_permits(7);
    eventually(async || running.metrics().lag_records == 13).await;
    open.add_permits(100);
    eventually(async || running.metrics().lag_records == 0).await;
    assert_eq!(running.metrics().lag_seconds, 0.0);
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_open_breaker_shows() {
    async fn never(_: Received<OrderPlaced>) -> Outcome<()> {
        crate::outage("the bank is closed")
    }
    let engine = engine(1).await;
    place(&engine, &["a"]).await;
    let service = Service::new("payment").on(never).breaker(QUICK_PROBES);
    let running = service.start(&engine).await.expect("started");
    until(&running, |f| f.outages > 1).await;
    let metrics = running.metrics();
    assert_eq!(value(&metrics, "tidings_service_breaker_open{service=\"payment\"}"), 1.0);
    assert!(metrics.handlers[0].figures.outages > 1);
    running.stop().await.expect("stopped");
}

pub(super) async fn reports(engine: &Engine) -> Vec<Record> {
    match engine.topic(REPORTS_TOPIC).await {
        Ok(_) => records(engine, REPORTS_TOPIC).await,
        Err(_) => Vec::new(),
    }
}

#[tokio::test]
async fn an_instance_reports_and_takes_its_report_back_when_it_stops() {
    let engine = engine(1).await;
    let running = Service::new("payment").on(moody).on(ship).start(&engine).await.expect("started");
    eventually(async || !reports(&engine).await.is_empty()).await;
    let record = reports(&engine).await.remove(0);
    let report = Report::from_record(&record).expect("a report");
    assert_eq!((report.report, report.service.as_str()), (1, "payment"));
    assert_eq!(report.instance, running.instance());
    assert_eq!(record.key.as_deref(), Some(format!("payment/{}", report.instance).as_bytes()));
    assert_eq!(
        (report.inputs, report.outputs),
        (vec!["orders".into(), "payments".into()], vec!["payments".to_owned(), "shipments".into()])
    );
    let handlers =
        report.handlers.iter().map(|h| (h.name.as_str(), h.topic.as_str(), h.event.as_str()));
    let handlers: Vec<_> = handlers.collect();
    assert_eq!(
        handlers,
        [("moody", "orders", "OrderPlaced"), ("ship", "payments", "PaymentCompleted")]
    );
    assert_eq!(report.metrics.handlers.len(), 2);
    assert!(report.at_ms >= report.started_ms && report.started_ms > 0);
    running.stop().await.expect("stopped");
    let last = reports(&engine).await.pop().expect("a tombstone");
    assert_eq!((last.key, last.value), (record.key, None));
    let configs = engine.topic_configs(REPORTS_TOPIC).await.expect("configs");
    let policy = configs.into_iter().find(|config| config.name == "cleanup.policy");
    assert_eq!(policy.and_then(|policy| policy.value).as_deref(), Some("compact,delete"));
}

#[tokio::test]
async fn a_service_without_reports_makes_no_topic_for_them() {
    let engine = engine(1).await;
    let running =
        Service::new("payment").on(moody).without_reports().start(&engine).await.expect("started");
    place(&engine, &["a"]).await;
    until(&running, |f| f.emitted == 1).await;
    running.stop().await.expect("stopped");
    assert!(engine.topic(REPORTS_TOPIC).await.is_err());
}

#[tokio::test]
async fn a_report_that_cannot_be_written_disturbs_nobody() {
    let engine = engine(1).await;
    // It takes no report.
    let configs = vec![("max.message.bytes".to_owned(), "100".to_owned())];
    let topic = NewTopic { name: REPORTS_TOPIC.into(), partitions: Some(1), configs };
    engine.create_topic(topic).await.expect("a topic");
    let running = Service::new("payment").on(moody).start(&engine).await.expect("started");
    place(&engine, &["a"]).await;
    let figures = until(&running, |f| f.emitted == 1).await;
    assert_eq!(figures.rejoined, 0);
    running.stop().await.expect("stopped");
    assert!(reports(&engine).await.is_empty());
}

#[tokio::test]
async fn what_is_no_report_of_its_key_is_none() {
    let engine = engine(1).await;
    let running = Service::new("payment").on(moody).start(&engine).await.expect("started");
    eventually(async || !reports(&engine).await.is_empty()).await;
    let good = reports(&engine).await.remove(0);
    running.stop().await.expect("stopped");
    let value = |text: &str| Record { value: Some(text.to_owned().into()), ..good.clone() };
    let json = String::from_utf8(good.value.clone().expect("a value").to_vec()).expect("JSON");
    assert!(Report::from_record(&value(&json)).is_some());
    assert!(
        Report::from_record(&value(&json.replace("{\"report\"", "{\"new\":[1],\"report\"")))
            .is_some(),
        "of a newer SDK"
    );
    for record in [
        Record { value: None, ..good.clone() },
        Record { key: Some("payment/other".into()), ..good.clone() },
        value("{}"),
        value("no JSON"),
        value(&json.replace("\"report\":1", "\"report\":0")),
        // Metrics of another service, a handler twice, and names that are too long.
        value(
            &json.replace("\"metrics\":{\"service\":\"payment\"", "\"metrics\":{\"service\":\"x\""),
        ),
        value(&json.replace(
            "\"handlers\":[{\"name\":\"moody\",\"proc",
            "\"handlers\":[{\"name\":\"moody\"},{\"name\":\"moody\",\"proc",
        )),
        value(&json.replace("moody", &"x".repeat(257))),
        value(&json.replace(
            "\"dependencies\":[]",
            "\"dependencies\":[{\"name\":\"a\"},{\"name\":\"a\"}]",
        )),
        value(&json.replace(
            "\"handlers\":[{\"name\":\"moody\",\"proc",
            &format!(
                "\"handlers\":[{}{{\"name\":\"moody\",\"proc",
                (0..200).map(|n| format!("{{\"name\":\"{n}\"}},")).collect::<String>()
            ),
        )),
        value(&format!("{json}{}", " ".repeat(crate::limits::REPORT_BYTES_MAX))),
    ] {
        assert_eq!(Report::from_record(&record), None, "{record:?}");
    }
}
