//! Threads that take items from one queue and do the same with each.
//!
//! Invariants: an item is taken by one thread, in the order of [`Pool::push`]; a panic over an item
//! is reported, that item is gone, and the thread goes on with the next one; dropping the pool waits
//! for the items that have been taken and forgets the others.
//! The queue has no bound of its own: who pushes knows how many items can be there.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tidings_broker::log::{Fault, FaultKind};

/// Told the reason of a panic on a thread that does not end by it.
pub(crate) type Lost = Arc<dyn Fn(String) + Send + Sync>;

pub(crate) struct Pool<T> {
    queue: Arc<Queue<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T: Send + 'static> Pool<T> {
    /// Starts `count` threads called `name`, each of which does `each` with what it takes.
    pub(crate) fn start(
        name: &str,
        count: usize,
        lost: &Lost,
        each: impl Fn(T) + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let state = Mutex::new(State { items: VecDeque::new(), closed: false });
        let queue = Arc::new(Queue { state, changed: Condvar::new() });
        let each = Arc::new(each);
        // Dropped on a failure, it ends the threads that were started before.
        let mut pool = Self { queue, threads: Vec::new() };
        for _ in 0..count {
            let (queue, lost, each) =
                (Arc::clone(&pool.queue), Arc::clone(lost), Arc::clone(&each));
            let body = move || {
                while let Some(item) = queue.take() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| each(item))) {
                        lost(reason(&*panic));
                    }
                }
            };
            pool.threads.push(spawn(name, body)?);
        }
        Ok(pool)
    }

    pub(crate) fn push(&self, item: T) {
        self.queue.lock().items.push_back(item);
        self.queue.changed.notify_one();
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        let forgotten = std::mem::take(&mut state.items);
        drop(state);
        self.queue.changed.notify_all();
        drop(forgotten);
        for thread in self.threads.drain(..) {
            // Panics were reported as they came.
            let _ended = thread.join();
        }
    }
}

impl<T> Queue<T> {
    /// The next item; none once the queue is closed.
    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

/// Starts a thread that appears as `name` where the system lists threads.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Fault> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| Fault {
        operation: "start thread",
        path: name.to_owned(),
        offset: None,
        kind: FaultKind::Io(error.to_string()),
    })
}

/// What a panic said.
pub(crate) fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn unexpected() -> Lost {
        Arc::new(|reason| panic!("{reason}"))
    }

    #[test]
    fn one_thread_keeps_the_order() {
        let (done, outcomes) = mpsc::channel();
        let pool = Pool::start("order", 1, &unexpected(), move |n: u32| done.send(n).unwrap());
        let pool = pool.unwrap();
        (0..100).for_each(|n| pool.push(n));
        assert_eq!(outcomes.iter().take(100).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn as_many_items_are_under_way_as_there_are_threads() {
        let barrier = Arc::new(std::sync::Barrier::new(4));
        let (done, outcomes) = mpsc::channel();
        let each = move |()| {
            barrier.wait();
            done.send(()).unwrap();
        };
        let pool = Pool::start("side-by-side", 4, &unexpected(), each).unwrap();
        (0..4).for_each(|_| pool.push(()));
        assert_eq!(outcomes.iter().take(4).count(), 4);
    }

    #[test]
    fn a_panic_is_told_and_the_thread_goes_on() {
        let (told, reasons) = mpsc::channel();
        let lost: Lost = Arc::new(move |reason| told.send(reason).unwrap());
        let (done, outcomes) = mpsc::channel();
        let each = move |n: u32| {
            assert_ne!(n, 1, "not this one");
            done.send(n).unwrap();
        };
        let pool = Pool::start("panics", 1, &lost, each).unwrap();
        (0..3).for_each(|n| pool.push(n));
        assert_eq!(outcomes.iter().take(2).collect::<Vec<_>>(), [0, 2]);
        assert!(reasons.recv().unwrap().contains("not this one"));
    }

    #[test]
    fn dropping_waits_for_what_was_taken_and_forgets_the_rest() {
        let (begun, begins) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let (done, outcomes) = mpsc::channel();
        let each = move |n: u32| {
            begun.send(n).unwrap();
            gate.lock().unwrap().recv().unwrap();
            done.send(n).unwrap();
        };
        let pool = Pool::start("drop", 1, &unexpected(), each).unwrap();
        pool.push(1);
        pool.push(2);
        assert_eq!(begins.recv(), Ok(1));
        let queue = Arc::clone(&pool.queue);
        let dropping = thread::spawn(move || drop(pool));
        while !queue.lock().closed {
            thread::yield_now();
        }
        go.send(()).unwrap();
        dropping.join().unwrap();
        assert_eq!(outcomes.iter().collect::<Vec<_>>(), [1]);
    }
}
