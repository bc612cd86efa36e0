//! How memory is taken from the system.

/// What the C library's allocator takes from its heaps, and not by mappings of its own, which would be cleared by the system each
/// time: all but the largest. It is the most that it can be told.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_FROM_HEAP: libc::c_int = 32 << 20;
/// How much may be free at the end of a heap before it is given back: batches of rows come and go.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 64 << 20;

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
