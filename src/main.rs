//! `pipeline`: parses the command line, sets up logs, runs the command, and turns the error's kind into the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use medalha::cli::{self, Cli};
use medalha::error::Error;
use medalha::original::apart;
use medalha::original::guard::silence_guarded_panics;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    do_without_huge_pages();
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

/// Huge pages would be cleared whole by the system, where batches of rows come and go that need a part of them: a run took a
/// tenth more time with them. Where the system does not know the setting, nothing is lost.
fn do_without_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call passes numbers only, and changes nothing but how memory is mapped from then on.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

fn fail(error: &Error) -> ExitCode {
    // A closed standard error is no reason to fail in another way.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(error.kind().exit_code())
}
