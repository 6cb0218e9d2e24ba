//! Where a page begins, filters, the budget and its cursor.

use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tidings_console::limits;
use tower::ServiceExt;

use crate::{Shown, Stream, ago, offsets, order, record};

#[tokio::test]
async fn a_page_begins_where_its_url_says() {
    let shown = Shown::with_topic(2).await;
    let base = ago(100_000);
    let both =
        (0..10).flat_map(|n| [record(0, base + n * 10, "a"), record(1, base + n * 10 + 5, "b")]);
    shown.send(both.collect()).await;
    let newest = shown.json("/api/topics/t").await;
    let at = |row: &Value| (row["partition"].as_i64().unwrap(), row["offset"].as_i64().unwrap());
    let rows: Vec<_> = newest["page"].as_array().unwrap().iter().map(at).collect();
    assert_eq!((rows.len(), &rows[..4]), (20, &[(1, 9), (0, 9), (1, 8), (0, 8)][..]));
    assert_eq!((&newest["ended"], &newest["older"]), (&json!("complete"), &Value::Null));
    for (query, wanted) in [
        ("partition=1".to_owned(), (0..10).rev().collect::<Vec<i64>>()),
        ("partition=0&offset=3".to_owned(), vec![3, 2, 1, 0]),
        ("offset=1".to_owned(), vec![1, 0]),
        (format!("partition=0&since={}", base + 70), vec![9, 8, 7]),
        (format!("partition=0&until={}", base + 20), vec![1, 0]),
        (format!("since={}&until={}", base + 20, base + 31), vec![3, 2, 2]),
        (format!("key=k{}", base + 40), vec![4]),
        ("before=0:2,1:1".to_owned(), vec![1, 0, 0]),
        ("since=-1h&partition=0&offset=0".to_owned(), vec![0]),
        ("since=-1s".to_owned(), vec![]),
        ("q=&key=&since=&partition=0&offset=0".to_owned(), vec![0]),
    ] {
        let found = shown.json(&format!("/api/topics/t?{query}")).await;
        assert_eq!(offsets(&found), wanted, "{query}");
    }
    assert_eq!(shown.get("/topics/t?partition=7").await.status, 404);
    assert_eq!(shown.get("/api/topics/t?since=noon").await.status, 400);
}

#[tokio::test]
async fn filters_run_on_the_server_and_columns_come_from_paths() {
    let shown = Shown::with_topic(1).await;
    let base = ago(100_000);
    shown.send((0..40).map(|n| record(0, base + n, order(n))).collect()).await;
    for (query, wanted) in [
        ("q=ANN&offset=9", vec![8, 6, 4, 2, 0]),
        ("q=/order.:3%5B79%5D/", vec![39, 37]),
        ("json=$.order=7", vec![7]),
        ("json=$.lines%5B?@.qty%3E37%5D", vec![39, 38]),
        ("json=$.who=ann&json=order=6", vec![6]),
        ("cel=value.order%20%3E%2036%20%26%26%20value.who%20==%20'bob'", vec![39, 37]),
        ("cel=value.lines.exists(l,%20l.qty%20==%203)", vec![3]),
        ("q=ann&cel=offset%20%3C%203", vec![2, 0]),
    ] {
        let found = shown.json(&format!("/api/topics/t?{query}")).await;
        assert_eq!(offsets(&found), wanted, "{query}: {}", found["looked"]);
    }
    let found = shown.json("/api/topics/t?offset=1&col=who&col=$.lines%5B*%5D.qty&col=$.no").await;
    assert_eq!(found["columns"], json!(["who", "$.lines[*].qty", "$.no"]));
    assert_eq!(found["page"][0]["columns"], json!(["bob", "1", null]));
    let page = shown.get("/topics/t?offset=1&col=who&q=bob").await;
    assert!(page.text().contains(r#"<th class="column mono">who</th>"#), "{}", page.text());
    let odd = shown.json("/api/topics/t?cel=value.who%20%3E%203").await;
    assert_eq!((&odd["looked"]["failed"], odd["page"].as_array().unwrap().len()), (&json!(40), 0));
    for (query, title) in [
        ("cel=value.items.map(i,%20i)%20==%20%5B%5D", "map and filter are not there"),
        ("q=/(a%7B1000%7D)%7B1000%7D/", "it needs more than"),
        ("json=$..a..b..c", "at most 2"),
    ] {
        let answer = shown.get(&format!("/api/topics/t?{query}")).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["title"]),
            (400, &json!("The filter is not understood"))
        );
        assert!(problem["detail"].as_str().unwrap().contains(title), "{problem}");
        assert_eq!(shown.get(&format!("/topics/t?{query}")).await.status, 400);
    }
}

