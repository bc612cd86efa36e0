//! The command line: one file a command, and the only place that prints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::contract::{self, Project};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::lake::{Durability, Lake};
use crate::pipeline_test::{self, Case};
use crate::run::Inputs;
use crate::variables::Variables;

mod catalog;
mod check;
mod dataset;
mod describe;
mod erase;
mod fsck;
mod generate;
mod history;
mod lineage;
mod maintain;
mod output;
mod quarantine;
mod query;
mod replay;
mod release;
mod restore;
mod rows;
mod run;
mod status;
mod test;

/// A clinical lakehouse in one binary: files in; checked, transactional Delta tables out.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Where the tables are
    #[arg(long, global = true, default_value = "lake", value_name = "URI")]
    pub lake: String,
    /// Where the sources are looked for
    #[arg(long, global = true, default_value = "data", value_name = "URI")]
    pub data: String,
    /// The folder that holds pipelines/
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// Whether commits survive a power cut (full) or only the end of the process (none)
    #[arg(long, global = true, default_value = "full", value_name = "HOW")]
    pub durability: Durability,
    /// How logs are written, to standard error
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// More logs; twice for those of the libraries
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What sorts, joins and aggregations may hold in memory before they spill to disk
    #[arg(long, global = true, default_value = "512MB", value_name = "SIZE", value_parser = parse_size)]
    pub memory: usize,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// A line an event, for people.
    Text,
    /// A JSON object a line, for machines.
    Json,
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

/// Runs a command.
///
/// # Errors
/// Whatever the command fails with; its kind is the exit code.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(args) => run::run(&cli.global, &args).await,
        Command::Check(args) => check::check(&cli.global, &args),
        Command::Test(args) => test::test(&cli.global, &args).await,
        Command::Status(args) => status::status(&cli.global, &args).await,
        Command::History(args) => history::history(&cli.global, &args).await,
        Command::Catalog(args) => catalog::catalog(&cli.global, &args).await,
        Command::Describe(args) => describe::describe(&cli.global, &args).await,
        Command::Lineage(args) => lineage::lineage(&cli.global, &args),
        Command::Query(args) => query::query(&cli.global, &args).await,
        Command::Erase(args) => erase::erase(&cli.global, &args).await,
        Command::Quarantine(args) => quarantine::quarantine(&cli.global, &args).await,
        Command::Replay(args) => replay::replay(&cli.global, &args).await,
        Command::Maintain(args) => maintain::maintain(&cli.global, &args).await,
        Command::Fsck(args) => fsck::fsck(&cli.global, &args).await,
        Command::Restore(args) => restore::restore(&cli.global, &args).await,
        Command::Release(args) => release::release(&cli.global, &args).await,
        Command::Dataset(args) => dataset::dataset(&cli.global, &args).await,
        Command::Generate(args) => generate::generate(&cli.global, &args),
    }
}

impl Global {
    /// The project, checked.
    ///
    /// # Errors
    /// Every problem that it has.
    pub fn project(&self) -> Result<Arc<Project>> {
        contract::load(&self.project).map(Arc::new).map_err(|problems| Error::usage(problems.to_string()))
    }

    /// The project's test cases.
    ///
    /// # Errors
    /// Every problem that they have.
    pub fn cases(&self, project: &Project) -> Result<Vec<Case>> {
        pipeline_test::load(project, &self.project).map_err(|problems| Error::usage(problems.to_string()))
    }

    /// The lake.
    ///
    /// # Errors
    /// When its URI is wrong.
    pub fn lake(&self) -> Result<Lake> {
        Lake::at(&self.lake, self.durability)
    }

    /// Where sources are.
    pub fn inputs(&self) -> Inputs {
        Inputs { data: self.data.clone(), variables: Variables::default() }
    }

    /// What the engine may use.
    pub fn limits(&self) -> Limits {
        Limits { memory: self.memory, ..Limits::default() }
    }
}

/// Sends logs to standard error: warnings, or more with `-v`.
pub fn start_logs(global: &Global) {
    let filter = match global.verbose {
        // What a failed commit or a missing file means is told by the error itself, once.
        0 => "off,medalha=warn",
        1 => "off,medalha=info",
        2 => "warn,medalha=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    // What cannot be logged cannot be complained of either: the complaint would go to the same closed stream.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::is_interactive())
        .log_internal_errors(false);
    match global.log_format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// `90s`, `10m`, `12h` or `30d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time; give for example 90s, 10m, 12h or 30d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds: u64 = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    // A thousand years: what is longer does not fit into the calendar.
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds <= 1_000 * 366 * 24 * 60 * 60);
    seconds.map(Duration::from_secs).ok_or_else(|| "not a time that fits".to_owned())
}

/// `512MB`, `2GB`, `64KB` or a number of bytes; units are powers of 1024.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err("not a size; give for example 512MB or 2GB".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "not a size; give for example 512MB or 2GB".to_owned())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "not a size that fits".to_owned())
}
