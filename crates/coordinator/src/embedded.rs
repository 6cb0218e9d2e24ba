//! The consumer's embedded protocol: what consumers say inside a classic group's opaque metadata and
//! assignments. Read for the topics a group subscribes to, and to move members between the protocols.
//!
//! Versions 0 to 3 are read, later ones as version 3: fields are only ever added. No input panics.

use crate::reader::{Reader, RecordError};

/// The protocol type of groups of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics that a consumer subscribes to.
pub(crate) fn subscribed_topics(subscription: &[u8]) -> Result<Vec<String>, RecordError> {
    let mut from = Reader::new(subscription, "subscription");
    from.i16()?;
    from.list(Reader::string)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ConsumerProtocolSubscription version 1.
    #[test]
    fn the_topics_of_a_subscription_are_read_and_no_cut_panics() {
        let said = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        let topics_end = 13;
        assert_eq!(subscribed_topics(said), Ok(vec!["a".to_owned(), "bc".to_owned()]));
        for cut in 0..topics_end {
            assert!(subscribed_topics(&said[..cut]).is_err(), "cut at {cut}");
        }
    }
}
