//! State by key: what a service keeps for each key of its input, changed by what a handler returns.
//!
//! A handler that asks for [`Keyed<S, _>`] is shown the value that the event's key has, and returns what it is to be
//! ([`Keyed::keep`], [`Keyed::change`], [`Keyed::forget`]). The change is in the transaction with the event's position and the
//! handler's other effects, as a record of the compacted topic `<service>.state.<name>`: key the event's key, value the state
//! as JSON. So any Kafka client can read it as a table.
//!
//! Invariants:
//! 1. Events of one key are handled one after the other, so a handler decides by the value that it changes.
//! 2. A partition of the state's topic belongs to the input's partition of the same number, and is written by its owner alone.
//!    They have as many partitions: otherwise keys would have moved away from their values, and the service does not start.
//! 3. What is in memory is what is in the topic and the open transaction; after a failed transaction it is read again.
//!
//! Limit: a partition's values are in memory, [`limits::KEYED_BYTES_MAX`] of them for each state.

use std::{any::TypeId, marker::PhantomData, ops::Deref};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Effects, Emissions, Error, Extract, Outcome, Scope, Wiring, extract::short, limits,
    outcome::Stop,
};

/// What becomes of an event for whose key there is no value: [`OrCreate`], [`OrPark`] or [`OrDrop`]. There is no default.
pub trait Missing<S>: Send + 'static {
    /// A value to begin with, or why the handler is not called.
    fn missing(instance: &Absent<'_>) -> Outcome<S>;
}

/// A value that is not there, for [`Missing`].
#[derive(Debug)]
pub struct Absent<'a> {
    state: &'a str,
    key: &'a [u8],
}

/// The handler is given `S::default()`: its events are those that a value begins with.
#[derive(Debug)]
pub enum OrCreate {}

/// The event waits until another event of its key, later in the log, has made a value; then it is handled before
/// all others of that key. Meanwhile its key goes on, it has a dead letter, and a person may discard it.
#[derive(Debug)]
pub enum OrPark {}

/// The event is done with, and counted in [`Figures::dropped`](crate::Figures::dropped).
#[derive(Debug)]
pub enum OrDrop {}

impl<S: Default> Missing<S> for OrCreate {
    fn missing(_: &Absent<'_>) -> Outcome<S> {
        Ok(S::default())
    }
}

impl<S> Missing<S> for OrPark {
    fn missing(Absent { state, key }: &Absent<'_>) -> Outcome<S> {
        let key = String::from_utf8_lossy(key);
        Err(Stop::absent(*state, format!("there is no {state} of {key} yet")))
    }
}

impl<S> Missing<S> for OrDrop {
    fn missing(_: &Absent<'_>) -> Outcome<S> {
        Err(Stop::dropped())
    }
}

/// The value of the event's key, of a state that the service declares with [`Service::keyed`](crate::Service::keyed).
///
/// `M` says what becomes of an event for whose key there is none: [`OrCreate`], [`OrPark`] or [`OrDrop`]. All handlers
/// that ask for one state handle events of one topic, because a value belongs to a partition of it. Events without
/// a key have no value: they are dead letters.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tidings::{Event, Kept, Keyed, OrCreate, Outcome, Received, Service, done};
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(topic = "bank.transfers", key = "account")]
/// struct Deposited { account: String, pence: i64 }
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Account { pence: i64 }
///
/// async fn book(event: Received<Deposited>, account: Keyed<Account, OrCreate>) -> Outcome<Kept<Account>> {
///     done(account.change(|account| account.pence += event.pence))
/// }
///
/// let ledger = Service::new("ledger").keyed::<Account>("account").on(book);
/// ```
#[derive(Debug)]
pub struct Keyed<S, M> {
    key: Bytes,
    value: S,
    is_new: bool,
    missing: PhantomData<fn() -> M>,
}

impl<S, M> Keyed<S, M> {
    /// Whether there was none.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// From now on the key has this value.
    pub fn keep(self, value: S) -> Kept<S> {
        Kept { key: self.key, value: Some(value) }
    }

    /// From now on the key has the value as it is after `change`.
    pub fn change(mut self, change: impl FnOnce(&mut S)) -> Kept<S> {
        change(&mut self.value);
        Kept { key: self.key, value: Some(self.value) }
    }

    /// From now on the key has no value.
    pub fn forget(self) -> Kept<S> {
        Kept { key: self.key, value: None }
    }
}

impl<S, M> Deref for Keyed<S, M> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.value
    }
}

