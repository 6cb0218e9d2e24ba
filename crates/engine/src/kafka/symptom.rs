//! What librdkafka says of a connection, as what it is a sign of, and in words that say what to try.
//!
//! Its texts are matched: it has no numbers for these. Its version is pinned, and `compat` makes each of these
//! mistakes at a real broker.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::url::Settings;
use crate::ConnectTrouble;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Symptom {
    /// Nobody is there, or not yet.
    Away(String),
    /// The broker hangs up at the first words, as one does that waits for TLS.
    WantsTls,
    /// It hangs up in the middle of a handshake, as one does that has no TLS.
    KnowsNoTls,
    /// It hangs up after the first question, as one does that waits for credentials.
    WantsCredentials,
    /// TLS failed for another reason.
    Tls(String),
    /// The broker's certificate was found wanting.
    BadCertificate,
    /// The broker finds ours wanting: the name of its alert.
    CertificateRefused(String),
    /// The listener knows no credentials.
    TakesNoCredentials,
    /// What it does know.
    OtherMechanism(String),
    Denied(String),
}

/// A broker that has answered and then hangs up so soon was not content with the question.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Before what [`super::context::Watch`] said.
const NO_TOKEN: &str = "Failed to acquire SASL OAUTHBEARER token: ";

/// What waiting may still change, and what it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Nothing,
    /// Who hangs up may as well be about to start.
    AGuess,
    TheReason,
}

/// Alerts of TLS about a client's certificate (RFC 8446, 6.2): from `bad_certificate` to `unknown_ca`,
/// `access_denied` and `certificate_required`.
const ABOUT_CERTIFICATES: [u32; 8] = [42, 43, 44, 45, 46, 48, 49, 116];

