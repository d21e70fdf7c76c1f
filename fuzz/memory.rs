//! The system's allocator with a limit: who asks for more ends the process, which the fuzzer counts as a find.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that are taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Bytes that may be taken.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static LIMITED: Limited = Limited;

struct Limited;

/// Lets so many more bytes be taken than are taken now.
pub fn allow(bytes: usize) {
    LIMIT.store(TAKEN.load(Relaxed).saturating_add(bytes), Relaxed);
}

fn take(bytes: usize) {
    if TAKEN.fetch_add(bytes, Relaxed) + bytes > LIMIT.load(Relaxed) {
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("more memory than allowed: {bytes} bytes on top of {}", TAKEN.load(Relaxed));
        std::process::abort();
    }
}

// SAFETY: the system's allocator does the work; counting changes neither pointers nor layouts.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}
