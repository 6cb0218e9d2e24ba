//! What a request says in `Authorization`: a token, or a user with a password.
//!
//! A password that was right is not tried again while it is among the last [`VERIFIED_KEPT`]: programs say theirs with each
//! request. What is remembered is a digest under a secret of this process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::Semaphore;

use super::accounts::{Accounts, digest};
use crate::limits::{TRIALS_MAX, TRIALS_WAITING_MAX, VERIFIED_KEPT};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// Nothing was said.
    Unsaid,
    Wrong,
    /// It was not looked at.
    Busy,
}

pub(super) struct Credentials {
    accounts: Arc<Accounts>,
    /// Turns to try a password.
    turns: Arc<Semaphore>,
    /// Places to try one or to wait for it.
    places: Arc<Semaphore>,
    secret: [u8; 32],
    verified: Mutex<VecDeque<[u8; 32]>>,
}

/// The secret is nothing for a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(accounts: Accounts) -> Self {
        let mut secret = [0; 32];
        // Without it nothing is remembered, and each password is tried.
        let kept = if getrandom::fill(&mut secret).is_ok() { VERIFIED_KEPT } else { 0 };
        Self {
            accounts: Arc::new(accounts),
            turns: Arc::new(Semaphore::new(TRIALS_MAX)),
            places: Arc::new(Semaphore::new(TRIALS_MAX + TRIALS_WAITING_MAX)),
            secret,
            verified: Mutex::new(VecDeque::with_capacity(kept)),
        }
    }

    /// Of a request's headers.
    pub(super) async fn of(&self, headers: &HeaderMap) -> Verdict {
        let Some(said) = headers.get(header::AUTHORIZATION) else { return Verdict::Unsaid };
        let Some((scheme, rest)) = said.to_str().ok().and_then(|said| said.split_once(' ')) else {
            return Verdict::Wrong;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.token(rest);
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|decoded| decoded.split_once(':')) {
            Some((user, password)) if scheme.eq_ignore_ascii_case("basic") => {
                self.password(user, password).await
            }
            _ => Verdict::Wrong,
        }
    }

    pub(super) fn token(&self, token: &str) -> Verdict {
        if self.accounts.has_token(token) { Verdict::Known } else { Verdict::Wrong }
    }

    pub(super) async fn password(&self, user: &str, password: &str) -> Verdict {
        let mut said = self.secret.to_vec();
        said.extend_from_slice(&(user.len() as u64).to_le_bytes());
        said.extend_from_slice(user.as_bytes());
        said.extend_from_slice(password.as_bytes());
        let said = digest(&said);
        if self.was_right(&said) {
            return Verdict::Known;
        }
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else { return Verdict::Busy };
        // The semaphore is never closed.
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Verdict::Busy };
        let (accounts, user, password) =
            (Arc::clone(&self.accounts), user.to_owned(), password.to_owned());
        let tried = tokio::task::spawn_blocking(move || {
            // Held by the thread, which goes on when whoever asked is gone.
            let _turn = turn;
            accounts.has_password(&user, password.as_bytes())
        });
        match tried.await {
            Ok(true) => {
                self.remember(said);
                Verdict::Known
            }
            Ok(false) => Verdict::Wrong,
            Err(_panicked_or_stopping) => Verdict::Busy,
        }
    }

    fn was_right(&self, said: &[u8; 32]) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let found = verified
            .iter()
            .fold(Choice::from(0), |found, known| found | known.as_slice().ct_eq(said.as_slice()));
        found.into()
    }

    fn remember(&self, said: [u8; 32]) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.capacity() == 0 {
            return;
        }
        if verified.len() >= VERIFIED_KEPT {
            verified.pop_front();
        }
        verified.push_back(said);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::super::accounts::tests::{ANN, TOKEN};
    use super::*;

    fn credentials() -> Credentials {
        Credentials::new(Accounts::parse(&format!("{ANN}\n{TOKEN}")).unwrap())
    }

    #[tokio::test]
    async fn what_is_said_is_known_or_wrong() {
        let credentials = credentials();
        let basic = |said: &str| format!("Basic {}", STANDARD.encode(said));
        for (said, verdict) in [
            (format!("Bearer {TOKEN}"), Verdict::Known),
            (format!("bearer  {TOKEN}"), Verdict::Known),
            (format!("Basic {TOKEN}"), Verdict::Wrong),
            ("Bearer".to_owned(), Verdict::Wrong),
            ("Bearer x".to_owned(), Verdict::Wrong),
            (basic("ann:correctbatteryhorsestapler"), Verdict::Known),
            (basic("ann:correctbatteryhorsestapler"), Verdict::Known),
            (basic("ann:secret"), Verdict::Wrong),
            (basic("ann"), Verdict::Wrong),
            (format!("Digest {}", STANDARD.encode("ann:secret")), Verdict::Wrong),
        ] {
            let value = HeaderValue::from_str(&said).unwrap();
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert_eq!(credentials.of(&headers).await, verdict, "{said}");
        }
        assert_eq!(credentials.of(&HeaderMap::new()).await, Verdict::Unsaid);
    }

    #[tokio::test]
    async fn passwords_that_wait_are_so_many_and_right_ones_do_not_wait_again() {
        let credentials = credentials();
        let known = "correctbatteryhorsestapler";
        assert_eq!(credentials.password("ann", known).await, Verdict::Known);
        let all = Arc::clone(&credentials.places);
        let _held = all.acquire_many(u32::try_from(TRIALS_MAX + TRIALS_WAITING_MAX).unwrap()).await;
        assert_eq!(credentials.password("ann", "other").await, Verdict::Busy);
        assert_eq!(credentials.password("ann", known).await, Verdict::Known);
        assert_eq!(credentials.token(TOKEN), Verdict::Known);
    }
}