#[tokio::test]
async fn a_search_whose_budget_ends_goes_on_where_it_was() {
    let shown = Shown::with_topic(3).await;
    let base = ago(1_000_000);
    let count = i64::try_from(limits::SEARCH_PAGE.records).unwrap() + 20_000;
    for from in (0..count).step_by(20_000) {
        let some = (from..from + 20_000).map(|n| {
            let value = if n == 0 || n == count - 1 { "needle" } else { "hay" };
            record(i32::try_from(n % 3).unwrap(), base + n / 1_000, value)
        });
        shown.send(some.collect()).await;
    }
    let (mut url, mut found, mut looked, mut requests) = ("?q=needle".to_owned(), 0, 0, 0);
    loop {
        let answer = shown.json(&format!("/api/topics/t{url}")).await;
        found += answer["page"].as_array().unwrap().len();
        looked += answer["looked"]["records"].as_i64().unwrap();
        requests += 1;
        let Some(cursor) = answer["older"].as_str() else {
            assert_eq!(answer["ended"], "complete");
            break;
        };
        assert!(["records", "time"].contains(&answer["ended"].as_str().unwrap()), "{answer}");
        url = format!("?q=needle&before={cursor}");
    }
    assert_eq!(found, 2);
    assert!(requests > 1, "one request does not look at everything");
    assert!((count..count + count / 10).contains(&looked), "{looked} of {count}");
    // The page of the first request goes on by a stream, which finds the rest.
    let page = shown.get("/topics/t?q=needle").await;
    let stream = page.text().split("data-search=\"").nth(1).expect("it goes on");
    let stream = stream.split('"').next().unwrap().replace("&#38;", "&");
    let mut stream = shown.stream(&stream).await;
    let mut rows = 0;
    while let Some((_, message, _)) = stream.next().await {
        rows += message["rows"].as_str().map_or(0, |rows| rows.matches("<tr").count());
        if message["last"] == json!(true) {
            let looked = message["looked"].as_str().unwrap();
            assert!(looked.contains("2 found among 120,000"), "{looked}");
        }
    }
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_search_streams_what_it_finds_with_a_cursor() {
    let shown = Shown::with_topic(1).await;
    let base = ago(100_000);
    let count = 600;
    shown.send((0..count).map(|n| record(0, base + n, order(n))).collect()).await;
    let mut stream = shown.stream("/api/topics/t/search?q=ann").await;
    let (name, first, id) = stream.next().await.unwrap();
    assert_eq!(id.as_deref(), Some("0:598"));
    assert_eq!((name.as_str(), &first["offset"]), ("record", &json!(598)));
    let ended = stream.named("ended").await;
    assert_eq!((&ended["ended"], &ended["before"]), (&json!("complete"), &Value::Null));
    assert_eq!(ended["looked"]["found"], json!(300));
    assert!(stream.next().await.is_none());
    // One that found as many as it may goes on from its cursor.
    let mut stream = shown.stream("/api/topics/t/search").await;
    let ended = stream.named("ended").await;
    assert_eq!((&ended["ended"], &ended["before"]), (&json!("rows"), &json!("0:100")));
    let request = Request::get("/api/topics/t/search").header("last-event-id", "0:100");
    let response = shown.console.router().oneshot(request.body(Body::empty()).unwrap()).await;
    let body = response.unwrap().into_body().into_data_stream();
    let mut stream = Stream { body, text: String::new() };
    assert_eq!(stream.named("record").await["offset"], json!(99));
}

#[tokio::test]
async fn searches_at_once_are_few_and_end_with_their_clients() {
    let shown = Shown::with_topic(1).await;
    let base = ago(1_000);
    shown.send((0..1_000).map(|n| record(0, base, order(n))).collect()).await;
    let mut streams = Vec::new();
    for _ in 0..limits::SEARCHES_MAX {
        streams.push(shown.stream("/api/topics/t/search").await);
    }
    // None of them is read, and each holds its turn until its client is gone.
    let (waits, ()) = tokio::join!(shown.get("/api/topics/t?q=ann"), async { streams.clear() });
    assert_eq!(waits.status, 200);
}

/// How soon the first of 1,000,000 records is found, and what a whole search takes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p tidings-console --test topics searching -- --ignored --nocapture"]
async fn searching_1_000_000_records() {
    let shown = Shown::with_topic(4).await;
    let base = ago(2_000_000);
    for from in (0..1_000_000_i64).step_by(20_000) {
        let some = (from..from + 20_000)
            .map(|n| record(i32::try_from(n % 4).unwrap(), base + n, order(n)));
        shown.send(some.collect()).await;
    }
    for query in [
        "q=ann",
        "q=%22order%22:1234,",
        "q=/order.:12345%5B67%5D/",
        "json=$.order=1234",
        "json=$.lines%5B?@.qty==1234%5D",
        "cel=value.order%20==%201234",
        "cel=value.lines.exists(l,%20l.qty%20==%201234)",
        "q=nowhere",
    ] {
        let began = Instant::now();
        let mut stream = shown.stream(&format!("/api/topics/t/search?{query}")).await;
        let mut first = None;
        let ended = loop {
            let (name, data, _) = stream.next().await.unwrap();
            if name == "record" {
                first.get_or_insert(began.elapsed());
            }
            if name == "ended" {
                break data;
            }
        };
        println!("{query}: first {first:?}, all {:?}, {}", began.elapsed(), ended["looked"]);
    }
}
