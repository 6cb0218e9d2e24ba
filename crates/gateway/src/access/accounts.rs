//! The file of who may ask: a line for each user, `NAME:HASH`, or a token alone.
//!
//! Hashes are Argon2 in the PHC form (`$argon2id$…`) or bcrypt (`$2b$…`, as `htpasswd -B` writes them). A token has at
//! least [`TOKEN_CHARS_MIN`] characters; only its digest is kept in memory. What is compared is compared in constant
//! time, and a user who is not there takes as long as one who is.

use std::fmt;

use argon2::{Argon2, PasswordVerifier as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::limits::{
    ACCOUNTS_MAX, ARGON2_KIBIBYTES_MAX, ARGON2_PASSES_MAX, BCRYPT_COST_MAX, TOKEN_CHARS_MIN,
};

pub(super) fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Who may ask.
#[derive(Clone, Default)]
pub struct Accounts {
    users: Vec<(String, Hash)>,
    tokens: Vec<[u8; 32]>,
}

/// Neither hashes nor digests are anything for a log.
impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (users, tokens) = (self.users.len(), self.tokens.len());
        f.debug_struct("Accounts").field("users", &users).field("tokens", &tokens).finish()
    }
}

#[derive(Clone)]
enum Hash {
    Argon2(String),
    Bcrypt(String),
}

/// A line that is none of a file of accounts. It does not say what the line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAccounts {
    /// Counted from 1; 0 for the whole.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for BadAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.why),
            line => write!(f, "line {line}: {}", self.why),
        }
    }
}

impl std::error::Error for BadAccounts {}

impl Accounts {
    /// Reads the text of a file: empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &str) -> Result<Self, BadAccounts> {
        let mut accounts = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            accounts.add(line).map_err(|why| BadAccounts { line: number, why })?;
        }
        let count = accounts.users.len() + accounts.tokens.len();
        match count {
            0 => Err(BadAccounts { line: 0, why: "it names nobody".to_owned() }),
            1..=ACCOUNTS_MAX => Ok(accounts),
            _ => {
                let why = format!("it has {count} users and tokens; {ACCOUNTS_MAX} are the most");
                Err(BadAccounts { line: 0, why })
            }
        }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let Some((name, hash)) = line.split_once(':') else {
            let sound = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
            if line.len() < TOKEN_CHARS_MIN || !line.chars().all(sound) {
                return Err(format!(
                    "it is neither NAME:HASH nor a token, which has at least {TOKEN_CHARS_MIN} \
                     letters, digits and -._~+/="
                ));
            }
            self.tokens.push(digest(line.as_bytes()));
            return Ok(());
        };
        let name = name.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("it names no user".to_owned());
        }
        if self.users.iter().any(|(known, _)| known == name) {
            return Err(format!("user {name} is there already"));
        }
        self.users.push((name.to_owned(), Hash::parse(hash.trim())?));
        Ok(())
    }

    /// Whether this is one of the tokens.
    pub(super) fn has_token(&self, token: &str) -> bool {
        let said = digest(token.as_bytes());
        let found = self
            .tokens
            .iter()
            .fold(Choice::from(0), |found, known| found | known.as_slice().ct_eq(said.as_slice()));
        found.into()
    }

    /// Whether this is the user's password. Takes as long as the hash was made to take.
    pub(super) fn has_password(&self, user: &str, password: &[u8]) -> bool {
        let found = self.users.iter().find(|(name, _)| name == user);
        // Somebody's hash is tried for nobody, so that the time does not tell who is there.
        match found.or(self.users.first()) {
            Some((_, hash)) => hash.is_of(password) && found.is_some(),
            None => false,
        }
    }
}

impl Hash {
    fn parse(hash: &str) -> Result<Self, String> {
        if hash.starts_with("$argon2") {
            return Self::argon2(hash);
        }
        let parts: bcrypt::HashParts = hash.parse().map_err(|_| {
            "the hash is neither Argon2 ($argon2id$…) nor bcrypt ($2b$…); `htpasswd -nB NAME` makes one"
                .to_owned()
        })?;
        if parts.get_cost() > BCRYPT_COST_MAX {
            return Err(format!("a cost of bcrypt beyond {BCRYPT_COST_MAX} takes too long"));
        }
        Ok(Self::Bcrypt(hash.to_owned()))
    }

