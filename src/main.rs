//! `pipeline`: parses the command line, sets up logs, runs the command, and turns the error's kind into the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use medalha::cli::{self, Cli};
use medalha::error::Error;
use medalha::memory;
use medalha::original::apart;
use medalha::original::guard::silence_guarded_panics;

fn main() -> ExitCode {
    memory::settle();
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

fn fail(error: &Error) -> ExitCode {
    // A closed standard error is no reason to fail in another way.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(error.kind().exit_code())
}
