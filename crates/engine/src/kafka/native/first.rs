//! First words with a cluster: whether a broker answers, and what is wrong with its certificate.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaType;
use rdkafka::{ClientConfig, ClientContext};

use super::code;
use crate::kafka::Looker;

/// Whether any broker answers within this time. Connects at once, which librdkafka otherwise does when its
/// timer of one second says so.
pub(in crate::kafka) fn answers(looker: &Looker, wait: Duration) -> bool {
    asks_brokers(looker.client().native_ptr(), wait)
}

fn asks_brokers(client: *mut c::rd_kafka_t, wait: Duration) -> bool {
    let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    let mut answer = std::ptr::null();
    // SAFETY: the caller's client lives; the answer is destroyed when there is one. It names no topics, as
    // such a client knows none.
    unsafe {
        let none = std::ptr::null_mut();
        let asked = c::rd_kafka_metadata(client, 0, none, &raw mut answer, wait_ms);
        if !answer.is_null() {
            c::rd_kafka_metadata_destroy(answer);
        }
        code(asked).is_none()
    }
}

/// OpenSSL's number for what is wrong with a certificate that brokers show; none when no broker showed one
/// in this time, or nothing is wrong. librdkafka tells it to a callback alone, which the rdkafka crate does not
/// have: so it is asked by a client of its own, once TLS has failed.
pub(in crate::kafka) fn wrong_with_certificate(
    config: &ClientConfig,
    wait: Duration,
) -> Option<i32> {
    let native = config.create_native_config().ok()?;
    // SAFETY: the configuration is owned and not used yet.
    let set = unsafe { c::rd_kafka_conf_set_ssl_cert_verify_cb(native.ptr(), Some(verified)) };
    if set != c::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
        return None;
    }
    let kind = RDKafkaType::RD_KAFKA_PRODUCER;
    let client = Client::new(config, native, kind, Inspector::default()).ok()?;
    let deadline = std::time::Instant::now() + wait;
    loop {
        let left = deadline.checked_duration_since(std::time::Instant::now())?;
        let answered = asks_brokers(client.native_ptr(), left.min(LOOK));
        match client.context().found.load(Ordering::Acquire) {
            0 if answered => return None,
            0 => {}
            found => return Some(found),
        }
    }
}

/// Between two looks at what the callback was told.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Inspector {
    /// The first error, or 0.
    found: AtomicI32,
}

/// Says nothing of it: the client that failed has said so.
impl ClientContext for Inspector {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

/// Called for each certificate of a chain.
unsafe extern "C" fn verified(
    _: *mut c::rd_kafka_t,
    _broker: *const c_char,
    _broker_id: i32,
    x509_error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _size: usize,
    _said: *mut c_char,
    _said_size: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka gives a number that lives, and the context, which lives as long as its client.
    let (error, inspector) = unsafe { (*x509_error, &*opaque.cast_const().cast::<Inspector>()) };
    if error == 0 {
        return 1;
    }
    // The first is the cause.
    let (Ok(_) | Err(_)) =
        inspector.found.compare_exchange(0, error, Ordering::AcqRel, Ordering::Acquire);
    0
}
