//! This process: its memory and its panics.
//!
//! Layer 0.

mod panics;

pub use panics::{caught, guarded, silence_panics};

/// Tells glibc to keep freed blocks instead of handing them back to the kernel.
///
/// A training step frees and takes the same large buffers again and again; by default each one is mapped,
/// cleared and unmapped anew, which takes longer than the arithmetic done in it. Other systems keep theirs.
/// Concerns the whole process: call it before any other thread starts.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes settings of the allocator; it is called before any thread starts.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        // Freed blocks of worker threads would sit in arenas of their own where no one finds them again.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Most memory the process has held so far, in bytes; 0 where the system does not say.
pub fn peak_memory_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: getrusage fills the struct it is given; zero is a valid value of each field.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        // Linux counts kilobytes, macOS bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        usage.ru_maxrss as u64 * unit
    }
    #[cfg(not(unix))]
    0
}
