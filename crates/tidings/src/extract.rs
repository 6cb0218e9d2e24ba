//! What a handler may ask for besides its event: [`State`], [`Keyed`](crate::Keyed), [`Dep`], [`Limited`](crate::Limited), [`Once`],
//! and `Tx` of a database.
//!
//! Whether a service has what its handlers ask for is decided when it starts, not at the first event.

use std::{
    any::{TypeId, type_name},
    fmt,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use tidings_engine::Record;

use crate::{Id, Outcome, handler::AnyAttempt, keyed::KeyedStates, state::States, store::Store};

/// A handler's parameter after the event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something a handler can ask for",
    label = "not an extractor",
    note = "a handler takes `Received<E>` first, then `State<S>`, `Keyed<S, M>`, `Dep<T>`, `Limited<T>`, `Once` \
            or `Tx<Db>`"
)]
pub trait Extract: Sized + Send + 'static {
    /// Says what is missing, if anything: the service then refuses to start.
    fn check(wiring: &Wiring) -> Result<(), String>;
    /// Makes the value for one attempt at one event, or says why the handler is not called.
    fn extract(scope: &Scope) -> Outcome<Self>;

    /// The states by key that it is a value of.
    fn keyed(into: &mut Vec<TypeId>) {
        _ = into;
    }

    /// How many attempts there should be at once, if that matters: more would only wait for each other.
    fn at_once(wiring: &Wiring) -> Option<usize> {
        _ = wiring;
        None
    }

    /// Whether [`Extract::work`] names a unit of work; a handler takes one such value at most.
    const IS_WORK: bool = false;
    /// The unit of work that this value is a part of.
    fn work(&self) -> Option<Work> {
        None
    }
}

/// What is begun before a handler is called, and ended by what it decides: a database transaction.
#[derive(Clone)]
pub struct Work(pub(crate) Arc<dyn UnitOfWork>);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// See [`Work`].
pub(crate) trait UnitOfWork: Send + Sync {
    /// The attempt with the unit of work around it. The handler's code runs at the attempt's first poll,
    /// and not at all when the attempt is dropped before.
    fn run(self: Arc<Self>, record: &Record, attempt: AnyAttempt) -> AnyAttempt;
}

/// What a service was given: states and dependencies.
#[derive(Debug)]
pub struct Wiring {
    pub(crate) states: States,
    pub(crate) keyed: KeyedStates,
    pub(crate) dependencies: crate::state::Dependencies,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
}

/// One attempt at one event.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub(crate) wiring: &'a Wiring,
    pub(crate) service: &'a str,
    pub(crate) handler: &'a str,
    pub(crate) input_id: &'a Id,
    pub(crate) record: &'a Record,
    /// The values by key of the record's partition.
    pub(crate) store: &'a Store,
}

/// The service's state as it was when the event's turn came; read-only.
///
/// It changes only by folding the service's own events ([`Service::fold`](crate::Service::fold)), so
/// it can be rebuilt from the log. It holds what this *instance* has written and what it has read at
/// start and at each assignment: facts that span partitions want one instance.
#[derive(Clone, Debug)]
pub struct State<S>(Arc<S>);

impl<S> Deref for State<S> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Clone + Send + Sync + 'static> Extract for State<S> {
    fn check(wiring: &Wiring) -> Result<(), String> {
        match wiring.states.get::<S>() {
            Some(_) => Ok(()),
            None => Err(format!("State<{0}> needs .state({0})", short(type_name::<S>()))),
        }
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        Ok(Self(scope.wiring.states.get().expect("checked when the service started")))
    }
}

/// A dependency, from [`Service::with`](crate::Service::with); shared by all attempts.
#[derive(Debug)]
pub struct Dep<T>(Arc<T>);

impl<T> Clone for Dep<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Dep<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Extract for Dep<T> {
    fn check(wiring: &Wiring) -> Result<(), String> {
        match wiring.dependencies.get::<T>() {
            Some(_) => Ok(()),
            None => Err(format!("Dep<{0}> needs .with({0})", short(type_name::<T>()))),
        }
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        Ok(Self(scope.wiring.dependencies.get().expect("checked when the service started")))
    }
}

/// The idempotency key of this event's handling, for calls to the outside.
#[derive(Clone, Debug)]
pub struct Once(Id);

impl Once {
    /// Derived from the event's id, the service and the handler: the same on every attempt, every
    /// redelivery and every instance.
    pub fn key(&self) -> String {
        self.0.to_string()
    }
}

impl Extract for Once {
    fn check(_: &Wiring) -> Result<(), String> {
        Ok(())
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        let parts = ["once", scope.input_id.as_str(), scope.service, scope.handler];
        Ok(Self(Id::derived(&parts)))
    }
}

/// A type's name without the paths, for messages.
pub(crate) fn short(name: &str) -> String {
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    let parts = name.split_inclusive(|c| !joins(c));
    parts.map(|part| part.rsplit("::").next().unwrap_or(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_lose_their_paths() {
        for (name, wanted) in [
            ("shop::bank::Bank", "Bank"),
            ("u8", "u8"),
            ("alloc::sync::Arc<shop::Bank>", "Arc<Bank>"),
            ("alloc::sync::Arc<std::sync::mutex::Mutex<(a::B, &str)>>", "Arc<Mutex<(B, &str)>>"),
        ] {
            assert_eq!(short(name), wanted);
        }
    }
}
