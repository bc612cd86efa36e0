//! `pipeline`: parses the command line, sets up logs, runs the command, and turns the error's kind into the exit code.

// Futures lie within futures, deeper than the compiler takes by default.
#![recursion_limit = "256"]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use medalha::cli::{self, Cli};
use medalha::original::guard::silence_guarded_panics;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    silence_guarded_panics();
    let cli = Cli::parse();
    let trace = match cli::start_logs(&cli) {
        Ok(trace) => trace,
        Err(error) => return fail(&error, error.kind().exit_code()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(cli::run(cli, trace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.kind().exit_code()),
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // A closed standard error is no reason to fail in another way.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
}
