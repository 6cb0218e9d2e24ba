//! Where traces and metrics go, from the flag and from the variables of OpenTelemetry's specification.
//!
//! `--otlp-endpoint` goes before `OTEL_EXPORTER_OTLP_ENDPOINT`; to either `/v1/traces` and `/v1/metrics` are added. The
//! variables of one signal, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `…_METRICS_ENDPOINT`, are taken as they are. Also
//! read: `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` (`none`), `OTEL_EXPORTER_OTLP_HEADERS`,
//! `…_TIMEOUT`, `…_PROTOCOL`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use crate::limits::{METRICS_EVERY, TIMEOUT};

/// What is sent, where to and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub(crate) traces: Option<Uri>,
    pub(crate) metrics: Option<Uri>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    pub(crate) every: Duration,
    /// Of what belongs to no service.
    pub(crate) service: String,
    /// Of every resource.
    pub(crate) attributes: Vec<(String, String)>,
}

impl Wanted {
    /// None when nobody wants anything sent.
    pub fn of(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Refused> {
        let said = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, word: &str| said(name).is_some_and(|v| v.eq_ignore_ascii_case(word));
        if is("OTEL_SDK_DISABLED", "true") {
            return Ok(None);
        }
        let base = match flag {
            Some(flag) => Some(("--otlp-endpoint", flag.to_owned())),
            None => said(BASE).map(|url| (BASE, url)),
        };
        let signal = |own: &'static str, path: &str, exporter: &str| {
            if is(exporter, "none") {
                return Ok(None);
            }
            // A flag is said for this very command, a variable for all.
            let found = match (&base, said(own)) {
                (Some((name, url)), _) if flag.is_some() => Some((*name, below(url, path))),
                (_, Some(url)) => Some((own, url)),
                (Some((name, url)), None) => Some((*name, below(url, path))),
                (None, None) => None,
            };
            found.map(|(name, url)| checked(name, &url)).transpose()
        };
        let traces =
            signal("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "v1/traces", "OTEL_TRACES_EXPORTER")?;
        let metrics =
            signal("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "v1/metrics", "OTEL_METRICS_EXPORTER")?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        if is(PROTOCOL, "grpc") && flag.is_none() {
            return Err(wrong(
                PROTOCOL,
                "grpc is not spoken, only http/json, which collectors take on port 4318",
            )
            .hint("http/json as the protocol, or OTEL_SDK_DISABLED=true"));
        }
        let ms = |name: &str, default: Duration| match said(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse::<u64>() {
                Ok(ms) if (1..=3_600_000).contains(&ms) => Ok(Duration::from_millis(ms)),
                _ => Err(wrong(name, "milliseconds up to an hour are wanted")),
            },
        };
        let headers = pairs(HEADERS, said(HEADERS))?.into_iter().map(|(name, value)| {
            let parsed = (name.to_ascii_lowercase().parse(), value.parse());
            let (Ok(name), Ok::<HeaderValue, _>(mut value)) = parsed else {
                return Err(wrong(HEADERS, "no such header"));
            };
            // Keys are in headers, and nothing for a log.
            value.set_sensitive(true);
            Ok((name, value))
        });
        let mut attributes = pairs(RESOURCE, said(RESOURCE))?;
        let named = attributes.iter().position(|(name, _)| name == "service.name");
        let named = named.map(|at| attributes.remove(at).1);
        Ok(Some(Self {
            traces,
            metrics,
            headers: headers.collect::<Result<_, _>>()?,
            timeout: ms("OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT)?,
            every: ms("OTEL_METRIC_EXPORT_INTERVAL", METRICS_EVERY)?,
            service: said("OTEL_SERVICE_NAME").or(named).unwrap_or_else(|| "tidings".to_owned()),
            attributes,
        }))
    }
}

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Why what was said cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be used: {why}")]
pub struct Refused {
    /// The flag or the variable.
    pub name: String,
    pub why: String,
    /// What to try; empty where the reason says it.
    pub hint: &'static str,
}

impl Refused {
    fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }
}

fn wrong(name: &str, why: impl Into<String>) -> Refused {
    Refused { name: name.to_owned(), why: why.into(), hint: "" }
}

fn below(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

fn checked(name: &str, url: &str) -> Result<Uri, Refused> {
    let no_url = |error: hyper::http::uri::InvalidUri| {
        wrong(name, error.to_string()).hint("http://HOST:4318")
    };
    let uri: Uri = url.parse().map_err(no_url)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong(name, "a collector's URL has no user and password, as it is logged")
            .hint("OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20…"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(uri),
        (Some("https"), _) => Err(wrong(name, "TLS is not spoken to a collector")
            .hint("http://HOST:4318 of a collector beside this process, which goes on with TLS")),
        _ => Err(wrong(name, "it is no URL of a collector").hint("http://HOST:4318")),
    }
}

/// `name=value,name=value`, percent-encoded.
fn pairs(name: &str, said: Option<String>) -> Result<Vec<(String, String)>, Refused> {
    let said = said.unwrap_or_default();
    let parts = said.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        Some((key.trim().to_owned(), decoded(value.trim())?))
    };
    let pair = |part| pair(part).ok_or_else(|| wrong(name, "it is no list of name=value"));
    parts.map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Wanted>, Refused> {
        Wanted::of(flag, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_flag_goes_before_variables_and_those_of_a_signal_before_those_of_all() {
        let (all, traces) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        for (flag, variables, expected) in [
            (None, &[][..], None),
            (
                Some("http://a:1/"),
                &[(all, "http://b:2")],
                Some(["http://a:1/v1/traces", "http://a:1/v1/metrics"]),
            ),
            (
                Some("http://a:1"),
                &[(traces, "http://c:3/t")],
                Some(["http://a:1/v1/traces", "http://a:1/v1/metrics"]),
            ),
            (
                None,
                &[(all, "http://b:2/x")],
                Some(["http://b:2/x/v1/traces", "http://b:2/x/v1/metrics"]),
            ),
            (
                None,
                &[(all, "http://b:2"), (traces, "http://c:3/t")],
                Some(["http://c:3/t", "http://b:2/v1/metrics"]),
            ),
            (None, &[(traces, "http://c:3/t")], Some(["http://c:3/t", ""])),
            (
                None,
                &[(all, "http://b:2"), ("OTEL_METRICS_EXPORTER", "none")],
                Some(["http://b:2/v1/traces", ""]),
            ),
            (Some("http://a:1"), &[("OTEL_SDK_DISABLED", "true")], None),
            (None, &[(all, " ")], None),
        ] {
            let found = wanted(flag, variables).unwrap();
            let shown =
                |uri: &Option<Uri>| uri.as_ref().map(ToString::to_string).unwrap_or_default();
            let found = found.map(|found| [shown(&found.traces), shown(&found.metrics)]);
            assert_eq!(
                found,
                expected.map(|urls| urls.map(str::to_owned)),
                "{flag:?} {variables:?}"
            );
        }
    }

    #[test]
    fn headers_and_attributes_are_lists() {
        let found = wanted(
            Some("http://a:1"),
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%20b, x-scope=1"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "250"),
            ],
        );
        let found = found.unwrap().unwrap();
        let headers: Vec<_> =
            found.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(headers, [("api-key", "a b"), ("x-scope", "1")]);
        assert!(!format!("{found:?}").contains("a b"), "a key is nothing for a log: {found:?}");
        assert_eq!((found.service.as_str(), found.every.as_millis()), ("shop", 250));
        assert_eq!(found.attributes, [("deployment.environment.name".into(), "test".into())]);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (flag, variables) in [
            (Some("collector:4318"), &[][..]),
            (Some("https://a:1"), &[]),
            (Some("ftp://a:1"), &[]),
            (Some("http://me:secret@a:1"), &[]),
            (
                None,
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ],
            ),
            (Some("http://a:1"), &[("OTEL_EXPORTER_OTLP_HEADERS", "nothing")]),
            (Some("http://a:1"), &[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]),
        ] {
            let refused = wanted(flag, variables).expect_err("refused");
            assert!(!refused.to_string().contains("secret"), "{flag:?} {variables:?}: {refused}");
        }
    }
}
