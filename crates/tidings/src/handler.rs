//! Handlers: async functions of an event and up to four extractors, as values without type.
//!
//! A handler's name goes into the ids of its outputs. It is the last segment of the function's path
//! and so survives moves between modules and builds; renaming the function makes it another handler,
//! which has processed nothing yet. [`Service::on_named`](crate::Service::on_named) keeps a name.

use std::{any::TypeId, fmt, marker::PhantomData, pin::Pin, sync::Arc};

use tidings_engine::Record;

use crate::{
    DecodeError, Effects, Emissions, Envelope, Event, Extract, Kind, Outcome, Received, Scope,
    Wiring, Work, trace::Processing,
};

/// An async function that a service can call: `Received<E>` first, then up to four extractors.
///
/// Implemented for functions; `Args` only tells the numbers of parameters apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is `async fn(Received<E>, …) -> Outcome<F>`: up to four of State<S>, \
            Keyed<S, M>, Dep<T>, Limited<T>, Once, Tx<Db> after the event; E derives Event; F is made of \
            events and of what is kept"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// What it handles.
    type Event: Event;
    /// What it may have as effects.
    type Effects: Effects;
    /// One attempt.
    type Attempt: Future<Output = Outcome<Self::Effects>> + Send + 'static;
    /// What its extractors make for one attempt.
    type Extracted: Send + 'static;
    /// Says what the extractors miss, if anything.
    fn check(wiring: &Wiring) -> Result<(), String>;
    /// How many attempts there should be at once, if that matters to an extractor.
    fn at_once(wiring: &Wiring) -> Option<usize>;
    /// The states by key that its extractors are values of.
    fn keyed() -> Vec<TypeId>;
    /// Makes what the extractors make, or says why the handler is not called.
    fn extract(scope: &Scope) -> Outcome<Self::Extracted>;
    /// The unit of work that the attempt is in, if one of the extractors is part of one.
    fn work(extracted: &Self::Extracted) -> Option<Work>;
    /// Begins an attempt.
    fn call(&self, event: Received<Self::Event>, extracted: Self::Extracted) -> Self::Attempt;
}

macro_rules! handlers {
    ($($extractor:ident $value:ident)*) => {
        impl<Function, Attempt, Input, Output, $($extractor,)*> Handler<(Input, Output, $($extractor,)*)>
            for Function
        where
            Function: Fn(Received<Input>, $($extractor,)*) -> Attempt + Send + Sync + 'static,
            Attempt: Future<Output = Outcome<Output>> + Send + 'static,
            Input: Event,
            Output: Effects,
            $($extractor: Extract,)*
        {
            type Event = Input;
            type Effects = Output;
            type Attempt = Attempt;
            type Extracted = ($($extractor,)*);

            fn check(_wiring: &Wiring) -> Result<(), String> {
                $($extractor::check(_wiring)?;)*
                let works: &[bool] = &[$($extractor::IS_WORK,)*];
                match works.iter().filter(|is_work| **is_work).count() {
                    0 => Ok(()),
                    // The inbox knows of the outputs only, and a database that commits first would lose what is kept.
                    1 if !Self::keyed().is_empty() => Err("a handler takes a Tx or a Keyed".into()),
                    1 => Ok(()),
                    _ => Err("a handler takes one Tx".into()),
                }
            }

            fn at_once(_wiring: &Wiring) -> Option<usize> {
                let all: &[Option<usize>] = &[$($extractor::at_once(_wiring),)*];
                all.iter().copied().flatten().min()
            }

            fn keyed() -> Vec<TypeId> {
                #[allow(unused_mut, reason = "there may be no extractors")]
                let mut keyed = Vec::new();
                $($extractor::keyed(&mut keyed);)*
                keyed
            }

            fn extract(_scope: &Scope) -> Outcome<Self::Extracted> {
                Ok(($($extractor::extract(_scope)?,)*))
            }

            fn work(extracted: &Self::Extracted) -> Option<Work> {
                let ($($value,)*) = extracted;
                let works: &[Option<Work>] = &[$($value.work(),)*];
                works.iter().flatten().next().cloned()
            }

            fn call(&self, event: Received<Input>, extracted: Self::Extracted) -> Attempt {
                let ($($value,)*) = extracted;
                self(event, $($value,)*)
            }
        }
    };
}

