//! What the SDK's own calls refuse or fail at.

/// Why a call of the SDK did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] tidings_engine::Error),
    /// The service is put together wrongly; it was not started.
    #[error("service {service}: {problem}")]
    Wiring {
        /// The service's name.
        service: String,
        /// What does not fit, and what to write instead.
        problem: String,
    },
    /// An event cannot be written as JSON.
    #[error("event {event_type} cannot be encoded: {cause}")]
    Encode {
        /// The event's type.
        event_type: &'static str,
        /// What serde says.
        cause: String,
    },
    /// One of the service's own events cannot be folded into its state, so the state would be wrong.
    #[error(
        "service {service} cannot rebuild its state from {topic}-{partition}@{offset}: {cause}"
    )]
    Fold {
        /// The service's name.
        service: String,
        /// Where the event is.
        topic: String,
        /// Where the event is.
        partition: i32,
        /// Where the event is.
        offset: i64,
        /// What is wrong with it.
        cause: String,
    },
    /// The service's loop ended by itself: a bug in a fold, or in the SDK.
    #[error("service {service} died: {cause}")]
    Died {
        /// The service's name.
        service: String,
        /// The panic's text.
        cause: String,
    },
}
