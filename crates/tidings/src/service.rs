//! A service put together, and a service running.

use std::{any::TypeId, collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tidings_engine::Engine;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

use crate::{
    Backoff, BreakerOptions, Error, Event, Figures, Handler, Kind, Limits, Metrics, Outage, Wiring,
    bucket::Bucket,
    extract::short,
    figures::{Counts, Shown},
    handler::{Registered, function_name},
    keyed::KeyedStates,
    limited::{Gate, Held, burst_of},
    limits,
    report::{About, Reporter},
    run::Worker,
    state::{Dependencies, Fold, States},
    topics::make_topic,
};

/// Longest name of a service: the dead-letter topic is named after it.
const NAME_LENGTH_MAX: usize = 200;

/// Handlers, states and dependencies under one name: consumer group and source of the outputs.
///
/// Whatever does not fit together is an [`Error::Wiring`] from [`start`](Service::start), before
/// any event is touched.
#[must_use = "a service does nothing until it is started"]
#[derive(Debug)]
pub struct Service {
    pub(crate) name: String,
    pub(crate) wiring: Wiring,
    pub(crate) folds: Vec<Fold>,
    pub(crate) handlers: Vec<Registered>,
    #[cfg(feature = "disk")]
    pub(crate) values_in: Option<std::path::PathBuf>,
    #[cfg(feature = "disk")]
    pub(crate) standby: bool,
    pub(crate) backoff: Backoff,
    pub(crate) timeout: Duration,
    /// None: one with states, else [`limits::CONCURRENCY`].
    pub(crate) concurrency: Option<usize>,
    pub(crate) unordered: bool,
    pub(crate) breaker: BreakerOptions,
    /// Those of limited dependencies.
    pub(crate) gates: Vec<Arc<Gate>>,
    rate: Option<u32>,
    reports: bool,
    problems: Vec<String>,
    #[cfg(test)]
    pub(crate) crash: crate::run::Crash,
}

impl Service {
    /// A service without handlers. The name is its consumer group, the `ce_source` of its outputs,
    /// part of their ids, and `<name>.dead` its dead-letter topic: renaming makes a new service.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            wiring: Wiring {
                states: States::default(),
                keyed: KeyedStates::default(),
                dependencies: Dependencies::default(),
                timeout: limits::HANDLER_TIMEOUT,
            },
            folds: Vec::new(),
            handlers: Vec::new(),
            #[cfg(feature = "disk")]
            values_in: None,
            #[cfg(feature = "disk")]
            standby: false,
            backoff: Backoff::default(),
            timeout: limits::HANDLER_TIMEOUT,
            concurrency: None,
            unordered: false,
            breaker: BreakerOptions::default(),
            gates: Vec::new(),
            rate: None,
            reports: true,
            problems: Vec::new(),
            #[cfg(test)]
            crash: crate::run::Crash::never(),
        }
    }

    /// A state, as it is before the first event. One per type.
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, first: S) -> Self {
        if self.wiring.states.has(TypeId::of::<S>()) {
            self.problems.push(format!("two states of type {}", std::any::type_name::<S>()));
        }
        self.wiring.states.add(first);
        self
    }

    /// A state with a value for each key of the input, for handlers that ask for [`Keyed<S, _>`](crate::Keyed). Its values are in
    /// the topic `<service>.state.<name>`: another name begins anew. One per type.
    pub fn keyed<S: Serialize + DeserializeOwned + Send + Sync + 'static>(
        mut self,
        name: impl Into<String>,
    ) -> Self {
        if let Err(problem) = self.wiring.keyed.add::<S>(name.into()) {
            self.problems.push(problem);
        }
        self
    }

    /// Values by key are in a store in that folder, rather than in memory: more of them than memory holds, and a partition is
    /// served when what was written since it was here last has been read. The folder is a copy of the states' topics and can be
    /// deleted while the service does not run. It belongs to one instance: a second one that is given it does not
    /// start. It grows with the values.
    #[cfg(feature = "disk")]
    pub fn values_in(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.values_in = Some(folder.into());
        self
    }

    /// This instance keeps copies of the values by key of partitions that other instances serve, in its
    /// [folder](Self::values_in): one that moves here is served when the last of what was written has been read. It reads and
    /// holds everything that the service keeps, so switch it on where partitions should move to, which may be all
    /// instances or one. How far it is shows in [`Figures::copies_behind`].
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Account { pence: i64 }
    /// # use tidings::Service;
    /// let ledger = Service::new("ledger").keyed::<Account>("account");
    /// let ledger = ledger.values_in("/var/lib/ledger").standby();
    /// ```
    #[cfg(feature = "disk")]
    pub fn standby(mut self) -> Self {
        self.standby = true;
        self
    }

    /// How this service's own events of one type change a state.
    ///
    /// Called for each output at once, and again for each when the service starts: it must not do
    /// anything else than change the state, and must give the same result each time. Events of
    /// different keys may come back in another order (by timestamp) than they went out.
    pub fn fold<S: 'static, E: Event>(
        mut self,
        fold: impl Fn(&mut S, &E) + Send + Sync + 'static,
    ) -> Self {
        self.folds.push(Fold::new(fold));
        self
    }

    /// A dependency for handlers that ask for [`Dep<T>`](crate::Dep). One per type.
    pub fn with<T: Send + Sync + 'static>(mut self, dependency: T) -> Self {
        if self.wiring.dependencies.get::<T>().is_some() {
            self.problems.push(format!("two dependencies of type {}", std::any::type_name::<T>()));
        }
        self.wiring.dependencies.add(dependency);
        self
    }

    /// A dependency with limits, for handlers that ask for [`Limited<T>`](crate::Limited): so many calls at once and in a
    /// second, whatever there is to do, and one that hangs cannot hold up the handlers that do not need it. One
    /// per type.
    pub fn with_limited<T: Send + Sync + 'static>(mut self, dependency: T, limits: Limits) -> Self {
        let name = short(std::any::type_name::<T>());
        if self.wiring.dependencies.get::<Held<T>>().is_some() {
            self.problems.push(format!("two limited dependencies of type {name}"));
        }
        self.problems.extend(limits.problem().map(|problem| format!("{name}: {problem}")));
        let held = Held::new(dependency, limits);
        self.gates.push(held.gate());
        self.wiring.dependencies.add(held);
        self
    }

    /// A handler, named as its function. Several may handle the same event; each for itself.
    pub fn on<Args: 'static, H: Handler<Args>>(mut self, handler: H) -> Self {
        match function_name::<H>() {
            Some(name) => self.on_named(name, handler),
            None => {
                let event = H::Event::TYPE;
                self.problems.push(format!(
                    "the handler of {event} is a closure, which has no stable name: \
                     write .on_named(\"name\", …)"
                ));
                self
            }
        }
    }

    /// A handler under a name of its own: for closures, and to keep the ids of a function's outputs
    /// when the function is renamed.
    pub fn on_named<Args: 'static, H: Handler<Args>>(
        mut self,
        name: impl Into<String>,
        handler: H,
    ) -> Self {
        self.handlers.push(Registered::new(name.into(), handler));
        self
    }

    /// How failed events are tried again.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt may take, up to [`limits::HANDLER_TIMEOUT_MAX`]; a longer one is a failed
    /// attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.wiring.timeout = timeout;
        self
    }

    /// How many events this instance handles at once, each of another key: 1 to
    /// [`limits::CONCURRENCY_MAX`], [`limits::CONCURRENCY`] when not said and those that limited dependencies can hold, or as
    /// many as a `Tx` has connections, which is one for SQLite. A service with states handles one
    /// at a time, because what a handler decides by a state must hold until its events change it.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = Some(events);
        self
    }

    /// Gives up the order of a key when one of its events fails: it alone is put aside, those after it
    /// are handled.
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// How many events this instance begins in a second, retries and probes among them, with bursts of a tenth of that;
    /// what comes faster waits in the log. As many as there are when not said.
    pub fn rate(mut self, per_second: u32) -> Self {
        if per_second == 0 {
            self.problems.push("a rate of 0 events a second begins none: leave it out".into());
        }
        self.rate = Some(per_second);
        self
    }

    /// Writes no [`Report`](crate::Report)s: nobody but this process knows how the service does.
    pub fn without_reports(mut self) -> Self {
        self.reports = false;
        self
    }

    /// When many failures are taken for an outage; see [`BreakerOptions`].
    pub fn breaker(mut self, options: BreakerOptions) -> Self {
        self.breaker = options;
        self
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn has_states(&self) -> bool {
        !self.wiring.states.is_empty()
    }

    pub(crate) fn events_at_once(&self) -> usize {
        let others = limits::CONCURRENCY.saturating_add(self.held()).min(limits::CONCURRENCY_MAX);
        let default = if self.has_states() { 1 } else { others };
        let wanted = self.handlers.iter().filter_map(|handler| handler.at_once(&self.wiring));
        self.concurrency.unwrap_or_else(|| wanted.chain([default]).min().unwrap_or(default).max(1))
    }

    /// Attempts that limited dependencies can hold, all of them together.
    fn held(&self) -> usize {
        self.gates.iter().fold(0, |sum, gate| sum.saturating_add(gate.seats()))
    }

    /// The longest that an event waits for its next attempt.
    pub(crate) fn pause_max(&self) -> Duration {
        let limited = !self.gates.is_empty();
        if limited { self.backoff.max.max(limits::TURNED_AWAY_MAX) } else { self.backoff.max }
    }

    /// The rate of events that are begun.
    pub(crate) fn bucket(&self) -> Option<Bucket> {
        let now = tokio::time::Instant::now();
        self.rate.map(|rate| Bucket::new(rate, burst_of(rate), now))
    }

    /// Checks the wiring, makes the topics that are missing, rebuilds the state from the log and
    /// begins. Dropping what this returns ends the service at once, as a crash would.
    pub async fn start(self, engine: &Engine) -> Result<Running, Error> {
        self.check()?;
        for topic in &self.inputs() {
            make_topic(engine, topic).await?;
        }
        let name = self.name.clone();
        let (stop, stopped) = watch::channel(false);
        let (counts, shown) = Counts::of(self.handlers.len());
        let (about, reports) = (About::of(&self), self.reports);
        let worker = Worker::begin(self, engine.clone(), counts, stopped).await?;
        let task = tokio::spawn(worker.run());
        let reporter =
            reports.then(|| Reporter::start(engine.clone(), about.clone(), shown.clone()));
        Ok(Running { name, stop, shown, task, about, reporter })
    }

    /// Starts the service and stops it on ctrl-c.
    pub async fn run(self, engine: Engine) -> Result<(), Error> {
        let mut running = self.start(&engine).await?;
        tokio::select! {
            ended = &mut running.task => return running.ended(ended),
            signal = tokio::signal::ctrl_c() => {
                if let Err(error) = signal {
                    tracing::warn!(%error, "cannot wait for ctrl-c, stopping");
                }
            }
        }
        running.stop().await
    }

    /// The topics it reads.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let topics: BTreeSet<&str> = self.handlers.iter().map(|h| h.topic).collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    /// The topics of the events that it may write.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let outputs = self.handlers.iter().flat_map(|h| &h.outputs).copied();
        let topics: BTreeSet<&str> = outputs.chain(self.folds.iter().map(|f| f.topic)).collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn dead_topic(&self) -> String {
        format!("{}.dead", self.name)
    }

    pub(crate) fn changelog(&self) -> String {
        format!("{}.changelog", self.name)
    }

    /// The topic of the events whose keys have values of that state; none while no handler asks for it.
    pub(crate) fn keyed_topic(&self, state: usize) -> Option<&'static str> {
        let asks =
            |h: &&Registered| h.keyed.iter().any(|t| self.wiring.keyed.index_of(*t) == Some(state));
        self.handlers.iter().find(asks).map(|handler| handler.topic)
    }

    /// Why the states by key do not fit the handlers.
    fn keyed_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, state) in self.wiring.keyed.states.iter().enumerate() {
            let (name, type_name) = (&state.name, state.type_name);
            let Some(topic) = self.keyed_topic(index) else {
                problems.push(format!("no handler asks for Keyed<{type_name}, _>"));
                continue;
            };
            for handler in &self.handlers {
                let asks =
                    handler.keyed.iter().any(|t| self.wiring.keyed.index_of(*t) == Some(index));
                if asks && handler.topic != topic {
                    let other = handler.topic;
                    problems.push(format!(
                        "handlers of {topic} and of {other} ask for the state {name}: its values belong \
                         to the partitions of one topic"
                    ));
                }
            }
        }
        #[cfg(feature = "disk")]
        if self.standby && (self.values_in.is_none() || self.wiring.keyed.states.is_empty()) {
            problems.push(
                "copies are of values by key on disk: .standby() needs .keyed() and .values_in(folder)"
                    .into(),
            );
        }
        if self.unordered && !self.wiring.keyed.states.is_empty() {
            problems
                .push("a state by key needs the order of its key: leave .unordered() out".into());
        }
        problems
    }

    /// Why a handler's command is not its to carry out; see [`Kind`].
    fn command_problem(&self, handler: &Registered) -> Option<String> {
        let Registered { kind, topic, event_type, .. } = handler;
        let same = |h: &&Registered| (h.topic, h.event_type) == (*topic, *event_type);
        let is_first = self.handlers.iter().find(same).is_none_or(|h| std::ptr::eq(h, handler));
        if *kind == Kind::Command && !is_first {
            return Some(format!(
                "two handlers of the command {event_type}: it is carried out once"
            ));
        }
        kind.handled_by(&self.name, topic, event_type)
    }

    /// Why a dependency that hangs could hold up handlers that do not need it. With one event at a time it always does.
    fn bulkhead_problem(&self, events: usize) -> Option<String> {
        let (held, overtaken) = (self.held(), limits::OVERTAKEN_MAX);
        if events <= 1 || held < events.min(overtaken) {
            return None;
        }
        let each: Vec<String> =
            self.gates.iter().map(|gate| format!("{} {}", gate.name(), gate.seats())).collect();
        let each = each.join(", ");
        Some(if held < overtaken {
            format!(
                "limited dependencies can hold {held} of the {events} events that are handled at once \
                 ({each}): write .concurrency({}) or let fewer wait",
                held + 1
            )
        } else {
            format!(
                "limited dependencies can hold {held} events ({each}), and later ones of a partition \
                 overtake fewer than {overtaken}: let fewer wait"
            )
        })
    }

    fn check(&self) -> Result<(), Error> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let mut problems = self.problems.clone();
        if self.name.is_empty()
            || self.name.len() > NAME_LENGTH_MAX
            || !self.name.chars().all(legal)
        {
            problems.push(format!(
                "a service is named with letters, digits, `.`, `_` and `-`, up to {NAME_LENGTH_MAX}"
            ));
        }
        if self.handlers.is_empty() && problems.is_empty() {
            problems.push("no handler: write .on(handler)".into());
        }
        if self.timeout.is_zero() || self.timeout > limits::HANDLER_TIMEOUT_MAX {
            let most = limits::HANDLER_TIMEOUT_MAX;
            problems.push(format!("a timeout of {:?} is not in 1 ns..={most:?}", self.timeout));
        }
        let (most, events) = (limits::CONCURRENCY_MAX, self.events_at_once());
        if events == 0 || events > most {
            problems.push(format!("a concurrency of {events} is not in 1..={most}"));
        }
        problems.extend(self.bulkhead_problem(events));
        if events > 1 && self.has_states() {
            problems.push(format!("{events} events at once would decide by the same state"));
        }
        let mut names = BTreeSet::new();
        for handler in &self.handlers {
            if !names.insert(&handler.name) {
                problems.push(format!(
                    "two handlers are named {0}: write .on_named(\"other\", {0})",
                    handler.name
                ));
            }
            problems.extend(self.command_problem(handler));
            if let Err(missing) = handler.check(&self.wiring) {
                problems.push(format!("handler {}: {missing}", handler.name));
            }
        }
        problems.extend(self.keyed_problems());
        for fold in self.folds.iter().filter(|f| !self.wiring.states.has(f.state)) {
            problems
                .push(format!("the fold of {} needs .state({})", fold.event_type, fold.state_name));
        }
        for fold in self.folds.iter().filter(|f| f.kind == Kind::Command) {
            problems.push(format!("the fold of {}: a command is no fact", fold.event_type));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Wiring { service: self.name.clone(), problem: problems.join("; ") })
    }
}

