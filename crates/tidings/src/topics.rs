//! Topics that the SDK makes where they are missing: of events, and of what services keep.

use tidings_engine::{Engine, Error, NewTopic, Topic};

use crate::limits;

/// What is known of a topic; none when it is not there.
pub(crate) async fn find_topic(engine: &Engine, name: &str) -> Result<Option<Topic>, Error> {
    match engine.topic(name).await {
        Ok(topic) => Ok(Some(topic)),
        Err(Error::UnknownTopic(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a topic; that somebody else has made it in the meantime is as good.
pub(crate) async fn create_topic(engine: &Engine, topic: NewTopic) -> Result<(), Error> {
    match engine.create_topic(topic).await {
        Ok(()) | Err(Error::TopicExists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the topic unless it is there, and looks whether it takes records. It keeps every event: what a service has written is its memory,
/// and events may tell of a time long past.
pub(crate) async fn make_topic(engine: &Engine, name: &str) -> Result<(), Error> {
    if find_topic(engine, name).await?.is_none() {
        create_topic(engine, NewTopic::kept(name)).await?;
    }
    engine.can_append(name).await
}

/// Of a topic of which the last word on each key counts, and which is read whenever a partition moves.
pub(crate) fn compacted_configs() -> Vec<(String, String)> {
    let segment_bytes = limits::CHANGELOG_SEGMENT_BYTES.to_string();
    let configs = [
        ("cleanup.policy", "compact"),
        // The newest segment is never compacted.
        ("segment.bytes", &segment_bytes),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    configs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