impl Symptom {
    /// Of an error of a connection.
    pub(super) fn of(code: Code, reason: &str) -> Option<Self> {
        let said = || first_clause(reason).to_owned();
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                Some(Self::of_refusal(first_clause(reason)))
            }
            Code::SSL | Code::BrokerTransportFailure => {
                let otherwise = || match code {
                    Code::SSL => Self::Tls(said()),
                    _ => Self::Away(said()),
                };
                Some(Self::of_text(reason).unwrap_or_else(otherwise))
            }
            Code::Resolve | Code::OperationTimedOut => Some(Self::Away(said())),
            _ => None,
        }
    }

    /// What only the text can tell.
    pub(super) fn of_text(reason: &str) -> Option<Self> {
        if reason.contains("certificate verify failed") {
            Some(Self::BadCertificate)
        } else if let Some((before, number)) = reason.split_once("SSL alert number ") {
            let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
            let about = digits.parse().is_ok_and(|alert| ABOUT_CERTIFICATES.contains(&alert));
            let alert = before.trim_end_matches([':', ' ']).rsplit(':').next()?.to_owned();
            Some(if about { Self::CertificateRefused(alert) } else { Self::Tls(alert) })
        } else {
            Self::of_hanging_up(reason)
        }
    }

    /// When a broker hangs up tells what it waits for.
    fn of_hanging_up(reason: &str) -> Option<Self> {
        const HUNG_UP: [&str; 3] = ["Disconnected", "Broken pipe", "Connection reset"];
        if !HUNG_UP.iter().any(|said| reason.contains(said)) {
            return None;
        }
        let (_, since) = reason.split_once(" (after ")?;
        let (ms, state) = since.split_once("ms in state ")?;
        let at_once = ms.parse().is_ok_and(|ms: u64| Duration::from_millis(ms) < AT_ONCE);
        let is = |protocol: &str| {
            reason.split_once("://").is_some_and(|(before, _)| before.contains(protocol))
        };
        match state.split([',', ')']).next()? {
            "SSL_HANDSHAKE" => Some(Self::KnowsNoTls),
            "APIVERSION_QUERY" if !is("ssl") => Some(Self::WantsTls),
            "UP" if at_once && !is("sasl") => Some(Self::WantsCredentials),
            _ => None,
        }
    }

    fn of_refusal(reason: &str) -> Self {
        let known = reason.split_once("broker's supported mechanisms");
        match known.map(|(_, known)| known.trim_start_matches([':', ' '])) {
            Some("") => Self::TakesNoCredentials,
            Some(known) => Self::OtherMechanism(known.to_owned()),
            None => Self::Denied(reason.to_owned()),
        }
    }

    /// How much it says: one broker that is down says less than another that refuses.
    pub(super) fn says(&self) -> Says {
        match self {
            Self::Away(_) => Says::Nothing,
            Self::WantsTls | Self::KnowsNoTls | Self::WantsCredentials => Says::AGuess,
            _ => Says::TheReason,
        }
    }

    /// What to tell whoever connects with these settings.
    pub(super) fn trouble(self, settings: &Settings) -> ConnectTrouble {
        let tls = |text: &str| ConnectTrouble::Tls(text.to_owned());
        let denied = |text: &str| ConnectTrouble::Denied(text.to_owned());
        let of_broker = |text: String| without_broker(&text, &settings.brokers).to_owned();
        match self {
            Self::Away(text) => ConnectTrouble::Unreachable(of_broker(text)),
            Self::WantsTls => tls(
                "the broker hangs up at once, as a listener with TLS does; say tls=true or ca=, or \
                 use the port without TLS",
            ),
            Self::KnowsNoTls => tls(
                "the broker hangs up in the handshake, as a listener without TLS does; leave out \
                 tls= and ca=, or use the port with TLS",
            ),
            Self::WantsCredentials => denied(
                "the broker hangs up, as a listener does that asks for credentials; say sasl= with \
                 user= and password_file=, or use another port",
            ),
            Self::Tls(text) => {
                let text = of_broker(text);
                ConnectTrouble::Tls(format!("{text}; look what the broker's listener asks for"))
            }
            Self::BadCertificate => {
                tls("the broker's certificate cannot be verified; say with ca= who signed it")
            }
            Self::CertificateRefused(alert) => {
                let own = settings.tls.as_ref().and_then(|tls| tls.cert.as_ref());
                ConnectTrouble::Tls(match own {
                    None => format!(
                        "the broker asks for a client certificate ({alert}); name it with cert= and \
                         key="
                    ),
                    Some(cert) => format!(
                        "the broker does not accept the client certificate {} ({alert}); it must be \
                         valid today and signed by an authority that the broker trusts",
                        cert.display()
                    ),
                })
            }
            Self::TakesNoCredentials => denied(
                "the listener takes no credentials; leave out sasl=, or use the port that asks for \
                 them",
            ),
            Self::OtherMechanism(known) => {
                let known = known.to_lowercase().replace(',', ", ");
                ConnectTrouble::Denied(format!(
                    "the broker does not have this mechanism; say sasl= with one of {known}"
                ))
            }
            Self::Denied(text) => {
                let text = of_broker(text);
                let Some(sasl) = &settings.sasl else { return ConnectTrouble::Denied(text) };
                ConnectTrouble::Denied(match text.split_once(NO_TOKEN) {
                    Some((_, why)) => why.to_owned(),
                    None if sasl.user.is_empty() => {
                        format!("{text}; look at the token in {}", sasl.secret)
                    }
                    None => format!("{text}; check user={} and {}", sasl.user, sasl.secret),
                })
            }
        }
    }
}

/// What is wrong with the broker's certificate, by OpenSSL's number.
pub(super) fn certificate_trouble(number: i32, settings: &Settings) -> ConnectTrouble {
    let ca = settings.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    ConnectTrouble::Tls(match number {
        X509_NOT_YET_VALID => {
            "the broker's certificate is not valid yet; look at the clocks of both sides".to_owned()
        }
        X509_EXPIRED => {
            "the broker's certificate has expired; have it renewed, or look at this machine's clock"
                .to_owned()
        }
        X509_OTHER_HOST | X509_OTHER_ADDRESS => {
            "the broker's certificate is for another host; connect to a name that is in it"
                .to_owned()
        }
        X509_SELF_SIGNED | X509_SELF_SIGNED_IN_CHAIN | X509_NO_ISSUER | X509_NO_FIRST => match ca {
            Some(ca) => format!(
                "the broker's certificate is not signed by an authority in {}; name the right one \
                 with ca=",
                ca.display()
            ),
            None => {
                "the broker's certificate is signed by nobody whom this system knows; name its \
                     authority with ca="
                    .to_owned()
            }
        },
        other => format!(
            "the broker's certificate cannot be verified (OpenSSL's error {other}); have it looked at \
             with `openssl s_client -connect`"
        ),
    })
}

/// OpenSSL's `X509_V_ERR_…`.
const X509_NOT_YET_VALID: i32 = 9;
const X509_EXPIRED: i32 = 10;
const X509_SELF_SIGNED: i32 = 18;
const X509_SELF_SIGNED_IN_CHAIN: i32 = 19;
const X509_NO_ISSUER: i32 = 20;
const X509_NO_FIRST: i32 = 21;
const X509_OTHER_HOST: i32 = 62;
const X509_OTHER_ADDRESS: i32 = 64;

