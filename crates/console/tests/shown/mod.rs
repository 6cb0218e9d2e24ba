//! A console on an engine in memory, asked over its router.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tidings_console::{Console, ConsoleOptions};
use tidings_engine::Engine;
use tower::ServiceExt;

pub(crate) struct Shown {
    pub(crate) engine: Engine,
    pub(crate) console: Console,
}

impl Shown {
    /// A console that samples often.
    pub(crate) async fn with(options: ConsoleOptions) -> Self {
        let engine = Engine::in_memory().await.unwrap();
        let options = ConsoleOptions { sample_interval: Duration::from_millis(20), ..options };
        let console = Console::start(engine.clone(), options).await;
        Self { engine, console }
    }

    /// Status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.console.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let value: Value = serde_json::from_str(&body).unwrap();
        // What is said twice under one name is read once, and other readers may take the other one.
        assert_eq!(value.to_string().len(), body.len(), "a name stands twice in {path}: {body}");
        value
    }
}
