//! Cargo over the whole workspace, with the same features in every step: those of what is released.
//!
//! TLS is OpenSSL's, and here the system's, as compiling it takes two minutes. Without it the steps go on without
//! the feature.

use std::path::Path;
use std::process::Command;

use super::tools::{self, Missing, Tool};
use crate::process;

pub(super) struct Whole<'r> {
    pub(super) root: &'r Path,
    openssl: Tool,
}

impl<'r> Whole<'r> {
    pub(super) fn of(root: &'r Path) -> anyhow::Result<Self> {
        Ok(Self { root, openssl: tools::openssl()? })
    }

    /// `cargo VERB --workspace`.
    pub(super) fn cargo(&self, verb: &str) -> Command {
        let mut cargo = process::cargo(self.root);
        cargo.args([verb, "--workspace"]);
        if let Tool::Found(_) = self.openssl {
            cargo.args(["--features", "tidings-cli/tls"]).env("OPENSSL_NO_VENDOR", "1");
        }
        cargo
    }

    /// Why there is no TLS.
    pub(super) fn without_tls(&self) -> Option<&Missing> {
        match &self.openssl {
            Tool::Found(_) => None,
            Tool::Missing(why) => Some(why),
        }
    }
}
