//! Arguments of `generate`, and what is promised of services.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tidings_slo::{Malformed, Objectives};
use tidings_terminal::Form;

use super::HTTP_DEFAULT;

#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// What for
    pub(crate) what: Kit,
    /// Where the files go; one file alone goes to standard output without it
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long, requires = "to")]
    pub(crate) force: bool,
    /// Where Prometheus finds the metrics
    #[arg(long, value_name = "HOST:PORT", default_value = HTTP_DEFAULT)]
    pub(crate) http: String,
    /// The console's file of accounts, as `up` takes it: a unit and a compose file then start with it, and Prometheus
    /// says credentials
    #[arg(long, value_name = "FILE", env = "TIDINGS_HTTP_AUTH_FILE")]
    pub(crate) http_auth_file: Option<PathBuf>,
    /// Of `prometheus`: the user that it is to the console [default: none, it has a token]
    #[arg(long, value_name = "NAME")]
    pub(crate) http_user: Option<String>,
    /// Of `prometheus`: where it has that user's password, or the token [default: tidings.password or tidings.token
    /// beside prometheus.yml]
    #[arg(long, value_name = "FILE")]
    pub(crate) http_secret_file: Option<PathBuf>,
    /// Of `slo`: for whom
    #[arg(long, value_enum, default_value = "prometheus")]
    pub(crate) format: SloFormat,
    /// Of `slo` for sloth or openslo: a service; may be repeated, beside those of which --slo says something
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    #[command(flatten)]
    pub(crate) slo: Slo,
    /// The form of the answer; JSON shapes are stable
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Form,
}

/// What is promised of services.
#[derive(Args, Clone, Debug)]
pub(crate) struct Slo {
    /// Objectives of a service, or of all: 'payment: success=99.9%, latency=99%<1s, freshness=99%<1m'; may be
    /// repeated [default: success=99.9%, latency=99%<5s, freshness=99%<1m]
    #[arg(long = "slo", value_name = "OBJECTIVES", value_parser = promised)]
    pub(crate) slo: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SloFormat {
    /// Recording and alert rules
    Prometheus,
    /// What Sloth makes rules of
    Sloth,
    /// OpenSLO v1
    Openslo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kit {
    /// A scrape configuration and alert rules
    Prometheus,
    /// Three dashboards: is all well, on call, every metric
    Grafana,
    /// Objectives of services with burn rates
    Slo,
    /// A hardened unit
    Systemd,
    /// A compose file and a Dockerfile
    Compose,
    /// A Helm chart
    Helm,
}

/// Objectives as they are said, once they are known to be some.
fn promised(said: &str) -> Result<String, Malformed> {
    Objectives::default().say(said).map(|()| said.to_owned())
}
