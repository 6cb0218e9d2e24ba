//! Dependencies with limits: a bulkhead and a rate for calls to the outside.
//!
//! What is given with [`Service::with_limited`](crate::Service::with_limited) is reached through a [`Turn`] only, so no
//! handler can call it without one. A turn is one of [`Limits::at_once`] slots, and a token where there is a rate; both
//! are of this instance of the service.
//!
//! What keeps the other handlers flowing while a dependency hangs:
//! 1. Attempts that have a turn or wait for one are at most [`Limits::at_once`] + [`Limits::waiting`] of each dependency, and
//!    a service does not start unless all of these together leave at least one of the events that it handles at
//!    once ([`Service::concurrency`](crate::Service::concurrency), which grows by them when it is not said), and are less than
//!    what later events of a partition may overtake ([`limits::OVERTAKEN_MAX`]).
//! 2. Whoever would be one more is turned away at once, and so is who has waited for half of the handler's time. That is
//!    no failed attempt: its event is put aside with its key, as after a failure, and comes again; nothing dies of it, and
//!    no outage is seen in it.
//! 3. Those that were turned away come again one after the other, as fast as the rate allows, or
//!    [`limits::TURNED_AWAY_EVERY`] apart.
//!
//! A service with states, or with a concurrency of 1, handles one event at a time whatever it calls: there a limit is a
//! rate, and a hanging dependency is waited for.

use std::{
    any::type_name,
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    DependencyMetrics, Extract, Outcome, Scope, Wiring, bucket::Bucket, extract::short, limits,
    outcome::turned_away,
};

/// How much of a dependency a service's instance uses; see [`Limited`].
///
/// ```
/// use tidings::Limits;
///
/// let bank = Limits::new().at_once(4).waiting(16).per_second(100).burst(20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) at_once: usize,
    pub(crate) waiting: usize,
    per_second: Option<u32>,
    burst: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: limits::TURNS_AT_ONCE,
            waiting: limits::TURNS_WAITING,
            per_second: None,
            burst: None,
        }
    }
}

impl Limits {
    /// [`limits::TURNS_AT_ONCE`] turns, [`limits::TURNS_WAITING`] may wait for one, and no rate.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many attempts have a turn at once.
    pub fn at_once(mut self, turns: usize) -> Self {
        self.at_once = turns;
        self
    }

    /// So many more wait for one; who comes then is turned away and comes again later.
    pub fn waiting(mut self, attempts: usize) -> Self {
        self.waiting = attempts;
        self
    }

    /// So many turns begin in a second.
    pub fn per_second(mut self, turns: u32) -> Self {
        self.per_second = Some(turns);
        self
    }

    /// So many of them at once after a quiet time; what comes in a tenth of a second when not said.
    pub fn burst(mut self, turns: u32) -> Self {
        self.burst = Some(turns);
        self
    }

    /// Attempts that one dependency can hold.
    pub(crate) fn seats(&self) -> usize {
        self.at_once.saturating_add(self.waiting)
    }

    pub(crate) fn problem(&self) -> Option<String> {
        let most = limits::CONCURRENCY_MAX;
        match self {
            Self { at_once: turns, .. } if *turns == 0 || *turns > most => {
                Some(format!("{turns} turns at once are not in 1..={most}"))
            }
            Self { waiting, .. } if *waiting > most => {
                Some(format!("{waiting} waiting for a turn are not in 0..={most}"))
            }
            Self { per_second: Some(0), .. } => Some("no turn in a second: leave it out".into()),
            Self { burst: Some(0), .. } => Some("a burst of 0 lets nothing through".into()),
            Self { burst: Some(_), per_second: None, .. } => {
                Some("a burst is of a rate: write .per_second(n)".into())
            }
            _ => None,
        }
    }

    fn bucket(&self, now: Instant) -> Option<Bucket> {
        let per_second = self.per_second?;
        Some(Bucket::new(per_second, self.burst.unwrap_or_else(|| burst_of(per_second)), now))
    }
}

