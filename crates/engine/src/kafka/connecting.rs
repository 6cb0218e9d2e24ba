//! Whether a cluster can be worked with, asked once at the beginning.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::{client_config, failed};
use super::context::Watch;
use super::symptom::{Says, Symptom, certificate_trouble};
use super::url::Settings;
use super::{Looker, asking, blocking, native};
use crate::{ConnectTrouble, Error};

/// How long one look takes; between two, what went wrong is considered.
const LOOK: Duration = Duration::from_millis(100);

/// How long the log lines of a client take to be read, on a busy machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// How long a certificate that was seen a moment ago takes to be seen again.
const CERTIFICATE_WITHIN: Duration = Duration::from_secs(2);

/// What an engine needs of brokers, and the first Apache Kafka that has it: API key, version, name.
const NEEDED: [(i16, i16, &str); 2] = [
    // Positions in transactions that are checked against the group's members (KIP-447).
    (28, 3, "TxnOffsetCommit 3"),
    // Positions that no transaction is about to change (KIP-447).
    (9, 7, "OffsetFetch 7"),
];

/// Waits until a broker answers, and says which there are. A refusal ends it at once; who cannot be
/// reached may yet come.
pub(super) async fn check(
    settings: &Settings,
    looker: &Arc<Looker>,
    watch: &Watch,
) -> Result<Vec<i32>, Error> {
    let deadline = Instant::now() + settings.connect_timeout;
    loop {
        let asked = Arc::clone(looker);
        let left = deadline.saturating_duration_since(Instant::now());
        if blocking(move || native::answers(&asked, left.min(LOOK))).await? {
            break;
        }
        match watch.symptom() {
            Some(symptom) if symptom.says() == Says::TheReason => {
                return Err(failed(settings, why(symptom, settings).await?));
            }
            _ if Instant::now() < deadline => {}
            symptom => {
                let silent = format!("no answer within {:?}", settings.connect_timeout);
                let symptom = symptom.unwrap_or(Symptom::Away(silent));
                return Err(failed(settings, symptom.trouble(settings)));
            }
        }
    }
    // What the brokers offer was logged before they answered, and is on its way to the watch.
    let patience = Instant::now() + SETTLED_WITHIN;
    loop {
        match too_old(watch) {
            None => break,
            Some(lacking) if patience <= Instant::now() => {
                return Err(failed(settings, ConnectTrouble::TooOld(lacking)));
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
    let asked = Arc::clone(looker);
    let metadata = blocking(move || asking::metadata(&asked, None)).await??;
    Ok(metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect())
}

/// The trouble of a symptom, with a closer look where that tells more.
async fn why(symptom: Symptom, settings: &Settings) -> Result<ConnectTrouble, Error> {
    if symptom != Symptom::BadCertificate {
        return Ok(symptom.trouble(settings));
    }
    let config = client_config(settings)?;
    let wrong = blocking(move || native::wrong_with_certificate(&config, CERTIFICATE_WITHIN));
    Ok(match wrong.await? {
        Some(number) => certificate_trouble(number, settings),
        None => symptom.trouble(settings),
    })
}

fn too_old(watch: &Watch) -> Option<String> {
    if !watch.knows_versions() {
        return None;
    }
    let lacks = |(api, version, name): &(i16, i16, &str)| match watch.offers(*api) {
        Some(newest) if newest >= *version => None,
        _ => Some((*name).to_owned()),
    };
    let lacking: Vec<String> = NEEDED.iter().filter_map(lacks).collect();
    (!lacking.is_empty()).then(|| format!("they lack {}", lacking.join(", ")))
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use crate::kafka::Kafka;
    use crate::{ConnectTrouble, Error};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn brokers_that_are_too_old_are_told_by_what_they_lack() {
        let cluster = MockCluster::new(1).expect("brokers that librdkafka plays");
        let old = cluster.apiversion(RDKafkaApiKey::TxnOffsetCommit, Some(0), Some(2));
        old.expect("the brokers say what they are told");
        let address = cluster.bootstrap_servers();
        let refused = Kafka::connect(&format!("kafka://{address}")).await.expect_err("too old");
        let Error::Connect { trouble: ConnectTrouble::TooOld(why), .. } = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("TxnOffsetCommit 3"), "{why}");
        assert!(refused.to_string().contains("2.5 or later"), "{refused}");
    }
}
