//! Durable writes by io_uring: one thread submits and reaps, the kernel overlaps them.
//!
//! 1. Take what was submitted, at most as many as may be under way; make a request of each.
//! 2. Hand the requests to the kernel and wait until anything ends; a wake-up by whoever submits is
//!    one of the things that end.
//! 3. Tell the outcomes; go to 1.
//!
//! A write of which the kernel did less than all is a fault: what is missing was not durable when it
//! came back, and the journal never goes on after that.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use tidings_broker::log::{Fault, FaultKind, JournalWrite};

use super::{JournalIoEvent, Tell};
use crate::file_disk::OpenFile;
use crate::pool::{reason, spawn};

/// The name of the request that waits for a wake-up; a write's is its slot.
const WAKE: u64 = u64::MAX;

pub(super) struct Uring {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Uring {
    /// Fails where the kernel has no io_uring for this process.
    pub(super) fn start(writes_max: usize, tell: &Tell) -> Result<Self, Fault> {
        let refused = |error: io::Error| Fault {
            operation: "start io_uring",
            path: "journal".to_owned(),
            offset: None,
            kind: FaultKind::Io(error.to_string()),
        };
        let ring = ring(writes_max).map_err(refused)?;
        let inbox = Arc::new(Inbox::new().map_err(refused)?);
        let (taken, tell) = (Arc::clone(&inbox), Arc::clone(tell));
        let thread = spawn("tidings-journal", move || {
            let run = || Reaper::new(ring, &taken, &*tell, writes_max).run();
            let lost = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => reason(&*panic),
            };
            tell(JournalIoEvent::Lost(lost));
        })?;
        Ok(Self { inbox, thread: Some(thread) })
    }

    pub(super) fn submit(&self, write: JournalWrite) {
        let mut state = self.inbox.lock();
        let was_empty = state.writes.is_empty();
        state.writes.push_back(write);
        drop(state);
        if was_empty {
            self.inbox.wake();
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.closed = true;
        let forgotten = std::mem::take(&mut state.writes);
        drop(state);
        self.inbox.wake();
        drop(forgotten);
        if let Some(thread) = self.thread.take() {
            // How it ended was told.
            let _ended = thread.join();
        }
    }
}

/// A ring with room for every write and for the wake-up.
fn ring(writes_max: usize) -> io::Result<IoUring> {
    let entries = u32::try_from(writes_max + 1).map_err(io::Error::other)?;
    let ring = IoUring::new(entries.next_power_of_two())?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if probe.is_supported(opcode::Write::CODE) && probe.is_supported(opcode::PollAdd::CODE) {
        Ok(ring)
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes on their way to the thread.
struct Inbox {
    state: Mutex<InboxState>,
    /// Readable when there is something to look at.
    event: File,
}

struct InboxState {
    writes: VecDeque<JournalWrite>,
    closed: bool,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "std has no eventfd")]
        // SAFETY: the call takes no pointers; a descriptor that it returns belongs to nobody else.
        let event = unsafe {
            let event = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if event < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(event)
        };
        let state = InboxState { writes: VecDeque::new(), closed: false };
        Ok(Self { state: Mutex::new(state), event: event.into() })
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let written = (&self.event).write_all(&1_u64.to_ne_bytes());
        // It fails only when 2^64 - 2 wake-ups have not been looked at.
        debug_assert!(written.is_ok(), "{written:?}");
    }

    fn woken(&self) {
        // Nothing to read means that an earlier look took this wake-up too.
        let _count = (&self.event).read(&mut [0; 8]);
    }
}

/// The thread's own state.
struct Reaper<'a> {
    ring: IoUring,
    inbox: &'a Inbox,
    tell: &'a (dyn Fn(JournalIoEvent) + Send + Sync),
    slots: Slots,
    /// The kernel has the request that waits for a wake-up.
    wake_is_armed: bool,
}

impl<'a> Reaper<'a> {
    fn new(
        ring: IoUring,
        inbox: &'a Inbox,
        tell: &'a (dyn Fn(JournalIoEvent) + Send + Sync),
        writes_max: usize,
    ) -> Self {
        Self { ring, inbox, tell, slots: Slots::new(writes_max), wake_is_armed: false }
    }

    /// Returns when the inbox is closed and nothing is under way.
    fn run(&mut self) -> io::Result<()> {
        loop {
            let closed = self.begin_writes()?;
            if closed && self.slots.under_way() == 0 {
                return Ok(());
            }
            self.arm_wake()?;
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
            self.reap();
        }
    }

    /// Makes requests of what is in the inbox, as far as there are slots; returns whether it is closed.
    fn begin_writes(&mut self) -> io::Result<bool> {
        while self.slots.has_room() {
            let mut state = self.inbox.lock();
            let Some(write) = state.writes.pop_front() else { return Ok(state.closed) };
            drop(state);
            self.begin(write)?;
        }
        Ok(false)
    }

