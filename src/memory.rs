//! How memory is taken from the system, and given back.

/// What the C library's allocator takes from its heaps, and not by mappings of its own, which would be cleared by the system each
/// time: all but the largest. It is the most that it can be told.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_FROM_HEAP: libc::c_int = 32 << 20;
/// How much may be free at the end of a heap before it is given back: batches of rows come and go.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 16 << 20;

/// Settles how the process takes memory. To be called before it starts threads.
///
/// Huge pages would be cleared whole, where batches of rows come and go that need a part of them: a run took a tenth more time
/// with them. And the C library's allocator has up to eight heaps a core, each with what was freed in it: with one a core a run
/// is as fast, and holds a fifth less. Where a setting is not known, nothing is lost.
pub fn settle() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call passes numbers only, and changes nothing but how memory is mapped from then on.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = [
            (libc::M_ARENA_MAX, libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX)),
            (libc::M_MMAP_THRESHOLD, LARGEST_FROM_HEAP),
            (libc::M_TRIM_THRESHOLD, KEPT),
        ];
        for (setting, value) in settings {
            // SAFETY: as above; no other thread allocates meanwhile.
            unsafe {
                libc::mallopt(setting, value);
            }
        }
    }
}

/// Gives back what is free within the heaps, where the process holds more than so many bytes. To be called between two pieces of
/// work, for it takes time, and more when the memory is needed again.
pub fn give_back_beyond(bytes: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if held().is_some_and(|held| held > bytes) {
        // SAFETY: the call takes the allocator's own locks, and touches nothing that is in use.
        unsafe {
            libc::malloc_trim(0);
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = bytes;
}

/// The bytes of memory that the process holds, files that are mapped aside; `None` where the system does not tell.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn held() -> Option<usize> {
    // The second number is of pages that are resident, the third of those among them that belong to files; see proc_pid_statm(5).
    let numbers = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = numbers.split_whitespace().skip(1).map_while(|number| number.parse::<usize>().ok());
    let (resident, of_files) = (pages.next()?, pages.next()?);
    // SAFETY: the call passes a number and gives one.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some(resident.saturating_sub(of_files) * page)
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_is_held_is_told() {
        let before = super::held().unwrap();
        let block = vec![1_u8; 64 << 20];
        assert!(super::held().unwrap() >= before + block.len() / 2);
    }
}
