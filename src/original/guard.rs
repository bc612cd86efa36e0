//! Work by crates that may panic on damaged documents.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

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

/// Where object_store panics when an upload is given up that failed as it was completed.
const UPLOAD: &str = "buffered.rs";
/// What it says then.
const GIVEN_UP: &str = "Already shut down";

/// Keeps panics off standard error that are caught: those of guarded work, which are told as what is wrong with a file, and
/// whose messages may hold parts of it; and the one by which a failed upload cannot be given up any more, which deltalake
/// catches and follows with the error itself. To be called once, at the start of the program.
pub fn silence_guarded_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() && !is_of_failed_upload(panic) {
            told(panic);
        }
    }));
}

fn is_of_failed_upload(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|place| place.file().ends_with(UPLOAD))
        && panic.payload_as_str().is_some_and(|message| message.contains(GIVEN_UP))
}