/// What a bucket holds when nobody said it.
pub(crate) fn burst_of(per_second: u32) -> u32 {
    (per_second / limits::BURST_PARTS).max(1)
}

/// A dependency as its service keeps it.
pub(crate) struct Held<T> {
    value: T,
    gate: Arc<Gate>,
}

impl<T> Held<T> {
    pub(crate) fn new(value: T, limits: Limits) -> Self {
        Self { value, gate: Arc::new(Gate::new(type_name::<T>(), limits)) }
    }

    /// What its service counts and shows, whatever the dependency is.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    async fn turn(&self, until: Instant) -> Outcome<Turn<'_, T>> {
        Ok(Turn { value: &self.value, _slot: self.gate.slot(until).await? })
    }
}

/// Who may pass to a dependency, and when.
pub(crate) struct Gate {
    /// The whole name of the dependency's type.
    pub(crate) type_name: &'static str,
    limits: Limits,
    slots: Semaphore,
    waiting: AtomicUsize,
    pace: Mutex<Pace>,
    counted: Counted,
}

struct Pace {
    bucket: Option<Bucket>,
    /// When the last one that was turned away comes again.
    again_at: Instant,
}

/// Since the start of the instance.
#[derive(Default)]
struct Counted {
    turns: AtomicU64,
    held_back: AtomicU64,
    turned_away: AtomicU64,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({} {:?})", self.name(), self.limits)
    }
}

impl Gate {
    fn new(type_name: &'static str, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            type_name,
            limits,
            slots: Semaphore::new(limits.at_once.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            pace: Mutex::new(Pace { bucket: limits.bucket(now), again_at: now }),
            counted: Counted::default(),
        }
    }

    /// See [`short`].
    pub(crate) fn name(&self) -> String {
        short(self.type_name)
    }

    /// Attempts that it can hold.
    pub(crate) fn seats(&self) -> usize {
        self.limits.seats()
    }

    /// How it is used now.
    pub(crate) fn metrics(&self, name: &str) -> DependencyMetrics {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let Limits { at_once, waiting, per_second, .. } = self.limits;
        DependencyMetrics {
            name: name.to_owned(),
            in_use: wide(at_once.saturating_sub(self.slots.available_permits())),
            at_once: wide(at_once),
            waiting: wide(self.waiting.load(Ordering::Relaxed)),
            waiting_at_most: wide(waiting),
            per_second,
            turns: self.counted.turns.load(Ordering::Relaxed),
            held_back: self.counted.held_back.load(Ordering::Relaxed),
            turned_away: self.counted.turned_away.load(Ordering::Relaxed),
        }
    }

