//! Work by crates that may panic on damaged documents.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does the work; `None` when it panicked.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work)).ok();
    GUARDED.set(before);
    result
}

/// Keeps panics of guarded work off standard error: they are told as what is wrong with a file, and their messages may
/// hold parts of it. To be called once, at the start of the program.
pub fn silence_guarded_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            told(panic);
        }
    }));
}
