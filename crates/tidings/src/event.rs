//! Events, and the effects a handler may return: nothing, events, and combinations of them.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    DecodeError, Error, Kind, Older,
    keyed::Change,
    shape::{EventShape, Type},
};

/// Something that happened; made by `#[derive(Event)]`.
///
/// On the wire it is JSON in a record of [`TOPIC`](Event::TOPIC), keyed by [`key`](Event::key), with
/// CloudEvents headers (see [`Envelope`](crate::Envelope)).
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `ce_type`; unique within the topic.
    const TYPE: &'static str;
    /// The version of the shape, from 1: `ce_dataversion`.
    const VERSION: u32;
    /// The oldest version that is read as it is. [`golden`](mod@crate::golden) holds it to the shapes of before.
    const SINCE: u32 = Self::VERSION;
    /// The topic that carries it.
    const TOPIC: &'static str;
    /// What it is for its readers: `ce_kind`.
    const KIND: Kind = Kind::Domain;
    /// The field whose text is the key, as it is named in the JSON.
    const KEY: &'static str = "";
    /// The record's key: events of one key keep their order.
    fn key(&self) -> String;

    /// Today's event from a payload older than [`SINCE`](Event::SINCE), by the upcasters.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{Event, Shape};
    /// #[derive(Shape, Deserialize)]
    /// struct PaidV1 { order: String, pounds: i64 }
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(topic = "shop.payments", key = "order", version = 2, upcast(from = 1, with = PaidV1))]
    /// struct Paid { order: String, pence: i64 }
    ///
    /// impl From<PaidV1> for Paid {
    ///     fn from(PaidV1 { order, pounds }: PaidV1) -> Self {
    ///         Self { order, pence: pounds * 100 }
    ///     }
    /// }
    /// ```
    fn upcast(older: &Older<'_>) -> Result<Self, DecodeError> {
        Err(older.without_upcaster::<Self>())
    }

    /// The shape of its payload.
    fn payload_shape() -> Type {
        Type::Unknown(std::any::type_name::<Self>().to_owned())
    }

    /// The shapes that the upcasters read, by version.
    fn older_shapes() -> Vec<(u32, Type)> {
        Vec::new()
    }

    /// Its shape, and what its readers rely on besides.
    fn shape() -> EventShape {
        EventShape {
            r#type: Self::TYPE.to_owned(),
            topic: Self::TOPIC.to_owned(),
            version: Self::VERSION,
            since: Self::SINCE,
            kind: Self::KIND,
            key: Self::KEY.to_owned(),
            payload: Self::payload_shape(),
            older: Self::older_shapes(),
        }
    }
}

/// What a handler may return from [`done`](crate::done).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something a handler can return as effects",
    label = "neither an event nor (), Option, Vec, Either or a tuple of effects",
    note = "derive `tidings::Event` for it"
)]
pub trait Effects: Send + 'static {
    /// Every topic that these effects may go to: known before anything has happened, because a
    /// service reads them at start.
    fn topics(into: &mut Vec<&'static str>);
    /// Hands over the events in order; the order numbers them, and the number is part of their id.
    fn emit(self, into: &mut Emissions);
}

/// Either of two effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

/// One handler's effects: events, encoded, in order, and what is kept by key.
#[derive(Debug, Default)]
pub struct Emissions {
    pub(crate) emitted: Vec<Emission>,
    pub(crate) changes: Vec<Change>,
    pub(crate) error: Option<Error>,
}

impl Emissions {
    /// Adds an event.
    pub fn event<E: Event>(&mut self, event: &E) {
        match Emission::of(event) {
            Ok(emission) => self.emitted.push(emission),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }
}

/// An event, encoded, without the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Emission {
    pub(crate) topic: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) payload: Bytes,
}

impl Emission {
    pub(crate) fn of<E: Event>(event: &E) -> Result<Self, Error> {
        let payload = serde_json::to_vec(event)
            .map_err(|error| Error::Encode { event_type: E::TYPE, cause: error.to_string() })?;
        Ok(Self {
            topic: E::TOPIC,
            event_type: E::TYPE,
            version: E::VERSION,
            kind: E::KIND,
            key: event.key(),
            payload: payload.into(),
        })
    }
}

