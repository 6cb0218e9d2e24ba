//! Tokens of OAUTHBEARER, unsigned as Apache Kafka takes them where nobody says how to check a signature.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidings_engine::{Engine, NewTopic, SentRecord};

use super::super::broker::{Secured, Way, replace};

/// In seconds.
pub(super) const AN_HOUR: i64 = 3600;

/// A token of this user that expires so many seconds from now.
pub(super) fn of(user: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let now = i64::try_from(now).expect("a time of this century");
    let (issued, expires) = (now.min(now + seconds) - 60, now + seconds);
    let claims = format!("{{\"sub\":\"{user}\",\"iat\":{issued},\"exp\":{expires}}}");
    format!("{}.{}.", base64_url(b"{\"alg\":\"none\"}"), base64_url(claims.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let held = chunk.iter().fold(0_u32, |held, byte| held << 8 | u32::from(*byte));
        let held = held << (8 * (3 - chunk.len()));
        let symbols = (0..=chunk.len()).map(|index| held >> (18 - 6 * index) & 63);
        text.extend(symbols.map(|symbol| char::from(SYMBOLS[symbol as usize])));
    }
    text
}

/// How long the tokens of this test live, in seconds: a busy machine must get to work with one.
const LIFE: i64 = 20;
/// What renews tokens does not wait for who uses them.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Writes a new token every second until it is dropped.
struct Renewal {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Renewal {
    fn of(file: PathBuf) -> Self {
        replace(&file, &of("owner", LIFE));
        let (stop, stopped) = mpsc::channel::<()>();
        let renew = move || {
            while stopped.recv_timeout(RENEWED_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                replace(&file, &of("owner", LIFE));
            }
        };
        Self { stop: Some(stop), thread: Some(thread::spawn(renew)) }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "tokens are renewed to the end"
        );
    }
}

#[test]
fn a_token_is_read_again_before_it_expires() {
    let kafka = Secured::start();
    let _renewal = Renewal::of(kafka.file("token"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let parameters = "ca=$/ca.pem&sasl=oauthbearer&password_file=$/token&connect_timeout=60s";
        let engine = Engine::connect(&kafka.url(Way::Tokens, parameters)).await.expect("let in");
        let topic = NewTopic { name: "t".into(), partitions: Some(1), configs: Vec::new() };
        engine.create_topic(topic).await.expect("made");
        let producer = engine.producer().await.expect("a producer");
        let first = SystemTime::now();
        // Past the end of the first token, and of the one after it.
        let past = Duration::from_secs(LIFE.unsigned_abs() * 5 / 2);
        let mut sent = 0;
        while first.elapsed().unwrap_or(past) < past {
            let record = SentRecord {
                topic: "t".into(),
                value: Some(Bytes::from_static(b"value")),
                ..SentRecord::default()
            };
            let position = producer.send(vec![record]).await.expect("it is let in still");
            assert_eq!(position[0].offset, sent);
            sent += 1;
            // What has no connection yet comes with the newest token.
            engine.topic("t").await.expect("so is the looker");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}
