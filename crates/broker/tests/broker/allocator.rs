//! Counts the memory that the thread of a test holds, as an allocator takes it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// What glibc takes for so many bytes: eight more, in steps of sixteen.
fn taken(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16).max(32).cast_signed()
}

#[expect(unsafe_code, reason = "a global allocator cannot be written without; it only forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + taken(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - taken(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes by which what this thread holds has grown while `work` made its value, which is kept.
pub(crate) fn held_by<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    let value = work();
    (usize::try_from(HELD.get() - before).unwrap_or(0), value)
}
