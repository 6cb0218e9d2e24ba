//! What every client of a cluster is made from: the settings in librdkafka's words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::context::Watch;
use super::url::{Mechanism, Settings, Tls};
use crate::limits::{CLUSTER_METADATA_AGE_MAX, CLUSTER_RETRY_PAUSE_MAX, RECONNECT_BACKOFF_MAX};
use crate::{ConnectTrouble, Error};

/// The least that librdkafka takes.
const ANSWER_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The least that librdkafka takes.
const SETUP_TIMEOUT_MIN: Duration = Duration::from_secs(1);

pub(super) fn watch_of(settings: &Settings) -> Watch {
    let sasl = settings.sasl.as_ref();
    let token = sasl.filter(|sasl| sasl.mechanism == Mechanism::OauthBearer);
    let token = token.map(|sasl| sasl.secret.clone());
    Watch::new(token, settings.answer_timeout, settings.request_timeout)
}

pub(super) fn failed(settings: &Settings, trouble: ConnectTrouble) -> Error {
    Error::Connect { address: settings.brokers.clone(), trouble }
}

/// What all clients have in common.
pub(super) fn client_config(settings: &Settings) -> Result<ClientConfig, Error> {
    if settings.needs_tls() && !cfg!(feature = "tls") {
        return Err(Error::Invalid(
            "this build has no TLS, which tls=, ca=, cert= and SCRAM and OAUTHBEARER of sasl= need: \
             build it with the feature `tls`, as `cargo build --release --features tls`"
                .to_owned(),
        ));
    }
    let mut config = ClientConfig::new();
    let ms = |time: Duration| time.as_millis().to_string();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", settings.client_id.as_deref().unwrap_or("tidings"))
        .set("socket.timeout.ms", ms(settings.answer_timeout.max(ANSWER_TIMEOUT_MIN)))
        .set("socket.connection.setup.timeout.ms", ms(setup_timeout(settings)))
        .set("socket.keepalive.enable", "true")
        .set("topic.metadata.refresh.interval.ms", ms(CLUSTER_METADATA_AGE_MAX))
        .set("reconnect.backoff.max.ms", ms(RECONNECT_BACKOFF_MAX))
        .set("retry.backoff.max.ms", ms(CLUSTER_RETRY_PAUSE_MAX))
        .set("enable.metrics.push", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    let secured = secure(&mut config, settings);
    secured.map_err(|why| failed(settings, ConnectTrouble::Unusable(why)))?;
    Ok(config)
}

/// How long a connection may take until it can be asked something. A coordinator that is lost is looked for anew
/// only when the connection to it has failed, so it has as long as the answers that it takes, and no longer: what the
/// broker can, of TLS and of SASL.
fn setup_timeout(settings: &Settings) -> Duration {
    let answers = 1 + u32::from(settings.tls.is_some()) + u32::from(settings.sasl.is_some());
    (settings.answer_timeout * answers).min(settings.connect_timeout).max(SETUP_TIMEOUT_MIN)
}

/// Otherwise says which file or secret cannot be read, and why.
fn secure(config: &mut ClientConfig, settings: &Settings) -> Result<(), String> {
    if let Some(tls) = &settings.tls {
        for (name, path) in tls.files() {
            let Some(path) = path else { continue };
            readable(path).map_err(|why| format!("{name}={}: {why}", path.display()))?;
            config.set(format!("ssl.{}.location", long(name)), path.to_string_lossy());
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", password.read()?);
        }
    }
    if let Some(sasl) = &settings.sasl {
        config.set("sasl.mechanisms", sasl.mechanism.name());
        let secret = sasl.secret.read()?;
        if sasl.mechanism != Mechanism::OauthBearer {
            config.set("sasl.username", &sasl.user).set("sasl.password", secret);
        }
    }
    Ok(())
}

/// librdkafka's names of the files.
fn long(name: &str) -> &str {
    if name == "cert" { "certificate" } else { name }
}

/// OpenSSL would say `system lib`. An authority may be a directory of certificates.
fn readable(path: &Path) -> Result<(), String> {
    let opened = match path.is_dir() {
        true => path.read_dir().map(drop),
        false => std::fs::File::open(path).map(drop),
    };
    opened.map_err(|error| error.to_string())
}

/// A client with its context.
pub(super) fn create<T: FromClientConfigAndContext<C>, C: rdkafka::ClientContext>(
    settings: &Settings,
    config: &ClientConfig,
    context: C,
) -> Result<T, Error> {
    config.create_with_context(context).map_err(|error| match error {
        // Its text may hold the value of a parameter, so only the name is said.
        KafkaError::ClientConfig(_, why, name, _) => {
            Error::Invalid(format!("librdkafka does not take {name}: {why}"))
        }
        KafkaError::ClientCreation(why) => failed(settings, not_made(&why, settings)),
        other => Error::Unavailable(other.to_string()),
    })
}

/// Why librdkafka did not make a client: what it was given in files is not what it should be.
fn not_made(why: &str, settings: &Settings) -> ConnectTrouble {
    let Some(tls) = &settings.tls else { return ConnectTrouble::Unreachable(why.to_owned()) };
    let is_about = |name: &str| why.starts_with(&format!("ssl.{}.location failed", long(name)));
    let found = tls.files().into_iter().find(|(name, _)| is_about(name));
    let Some((name, Some(path))) = found else { return ConnectTrouble::Tls(why.to_owned()) };
    let file = format!("{name}={}", path.display());
    ConnectTrouble::Unusable(match name {
        "key" if why.contains("key values mismatch") => {
            format!("{file} is not the key of the certificate of cert=")
        }
        "key" if tls.key_password.is_some() => format!(
            "{file} is no private key in PEM, or its password is not that of key_password_file= or \
             key_password_env="
        ),
        "key" => format!(
            "{file} is no private key in PEM, or it has a password; name that with \
             key_password_file= or key_password_env="
        ),
        _ => format!("{file} has no certificate in PEM"),
    })
}

impl Tls {
    /// By the names of their parameters.
    fn files(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_as_long_as_the_answers_that_it_takes() {
        const SASL: &str = "sasl=plain&user=u&password_env=PATH";
        let url = |query: &str| format!("kafka://a:1?{query}");
        for (query, seconds) in [
            (String::new(), 2),
            ("tls=true".to_owned(), 4),
            (SASL.to_owned(), 4),
            (format!("tls=true&{SASL}"), 5),
            (format!("tls=true&connect_timeout=60s&{SASL}"), 6),
            ("answer_timeout=4s".to_owned(), 4),
            ("connect_timeout=1s".to_owned(), 1),
            ("answer_timeout=100ms".to_owned(), 1),
        ] {
            let settings = Settings::parse(&url(&query)).expect("a URL");
            assert_eq!(setup_timeout(&settings), Duration::from_secs(seconds), "{query}");
        }
    }
}