    fn argon2(hash: &str) -> Result<Self, String> {
        let parsed = argon2::PasswordHash::new(hash).ok();
        let kinds = ["argon2d", "argon2i", "argon2id"];
        let parsed = parsed
            .filter(|hash| hash.salt.is_some() && hash.hash.is_some())
            .filter(|hash| kinds.contains(&hash.algorithm.as_str()))
            .ok_or_else(|| "the hash of Argon2 is not whole".to_owned())?;
        let of = |name: &str| parsed.params.get_decimal(name).unwrap_or(0);
        if of("m") > ARGON2_KIBIBYTES_MAX || of("t") > ARGON2_PASSES_MAX {
            return Err(format!(
                "Argon2 with more than {ARGON2_KIBIBYTES_MAX} KiB or {ARGON2_PASSES_MAX} passes takes too much"
            ));
        }
        Ok(Self::Argon2(hash.to_owned()))
    }

    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(hash) => {
                Argon2::default().verify_password(password, hash.as_str()).is_ok()
            }
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// bcrypt's own example, of "correctbatteryhorsestapler", with the least cost.
    pub(in super::super) const ANN: &str =
        "ann:$2a$04$n4Uy0eSnMfvnESYL.bLwuuj0U/ETSsoTpRT9GVk5bektyVVa5xnIi";
    /// The example of Argon2's reference, of "password".
    const BOB: &str = "bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ\
                       $nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    pub(in super::super) const TOKEN: &str = "b5c0b187fe309af0f4d35982fd961d7e";

    #[test]
    fn passwords_and_tokens_are_told_from_others() {
        let text = format!("# people\n{ANN}\n\n  {BOB}\n# programs\n{TOKEN}\n");
        let accounts = Accounts::parse(&text).unwrap();
        for (user, password, is_right) in [
            ("ann", "correctbatteryhorsestapler", true),
            ("bob", "password", true),
            ("ann", "password", false),
            ("bob", "", false),
            ("eve", "correctbatteryhorsestapler", false),
            ("", "", false),
        ] {
            assert_eq!(accounts.has_password(user, password.as_bytes()), is_right, "{user}");
        }
        for (token, is_right) in [(TOKEN, true), (&TOKEN[1..], false), ("", false), (ANN, false)] {
            assert_eq!(accounts.has_token(token), is_right, "{token}");
        }
        let shown = format!("{accounts:?}");
        assert_eq!(shown, "Accounts { users: 2, tokens: 1 }");
    }

    #[test]
    fn a_file_that_says_something_else_is_refused_with_its_line() {
        let costly = "x:$2b$31$abcdefghijklmnopqrstuuJ7SzMmNXwKaT9zoG0a3L1MrL5gGQ5Ne";
        let huge = "x:$argon2id$v=19$m=9000000,t=3,p=1$c2FsdHNhbHQ$q0Yv0ZUl0IUQGlM9SIyoZA";
        for (text, line, wanted) in [
            ("", 0, "names nobody"),
            ("# nobody\n", 0, "names nobody"),
            ("\nshort", 2, "neither NAME:HASH nor a token"),
            ("ann:secret", 1, "neither Argon2"),
            (":$2b$", 1, "names no user"),
            (&format!("{ANN}\n{ANN}"), 2, "there already"),
            (costly, 1, "beyond"),
            (huge, 1, "takes too much"),
            ("x:$argon2id$v=19$m=8", 1, "not whole"),
        ] {
            let refused = Accounts::parse(text).unwrap_err();
            assert_eq!(refused.line, line, "{refused}");
            assert!(refused.why.contains(wanted), "{refused}");
            assert!(!refused.why.contains("secret"), "{refused}");
        }
    }
}