    /// A slot, once its token has come.
    async fn slot(&self, until: Instant) -> Outcome<SemaphorePermit<'_>> {
        let slot = match self.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_taken) => self.given_back(until).await?,
        };
        let wait = self.token(until)?;
        if !wait.is_zero() {
            self.counted.held_back.fetch_add(1, Ordering::Relaxed);
            sleep(wait).await;
        }
        self.counted.turns.fetch_add(1, Ordering::Relaxed);
        Ok(slot)
    }

    /// Waits for a slot, if there is a place to wait.
    async fn given_back(&self, until: Instant) -> Outcome<SemaphorePermit<'_>> {
        let Limits { at_once, waiting, .. } = self.limits;
        let Some(_place) = Place::take(&self.waiting, waiting) else {
            return self
                .turn_away(&format!("all {at_once} turns are taken, and {waiting} wait for one"));
        };
        match timeout_at(until, self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => {
                self.turn_away(&format!("all {at_once} turns stayed taken for too long"))
            }
        }
    }

    /// How long until this turn's token is there.
    fn token(&self, until: Instant) -> Outcome<Duration> {
        let now = Instant::now();
        {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut pace.bucket {
                None => return Ok(Duration::ZERO),
                Some(bucket) if now + bucket.wait(now) <= until => return Ok(bucket.take(now)),
                Some(_) => {}
            }
        }
        let rate = self.limits.per_second.unwrap_or_default();
        self.turn_away(&format!("its {rate} turns a second are used up for too long"))
    }

    /// Those that come again come one after the other.
    fn turn_away<V>(&self, why: &str) -> Outcome<V> {
        self.counted.turned_away.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let every = pace.bucket.map_or(limits::TURNED_AWAY_EVERY, |bucket| bucket.every());
        let next = (pace.again_at + every).max(now + limits::TURNED_AWAY_FIRST);
        pace.again_at = next.min(now + limits::TURNED_AWAY_MAX);
        let after = pace.again_at - now;
        Err(turned_away(format!("no turn at {}: {why}", self.name()), after))
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |count| (count < most).then_some(count + 1);
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        // Lazily: one that was made and dropped would give back a place that it never took.
        taken.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A dependency that is used in turns, from [`Service::with_limited`](crate::Service::with_limited).
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tidings::{Event, Limited, Limits, Once, Outcome, Received, Service, done};
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.orders", key = "order")]
/// # struct OrderPlaced { order: String, pence: i64 }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(topic = "shop.payments", key = "order")]
/// # struct PaymentCompleted { order: String }
/// # struct Bank;
/// # impl Bank {
/// #     async fn charge(&self, key: String, pence: i64) -> Result<(), std::io::Error> { Ok(()) }
/// # }
/// async fn charge(
///     event: Received<OrderPlaced>,
///     bank: Limited<Bank>,
///     once: Once,
/// ) -> Outcome<PaymentCompleted> {
///     let bank = bank.turn().await?;
///     bank.charge(once.key(), event.pence).await?;
///     done(PaymentCompleted { order: event.order.clone() })
/// }
///
/// let service = Service::new("payment")
///     .with_limited(Bank, Limits::new().at_once(4).per_second(100))
///     .on(charge);
/// ```
pub struct Limited<T> {
    held: Arc<Held<T>>,
    /// How long a turn is waited for.
    patience: Duration,
}

impl<T> Limited<T> {
    /// Waits for a turn, for up to half of the handler's time ([`Service::timeout`](crate::Service::timeout)), which
    /// it counts into.
    ///
    /// Where there is none, the answer is a [`Stop`](crate::Stop) that names the dependency: hand it on with `?`. The event is
    /// then put aside and comes again; its attempt counts for nothing. So take all turns before the first call, and do not take a
    /// second turn at the same dependency while you have one.
    pub async fn turn(&self) -> Outcome<Turn<'_, T>> {
        self.held.turn(Instant::now() + self.patience).await
    }
}

impl<T> Clone for Limited<T> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), patience: self.patience }
    }
}

impl<T> fmt::Debug for Limited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limited<{}>({:?})", short(type_name::<T>()), self.held.gate.limits)
    }
}

impl<T: Send + Sync + 'static> Extract for Limited<T> {
    fn check(wiring: &Wiring) -> Result<(), String> {
        let name = short(type_name::<T>());
        match wiring.dependencies.get::<Held<T>>() {
            Some(_) => Ok(()),
            None => Err(format!("Limited<{name}> needs .with_limited({name}, Limits::new())")),
        }
    }

    fn extract(scope: &Scope) -> Outcome<Self> {
        let held = scope.wiring.dependencies.get().expect("checked when the service started");
        Ok(Self { held, patience: scope.wiring.timeout / 2 })
    }
}

