//! `/metrics/compat`: the figures of topics and groups under the names of exporters that dashboards and alert rules
//! are written for, so that these go on unchanged.
//!
//! Two styles: `kafka_exporter` (danielqsj/kafka_exporter, Grafana 7589) and `kminion` (redpanda-data/kminion, Grafana
//! 14012 to 14014). Names, labels, types and help are theirs; what they count and the seam does not show is left out,
//! as `docs/operations.md` says.
//!
//! The engine is asked at a scrape, by one scrape at a time; who comes within [`COMPAT_FRESH_FOR`] of the last look gets
//! what that found. A look is bounded ([`collected`]); what was left out is in a comment and in `tidings_compat_left_out`.

mod collected;
mod kafka_exporter;
mod kminion;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidings_gateway::{ApiTrouble, Trouble};
use tokio::sync::Mutex;

use super::Shared;
use super::exposition::{Exposition, MEDIA_TYPE};
use super::figure::Family;
use crate::limits::{COMPAT_FRESH_FOR, COMPAT_GROUPS_MAX, COMPAT_PARTITIONS_MAX};
use collected::{Collected, Policies};

static LEFT_OUT: Family = Family::gauge(
    "tidings_compat_left_out",
    "Topics and groups that are not in this text because a limit was reached.",
    &["what"],
);

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    KafkaExporter,
    Kminion,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    style: String,
}

impl Style {
    fn of(said: &str) -> Result<Self, Trouble> {
        let why = match said {
            "kafka_exporter" => return Ok(Self::KafkaExporter),
            "kminion" => return Ok(Self::Kminion),
            "" => "no style is said: kafka_exporter or kminion".to_owned(),
            other => format!("{other:?} is no style: kafka_exporter or kminion"),
        };
        Err(Trouble::bad_request(why).hint("?style=kafka_exporter or ?style=kminion"))
    }
}

/// The last look. Who holds the lock looks; the others wait for what it finds.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Looked>);

#[derive(Debug, Default)]
struct Looked {
    last: Option<(Instant, Arc<Collected>)>,
    policies: Policies,
}

impl Looks {
    async fn look(&self, shared: &Shared) -> Result<Arc<Collected>, Trouble> {
        let mut looked = self.0.lock().await;
        if let Some((at, last)) = &looked.last
            && at.elapsed() < COMPAT_FRESH_FOR
        {
            return Ok(Arc::clone(last));
        }
        let found = Collected::of(&shared.engine, &mut looked.policies).await;
        let found = Arc::new(found.map_err(|error| Trouble::unavailable(error.to_string()))?);
        looked.last = Some((Instant::now(), Arc::clone(&found)));
        Ok(found)
    }
}

pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiTrouble> {
    let Query(Asked { style }) = asked?;
    let style = Style::of(&style)?;
    let found = shared.compat.look(&shared).await?;
    let address = shared.options.addresses.log.node().unwrap_or_default();
    let mut text = Exposition::default();
    match style {
        Style::KafkaExporter => kafka_exporter::write(&mut text, &found, address),
        Style::Kminion => kminion::write(&mut text, &found, address, shared.options.version),
    }
    left_out(&mut text, &found);
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text.text()).into_response())
}

fn left_out(text: &mut Exposition, found: &Collected) {
    let out = [("topics", found.topics_left_out), ("groups", found.groups_left_out)];
    if out.iter().any(|(_, count)| *count > 0) {
        text.comment(&format!(
            "left out: {} topics and {} groups, the last by name; at most {COMPAT_PARTITIONS_MAX} partitions and \
             {COMPAT_GROUPS_MAX} groups are in a text",
            found.topics_left_out, found.groups_left_out
        ));
    }
    text.begin(&LEFT_OUT);
    for (what, count) in out {
        text.sample(&[&what], count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_one_of_two() {
        let why = |said| Style::of(said).map_err(|trouble| trouble.detail);
        assert_eq!(why("kafka_exporter"), Ok(Style::KafkaExporter));
        assert_eq!(why("kminion"), Ok(Style::Kminion));
        for said in ["", "burrow", "KMINION"] {
            let refused = why(said).unwrap_err();
            assert!(refused.contains("kafka_exporter or kminion"), "{refused}");
        }
    }
}
