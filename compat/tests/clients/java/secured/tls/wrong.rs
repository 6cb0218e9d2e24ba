//! Every way to get it wrong: an error of its own that names the address, the cause and what to try, and no
//! secret, neither in it nor in the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tidings_engine::{ConnectTrouble, Engine, Error, Recourse};
use tokio::task::JoinSet;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::super::broker::{Secured, Way};
use super::super::{GUEST, KEY, LIE, OWNER};
use super::write_secrets;

/// Which of the kinds of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tls,
    Denied,
    Unusable,
}

/// What is done at which listener (`$` is the folder of the files), and what is said of it.
struct Mistake {
    way: Way,
    parameters: &'static str,
    kind: Kind,
    says: &'static str,
}

const fn mistake(way: Way, parameters: &'static str, kind: Kind, says: &'static str) -> Mistake {
    Mistake { way, parameters, kind, says }
}

use Kind::{Denied, Tls, Unusable};
use Way::{Elsewhere, Encrypted, Expired, Mutual, Open, Passwords, Tokens, Unencrypted};

const OF_CERTIFICATES: [Mistake; 12] = [
    mistake(Encrypted, "ca=$/other-ca.pem", Tls, "other-ca.pem; name the right one with ca="),
    mistake(
        Encrypted,
        "tls=true",
        Tls,
        "nobody whom this system knows; name its authority with ca=",
    ),
    mistake(Elsewhere, "ca=$/ca.pem", Tls, "is for another host"),
    mistake(Expired, "ca=$/ca.pem", Tls, "the broker's certificate has expired"),
    mistake(Mutual, "ca=$/ca.pem", Tls, "asks for a client certificate"),
    mistake(
        Mutual,
        "ca=$/ca.pem&cert=$/stranger.pem&key=$/stranger.key",
        Tls,
        "does not accept the client certificate $/stranger.pem",
    ),
    mistake(
        Mutual,
        "ca=$/ca.pem&cert=$/client.pem&key=$/stranger.key",
        Unusable,
        "key=$/stranger.key is not the key of the certificate of cert=",
    ),
    mistake(
        Mutual,
        "ca=$/ca.pem&cert=$/client.pem&key=$/client.locked",
        Unusable,
        "or it has a password; name that with key_password_file=",
    ),
    mistake(
        Mutual,
        "ca=$/ca.pem&cert=$/client.pem&key=$/client.locked&key_password_file=$/lie",
        Unusable,
        "or its password is not that of key_password_file=",
    ),
    mistake(Encrypted, "ca=$/missing.pem", Unusable, "ca=$/missing.pem: No such file"),
    mistake(
        Mutual,
        "ca=$/ca.pem&cert=$/client.pem&key=$/missing.key",
        Unusable,
        "key=$/missing.key: No such file",
    ),
    mistake(Encrypted, "ca=$/owner", Unusable, "ca=$/owner has no certificate in PEM"),
];

/// The wrong port, or the wrong idea of what is behind it.
const OF_LISTENERS: [Mistake; 9] = [
    mistake(Encrypted, "tls=false", Tls, "say tls=true or ca="),
    mistake(Open, "ca=$/ca.pem", Tls, "leave out tls= and ca="),
    mistake(Passwords, "sasl=plain&user=owner&password_file=$/owner", Tls, "say tls=true or ca="),
    mistake(
        Unencrypted,
        "ca=$/ca.pem&sasl=plain&user=owner&password_file=$/owner",
        Tls,
        "leave out tls= and ca=",
    ),
    mistake(Passwords, "ca=$/ca.pem", Denied, "asks for credentials; say sasl="),
    mistake(Unencrypted, "tls=false", Denied, "asks for credentials; say sasl="),
    mistake(
        Open,
        "sasl=plain&user=owner&password_file=$/owner",
        Denied,
        "takes no credentials; leave out sasl=",
    ),
    mistake(
        Tokens,
        "ca=$/ca.pem&sasl=scram-sha-512&user=owner&password_file=$/owner",
        Denied,
        "say sasl= with one of oauthbearer",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=oauthbearer&password_file=$/token",
        Denied,
        "say sasl= with one of plain, ",
    ),
];

