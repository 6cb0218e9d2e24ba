//! The idempotent producer of a cluster.

use std::sync::Arc;

use rdkafka::ClientConfig;

use super::Kafka;
use super::sending::Sender;
use crate::{Error, Position, SentRecord};

#[derive(Clone, Debug)]
pub(crate) struct KafkaProducer {
    sender: Arc<Sender>,
}

impl KafkaProducer {
    pub(crate) fn open(kafka: &Kafka) -> Result<Self, Error> {
        let timeout = kafka.settings().delivery_timeout.as_millis().to_string();
        let set = |config: &mut ClientConfig| {
            config.set("delivery.timeout.ms", timeout);
        };
        Ok(Self { sender: Arc::new(Sender::open(kafka, set)?) })
    }

    pub(crate) async fn send(&self, records: Vec<SentRecord>) -> Result<Vec<Position>, Error> {
        self.sender.send(records).await
    }
}
