//! Records produced by form and as JSON, and templates.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::Shown;

#[tokio::test]
async fn a_record_is_produced_by_form_and_by_json() {
    let shown = Shown::with_topic(2).await;
    const FORM: &str = "application/x-www-form-urlencoded";
    let body = "key=k&form=json&value=%7B%22n%22%3A%201.10%7D&headers=a%3A%20b&partition=1";
    let sent = shown.post("/topics/t/produce", FORM, body).await;
    assert_eq!(
        (sent.status, &sent.headers[header::LOCATION]),
        (303, &"/topics/t/1/0".parse().unwrap())
    );
    let record = shown.json("/api/topics/t/1/0").await;
    assert_eq!(record["value_payload"]["text"], "{\"n\": 1.10}");
    assert_eq!((&record["key"], &record["headers"][0]["name"]), (&json!("k"), &json!("a")));
    // What is refused is shown with what was typed.
    let refused =
        shown.post("/topics/t/produce", FORM, "form=json&value=%3Cb%3E%7B&key=kept").await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("the value is no JSON")
            && refused.text().contains("value=\"kept\"")
    );
    assert!(!refused.text().contains("<b>{"));
    let form = shown.get("/topics/t/produce?from=latest").await;
    assert!(form.text().contains("{&#34;n&#34;: 1.10}"), "{}", form.text());
    let made = shown
        .post("/api/topics/t/records", "application/json", r#"{"partition":0,"key":"k"}"#)
        .await;
    assert_eq!(
        (made.status, made.json()),
        (201, json!({ "topic": "t", "partition": 0, "offset": 0 }))
    );
    for (path, kind, body, wanted) in [
        ("/api/topics/t/records", "application/json", "{\"partition\":9}", 404),
        ("/api/topics/no/records", "application/json", "{}", 404),
        ("/api/topics/__consumer_offsets/records", "application/json", "{}", 403),
        ("/api/topics/t/records", "application/json", "{\"value\":\"a\",\"value_json\":1}", 422),
        ("/api/topics/t/records", "text/plain", "{}", 415),
        ("/topics/t/produce", FORM, "form=text&partition=9", 404),
    ] {
        assert_eq!(shown.post(path, kind, body).await.status, wanted, "{path} {body}");
    }
    assert_eq!(shown.get("/topics/__consumer_offsets/produce").await.status, 403);
    for path in ["/topics/t/produce", "/api/topics/t/records"] {
        let foreign = Request::post(path)
            .header("origin", "http://evil.example")
            .header("host", "127.0.0.1:8080")
            .header(header::CONTENT_TYPE, FORM);
        assert_eq!(
            shown.ask(foreign.body(Body::from("key=k")).unwrap()).await.status,
            403,
            "{path}"
        );
    }
    let topic = shown.engine.topic("t").await.unwrap();
    assert_eq!(
        topic.partitions.iter().map(|p| p.end_offset).sum::<i64>(),
        2,
        "nothing else was produced"
    );
}

#[tokio::test]
async fn a_registered_schema_is_a_template() {
    let shown = Shown::with_topic(1).await;
    let registry = tidings_gateway::registry(shown.engine.clone()).await.unwrap();
    let schema = json!({ "type": "object", "properties": { "order": { "type": "string" } } });
    let body = json!({ "schemaType": "JSON", "schema": schema.to_string() }).to_string();
    let request = Request::post("/subjects/t-value/versions")
        .header(header::CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")
        .body(Body::from(body))
        .unwrap();
    assert_eq!(registry.oneshot(request).await.unwrap().status().as_u16(), 200);
    let template = shown.json("/api/topics/t/template").await;
    assert_eq!(template["schema"]["value"], "{\n  \"order\": \"\"\n}");
    assert_eq!((&template["schema"]["version"], &template["latest"]), (&json!(1), &Value::Null));
    let form = shown.get("/topics/t/produce?from=schema").await;
    assert!(form.text().contains("&#34;order&#34;: &#34;&#34;"), "{}", form.text());
}
