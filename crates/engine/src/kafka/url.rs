//! The URL of a cluster: parsed once, into what a client is made from.
//!
//! A file of properties that it names says the rest; where both say something, the URL is right. Secrets are named
//! by the URL and never in it; nothing here shows one.

use std::path::PathBuf;
use std::time::Duration;

use super::properties::Properties;
use super::secret::{Property, Secret};
use crate::Error;
use crate::limits::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, DELIVERY_TIMEOUT, REQUEST_TIMEOUT};

const SCHEME: &str = "kafka://";
const DEFAULT_PORT: u16 = 9092;
const KNOWN: [&str; 17] = [
    "config",
    "tls",
    "ca",
    "cert",
    "key",
    "key_password_file",
    "key_password_env",
    "sasl",
    "user",
    "password_file",
    "password_env",
    "connect_timeout",
    "answer_timeout",
    "request_timeout",
    "delivery_timeout",
    "replication",
    "client_id",
];

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `host:port`, separated by commas.
    pub(super) brokers: String,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) delivery_timeout: Duration,
    /// Of topics that are made; none: the cluster's default.
    pub(super) replication: Option<i32>,
    pub(super) client_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) key_password: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    /// Empty for a token.
    pub(super) user: String,
    pub(super) secret: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

impl Mechanism {
    const ALL: [(&'static str, Self); 4] = [
        ("plain", Self::Plain),
        ("scram-sha-256", Self::ScramSha256),
        ("scram-sha-512", Self::ScramSha512),
        ("oauthbearer", Self::OauthBearer),
    ];

    /// Kafka's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl Settings {
    /// Whether OpenSSL is needed, which also hashes for SCRAM and signs for OAUTHBEARER.
    pub(super) fn needs_tls(&self) -> bool {
        let plain = |sasl: &Sasl| sasl.mechanism == Mechanism::Plain;
        self.tls.is_some() || !self.sasl.as_ref().is_none_or(plain)
    }

    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let Some(rest) = url.strip_prefix(SCHEME) else {
            return Err(invalid("it begins with kafka://host:port"));
        };
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        let mut said = Said::of(query)?;
        let file = said.add_file()?;
        let brokers = brokers(file.filter(|_| hosts.is_empty()).as_deref().unwrap_or(hosts))?;
        let settings = Self {
            brokers,
            tls: said.tls()?,
            sasl: said.sasl()?,
            connect_timeout: said.duration("connect_timeout", CONNECT_TIMEOUT)?,
            answer_timeout: said.duration("answer_timeout", ANSWER_TIMEOUT)?,
            request_timeout: said.duration("request_timeout", REQUEST_TIMEOUT)?,
            delivery_timeout: said.duration("delivery_timeout", DELIVERY_TIMEOUT)?,
            replication: said.replication()?,
            client_id: said.take("client_id"),
        };
        said.all_taken()?;
        Ok(settings)
    }
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("not the URL of a cluster: {why}"))
}

fn brokers(hosts: &str) -> Result<String, Error> {
    if hosts.contains('@') {
        let instead = "credentials do not belong in it: say sasl=, user= and password_file= or \
                       password_env=";
        return Err(invalid(instead));
    }
    let mut brokers = Vec::new();
    for host in hosts.split(',') {
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(invalid(format!("{host:?} is no host:port")));
        }
        let port = match host.rsplit_once(':') {
            // An IPv6 address stands in brackets.
            Some((_, port)) if !port.contains(']') => Some(port),
            _ => None,
        };
        match port {
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => {
                brokers.push(host.to_owned());
            }
            Some(port) => return Err(invalid(format!("{port:?} is no port"))),
            None => brokers.push(format!("{host}:{DEFAULT_PORT}")),
        }
    }
    Ok(brokers.join(","))
}

/// The parameters that have not been looked at yet. Not to be shown: a file may hold secrets.
struct Said {
    parameters: Vec<(String, String)>,
    /// The file that said some of them.
    file: PathBuf,
}

/// What says the same in another way: the first takes the place of the others.
const INSTEAD: [(&str, [&str; 2]); 4] = [
    ("password_file", ["password", "password_env"]),
    ("password_env", ["password", "password_file"]),
    ("key_password_file", ["key_password", "key_password_env"]),
    ("key_password_env", ["key_password", "key_password_file"]),
];

