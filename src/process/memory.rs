//! How much memory the process holds, and how much more it may take.

use std::fs;

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

/// No process has more: the address space of today's processors.
const ADDRESSES: u64 = 1 << 47;

/// Bytes that the process may still take: what is free on the machine, within the limits of the shell (`ulimit -v`) and
/// of the control group. Where the system says nothing of these, as outside Linux, the address space.
pub fn free_memory_bytes() -> u64 {
    let limits = [machine(), address_limit(), group_limit()];
    limits.into_iter().flatten().min().unwrap_or(ADDRESSES)
}

/// Free memory and what can be freed, with the swap.
fn machine() -> Option<u64> {
    Some(meminfo("MemAvailable:")? + meminfo("SwapFree:").unwrap_or(0))
}

/// Bytes that the system says of itself under this name.
fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// What `ulimit -v` leaves; none where it sets no limit.
pub(super) fn address_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        // SAFETY: getrlimit fills the struct it is given; zero is a valid value of each field.
        let (found, limit) = unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            (libc::getrlimit(libc::RLIMIT_AS, &mut limit) == 0, limit.rlim_cur)
        };
        let is_set = found && limit != libc::RLIM_INFINITY;
        is_set.then(|| limit.saturating_sub(held(0).unwrap_or(0)))
    }
    #[cfg(not(unix))]
    None
}

/// What the control group leaves to a process that were alone in it.
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    // Lines are NUMBER:CONTROLLERS:PATH; of version 2 the number is 0 and there are no controllers.
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (folder, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // Each group is held by those above it too; inside a container its own stands at the root.
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let above = (0..=names.len()).map(|depth| names[..depth].join("/"));
        above.filter_map(|group| fs::read_to_string(format!("{folder}/{group}/{file}")).ok()).collect()
    });
    let smallest = limits.filter_map(|limit| limit.trim().parse::<u64>().ok()).min()?;
    Some(smallest.saturating_sub(held(1).unwrap_or(0)))
}

/// Bytes of this process by their place in `/proc/self/statm`: 0 addresses, 1 resident.
fn held(place: usize) -> Option<u64> {
    let pages: u64 =
        fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(place)?.parse().ok()?;
    #[cfg(unix)]
    // SAFETY: sysconf takes a number and has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    #[cfg(not(unix))]
    let page = 4096;
    Some(pages * page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn free_memory_is_no_more_than_the_machine_has() {
        let free = free_memory_bytes();
        let all = meminfo("MemTotal:").unwrap() + meminfo("SwapTotal:").unwrap_or(0);
        assert!(free > 0 && free <= all, "{free} of {all}");
        assert!(held(0).unwrap() >= held(1).unwrap());
    }
}