    fn begin(&mut self, write: JournalWrite) -> io::Result<()> {
        let Some(request) = request(&write) else {
            let outcome = write.run();
            (self.tell)(JournalIoEvent::Done(write, outcome));
            return Ok(());
        };
        let slot = self.slots.put(write);
        self.push(&request.user_data(slot as u64))
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        if self.wake_is_armed {
            return Ok(());
        }
        let event = types::Fd(self.inbox.event.as_raw_fd());
        let request = opcode::PollAdd::new(event, libc::POLLIN.unsigned_abs().into()).build();
        self.push(&request.user_data(WAKE))?;
        self.wake_is_armed = true;
        Ok(())
    }

    fn push(&mut self, request: &squeue::Entry) -> io::Result<()> {
        #[expect(unsafe_code, reason = "the kernel reads through pointers in the request")]
        // SAFETY: a write's bytes, which nobody can change, and its file lie in `slots` until its
        // completion was reaped, and are leaked should this thread unwind before. The wake-up has no
        // pointers, and its descriptor being closed early would at worst end the wait for it.
        let pushed = unsafe { self.ring.submission().push(request) };
        // There is an entry for every slot and one for the wake-up.
        pushed.map_err(io::Error::other)
    }

    fn reap(&mut self) {
        let (inbox, tell) = (self.inbox, self.tell);
        for completion in self.ring.completion() {
            if completion.user_data() == WAKE {
                self.wake_is_armed = false;
                inbox.woken();
                continue;
            }
            let slot = usize::try_from(completion.user_data()).ok();
            let write = slot.and_then(|slot| self.slots.take(slot));
            let write = write.expect("the kernel completes a request once, by its own name");
            let outcome = outcome(&write, completion.result());
            tell(JournalIoEvent::Done(write, outcome));
        }
    }
}

/// Nothing was taken for the moment, or a signal came.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// The kernel's request for a write; none for one that it could not take from where it is.
fn request(write: &JournalWrite) -> Option<squeue::Entry> {
    let file = write.file.as_any().downcast_ref::<OpenFile>()?;
    let len = u32::try_from(write.bytes.len()).ok()?;
    let file_takes_it = file.takes_in_place(&write.bytes);
    let to = types::Fd(file.descriptor());
    let request = opcode::Write::new(to, write.bytes.as_ptr(), len).offset(write.offset);
    file_takes_it.then(|| request.build())
}

/// What the kernel's result for a write means.
fn outcome(write: &JournalWrite, result: i32) -> Result<(), Fault> {
    let error = match usize::try_from(result) {
        Ok(count) if count == write.bytes.len() => return Ok(()),
        Ok(count) => {
            let wanted = write.bytes.len();
            io::Error::other(format!("only {count} of {wanted} bytes were written"))
        }
        Err(_) => io::Error::from_raw_os_error(-result),
    };
    if is_transient(&error) {
        return write.run();
    }
    Err(crate::file_disk::fault("write", write.file.path(), Some(write.offset), &error))
}

/// Writes that the kernel has.
struct Slots {
    /// Leaked, not dropped, when there is still one: the kernel may be reading its bytes.
    writes: ManuallyDrop<Vec<Option<JournalWrite>>>,
    free: Vec<usize>,
}

impl Slots {
    fn new(count: usize) -> Self {
        let writes = (0..count).map(|_| None).collect();
        Self { writes: ManuallyDrop::new(writes), free: (0..count).collect() }
    }

    fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    fn under_way(&self) -> usize {
        self.writes.len() - self.free.len()
    }

    /// Needs room.
    fn put(&mut self, write: JournalWrite) -> usize {
        let slot = self.free.pop().expect("the caller saw that there is room");
        self.writes[slot] = Some(write);
        slot
    }

    fn take(&mut self, slot: usize) -> Option<JournalWrite> {
        let write = self.writes.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(write)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.under_way() == 0 {
            #[expect(unsafe_code, reason = "what is under way must not be dropped")]
            // SAFETY: this is the only place that drops it, and nothing uses it after.
            unsafe {
                ManuallyDrop::drop(&mut self.writes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_broker::log::{Disk as _, MemoryDisk, OpenMode};

    use super::*;

    #[test]
    fn less_than_all_is_a_fault() {
        let disk = MemoryDisk::new();
        let file = disk.open("ring", OpenMode::Durable).unwrap();
        let write = JournalWrite::loose(file, 8192, Bytes::from_static(&[1; 4096]));
        let fault =
            |kind| Err(Fault { operation: "write", path: "ring".into(), offset: Some(8192), kind });
        let io = |text: &str| fault(FaultKind::Io(text.into()));
        for (result, expected) in [
            (4096, Ok(())),
            (512, io("only 512 of 4096 bytes were written")),
            (0, io("only 0 of 4096 bytes were written")),
            (-libc::ENOSPC, fault(FaultKind::NoSpace)),
            (-libc::EBADF, io("Bad file descriptor (os error 9)")),
            // Tried again, by the disk's own means.
            (-libc::EINTR, Ok(())),
        ] {
            assert_eq!(outcome(&write, result), expected, "{result}");
        }
    }
}
