//! Records alone, large and hostile ones, tails, and an engine that goes away.

use axum::http::header;
use serde_json::json;
use tidings_console::limits;
use tidings_engine::Header;
use tokio::time::timeout;

use crate::{DEADLINE, Shown, ago, record};

#[tokio::test]
async fn a_record_opens_in_place_and_alone() {
    let shown = Shown::with_topic(1).await;
    let mut sent = record(0, ago(1_000), r#"{"a": 1.10,"b":[]}"#);
    sent.headers.push(Header::text("trace", "x"));
    shown.send(vec![sent, record(0, ago(500), "\0\0\0\0\u{7}{\"s\":1}")]).await;
    let page = shown.get("/topics/t?open=0/0").await;
    let text = page.text();
    assert!(text.contains(r##"aria-expanded="true" href="/topics/t#r-0-0""##), "{text}");
    assert!(text.contains("aria-expanded=\"false\" href=\"/topics/t?open=0%2F1#r-0-1\""), "{text}");
    assert!(text.contains(r#"<tr class="detail"><td colspan="6">"#), "{text}");
    assert!(text.contains("As it was written") && text.contains("{&quot;a&quot;: 1.10,"), "{text}");
    for line in [
        "curl http://127.0.0.1:8080/api/topics/t/0/0",
        "kcat -C -b 127.0.0.1:9092 -t t -p 0 -o 0 -c 1 -J",
        "tidings consume t -b 127.0.0.1:9092 -p 0 --offset 0 -n 1 -o json",
    ] {
        assert!(text.contains(line), "{line}");
    }
    let part = shown.get("/topics/t/0/0/part").await;
    assert!(!part.text().contains("<html") && part.text().contains("Headers"), "{}", part.text());
    let framed = shown.json("/api/topics/t/0/1").await;
    assert_eq!(
        framed["framing"],
        json!({ "schema_id": 7, "decoded": { "form": "json", "text": "{\"s\":1}" } })
    );
    assert!(
        shown.get("/topics/t/0/1").await.text().contains("Schema 7, which the registry does not")
    );
    assert_eq!(shown.json("/api/topics/t?open=0/1").await["open"]["offset"], json!(1));
    let gone = shown.get("/topics/t?open=0/9").await;
    assert_eq!(gone.status, 200, "the rest of the page is as it was");
    let why = "The record that the link opens is not there";
    let text = String::from_utf8_lossy(&gone.body);
    assert!(text.contains(why) && text.contains("outside"), "{text}");
    let gone = shown.json("/api/topics/t?open=0/9").await;
    assert!(gone["open"].is_null() && gone["open_refused"].is_string(), "{gone}");
    let value = shown.get("/api/topics/t/0/0/value").await;
    assert_eq!(value.text(), r#"{"a": 1.10,"b":[]}"#);
    assert_eq!(value.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(value.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"t-0-0\"");
}

#[tokio::test]
async fn whatever_a_record_holds_the_pages_stand() {
    let shown = Shown::new().await;
    shown.topic("t", 1, &[("max.message.bytes", "67108864")]).await;
    let script = "<script>alert(1)</script>\"'><img src=x onerror=y>";
    let mut markup = record(0, ago(4_000), script);
    markup.key = Some(script.into());
    markup.headers = vec![Header::text(script, script), Header::text("ce_type", script)];
    let mut garbage = record(0, ago(3_000), vec![0xff_u8; 1_000]);
    garbage.key = Some(vec![0, 1, 254].into());
    garbage.headers = (0..500).map(|n| Header::text(format!("h{n}"), "v")).collect();
    let mut tombstone = record(0, ago(2_000), "");
    (tombstone.key, tombstone.value) = (None, None);
    let deep = record(0, ago(1_000), "[".repeat(100_000));
    shown.send(vec![markup, garbage, tombstone, deep]).await;
    for path in [
        "/topics/t",
        "/topics/t?open=0/0",
        "/topics/t?open=0/1",
        "/topics/t?open=0/2",
        "/topics/t?open=0/3",
        "/topics/t/0/0",
        "/topics/t/0/0/part",
        "/topics/t/0/1",
        "/topics/t/0/2",
        "/topics/t/0/3",
        "/topics/t?col=$.a&json=$.a",
        "/topics/t?q=%3Cscript%3E&key=%22%3E%3Cimg&cel=true&col=%5B'%3Cimg%3E'%5D&since=-1h",
        "/topics/t/produce?from=latest",
    ] {
        let page = shown.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(!page.text().contains("<script>alert"), "{path}");
        assert!(!page.text().contains("<img"), "{path}");
        assert!(!page.text().contains(" style=") && !page.text().contains(" onclick="), "{path}");
    }
    let mut stream = shown.stream("/topics/t/search?q=alert").await;
    let rows = stream.next().await.unwrap().1["rows"].as_str().unwrap().to_owned();
    assert!(rows.contains("&#60;script&#62;") && !rows.contains("<script"), "{rows}");
    let found = shown.json("/api/topics/t/0/1").await;
    assert_eq!(found["headers"].as_array().unwrap().len(), limits::HEADERS_SHOWN_MAX);
    assert_eq!(found["more_headers"], json!(300));
    assert_eq!(found["key_payload"]["form"], "binary");
    assert_eq!(shown.get("/api/topics/t/0/2/value").await.status, 404);
}

#[tokio::test]
async fn a_record_of_60_mb_is_cut_and_kept_whole() {
    let shown = Shown::new().await;
    shown.topic("t", 1, &[("max.message.bytes", "67108864")]).await;
    let large = vec![b'x'; 60_000_000];
    let sent = [record(0, ago(3), "before"), record(0, ago(2), large), record(0, ago(1), "after")];
    for one in sent {
        shown.send(vec![one]).await;
    }
    let page = shown.get("/topics/t").await;
    assert!(page.status == 200 && page.body.len() < 200_000, "{}", page.body.len());
    assert_eq!(shown.all("").await, [2, 1, 0]);
    for path in ["/topics/t?open=0/1", "/topics/t/0/1", "/api/topics/t/0/1"] {
        let page = shown.get(path).await;
        assert!(page.status == 200 && page.body.len() < 1_000_000, "{path}: {}", page.body.len());
    }
    assert!(shown.get("/topics/t/0/1").await.text().contains("the first 64 KiB are shown"));
    assert_eq!(shown.get("/api/topics/t/0/1/value").await.body.len(), 60_000_000);
    assert_eq!(shown.all("json=$.a&col=$.a").await, [0; 0]);
    let only = shown.json("/api/topics/t?json=$.a&before=0:2").await;
    assert_eq!(only["looked"]["too_large"], json!(1));
    assert_eq!(shown.all("q=xxx").await, [1]);
    let template = shown.json("/api/topics/t/template").await;
    assert_eq!(template["latest"]["value"], "after");
}

#[tokio::test]
async fn a_tail_shows_what_comes() {
    let shown = Shown::with_topic(2).await;
    shown.send(vec![record(0, ago(1_000), "old")]).await;
    let mut tail = shown.stream("/api/topics/t/tail?q=n").await;
    assert_eq!(tail.named("records").await["records"], json!([]));
    shown
        .send(vec![
            record(0, ago(2), "new 1"),
            record(1, ago(1), "other"),
            record(1, ago(0), "new 2"),
        ])
        .await;
    let (mut values, mut left_out) = (Vec::new(), 0);
    while values.len() < 2 {
        let came = tail.named("records").await;
        let rows = came["records"].as_array().unwrap();
        values.extend(rows.iter().map(|row| row["value"].as_str().unwrap().to_owned()));
        left_out += came["left_out"].as_i64().unwrap();
    }
    assert_eq!((values, left_out), (vec!["new 1".to_owned(), "new 2".to_owned()], 1));
    let page = shown.get("/topics/t?live=1").await;
    assert!(page.text().contains("data-tail=\"/topics/t/tail\""), "{}", page.text());
    assert_eq!(shown.get("/api/topics/t/tail?partition=9").await.status, 422);
    assert_eq!(shown.get("/api/topics/nobody/tail").await.status, 404);
}

#[tokio::test]
async fn live_tails_are_counted() {
    let shown = Shown::with_topic(1).await;
    let mut held = Vec::new();
    for _ in 0..limits::LIVE_STREAMS_MAX {
        held.push(shown.stream("/topics/t/tail").await);
    }
    assert_eq!(shown.get("/topics/t/tail").await.status, 503);
}

#[tokio::test]
async fn retention_and_a_skewed_partition_are_named() {
    let shown = Shown::new().await;
    shown.topic("t", 4, &[("retention.ms", "3600000")]).await;
    let base = ago(100_000);
    let most = (0..2_000).map(|n| record(if n % 10 == 0 { n / 10 % 4 } else { 3 }, base, "x"));
    shown.send(most.collect()).await;
    let found = timeout(DEADLINE, async {
        loop {
            shown.console.sampled().await;
            let topics = shown.json("/api/topics").await;
            let line = topics["topics"].as_array().unwrap()[0].clone();
            if !line["retention"].is_null() && !line["skew"].is_null() {
                return line;
            }
        }
    });
    let line = found.await.unwrap();
    assert_eq!(line["skew"], json!({ "partition": 3, "percent": 93 }));
    assert_eq!(line["retention"]["ms"], json!(3_600_000));
    let page = shown.get("/topics/t").await;
    assert!(page.text().contains("Partition 3 gets 93 % of the records"), "{}", page.text());
    assert!(page.text().contains("<dt>Kept</dt><dd class=\"words\">1 h</dd>"), "{}", page.text());
    let list = shown.get("/topics").await;
    assert!(list.text().contains("skewed: 3") && list.text().contains("1 h"), "{}", list.text());
}

#[tokio::test]
async fn an_engine_that_goes_away_is_explained() {
    let shown = Shown::with_topic(1).await;
    shown.send(vec![record(0, ago(1), "x")]).await;
    shown.console.sampled().await;
    let mut tail = shown.stream("/api/topics/t/tail").await;
    assert_eq!(tail.named("records").await["records"], json!([]));
    shown.engine.close().await.unwrap();
    for path in [
        "/topics/t",
        "/topics/t/0/0",
        "/api/topics/t",
        "/api/topics/t/search?q=x",
        "/topics/t/produce",
    ] {
        let answer = shown.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    let sent = shown
        .post("/topics/t/produce", "application/x-www-form-urlencoded", "form=text&value=kept")
        .await;
    assert_eq!(sent.status, 503);
    assert!(sent.text().contains("kept"), "what was typed is still there: {}", sent.text());
    let trouble = tail.named("trouble").await;
    assert_eq!(trouble["status"], json!(503));
    // What was sampled is still shown, and says that it is old.
    let list = shown.get("/topics").await;
    assert!(list.status == 200 && list.text().contains("/topics/t"), "{}", list.text());
}
