//! Changes come from pages of this server or from programs, never from pages of others.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site` where the connection is a secure one
//! or to this machine, else in `Origin`, which every browser sends with a request that is no GET. What
//! says neither is no browser. Reads need no guard: without CORS no foreign page sees an answer.
//!
//! A proxy in front that names another host to this server than the browser sees makes the two
//! differ; it has to pass `Host` on.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::trouble::{ApiTrouble, Trouble};

/// A layer that refuses what a page of another site asks to be changed, also by opening a stream of ours.
pub async fn only_own_pages(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let streams = request.headers().contains_key(header::UPGRADE);
    if (reads && !streams) || is_own(request.headers()) {
        return next.run(request).await;
    }
    let trouble =
        Trouble::new(StatusCode::FORBIDDEN, "the request comes from a page of another site")
            .titled("Not from here")
            .hint("use the pages of this server; a proxy has to pass the Host header on");
    ApiTrouble(trouble).into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return true };
    let Some((_scheme, authority)) = origin.split_once("://") else { return false };
    text("host").is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn pages_of_others_are_told_from_our_own_and_from_programs() {
        for (headers, own) in [
            (&[("host", "localhost:8080")][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("host", "a:8080"), ("origin", "http://a:8080")], true),
            (&[("host", "A:8080"), ("origin", "http://a:8080")], true),
            (&[("host", "a:8080"), ("origin", "http://a:8081")], false),
            (&[("host", "a:8080"), ("origin", "http://evil.example")], false),
            (&[("host", "a:8080"), ("origin", "null")], false),
            (&[("host", "a:8080"), ("origin", "")], false),
            (&[("origin", "http://a:8080")], false),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect();
            assert_eq!(is_own(&map), own, "{headers:?}");
        }
    }
}
