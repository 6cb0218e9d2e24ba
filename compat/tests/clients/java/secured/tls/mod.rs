//! What needs a build with TLS.

mod token;
mod ways;
mod wrong;

use crate::java::secured::broker::Secured;
use crate::java::secured::{GUEST, LIE, OWNER};

/// The files that parameters name beside certificates.
fn write_secrets(kafka: &Secured) {
    kafka.write("owner", &format!("{OWNER}\n"));
    kafka.write("guest", GUEST);
    kafka.write("lie", LIE);
    kafka.write("key-password", super::KEY);
    kafka.write("token", &token::of("owner", token::AN_HOUR));
    kafka.write("expired-token", &token::of("owner", -60));
}