/// A turn at a dependency, and the way to it; others may have it when this is dropped.
pub struct Turn<'a, T> {
    value: &'a T,
    _slot: SemaphorePermit<'a>,
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> fmt::Debug for Turn<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turn<{}>", short(type_name::<T>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stop, outcome::StopKind};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    struct Bank;

    fn limited(limits: Limits) -> Limited<Bank> {
        Limited { held: Arc::new(Held::new(Bank, limits)), patience: MS(1_000) }
    }

    fn away(stop: &Stop) -> (Duration, &str) {
        match stop.kind {
            StopKind::TurnedAway { after } => (after, stop.cause()),
            kind => panic!("{kind:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_given_back_and_who_finds_no_place_to_wait_is_turned_away() {
        let bank = limited(Limits::new().at_once(2).waiting(1));
        let first = bank.turn().await.expect("a turn");
        let second = bank.turn().await.expect("a turn");
        let waiting = tokio::spawn({
            let bank = bank.clone();
            async move { bank.turn().await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        let full = bank.turn().await.expect_err("it is full");
        let now = bank.held.gate.metrics("Bank");
        assert_eq!((now.in_use, now.at_once, now.waiting, now.waiting_at_most), (2, 2, 1, 1));
        assert_eq!((now.turns, now.turned_away, now.held_back), (2, 1, 0));
        let cause = "no turn at Bank: all 2 turns are taken, and 1 wait for one";
        assert_eq!(away(&full), (limits::TURNED_AWAY_FIRST, cause));
        drop(first);
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        assert!(bank.turn().await.is_ok(), "the one that waited has given it back");
        let then = bank.held.gate.metrics("Bank");
        assert_eq!((then.in_use, then.waiting, then.turns, then.turned_away), (1, 0, 4, 1));
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_turned_away() {
        let bank = limited(Limits::new().at_once(1));
        let _turn = bank.turn().await.expect("a turn");
        let begun = Instant::now();
        let late = bank.turn().await.expect_err("nobody gives a turn back");
        assert_eq!(begun.elapsed(), MS(1_000));
        assert_eq!(away(&late).1, "no turn at Bank: all 1 turns stayed taken for too long");
        let again = timeout_at(begun + MS(1_500), bank.turn()).await;
        assert!(again.is_err(), "one that was dropped while it waited leaves its place");
        assert_eq!(bank.held.gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_begin_at_the_rate_and_never_later_than_is_waited_for() {
        let bank = limited(Limits::new().at_once(1).per_second(10).burst(2));
        let begun = Instant::now();
        for at in [0, 0, 100, 200, 300] {
            let turn = bank.turn().await.expect("a turn");
            assert_eq!(begun.elapsed(), MS(at));
            drop(turn);
        }
        let paced = bank.held.gate.metrics("Bank");
        assert_eq!((paced.turns, paced.held_back, paced.per_second), (5, 3, Some(10)));
        let slow = limited(Limits::new().per_second(1).at_once(8));
        let (mut turns, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            match slow.turn().await {
                Ok(turn) => turns.push(turn),
                Err(stop) => refused.push(stop),
            }
        }
        // Each waits for up to a second, so each has its turn.
        assert_eq!((turns.len(), refused.len()), (4, 0));
        let hasty = Limited { patience: MS(999), ..slow.clone() };
        let stop = hasty.turn().await.expect_err("the next token comes in a second");
        assert_eq!(away(&stop).1, "no turn at Bank: its 1 turns a second are used up for too long");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_turned_away_come_again_one_after_the_other() {
        let first = limits::TURNED_AWAY_FIRST;
        for (limits, every) in [
            (Limits::new(), limits::TURNED_AWAY_EVERY),
            (Limits::new().per_second(100).burst(8), MS(10)),
        ] {
            let bank = limited(limits.at_once(1).waiting(0));
            let _turn = bank.turn().await.expect("a turn");
            let mut afters = Vec::new();
            for _ in 0..3 {
                afters.push(away(&bank.turn().await.expect_err("it is full")).0);
            }
            assert_eq!(afters, [first, first + every, first + every * 2]);
            let mut longest = Duration::ZERO;
            for _ in 0..20_000 {
                longest = longest.max(away(&bank.turn().await.expect_err("it is full")).0);
            }
            assert_eq!(longest, limits::TURNED_AWAY_MAX);
        }
    }
}