handlers!();
handlers!(A a);
handlers!(A a B b);
handlers!(A a B b C c);
handlers!(A a B b C c D d);

/// One attempt of any handler; its effects are encoded already.
pub(crate) type AnyAttempt = Pin<Box<dyn Future<Output = Outcome<Emissions>> + Send>>;

/// A handler without its types.
trait Dispatch: Send + Sync {
    fn check(&self, wiring: &Wiring) -> Result<(), String>;
    fn at_once(&self, wiring: &Wiring) -> Option<usize>;
    fn call(&self, delivery: &Delivery, scope: &Scope) -> Result<Outcome<AnyAttempt>, DecodeError>;
}

/// A record that is an event for this service; the checksum has been compared.
pub(crate) struct Delivery<'a> {
    pub(crate) envelope: &'a Arc<Envelope>,
    pub(crate) payload: &'a [u8],
    pub(crate) record: &'a Record,
}

struct Typed<H, Args> {
    handler: Arc<H>,
    args: PhantomData<fn() -> Args>,
}

impl<Args: 'static, H: Handler<Args>> Dispatch for Typed<H, Args> {
    fn check(&self, wiring: &Wiring) -> Result<(), String> {
        H::check(wiring)
    }

    fn at_once(&self, wiring: &Wiring) -> Option<usize> {
        H::at_once(wiring)
    }

    fn call(&self, delivery: &Delivery, scope: &Scope) -> Result<Outcome<AnyAttempt>, DecodeError> {
        let event = delivery.envelope.event(delivery.record, delivery.payload)?;
        let received = Received::new(event, Arc::clone(delivery.envelope), delivery.record);
        let extracted = match H::extract(scope) {
            Ok(extracted) => extracted,
            Err(stop) => return Ok(Err(stop)),
        };
        let work = H::work(&extracted);
        let handler = Arc::clone(&self.handler);
        let attempt = Box::pin(Processing::of(delivery, scope).run(async move {
            let effects = handler.call(received, extracted).await?;
            let mut emissions = Emissions::default();
            effects.emit(&mut emissions);
            match emissions.error.take() {
                Some(error) => Err(error.into()),
                None => Ok(emissions),
            }
        }));
        Ok(Ok(match work {
            Some(work) => work.0.run(delivery.record, attempt),
            None => attempt,
        }))
    }
}

/// A handler as a service keeps it.
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) topic: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) kind: Kind,
    pub(crate) outputs: Vec<&'static str>,
    /// The states by key that it asks for.
    pub(crate) keyed: Vec<TypeId>,
    dispatch: Box<dyn Dispatch>,
}

impl Registered {
    pub(crate) fn new<Args: 'static, H: Handler<Args>>(name: String, handler: H) -> Self {
        let mut outputs = Vec::new();
        H::Effects::topics(&mut outputs);
        Self {
            name,
            topic: H::Event::TOPIC,
            event_type: H::Event::TYPE,
            kind: H::Event::KIND,
            outputs,
            keyed: H::keyed(),
            dispatch: Box::new(Typed { handler: Arc::new(handler), args: PhantomData }),
        }
    }

    pub(crate) fn check(&self, wiring: &Wiring) -> Result<(), String> {
        self.dispatch.check(wiring)
    }

    pub(crate) fn at_once(&self, wiring: &Wiring) -> Option<usize> {
        self.dispatch.at_once(wiring)
    }

    pub(crate) fn call(
        &self,
        delivery: &Delivery,
        scope: &Scope,
    ) -> Result<Outcome<AnyAttempt>, DecodeError> {
        self.dispatch.call(delivery, scope)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.event_type)
    }
}

/// The last segment of a function's path; none for a closure, whose path says nothing stable.
pub(crate) fn function_name<F>() -> Option<String> {
    let path = std::any::type_name::<F>();
    let name = path.split('<').next().and_then(|p| p.rsplit("::").next()).unwrap_or_default();
    (!name.is_empty() && !name.contains('{')).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() {}
    fn generic<T>() {}

    fn name_of<F>(_: F) -> Option<String> {
        function_name::<F>()
    }

    #[test]
    fn functions_are_named_by_their_last_segment_and_closures_not_at_all() {
        assert_eq!(name_of(plain).as_deref(), Some("plain"));
        assert_eq!(name_of(generic::<Vec<String>>).as_deref(), Some("generic"));
        assert_eq!(name_of(|| ()), None);
    }
}