impl Said {
    fn of(query: &str) -> Result<Self, Error> {
        let mut said: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or_else(|| invalid(format!("{name}= is not UTF-8")))?;
            if name == "password" || name == "token" {
                let instead = "a secret does not belong in it: name a file with password_file= or \
                               an environment variable with password_env=";
                return Err(invalid(instead));
            }
            if !KNOWN.contains(&name) {
                let known = KNOWN.join(", ");
                return Err(invalid(format!("{name}= is not known, only {known}")));
            }
            if value.is_empty() {
                return Err(invalid(format!("{name}= says nothing")));
            }
            if said.iter().any(|(other, _)| other == name) {
                return Err(invalid(format!("{name}= is said twice")));
            }
            said.push((name.to_owned(), value));
        }
        Ok(Self { parameters: said, file: PathBuf::new() })
    }

    /// Adds what the file of `config=` says and the URL does not; returns its brokers.
    fn add_file(&mut self) -> Result<Option<String>, Error> {
        let Some(path) = self.take("config") else { return Ok(None) };
        self.file = PathBuf::from(path);
        let Properties { brokers, parameters } =
            Properties::read(&self.file).map_err(|why| invalid(format!("config={why}")))?;
        for (name, value) in parameters {
            let said = |other: &str| self.parameters.iter().any(|(said, _)| said == other);
            let instead =
                |(other, these): &(&str, [&str; 2])| these.contains(&name.as_str()) && said(other);
            if !said(&name) && !INSTEAD.iter().any(instead) {
                self.parameters.push((name, value));
            }
        }
        Ok(brokers)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(said, _)| said == name)?;
        Some(self.parameters.swap_remove(at).1)
    }

    /// What is left belongs to something that was not asked for.
    fn all_taken(&self) -> Result<(), Error> {
        match self.parameters.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("{name}= has no meaning without sasl="))),
        }
    }

    fn tls(&mut self) -> Result<Option<Tls>, Error> {
        let wanted = match self.take("tls").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(invalid(format!("tls={other} is neither true nor false"))),
        };
        let mut path = |name| self.take(name).map(PathBuf::from);
        let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
        if cert.is_some() != key.is_some() {
            return Err(invalid("cert= and key= go together"));
        }
        let key_password = self.secret("key_password")?;
        let named = ca.is_some() || cert.is_some() || key_password.is_some();
        match wanted {
            Some(false) if named => Err(invalid("tls=false with certificates")),
            Some(false) => Ok(None),
            None if !named => Ok(None),
            _ => Ok(Some(Tls { ca, cert, key, key_password })),
        }
    }

    fn sasl(&mut self) -> Result<Option<Sasl>, Error> {
        let Some(said) = self.take("sasl") else { return Ok(None) };
        let known = Mechanism::ALL.into_iter().find(|(name, _)| said.eq_ignore_ascii_case(name));
        let Some((name, mechanism)) = known else {
            let known = Mechanism::ALL.map(|(name, _)| name).join(", ");
            return Err(invalid(format!("sasl={said} is not one of {known}")));
        };
        let user = self.take("user");
        if user.is_none() && mechanism != Mechanism::OauthBearer {
            return Err(invalid(format!("sasl={name} needs user=")));
        }
        let secret = self.secret("password")?;
        let secret = secret
            .ok_or_else(|| invalid(format!("sasl={name} needs password_file= or password_env=")))?;
        Ok(Some(Sasl { mechanism, user: user.unwrap_or_default(), secret }))
    }

    fn secret(&mut self, name: &str) -> Result<Option<Secret>, Error> {
        let [file, env] = ["file", "env"].map(|place| format!("{name}_{place}"));
        Ok(match (self.take(&file), self.take(&env), self.take(name)) {
            (Some(_), Some(_), _) => {
                return Err(invalid(format!("{file}= and {env}= are both said")));
            }
            (Some(path), None, _) => Some(Secret::File(path.into())),
            (None, Some(name), _) => Some(Secret::Env(name)),
            (None, None, secret) => {
                secret.map(|secret| Secret::Property(Property { secret, of: self.file.clone() }))
            }
        })
    }

    fn duration(&mut self, name: &str, default: Duration) -> Result<Duration, Error> {
        let Some(said) = self.take(name) else { return Ok(default) };
        let duration = || {
            let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
            let (number, unit) =
                units.iter().find_map(|(name, ms)| Some((said.strip_suffix(name)?, *ms)))?;
            let ms = number.parse::<u64>().ok()?.checked_mul(unit)?;
            (1..=i32::MAX as u64).contains(&ms).then(|| Duration::from_millis(ms))
        };
        duration()
            .ok_or_else(|| invalid(format!("{name}={said} is no time such as 500ms, 10s, 2m")))
    }

    fn replication(&mut self) -> Result<Option<i32>, Error> {
        let Some(said) = self.take("replication") else { return Ok(None) };
        match said.parse::<i16>() {
            Ok(replicas) if replicas > 0 => Ok(Some(replicas.into())),
            _ => Err(invalid(format!("replication={said} is no number of replicas"))),
        }
    }
}

