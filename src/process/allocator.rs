//! The allocator of the program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's allocator. Where it has no memory left, the program says so in one line and ends with 69 instead of
/// aborting: no code could go on from there.
pub struct Allocator;

// SAFETY: every call is handed to the system's allocator as it comes; what it returns is never null.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        present(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        present(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        present(unsafe { System.realloc(old, layout, size) }, size)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) };
    }
}

#[inline]
fn present(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() { refuse(bytes) } else { memory }
}

#[cold]
fn refuse(bytes: usize) -> ! {
    use std::io::Write;
    static REFUSED: AtomicBool = AtomicBool::new(false);
    while REFUSED.swap(true, Ordering::SeqCst) {
        // Another thread is telling it.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    // On the stack, since there is no memory.
    let mut line = [0; 200];
    let mut rest = &mut line[..];
    let hint = "give the program less at once, free memory, or raise its limit (ulimit -v)";
    let _ = writeln!(rest, "error: out of memory: {bytes} bytes more were refused; {hint}");
    let length = 200 - rest.len();
    #[cfg(unix)]
    // SAFETY: write is given the bytes of one slice; _exit ends the process without running anything else.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        libc::_exit(69)
    }
    #[cfg(not(unix))]
    {
        let _ = std::io::stderr().write_all(&line[..length]);
        std::process::abort()
    }
}
