//! `pipeline`: parses the command line, sets up logs, runs the command, and turns the error's kind into the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use medalha::cli::{self, Cli};
use medalha::error::Error;
use medalha::original::apart;
use medalha::original::guard::silence_guarded_panics;

fn main() -> ExitCode {
    settle_memory();
    silence_guarded_panics();
    if apart::is_reader() {
        return apart::serve();
    }
    apart::enable();
    let cli = Cli::parse();
    let trace = match cli::start_logs(&cli) {
        Ok(trace) => trace,
        Err(error) => return fail(&error),
    };
    match cli::execute(cli, trace) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// How the system gives memory. Huge pages would be cleared whole, where batches of rows come and go that need a part of them:
/// a run took a tenth more time with them. And the C library's allocator keeps up to eight separate heaps a core, each with what
/// was freed in it: one a core is as fast, and a run holds a fifth less. Where a setting is not known, nothing is lost.
fn settle_memory() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call passes numbers only, and changes nothing but how memory is mapped from then on.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if let Some(cores) = std::thread::available_parallelism().ok().and_then(|cores| cores.get().try_into().ok()) {
        // SAFETY: as above; no other thread runs yet that could allocate meanwhile.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, cores);
        }
    }
}

fn fail(error: &Error) -> ExitCode {
    // A closed standard error is no reason to fail in another way.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(error.kind().exit_code())
}
