//! The command line: one file a command, and the only place that prints.

use clap::{Parser, Subcommand};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::error::Result;
use crate::trace::Trace;
pub use flags::{Flags, Global, LogFormat};

mod catalog;
mod check;
mod clients;
mod dataset;
mod describe;
mod erase;
mod flags;
mod fsck;
mod generate;
mod history;
mod lineage;
mod maintain;
mod output;
mod progress;
mod quarantine;
mod query;
mod replay;
mod release;
mod restore;
mod rows;
mod run;
mod status;
mod test;
mod times;

/// A clinical lakehouse in one binary: files in; checked, transactional Delta tables out.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Test(test::TestArgs),
    Status(status::StatusArgs),
    History(history::HistoryArgs),
    Catalog(catalog::CatalogArgs),
    Describe(describe::DescribeArgs),
    Lineage(lineage::LineageArgs),
    Query(query::QueryArgs),
    Replay(replay::ReplayArgs),
    Quarantine(quarantine::QuarantineArgs),
    Erase(erase::EraseArgs),
    Maintain(maintain::MaintainArgs),
    Fsck(fsck::FsckArgs),
    Restore(restore::RestoreArgs),
    Release(release::ReleaseArgs),
    Dataset(dataset::DatasetArgs),
    Generate(generate::GenerateArgs),
}

/// Runs a command to its end, on threads of its own, and writes the trace of it. Not the program itself does it: what it polls
/// would be compiled into it, a second time.
///
/// # Errors
/// Whatever the command fails with; its kind is the exit code. Else when the trace cannot be written.
pub fn execute(cli: Cli, trace: Option<Trace>) -> Result<()> {
    let verbose = cli.flags.verbose > 0;
    let done = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(cli));
    let written = trace.map_or(Ok(()), |trace| times::write(trace, verbose));
    done.and(written)
}

async fn run(cli: Cli) -> Result<()> {
    let flags = &cli.flags;
    match cli.command {
        Command::Run(args) => run::run(flags, &args).await,
        Command::Check(args) => check::check(flags, &args),
        Command::Test(args) => test::test(&flags.resolve()?, &args).await,
        Command::Status(args) => status::status(flags, &args).await,
        Command::History(args) => history::history(&flags.resolve()?, &args).await,
        Command::Catalog(args) => catalog::catalog(&flags.resolve()?, &args).await,
        Command::Describe(args) => describe::describe(&flags.resolve()?, &args).await,
        Command::Lineage(args) => lineage::lineage(&flags.resolve()?, &args),
        Command::Query(args) => query::query(&flags.resolve()?, &args).await,
        Command::Release(args) => release::release(&flags.resolve()?, &args).await,
        Command::Replay(args) => replay::replay(&flags.resolve()?, &args).await,
        Command::Restore(args) => restore::restore(&flags.resolve()?, &args).await,
        Command::Quarantine(args) => quarantine::quarantine(&flags.resolve()?, &args).await,
        Command::Erase(args) => erase::erase(&flags.resolve()?, &args).await,
        Command::Maintain(args) => maintain::maintain(&flags.resolve()?, &args).await,
        Command::Fsck(args) => fsck::fsck(&flags.resolve()?, &args).await,
        Command::Dataset(args) => dataset::dataset(&flags.resolve()?, &args).await,
        Command::Generate(args) => generate::generate(&flags.resolve()?, &args).await,
    }
}

/// Sends logs to standard error: warnings, or more with `-v`. Gives the trace, where one is asked for.
///
/// # Errors
/// When the trace's file cannot be made.
pub fn start_logs(cli: &Cli) -> Result<Option<Trace>> {
    let filter = match cli.flags.verbose {
        // What a failed commit or a missing file means is told by the error itself, once.
        0 => "off,medalha=warn",
        1 => "off,medalha=info",
        2 => "warn,medalha=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    // What cannot be logged cannot be complained of either: the complaint would go to the same closed stream.
    let logs = fmt::layer().with_writer(std::io::stderr).with_ansi(output::is_interactive()).log_internal_errors(false);
    let logs = match cli.flags.log_format {
        LogFormat::Text => logs.with_target(false).boxed(),
        LogFormat::Json => logs.json().boxed(),
    };
    let trace = match &cli.command {
        Command::Run(args) => args.profile_out.as_deref().map(Trace::create).transpose()?,
        _ => None,
    };
    let spans = trace.as_ref().map(Trace::layer);
    tracing_subscriber::registry().with(logs.with_filter(filter)).with(spans).init();
    Ok(trace)
}