/// Percent-decoded; none when that is not UTF-8 or not encoding.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (hex, tail) = tail.split_first_chunk::<2>()?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Settings::parse(url).expect_err(url).to_string()
    }

    #[test]
    fn hosts_are_a_list_with_ports() {
        for (url, brokers) in [
            ("kafka://a", "a:9092"),
            ("kafka://a:1,b:2/", "a:1,b:2"),
            ("kafka://[::1]:9093,[::2]", "[::1]:9093,[::2]:9092"),
        ] {
            assert_eq!(Settings::parse(url).unwrap().brokers, brokers, "{url}");
        }
        for url in ["kafka://", "kafka://a,,b", "kafka://a:", "kafka://a:0", "kafka://a:70000"] {
            assert!(refused(url).starts_with("not the URL of a cluster"), "{url}");
        }
        assert!(refused("http://a").contains("kafka://host:port"));
        assert!(refused("kafka://me:secret@a").contains("password_file="));
    }

    #[test]
    fn what_is_said_is_meant() {
        let url = "kafka://a?ca=/etc/ca.pem&sasl=SCRAM-SHA-256&user=m%C3%BCller%26co&\
                   password_env=PASSWORD&connect_timeout=500ms&answer_timeout=1s&\
                   request_timeout=3s&\
                   delivery_timeout=2m&replication=3&client_id=till";
        let settings = Settings::parse(url).unwrap();
        let expected = Settings {
            brokers: "a:9092".into(),
            tls: Some(Tls { ca: Some("/etc/ca.pem".into()), ..Tls::default() }),
            sasl: Some(Sasl {
                mechanism: Mechanism::ScramSha256,
                user: "müller&co".into(),
                secret: Secret::Env("PASSWORD".into()),
            }),
            connect_timeout: Duration::from_millis(500),
            answer_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            delivery_timeout: Duration::from_secs(120),
            replication: Some(3),
            client_id: Some("till".into()),
        };
        assert_eq!(settings, expected);
        let plain = Settings::parse("kafka://a?tls=false").unwrap();
        assert_eq!((plain.tls, plain.sasl), (None, None));
        let tls = Settings::parse("kafka://a?tls=true").unwrap();
        assert_eq!(tls.tls, Some(Tls::default()));
        let token = Settings::parse("kafka://a?sasl=oauthbearer&password_file=/run/token").unwrap();
        assert_eq!(token.sasl.unwrap().secret, Secret::File("/run/token".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (query, contains) in [
            ("colour=red", "only config, tls, ca, cert, key"),
            ("password=secret", "password_file="),
            ("tls=maybe", "neither true nor false"),
            ("tls=false&ca=/x", "tls=false with certificates"),
            ("cert=/x", "cert= and key= go together"),
            ("sasl=kerberos", "plain, scram-sha-256, scram-sha-512, oauthbearer"),
            ("sasl=plain&password_env=X", "needs user="),
            ("sasl=plain&user=x", "needs password_file= or password_env="),
            ("sasl=plain&user=x&password_env=A&password_file=/b", "are both said"),
            ("user=x", "user= has no meaning without sasl="),
            ("request_timeout=soon", "500ms, 10s, 2m"),
            ("request_timeout=0s", "500ms, 10s, 2m"),
            ("replication=none", "no number of replicas"),
            ("ca=%zz", "ca= is not UTF-8"),
            ("ca=", "ca= says nothing"),
            ("ca=/a&ca=/b", "ca= is said twice"),
        ] {
            let said = refused(&format!("kafka://a?{query}"));
            assert!(said.contains(contains), "{query}: {said}");
            assert!(!said.contains("secret)"), "{said}");
        }
    }

    #[test]
    fn a_file_says_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kafka.properties");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(
            "bootstrap.servers=a,b:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.username=me\nsasl.password=hunter2\nrequest.timeout.ms=3000\n",
        );
        let parse =
            |rest: &str| Settings::parse(&format!("kafka://{rest}config={}", path.display()));
        let settings = parse("?").unwrap();
        assert_eq!(settings.brokers, "a:9092,b:1");
        assert_eq!(settings.tls, Some(Tls::default()));
        assert_eq!(settings.request_timeout, Duration::from_secs(3));
        let sasl = settings.sasl.as_ref().unwrap();
        assert_eq!((sasl.mechanism, sasl.user.as_str()), (Mechanism::ScramSha512, "me"));
        assert_eq!(sasl.secret.read().unwrap(), "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");

        let other = parse("c?user=you&password_env=PASSWORD&").unwrap();
        assert_eq!(other.brokers, "c:9092");
        let expected = Sasl {
            mechanism: Mechanism::ScramSha512,
            user: "you".into(),
            secret: Secret::Env("PASSWORD".into()),
        };
        assert_eq!(other.sasl, Some(expected), "the URL is right");

        write("security.protocol=SASL_SSL\n");
        let refused = parse("a?").unwrap_err().to_string();
        assert!(refused.contains("kafka.properties: security.protocol"), "{refused}");
        write("security.protocol=SSL\n");
        assert!(parse("?").unwrap_err().to_string().contains("is no host:port"));
        std::fs::remove_file(&path).unwrap();
        let missing = parse("a?").unwrap_err().to_string();
        assert!(missing.contains("kafka.properties: No such file"), "{missing}");
    }

    #[test]
    fn what_needs_tls_says_so() {
        for (query, needed) in [
            ("tls=false", false),
            ("sasl=plain&user=me&password_env=P", false),
            ("tls=true", true),
            ("ca=/etc/ca.pem", true),
            ("sasl=scram-sha-256&user=me&password_env=P", true),
            ("sasl=oauthbearer&password_env=P", true),
        ] {
            let settings = Settings::parse(&format!("kafka://a?{query}")).unwrap();
            assert_eq!(settings.needs_tls(), needed, "{query}");
        }
    }
}
