//! The names that the server answers to.
//!
//! A page may make its own name lead to this machine (DNS rebinding); then a browser takes what is here for
//! that page's own, and no rule about origins helps. The `Host` header still says the page's name, so only
//! names that somebody has named are answered: loopback names and addresses always, as a browser that asks
//! under an address has been led there by nobody's name server.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;

/// Beside `localhost` and addresses; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    /// In lower case, without a dot at the end.
    names: Vec<String>,
    any: bool,
}

/// What is no name of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHost(pub String);

impl std::fmt::Display for BadHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no name of a host, which has no scheme, port or path", self.0)
    }
}

impl std::error::Error for BadHost {}

impl Hosts {
    /// `*` is every name there is.
    pub(super) fn of(names: &[String]) -> Result<Self, BadHost> {
        let mut hosts = Self::default();
        for name in names {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            match name.trim() {
                "*" => hosts.any = true,
                sound if !sound.is_empty() && sound.chars().all(known) => {
                    hosts.names.push(normal(sound));
                }
                _ => return Err(BadHost(name.clone())),
            }
        }
        Ok(hosts)
    }

    /// Whether a request may ask under the name that it asks under. No browser leaves it out.
    pub(super) fn answer_to(&self, request: &Request) -> bool {
        let headers = request.headers().get_all(header::HOST).iter();
        let said = headers.map(|value| value.to_str().unwrap_or_default());
        said.chain(request.uri().authority().map(|authority| authority.as_str()))
            .all(|host| self.is_known(host))
    }

    fn is_known(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
        };
        let name = normal(name);
        self.any
            || name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        Hosts::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_that_nobody_named_are_told_from_those_that_are_ours() {
        let own = hosts(&["Tidings", "log.example.com."]);
        for (host, known) in [
            ("localhost", true),
            ("LOCALHOST:80", true),
            ("shop.localhost:8080", true),
            ("127.1.2.3:8081", true),
            ("10.0.0.1:8080", true),
            ("[::1]:8081", true),
            ("[2001:db8::1]", true),
            ("tidings:8080", true),
            ("LOG.example.com", true),
            ("log.example.com.:8080", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("tidings.evil.example:8080", false),
            ("[evil.example]", false),
            ("", false),
            (":8080", false),
        ] {
            assert_eq!(own.is_known(host), known, "{host}");
            assert!(hosts(&["*"]).is_known(host), "{host}");
        }
        assert!(!hosts(&[]).is_known("tidings"));
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused() {
        for name in ["", " ", "http://tidings", "tidings:8080", "tidings/", "*.example.com"] {
            assert_eq!(Hosts::of(&[name.to_owned()]), Err(BadHost(name.to_owned())));
        }
    }

    #[test]
    fn every_name_that_a_request_says_has_to_be_ours() {
        let ask = |uri: &str, hosts: &[&str]| {
            let request = hosts
                .iter()
                .fold(Request::get(uri), |request, host| request.header(header::HOST, *host));
            Hosts::default().answer_to(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert!(ask("/", &[]));
        assert!(ask("/", &["localhost"]));
        assert!(!ask("/", &["localhost", "evil.example"]));
        assert!(!ask("http://evil.example/", &["localhost"]));
        assert!(ask("http://127.0.0.1/", &["localhost"]));
    }
}
