//! From a payload of any version to the event as it is now.
//!
//! There is one way, [`read`], for handlers, [`decode`](crate::decode) and folds: a newer version is refused; the
//! event's own, and older ones back to [`Event::SINCE`], are read as they are; what is older than that goes
//! through the event's upcasters or is refused. An upcaster is a `From` of the type that the version had:
//! it sees the older event and nothing else, so an event reads the same on every day.

use serde::de::DeserializeOwned;

use crate::{DecodeError, Event};

/// A payload of a version that is older than the shape of today.
#[derive(Clone, Copy, Debug)]
pub struct Older<'a> {
    version: u32,
    payload: &'a [u8],
}

impl Older<'_> {
    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The event, as its version had it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_slice(self.payload)
            .map_err(|error| DecodeError::Json(format!("as version {}: {error}", self.version)))
    }

    /// What to say when nothing makes today's event of it.
    pub fn without_upcaster<E: Event>(&self) -> DecodeError {
        DecodeError::Outdated { supported: E::VERSION, found: self.version }
    }
}

/// The event in a payload of this version.
pub(crate) fn read<E: Event>(version: u32, payload: &[u8]) -> Result<E, DecodeError> {
    if version > E::VERSION {
        Err(DecodeError::Version { supported: E::VERSION, found: version })
    } else if version >= E::SINCE {
        serde_json::from_slice(payload).map_err(|error| DecodeError::Json(error.to_string()))
    } else {
        E::upcast(&Older { version, payload })
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::shape::{Shape, Type, Within};

    #[derive(tidings_derive::Shape, Deserialize)]
    struct PaidV1 {
        order: String,
        pounds: i64,
    }

    #[derive(tidings_derive::Shape, Deserialize)]
    struct PaidV2 {
        order: String,
        pence: i64,
    }

    #[derive(tidings_derive::Event, Serialize, Deserialize, Debug, PartialEq)]
    #[event(topic = "t", key = "order", version = 4, since = 3)]
    #[event(upcast(from = 2, with = PaidV2), upcast(from = 1, with = PaidV1))]
    struct Paid {
        order: String,
        pence: i64,
        #[serde(default)]
        currency: Option<String>,
    }

    impl From<PaidV1> for PaidV2 {
        fn from(old: PaidV1) -> Self {
            Self { order: old.order, pence: old.pounds * 100 }
        }
    }

    impl From<PaidV2> for Paid {
        fn from(old: PaidV2) -> Self {
            Self { order: old.order, pence: old.pence, currency: Some("GBP".into()) }
        }
    }

    #[derive(tidings_derive::Event, Serialize, Deserialize, Debug, PartialEq)]
    #[event(topic = "t", key = "order", version = 3, upcast(from = 2, with = PaidV2))]
    struct Forgetful {
        order: String,
        pence: i64,
    }

    impl From<PaidV2> for Forgetful {
        fn from(PaidV2 { order, pence }: PaidV2) -> Self {
            Self { order, pence }
        }
    }

    #[test]
    fn every_version_is_read_as_the_event_of_today() {
        let paid = |pence, currency: Option<&str>| {
            Ok(Paid { order: "a".into(), pence, currency: currency.map(str::to_owned) })
        };
        let json = |text: &str| Err(DecodeError::Json(text.into()));
        for (version, payload, expected) in [
            (1, r#"{"order":"a","pounds":7}"#, paid(700, Some("GBP"))),
            (2, r#"{"order":"a","pence":700}"#, paid(700, Some("GBP"))),
            (3, r#"{"order":"a","pence":700}"#, paid(700, None)),
            (4, r#"{"order":"a","pence":7,"currency":"EUR"}"#, paid(7, Some("EUR"))),
            (5, "{}", Err(DecodeError::Version { supported: 4, found: 5 })),
            (0, "{}", Err(DecodeError::Outdated { supported: 4, found: 0 })),
            (1, "{}", json("as version 1: missing field `order` at line 1 column 2")),
            (4, "{}", json("missing field `order` at line 1 column 2")),
        ] {
            assert_eq!(read::<Paid>(version, payload.as_bytes()), expected, "{version} {payload}");
        }
    }

    #[test]
    fn a_version_without_upcaster_is_refused_also_when_it_would_fit() {
        let payload = br#"{"order":"a","pence":7}"#;
        let error = read::<Forgetful>(1, payload).expect_err("refused");
        assert_eq!(error, DecodeError::Outdated { supported: 3, found: 1 });
        assert_eq!(error.to_string(), "version 1 has no upcaster to 3, the version known here");
        assert_eq!(read::<Forgetful>(2, payload).map(|event| event.pence), Ok(7));
    }

    #[test]
    fn an_event_knows_what_its_upcasters_read() {
        let nothing = Within::nothing();
        let expected: [(u32, Type); 2] =
            [(1, PaidV1::shape(&nothing)), (2, PaidV2::shape(&nothing))];
        assert_eq!(Paid::older_shapes(), expected);
    }
}