impl Effects for () {
    fn topics(_: &mut Vec<&'static str>) {}
    fn emit(self, _: &mut Emissions) {}
}

impl<F: Effects> Effects for Option<F> {
    fn topics(into: &mut Vec<&'static str>) {
        F::topics(into);
    }
    fn emit(self, into: &mut Emissions) {
        if let Some(effects) = self {
            effects.emit(into);
        }
    }
}

impl<F: Effects> Effects for Vec<F> {
    fn topics(into: &mut Vec<&'static str>) {
        F::topics(into);
    }
    fn emit(self, into: &mut Emissions) {
        for effects in self {
            effects.emit(into);
        }
    }
}

impl<A: Effects, B: Effects> Effects for (A, B) {
    fn topics(into: &mut Vec<&'static str>) {
        A::topics(into);
        B::topics(into);
    }
    fn emit(self, into: &mut Emissions) {
        self.0.emit(into);
        self.1.emit(into);
    }
}

impl<A: Effects, B: Effects, C: Effects> Effects for (A, B, C) {
    fn topics(into: &mut Vec<&'static str>) {
        A::topics(into);
        B::topics(into);
        C::topics(into);
    }
    fn emit(self, into: &mut Emissions) {
        self.0.emit(into);
        self.1.emit(into);
        self.2.emit(into);
    }
}

impl<A: Effects, B: Effects> Effects for Either<A, B> {
    fn topics(into: &mut Vec<&'static str>) {
        A::topics(into);
        B::topics(into);
    }
    fn emit(self, into: &mut Emissions) {
        match self {
            Self::Left(effects) => effects.emit(into),
            Self::Right(effects) => effects.emit(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(tidings_derive::Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[event(topic = "left", key = "n")]
    struct L {
        n: i64,
    }

    #[derive(tidings_derive::Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[event(
        topic = "right",
        key = "r#type",
        type = "shop.R",
        version = 3,
        since = 2,
        kind = "integration"
    )]
    struct R {
        r#type: String,
    }

    fn emitted<F: Effects>(effects: F) -> Vec<String> {
        let mut emissions = Emissions::default();
        effects.emit(&mut emissions);
        emissions.emitted.iter().map(|e| format!("{}/{}", e.topic, e.key)).collect()
    }

    fn topics<F: Effects>() -> Vec<&'static str> {
        let mut topics = Vec::new();
        F::topics(&mut topics);
        topics
    }

    #[test]
    fn effects_emit_in_order_and_know_their_topics() {
        let (l, r) = (L { n: 7 }, R { r#type: "x".into() });
        assert!(emitted(()).is_empty());
        assert_eq!(emitted(vec![l.clone(), L { n: 8 }]), ["left/7", "left/8"]);
        assert_eq!(emitted((Some(r.clone()), None::<L>, l)), ["right/x", "left/7"]);
        assert_eq!(emitted(Either::<L, R>::Right(r)), ["right/x"]);
        assert_eq!(topics::<Option<Either<L, (R, ())>>>(), ["left", "right"]);
        assert_eq!(topics::<()>(), [""; 0]);
    }

    #[test]
    fn the_derive_says_what_the_attributes_say() {
        assert_eq!((L::TYPE, L::VERSION, L::TOPIC), ("L", 1, "left"));
        assert_eq!((R::TYPE, R::VERSION, R::TOPIC), ("shop.R", 3, "right"));
        assert_eq!((L::KIND, L::SINCE, L::KEY), (Kind::Domain, 1, "n"));
        assert_eq!((R::KIND, R::SINCE, R::KEY), (Kind::Integration, 2, "type"));
        let r = Emission::of(&R { r#type: "x".into() }).expect("encodes");
        assert_eq!((r.version, &r.payload[..]), (3, &br#"{"type":"x"}"#[..]));
    }

    #[derive(tidings_derive::Event, Serialize, Deserialize)]
    #[event(topic = "left", key = "n")]
    struct NotJson {
        n: i64,
        map: BTreeMap<Vec<u8>, u8>,
    }

    #[test]
    fn what_json_cannot_say_is_an_error_not_a_panic() {
        let mut emissions = Emissions::default();
        emissions.event(&NotJson { n: 1, map: BTreeMap::from([(vec![1], 1)]) });
        let Some(Error::Encode { event_type: "NotJson", cause }) = emissions.error else {
            panic!("{emissions:?}");
        };
        assert_eq!(cause, "key must be a string");
    }
}