/// librdkafka's reasons end with counts of repetitions.
fn first_clause(reason: &str) -> &str {
    let end = reason.find(" (after ").unwrap_or(reason.len());
    reason[..end].trim_end_matches([':', ' '])
}

/// They begin with `protocol://host:port/id: `, which says nothing new where there is one broker.
fn without_broker<'t>(text: &'t str, brokers: &str) -> &'t str {
    match text.split_once(": ") {
        Some((broker, rest)) if !brokers.contains(',') && broker.contains(brokers) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_is_a_sign_of() {
        let verify = "ssl://a:1/bootstrap: SSL handshake failed: x.c:1889:f error:0A000086:SSL \
                      routines::certificate verify failed: broker certificate could not be verified";
        let alert = "ssl://a:1/bootstrap: Receive failed: x.c:1601:f error:0A000412:SSL \
                     routines::sslv3 alert bad certificate: SSL alert number 42 (after 1ms in state UP)";
        let version = "ssl://a:1/bootstrap: SSL handshake failed: x.c:1:f error:0A00042E:SSL \
                       routines::tlsv1 alert protocol version: SSL alert number 70";
        let mechanism = "sasl_ssl://a:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: \
                         Unsupported SASL mechanism: broker's supported mechanisms: ";
        for (code, reason, expected) in [
            (Code::SSL, verify, Symptom::BadCertificate),
            (
                Code::BrokerTransportFailure,
                alert,
                Symptom::CertificateRefused("sslv3 alert bad certificate".into()),
            ),
            (Code::SSL, version, Symptom::Tls("tlsv1 alert protocol version".into())),
            (
                Code::BrokerTransportFailure,
                "a:1/bootstrap: refused (after 1ms in state X)",
                Symptom::Away("a:1/bootstrap: refused".into()),
            ),
            (Code::Authentication, mechanism, Symptom::TakesNoCredentials),
            (
                Code::Authentication,
                &format!("{mechanism}PLAIN,OAUTHBEARER (after 1ms in state Y)"),
                Symptom::OtherMechanism("PLAIN,OAUTHBEARER".into()),
            ),
            (Code::Authentication, "a:2: no", Symptom::Denied("a:2: no".into())),
        ] {
            assert_eq!(Symptom::of(code, reason), Some(expected), "{reason}");
        }
        assert_eq!(Symptom::of(Code::AllBrokersDown, "2/2 down"), None);
    }

    #[test]
    fn when_a_broker_hangs_up_tells_what_it_waits_for() {
        let closed = "Disconnected: connection closed by peer: receive 0 after POLLIN";
        for (reason, expected) in [
            (
                format!("a:1/bootstrap: {closed} (after 63ms in state APIVERSION_QUERY)"),
                Some(Symptom::WantsTls),
            ),
            (
                format!("sasl_plaintext://a:1/bootstrap: {closed} (after 3ms in state \
                         APIVERSION_QUERY, 1 identical error(s) suppressed)"),
                Some(Symptom::WantsTls),
            ),
            (format!("ssl://a:1/bootstrap: {closed} (after 3ms in state APIVERSION_QUERY)"), None),
            (
                "ssl://a:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by \
                 peer (after 6ms in state SSL_HANDSHAKE)"
                    .to_owned(),
                Some(Symptom::KnowsNoTls),
            ),
            (
                format!("a:1/bootstrap: {closed} (after 0ms in state UP)"),
                Some(Symptom::WantsCredentials),
            ),
            (
                "ssl://a:1/bootstrap: Send failed: SSL transport error: Broken pipe (after 1ms in \
                 state UP)"
                    .to_owned(),
                Some(Symptom::WantsCredentials),
            ),
            (format!("a:1/1: {closed} (after 71234ms in state UP)"), None),
            (format!("sasl_ssl://a:1/1: {closed} (after 1ms in state UP)"), None),
            ("a:1/bootstrap: Connect failed (after 0ms in state CONNECT)".to_owned(), None),
        ] {
            assert_eq!(Symptom::of_text(&reason), expected, "{reason}");
        }
    }

    #[test]
    fn the_broker_is_named_where_there_are_several() {
        let text = "ssl://a:1/bootstrap: refused";
        assert_eq!(without_broker(text, "a:1"), "refused");
        assert_eq!(without_broker(text, "a:1,b:1"), text);
    }
}