const OF_SECRETS: [Mistake; 9] = [
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=plain&user=owner&password_file=$/lie",
        Denied,
        "Invalid username or password; check user=owner and $/lie",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=scram-sha-256&user=owner&password_file=$/lie",
        Denied,
        "invalid credentials with SASL mechanism SCRAM-SHA-256; check user=owner and $/lie",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=scram-sha-512&user=nobody&password_file=$/guest",
        Denied,
        "check user=nobody and $/guest",
    ),
    mistake(
        Passwords,
        "config=$/kafka.properties&ca=$/ca.pem",
        Denied,
        "check user=owner and $/kafka.properties",
    ),
    mistake(
        Tokens,
        "ca=$/ca.pem&sasl=oauthbearer&password_file=$/expired-token",
        Denied,
        "s ago; have it renewed",
    ),
    mistake(
        Tokens,
        "ca=$/ca.pem&sasl=oauthbearer&password_file=$/lie",
        Denied,
        "look at the token in $/lie",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=plain&user=owner&password_file=$/missing",
        Unusable,
        "no secret in $/missing: No such file",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=plain&user=owner&password_file=$/data",
        Unusable,
        "no secret in $/data: Is a directory",
    ),
    mistake(
        Passwords,
        "ca=$/ca.pem&sasl=plain&user=owner&password_env=TIDINGS_IS_NOT_SET",
        Unusable,
        "no secret in the environment variable TIDINGS_IS_NOT_SET: it is not set",
    ),
];

/// Mistakes at once: most of what they do is to wait.
const AT_ONCE: usize = 6;

#[test]
fn each_mistake_has_its_own_error_without_a_secret() {
    let log = Log::default();
    // While there is one subscriber, what other threads log first is decided by theirs, which is none, and for
    // all threads.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    // Of this thread, on which everything here runs: what all threads log goes elsewhere.
    let _listening = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .set_default();
    let kafka = Secured::start();
    write_secrets(&kafka);
    kafka.write(
        "kafka.properties",
        &format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=owner\n\
             sasl.password={LIE}\n"
        ),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut left: Vec<Mistake> =
        OF_CERTIFICATES.into_iter().chain(OF_LISTENERS).chain(OF_SECRETS).collect();
    runtime.block_on(async {
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some(mistake) = left.pop()
            {
                running.spawn(make(mistake, kafka.plan()));
            }
            let Some(ended) = running.join_next().await else { break };
            ended.expect("it is told");
        }
    });
    let log = log.text();
    assert!(log.contains("librdkafka"), "the log is listened to: {log}");
    assert_shows_no_secret(&log);
}

/// Makes it and looks at what is said of it.
async fn make(mistake: Mistake, plan: super::super::broker::Plan) {
    let Mistake { way, parameters, kind, says } = mistake;
    let url = plan.url(way, parameters);
    let error = Engine::connect(&url).await.expect_err(parameters);
    let Error::Connect { address, trouble } = &error else { panic!("{parameters}: {error:?}") };
    let told = match trouble {
        ConnectTrouble::Tls(_) => Tls,
        ConnectTrouble::Denied(_) => Denied,
        ConnectTrouble::Unusable(_) => Unusable,
        other => panic!("{way:?} {parameters}: {other:?}"),
    };
    let says = plan.with_folder(says);
    assert_eq!((told, address.as_str()), (kind, plan.address(way)), "{parameters}: {error}");
    assert!(error.to_string().contains(&says), "{parameters}: {error}");
    assert_eq!(error.recourse(), Recourse::Fatal);
    assert_shows_no_secret(&format!("{error} {error:?}"));
}

fn assert_shows_no_secret(text: &str) {
    for secret in [OWNER, GUEST, LIE, KEY, "eyJhbGciOiJub25lIn0"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// What is logged in a thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'l> MakeWriter<'l> for Log {
    type Writer = Self;

    fn make_writer(&'l self) -> Self {
        self.clone()
    }
}
