//! What librdkafka tells its clients beside answers: log lines, errors of connections, and that it wants a
//! token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Statistics};

use super::secret::Secret;
use super::symptom::Symptom;

/// Between two log lines that no broker can be reached.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a client is told, kept for whoever asks why it does not get on.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    token: Option<Secret>,
    answer_timeout: Duration,
    request_timeout: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    /// When it was last told, or need not be, that no broker can be reached.
    told: Option<Instant>,
    /// The newest of those that say most.
    symptom: Option<Symptom>,
    /// The newest version of each API that a broker offers, as librdkafka's log says.
    versions: BTreeMap<i16, i16>,
}

impl Watch {
    pub(super) fn new(
        token: Option<Secret>,
        answer_timeout: Duration,
        request_timeout: Duration,
    ) -> Self {
        Self { seen: Arc::default(), token, answer_timeout, request_timeout }
    }

    /// The same client, which also tells that no broker can be reached.
    pub(super) fn that_tells(self) -> Self {
        self.seen().told = Some(Instant::now());
        self
    }

    /// How long one broker may be silent.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// How long one question may take.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) fn symptom(&self) -> Option<Symptom> {
        self.seen().symptom.clone()
    }

    /// The newest version of an API that brokers offer; none when they do not.
    pub(super) fn offers(&self, api: i16) -> Option<i16> {
        self.seen().versions.get(&api).copied()
    }

    /// Whether any broker has said what it offers.
    pub(super) fn knows_versions(&self) -> bool {
        !self.seen().versions.is_empty()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of librdkafka's log.
    pub(super) fn line(&self, level: i32, facility: &str, message: &str) {
        if level <= RDKafkaLogLevel::Warning as i32 {
            tracing::debug!(facility, message, "librdkafka");
        }
        if facility == "FAIL" {
            // That a broker hung up is no error to librdkafka.
            self.note(Symptom::of_text(message));
        } else if facility == "APIVERSION"
            && let Some((api, newest)) = api_version(message)
        {
            let versions = &mut self.seen().versions;
            // A cluster can what each of its brokers can.
            let least = versions.get(&api).map_or(newest, |known| newest.min(*known));
            versions.insert(api, least);
        }
    }

    /// Who connects is answered and needs no line; one client tells for all of an engine's.
    fn tell_that_all_are_down(&self) {
        let mut seen = self.seen();
        if seen.told.is_some_and(|told| told.elapsed() >= TOLD_EVERY) {
            tracing::warn!("no broker of the cluster can be reached");
            seen.told = Some(Instant::now());
        }
    }

    fn note(&self, symptom: Option<Symptom>) {
        let Some(symptom) = symptom else { return };
        let seen = &mut self.seen().symptom;
        if seen.as_ref().is_none_or(|old| old.says() <= symptom.says()) {
            *seen = Some(symptom);
        }
    }
}

/// `…:   ApiKey TxnOffsetCommit (28) Versions 0..3`, of librdkafka's debug context `feature`.
fn api_version(line: &str) -> Option<(i16, i16)> {
    let (_, said) = line.split_once("ApiKey ")?;
    let (_, said) = said.split_once('(')?;
    let (key, said) = said.split_once(')')?;
    let (_, newest) = said.split_once("..")?;
    Some((key.parse().ok()?, newest.trim().parse().ok()?))
}

impl ClientContext for Watch {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.line(level as i32, facility, message);
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        match code {
            // The end of a partition is told as an error, and is none.
            Code::PartitionEOF => return,
            Code::AllBrokersDown => self.tell_that_all_are_down(),
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
        self.note(Symptom::of(code, reason));
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let secret = self.token.as_ref().ok_or("no token was named")?;
        let token = secret.read()?;
        let claims = Claims::of(&token);
        let now_ms = rdkafka::util::current_time_millis();
        if let Some(expired) = claims.expires_ms.filter(|expires| *expires <= now_ms) {
            let seconds = (now_ms - expired) / 1000;
            let why = format!("the token in {secret} expired {seconds} s ago; have it renewed");
            return Err(why.into());
        }
        Ok(OAuthToken {
            principal_name: claims.subject.unwrap_or_default(),
            lifetime_ms: claims.expires_ms.unwrap_or_else(in_an_hour),
            token,
        })
    }
}

/// The queue of a consumer is polled elsewhere; what rdkafka does by itself when one ends is right.
impl ConsumerContext for Watch {}

/// What the payload of a JWT says of its owner and of its time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claims {
    subject: Option<String>,
    expires_ms: Option<i64>,
}

impl Claims {
    /// Nothing where the token is no JWT: then only the broker can read it.
    fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(base64_url).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(&payload) else { return Self::default() };
        let after = |claim: &str| {
            let (_, rest) = text.split_once(&format!("\"{claim}\""))?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let subject = after("sub").and_then(|rest| rest.strip_prefix('"')?.split('"').next());
        let expires = after("exp").and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<i64>().ok()?.checked_mul(1000)
        });
        Self { subject: subject.map(str::to_owned), expires_ms: expires }
    }
}

fn base64_url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0, 0_u32);
    for symbol in text.bytes().filter(|symbol| *symbol != b'=') {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

fn in_an_hour() -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    rdkafka::util::current_time_millis() + HOUR_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_log() {
        for (line, expected) in [
            (
                "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1:   ApiKey TxnOffsetCommit (28) Versions 0..3",
                Some((28, 3)),
            ),
            ("[thrd:x]: x: Broker API support:", None),
            ("ApiKey Produce (zero) Versions 0..3", None),
        ] {
            assert_eq!(api_version(line), expected, "{line}");
        }
    }

    #[test]
    fn the_newest_symptom_of_those_that_say_most_is_kept() {
        let watch = Watch::default();
        for (code, reason, kept) in [
            (Code::BrokerTransportFailure, "a: refused", Symptom::Away("a: refused".into())),
            (Code::BrokerTransportFailure, "b: refused", Symptom::Away("b: refused".into())),
            (Code::Authentication, "a: no", Symptom::Denied("a: no".into())),
            (Code::BrokerTransportFailure, "b: refused", Symptom::Denied("a: no".into())),
            (Code::AllBrokersDown, "2/2 down", Symptom::Denied("a: no".into())),
        ] {
            watch.error(KafkaError::Global(code), reason);
            assert_eq!(watch.symptom(), Some(kept), "{reason}");
        }
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        // {"alg":"none"}.{"sub":"me","exp":1700000000}
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSIsImV4cCI6MTcwMDAwMDAwMH0.";
        let claims = Claims { subject: Some("me".into()), expires_ms: Some(1_700_000_000_000) };
        assert_eq!(Claims::of(token), claims);
        for opaque in ["", "opaque", "a.!.c", "a.YWJj.c"] {
            assert_eq!(Claims::of(opaque), Claims::default(), "{opaque}");
        }
    }
}
