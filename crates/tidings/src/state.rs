//! The states of a service, its folds, and its dependencies, with their types erased.
//!
//! A fold always works on the event as decoded from the bytes in the log, also when the event was
//! written a moment ago: what a running service holds is what a restarted one will rebuild.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use crate::{DecodeError, Event, Kind, Service, version};

type Shared = Arc<dyn Any + Send + Sync>;

/// A state with the value it begins with.
trait Cell: Send + Sync {
    fn now(&self) -> Shared;
    fn now_mut(&mut self) -> &mut dyn Any;
    fn begin_again(&mut self);
}

struct Typed<S> {
    first: S,
    now: Arc<S>,
}

impl<S: Clone + Send + Sync + 'static> Cell for Typed<S> {
    fn now(&self) -> Shared {
        self.now.clone()
    }

    /// Copies the state only while a handler's task still holds the former one.
    fn now_mut(&mut self) -> &mut dyn Any {
        let now: &mut S = Arc::make_mut(&mut self.now);
        now
    }

    fn begin_again(&mut self) {
        self.now = Arc::new(self.first.clone());
    }
}

/// One value per type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Cell>>);

impl States {
    pub(crate) fn add<S: Clone + Send + Sync + 'static>(&mut self, first: S) {
        let cell = Typed { now: Arc::new(first.clone()), first };
        self.0.insert(TypeId::of::<S>(), Box::new(cell));
    }

    pub(crate) fn get<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.0.get(&TypeId::of::<S>())?.now().downcast().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, state: TypeId) -> bool {
        self.0.contains_key(&state)
    }

    /// Every state becomes what it was before the first event.
    pub(crate) fn begin_again(&mut self) {
        for cell in self.0.values_mut() {
            cell.begin_again();
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("States").field(&self.0.len()).finish()
    }
}

/// Shared values by type.
#[derive(Default)]
pub(crate) struct Dependencies(HashMap<TypeId, Shared>);

impl Dependencies {
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }
}

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dependencies").field(&self.0.len()).finish()
    }
}

type Apply = Box<dyn Fn(&mut dyn Any, u32, &[u8]) -> Result<(), DecodeError> + Send + Sync>;

/// How one type of event changes one state.
pub(crate) struct Fold {
    pub(crate) topic: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) kind: Kind,
    pub(crate) state: TypeId,
    pub(crate) state_name: &'static str,
    apply: Apply,
}

impl Fold {
    pub(crate) fn new<S: 'static, E: Event>(
        fold: impl Fn(&mut S, &E) + Send + Sync + 'static,
    ) -> Self {
        let apply = move |state: &mut dyn Any, version: u32, payload: &[u8]| {
            let event: E = version::read(version, payload)?;
            fold(state.downcast_mut().expect("states are kept by their type"), &event);
            Ok(())
        };
        Self {
            topic: E::TOPIC,
            event_type: E::TYPE,
            kind: E::KIND,
            state: TypeId::of::<S>(),
            state_name: std::any::type_name::<S>(),
            apply: Box::new(apply),
        }
    }

    pub(crate) fn apply(
        &self,
        states: &mut States,
        version: u32,
        payload: &[u8],
    ) -> Result<(), DecodeError> {
        let cell = states.0.get_mut(&self.state).expect("checked when the service started");
        (self.apply)(cell.now_mut(), version, payload)
    }
}

impl fmt::Debug for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fold({} into {})", self.event_type, self.state_name)
    }
}

/// Folds one of the service's own events into its states.
pub(crate) fn fold(
    service: &mut Service,
    (topic, event_type): (&str, &str),
    version: u32,
    payload: &[u8],
) -> Result<(), DecodeError> {
    let Service { folds, wiring, .. } = service;
    for fold in folds.iter().filter(|f| f.topic == topic && f.event_type == event_type) {
        fold.apply(&mut wiring.states, version, payload)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "t", key = "n", version = 2, upcast(from = 1, with = AddedV1))]
    struct Added {
        n: i64,
    }

    #[derive(crate::Shape, Deserialize)]
    struct AddedV1 {
        dozens: i64,
    }

    impl From<AddedV1> for Added {
        fn from(AddedV1 { dozens }: AddedV1) -> Self {
            Self { n: dozens * 12 }
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Sum(i64);

    #[test]
    fn a_fold_changes_its_state_and_a_new_beginning_undoes_it() {
        let mut states = States::default();
        states.add(Sum(10));
        states.add(7u8);
        let fold = Fold::new(|sum: &mut Sum, added: &Added| sum.0 += added.n);
        let before = states.get::<Sum>().expect("a state");
        assert_eq!(fold.apply(&mut states, 2, br#"{"n":5}"#), Ok(()));
        assert_eq!(states.get::<Sum>().as_deref(), Some(&Sum(15)));
        assert_eq!(fold.apply(&mut states, 1, br#"{"dozens":1}"#), Ok(()));
        assert_eq!(states.get::<Sum>().as_deref(), Some(&Sum(27)));
        assert_eq!((*before).clone(), Sum(10), "who holds the former state keeps it");
        assert_eq!(
            fold.apply(&mut states, 3, br#"{"n":5}"#),
            Err(DecodeError::Version { supported: 2, found: 3 })
        );
        assert!(matches!(fold.apply(&mut states, 1, b"{"), Err(DecodeError::Json(_))));
        states.begin_again();
        assert_eq!(states.get::<Sum>().as_deref(), Some(&Sum(10)));
        assert_eq!(states.get::<u8>().as_deref(), Some(&7));
        assert_eq!(states.get::<u16>(), None);
    }
}
