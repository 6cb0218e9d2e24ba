//! Sessions of browsers: a random id in a cookie, of which only the digest is kept here.
//!
//! They are in memory, so a restart ends them all. One lasts [`SESSION_LIFETIME`] from its beginning, whatever is done in
//! it; there are up to [`SESSIONS_MAX`], and the one that began first makes room.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::accounts::digest;
use crate::limits::{SESSION_COOKIES_MAX, SESSION_LIFETIME, SESSIONS_MAX};

/// What the cookie is called.
const COOKIE: &str = "tidings_session";

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The first one first; all last equally long.
    all: Mutex<VecDeque<Session>>,
}

#[derive(Debug)]
struct Session {
    id: [u8; 32],
    ends: Instant,
}

impl Sessions {
    /// Begins a session; the value of the header that gives it to the browser.
    pub(super) fn begin(&self, now: Instant, secure: bool) -> Result<String, getrandom::Error> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut all = self.at(now);
        if all.len() >= SESSIONS_MAX {
            all.pop_front();
        }
        all.push_back(Session { id: digest(id.as_bytes()), ends: now + SESSION_LIFETIME });
        Ok(cookie(&id, SESSION_LIFETIME.as_secs(), secure))
    }

    /// Whether the browser has one that goes on.
    pub(super) fn has(&self, headers: &HeaderMap, now: Instant) -> bool {
        let all = self.at(now);
        said(headers).any(|id| all.iter().any(|known| known.is(&id)))
    }

    /// Ends what the browser has; the value of the header that takes it away.
    pub(super) fn end(&self, headers: &HeaderMap, now: Instant) -> String {
        let mut all = self.at(now);
        for id in said(headers) {
            all.retain(|known| !known.is(&id));
        }
        cookie("", 0, false)
    }

    /// Those that have not ended by then.
    fn at(&self, now: Instant) -> MutexGuard<'_, VecDeque<Session>> {
        // A list of digests is whole whatever a thread that held it was doing.
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        while all.front().is_some_and(|first| first.ends <= now) {
            all.pop_front();
        }
        all
    }
}

impl Session {
    fn is(&self, id: &[u8; 32]) -> bool {
        self.id.as_slice().ct_eq(id.as_slice()).into()
    }
}

/// Digests of the ids in cookies of this name, of which a browser has one for each path.
fn said(headers: &HeaderMap) -> impl Iterator<Item = [u8; 32]> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let ids = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    ids.take(SESSION_COOKIES_MAX).map(|id| digest(id.as_bytes()))
}

fn cookie(id: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        let value = HeaderValue::from_str(&format!("theme=dark; {pair}")).unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn a_session_lasts_until_its_time_or_its_end() {
        let sessions = Sessions::default();
        let begun = Instant::now();
        let cookie = sessions.begin(begun, true).unwrap();
        let attributes = "; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure";
        assert!(cookie.ends_with(attributes), "{cookie}");
        assert_eq!(cookie.len(), COOKIE.len() + 1 + 64 + attributes.len());
        let (one, other) = (with(&cookie), with(&sessions.begin(begun, false).unwrap()));
        let last = begun + SESSION_LIFETIME - std::time::Duration::from_millis(1);
        assert!(sessions.has(&one, last) && sessions.has(&other, last));
        for stranger in ["tidings_session=", "tidings_session=00", "other=1"] {
            assert!(!sessions.has(&with(stranger), begun), "{stranger}");
        }
        let taken = sessions.end(&one, begun);
        assert!(taken.contains("tidings_session=; Path=/; Max-Age=0;"), "{taken}");
        assert!(!sessions.has(&one, begun) && sessions.has(&other, begun));
        assert!(!sessions.has(&other, begun + SESSION_LIFETIME));
    }

    #[test]
    fn there_are_so_many_sessions_and_the_first_makes_room() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let all: Vec<HeaderMap> =
            (0..=SESSIONS_MAX).map(|_| with(&sessions.begin(now, false).unwrap())).collect();
        assert!(!sessions.has(&all[0], now));
        assert!(sessions.has(&all[1], now) && sessions.has(&all[SESSIONS_MAX], now));
    }
}