/// A service at work. Dropping it ends the service at once, which costs nothing but a rereading.
pub struct Running {
    name: String,
    stop: watch::Sender<bool>,
    shown: Shown,
    task: JoinHandle<Result<(), Error>>,
    about: About,
    /// None without reports.
    reporter: Option<Reporter>,
}

impl Running {
    /// Finishes the event in hand, appends and commits what has been handled, leaves the group.
    ///
    /// An error says that the service had ended by itself before.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let ended = (&mut self.task).await;
        if let Some(reporter) = self.reporter.take() {
            reporter.stop().await;
        }
        self.ended(ended)
    }

    /// What it has done so far, as of the last append.
    pub fn figures(&self) -> Figures {
        self.shown.view.borrow().figures
    }

    /// What it has done so far, by handler and with times, and how far behind it is; as of the last append.
    ///
    /// ```
    /// # async fn f(payment: tidings::Running) {
    /// // The body of a `/metrics` of your own.
    /// let body = payment.metrics().to_string();
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        self.about.metrics(&self.shown)
    }

    /// The id of this instance, new each time that the service starts; part of its [`Report`](crate::Report)s.
    pub fn instance(&self) -> &str {
        self.about.instance()
    }

    /// Why it handles nothing, if it takes its failures for those of a dependency.
    pub fn outage(&self) -> Option<Outage> {
        self.shown.outage.borrow().clone()
    }

    /// Waits until the figures are as wanted, and returns them; also when the service has ended.
    pub async fn until(&self, mut wanted: impl FnMut(&Figures) -> bool) -> Figures {
        let mut view = self.shown.view.clone();
        match view.wait_for(|view| wanted(&view.figures)).await {
            Ok(view) => view.figures,
            Err(_ended) => self.figures(),
        }
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn ended(&self, ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
        ended.unwrap_or_else(|error| {
            let cause = match error.try_into_panic() {
                Ok(panic) => crate::run::panic_text(panic.as_ref()),
                Err(error) => error.to_string(),
            };
            Err(Error::Died { service: self.name.clone(), cause })
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, figures) = (&self.name, self.figures());
        f.debug_struct("Running").field("name", name).field("figures", &figures).finish()
    }
}