impl<S: DeserializeOwned + Send + Sync + 'static, M: Missing<S>> Extract for Keyed<S, M> {
    fn check(wiring: &Wiring) -> Result<(), String> {
        let name = short(std::any::type_name::<S>());
        match wiring.keyed.index_of(TypeId::of::<S>()) {
            Some(_) => Ok(()),
            None => Err(format!("Keyed<{name}, _> needs .keyed::<{name}>(\"name\")")),
        }
    }

    fn keyed(into: &mut Vec<TypeId>) {
        into.push(TypeId::of::<S>());
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        let keyed = &scope.wiring.keyed;
        let index = keyed.index_of(TypeId::of::<S>()).expect("checked when the service started");
        let state = keyed.states[index].name.as_str();
        let Some(key) = &scope.record.key else {
            return Err(Stop::own(format!("an event without a key has no {state}")));
        };
        let held = scope.store.get(index, key).map_err(|error| Stop::outage(error.to_string()))?;
        let (value, is_new) = match held {
            Some(value) => (read(state, key, &value)?, false),
            None => (M::missing(&Absent { state, key })?, true),
        };
        Ok(Self { key: key.clone(), value, is_new, missing: PhantomData })
    }
}

fn read<S: DeserializeOwned>(state: &str, key: &[u8], value: &[u8]) -> Outcome<S> {
    serde_json::from_slice(value).map_err(|error| {
        let key = String::from_utf8_lossy(key);
        Stop::own(format!("the {state} of {key} does not read: {error}"))
    })
}

/// A key's new value, or that it has none any more: an effect. Without it a handler has changed nothing.
#[derive(Debug)]
#[must_use = "nothing is kept unless the handler returns it"]
pub struct Kept<S> {
    key: Bytes,
    value: Option<S>,
}

impl<S: Serialize + Send + 'static> Effects for Kept<S> {
    fn topics(_: &mut Vec<&'static str>) {}

    fn emit(self, into: &mut Emissions) {
        let Self { key, value } = self;
        let state = TypeId::of::<S>();
        match value.map(|value| serde_json::to_vec(&value)).transpose() {
            Ok(value) => into.changes.push(Change { state, key, value: value.map(Bytes::from) }),
            Err(error) => {
                let event_type = std::any::type_name::<S>();
                let error = Error::Encode { event_type, cause: error.to_string() };
                into.error = into.error.take().or(Some(error));
            }
        }
    }
}

/// A new value, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) state: TypeId,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// The states by key that a service declares.
#[derive(Debug, Default)]
pub(crate) struct KeyedStates {
    pub(crate) states: Vec<KeyedState>,
}

#[derive(Debug)]
pub(crate) struct KeyedState {
    pub(crate) name: String,
    type_id: TypeId,
    pub(crate) type_name: &'static str,
}

impl KeyedStates {
    /// Declares one; says what is wrong with it.
    pub(crate) fn add<S: 'static>(&mut self, name: String) -> Result<(), String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let (type_id, type_name) = (TypeId::of::<S>(), std::any::type_name::<S>());
        let problem = if self.states.iter().any(|state| state.type_id == type_id) {
            Some(format!("two states by key of type {type_name}"))
        } else if self.states.iter().any(|state| state.name == name) {
            Some(format!("two states by key are named {name}"))
        } else if name.is_empty() || name.len() > limits::KEYED_NAME_MAX || !name.chars().all(legal)
        {
            let most = limits::KEYED_NAME_MAX;
            Some(format!(
                "a state is named with letters, digits, `_` and `-`, up to {most}: not {name:?}"
            ))
        } else {
            None
        };
        self.states.push(KeyedState { name, type_id, type_name });
        problem.map_or(Ok(()), Err)
    }

    pub(crate) fn index_of(&self, type_id: TypeId) -> Option<usize> {
        self.states.iter().position(|state| state.type_id == type_id)
    }
}

/// The topic of a state.
pub(crate) fn state_topic(service: &str, state: &str) -> String {
    format!("{service}.state.{state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_a_name_and_a_type_of_its_own() {
        let mut states = KeyedStates::default();
        assert_eq!(states.add::<u8>("account".into()), Ok(()));
        for (added, problem) in [
            (states.add::<u8>("other".into()), "two states by key of type u8"),
            (states.add::<u16>("account".into()), "two states by key are named account"),
            (states.add::<u32>("a.b".into()), "a state is named with letters"),
            (states.add::<u64>(String::new()), "a state is named with letters"),
        ] {
            let said = added.expect_err("a problem");
            assert!(said.starts_with(problem), "{said}");
        }
    }
}
