//! The schemas of `_schemas`, for who decodes: folded as far as the topic goes whenever they are asked for, whether
//! or not a registry runs here.
//!
//! What cannot be read is not there: records are shown as they are then, and pages stand. Of a topic that begins anew all is
//! forgotten, as far as that can be told: by an end before what was read.

use std::sync::Arc;
use std::time::Duration;

use tidings_decode::Decoder;
use tidings_engine::{Engine, Error, Offset, ReadLimit};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::store::TOPIC;
use crate::limits::{
    BODY_BYTES_MAX, REGISTRY_READ_RECORDS, SCHEMAS_FRESH_FOR_CLUSTER, SCHEMAS_LOOK_READS,
    SCHEMAS_LOOK_WAIT,
};

#[derive(Debug)]
/// What records are decoded by, kept up with the topic.
pub struct Schemas {
    engine: Engine,
    decoder: Arc<Decoder>,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// The first offset that is not folded yet; none before the first look.
    next: Option<i64>,
    looked: Option<Instant>,
}

impl Schemas {
    /// Reads nothing yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, decoder: Arc::default(), place: Mutex::default() }
    }

    /// With what the topic has gained since. Of many new records the first [`SCHEMAS_LOOK_READS`] reads are taken, the
    /// next ones with the next look.
    pub async fn current(&self) -> Arc<Decoder> {
        let looking = timeout(SCHEMAS_LOOK_WAIT, async {
            let mut place = self.place.lock().await;
            let fresh_for = match self.engine.connection() {
                Some(_) => SCHEMAS_FRESH_FOR_CLUSTER,
                None => Duration::ZERO,
            };
            if place.looked.is_none_or(|looked| looked.elapsed() >= fresh_for) {
                place.looked = Some(Instant::now());
                self.look(&mut place).await?;
            }
            Ok::<_, Error>(())
        });
        match looking.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("{TOPIC} cannot be read: {error}"),
            Err(_) => debug!("{TOPIC} was not read within {SCHEMAS_LOOK_WAIT:?}"),
        }
        Arc::clone(&self.decoder)
    }

    /// May be given up at any await: what was folded is passed by.
    async fn look(&self, place: &mut Place) -> Result<(), Error> {
        for _ in 0..SCHEMAS_LOOK_READS {
            let next = match place.next {
                Some(next) => next,
                None => match self.engine.offset(TOPIC, 0, Offset::Earliest).await {
                    Err(Error::UnknownTopic(_) | Error::Denied(_)) => return Ok(()),
                    first => first?,
                },
            };
            let wait = Duration::ZERO;
            let limit = ReadLimit { records: REGISTRY_READ_RECORDS, bytes: BODY_BYTES_MAX, wait };
            let read = match self.engine.read(TOPIC, 0, next, limit).await {
                Err(Error::UnknownTopic(_) | Error::OffsetOutOfRange { .. }) => {
                    self.decoder.forget();
                    place.next = None;
                    continue;
                }
                read => read?,
            };
            for record in &read.records {
                self.decoder.take(record.key.as_deref(), record.value.as_deref());
            }
            place.next = Some(read.next.max(next));
            if read.next <= next || read.next >= read.high_watermark {
                break;
            }
        }
        Ok(())
    }
}
