//! `pipeline run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::clients::{self, Client};
use super::output::{self, Format};
use super::progress::progress;
use super::{Flags, Global};
use crate::contract::{Project, Stage, TableName};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::query::{AsOf, Reader};
use crate::retry::Retry;
use crate::run::{Options, Run, RunReport, Status, TableReport, Why, selected};
use crate::units::parse_duration;

/// Bring the lake up to date: take in what is new, and refresh what depends on it
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done; 1 failed; 2 wrong use or a pipeline that does not check; \
3 an expectation of severity 'fail' did not hold; 4 another run holds the lease. With --all-profiles the first of \
1, 3, 2 and 4 that any profile would have ended with.")]
pub struct RunArgs {
    /// Only the tables of one stage: bronze, silver or gold
    #[arg(long, value_name = "STAGE")]
    stage: Option<Stage>,
    /// Only this table; 'T+' also what depends on it, '+T' also what it depends on; may be given again
    #[arg(long, value_name = "TABLE")]
    select: Vec<String>,
    /// Only the tables of this pipeline; may be given again [default: those of the profile, else all]
    #[arg(short, long, value_name = "NAME")]
    pipeline: Vec<String>,
    /// Compute silver and gold anew from bronze
    #[arg(long)]
    full_refresh: bool,
    /// Compute silver and gold anew from bronze as it was in a release or at a time
    #[arg(long, value_name = "RELEASE|TIME", conflicts_with = "stage")]
    as_of: Option<AsOf>,
    /// Say what would be done and why; change nothing
    #[arg(long)]
    dry_run: bool,
    /// For each profile of the project, one after the other; one that fails does not stop the others
    #[arg(long)]
    all_profiles: bool,
    /// How often tables are tried again that failed by what may pass: a connection reset or refused, a busy server
    #[arg(long, default_value_t = 0, value_name = "N")]
    retries: u32,
    /// How long to wait before the first of them; doubles with each, up to ten minutes
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    retry_wait: Duration,
    /// Write where the time went, as a Chrome trace for Perfetto or chrome://tracing; with -v also as a table
    #[arg(long, value_name = "FILE")]
    pub(super) profile_out: Option<PathBuf>,
    /// How the summary is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// What was done, or would be.
enum Done {
    Report(RunReport),
    Plan(Vec<(String, String)>),
}

/// Runs and prints the summary.
///
/// # Errors
/// The first error of a table, after the summary; the others are told before it. Of all profiles: how many failed.
pub async fn run(flags: &Flags, args: &RunArgs) -> Result<()> {
    if args.all_profiles {
        return run_all(flags, args).await;
    }
    let done = work(&flags.resolve()?, args).await?;
    match args.format {
        Format::Json => output::print_json(&as_json(&done))?,
        Format::Text => output::print(&as_text(&done))?,
    }
    let Done::Report(report) = done else { return Ok(()) };
    let mut errors = report.errors.into_iter();
    let first = errors.next();
    for other in errors {
        output::tell(&format!("error: {other}"));
    }
    first.map_or(Ok(()), Err)
}

/// The lake with its bronze tables as they were, and a run that computes all of silver and gold from them.
async fn as_it_was(
    lake: Lake,
    project: &Project,
    options: Options,
    as_of: &AsOf,
    limits: Limits,
) -> Result<(Lake, Options)> {
    let mut versions = Reader::as_of(lake.clone(), std::slice::from_ref(as_of), limits).await?.versions().members();
    versions.retain(|name, _| name.starts_with("bronze."));
    let computed = |name: &TableName| name.stage != Stage::Bronze;
    let select = selected(project, &options)?.into_iter().filter(computed).map(|name| name.to_string()).collect();
    Ok((lake.clone().over(&lake, versions), Options { select, full_refresh: true, stage: None, ..options }))
}

async fn work(global: &Global, args: &RunArgs) -> Result<Done> {
    let options = Options {
        stage: args.stage,
        select: args.select.clone(),
        pipelines: if args.pipeline.is_empty() { global.pipelines() } else { args.pipeline.clone() },
        full_refresh: args.full_refresh,
        retry: Retry { times: args.retries, wait: args.retry_wait },
    };
    let (progress, bar) = progress();
    let (lake, project) = (global.lake()?, global.project()?);
    let (lake, options) = match &args.as_of {
        Some(as_of) => as_it_was(lake, &project, options, as_of, global.limits()).await?,
        None => (lake, options),
    };
    let run = Run::new(lake, project, global.inputs()?, global.limits(), progress);
    if args.dry_run {
        return run.plan(&options).await.map(Done::Plan);
    }
    let report = run.execute(&options).await;
    bar.finish_and_clear();
    report.map(Done::Report)
}

fn errors(done: &Done) -> &[Error] {
    match done {
        Done::Report(report) => &report.errors,
        Done::Plan(_) => &[],
    }
}

fn as_json(done: &Done) -> serde_json::Value {
    match done {
        Done::Report(report) => serde_json::json!(report),
        Done::Plan(plan) => {
            plan.iter().map(|(table, what)| serde_json::json!({"table": table, "plan": what})).collect()
        }
    }
}

fn as_text(done: &Done) -> String {
    match done {
        Done::Report(report) => summary(report),
        Done::Plan(plan) => {
            let mut table = output::table(&["table", "what a run would do"]);
            for (name, what) in plan {
                table.add_row([name, what]);
            }
            table.to_string()
        }
    }
}

async fn run_all(flags: &Flags, args: &RunArgs) -> Result<()> {
    let shown = |name: &str, result: &Result<Done>| match (args.format, result) {
        (Format::Text, Ok(done)) => output::print(&format!("profile {name}\n{}\n", as_text(done))),
        _ => Ok(()),
    };
    let clients = clients::each(flags, async |global| work(global, args).await, errors, shown).await?;
    match args.format {
        Format::Json => output::print_json(&clients.iter().map(client_as_json).collect::<Vec<_>>())?,
        Format::Text => output::print(&table_of_clients(&clients))?,
    }
    clients::verdict(&clients)
}

fn client_as_json(client: &Client<Done>) -> serde_json::Value {
    serde_json::json!({
        "profile": client.name,
        "exit_code": client.exit_code(),
        "error": client.result.as_ref().err().map(ToString::to_string),
        "result": client.result.as_ref().ok().map(as_json),
    })
}

fn table_of_clients(clients: &[Client<Done>]) -> String {
    let mut table = output::table(&["profile", "done", "nothing new", "failed", "left out", "release", "exit code"]);
    for client in clients {
        let report = match &client.result {
            Ok(Done::Report(report)) => Some(report),
            _ => None,
        };
        let count = |status: Status| match report {
            Some(report) => output::number(report.tables.iter().filter(|table| table.status == status).count() as u64),
            None => comfy_table::Cell::new(""),
        };
        let release = report.and_then(|report| report.release).map(|release| release.to_string());
        let mut cells = vec![comfy_table::Cell::new(&client.name)];
        cells.extend([Status::Done, Status::Unchanged, Status::Failed, Status::LeftOut].map(count));
        cells.push(comfy_table::Cell::new(release.unwrap_or_default()));
        cells.push(output::number(u64::from(client.exit_code())));
        table.add_row(cells);
    }
    table.to_string()
}

pub(super) fn summary(report: &RunReport) -> String {
    let mut table = output::table(&["table", "rows in", "passed", "quarantined", "written", "replaced", ""]);
    for row in &report.tables {
        let note = row.why.map_or(row.status.as_str(), Why::as_str);
        let mut cells = vec![comfy_table::Cell::new(&row.table)];
        cells.extend([row.input, row.passed, row.quarantined, row.written, row.replaced].map(output::number));
        cells.push(comfy_table::Cell::new(note));
        table.add_row(cells);
    }
    let mut text = table.to_string();
    for row in &report.tables {
        text.push_str(&remarks(row));
    }
    let end = match report.release {
        Some(release) => format!("\nrelease {release}, {:.2} s", report.seconds),
        None if !report.errors.is_empty() => format!("\nno release: not all tables succeeded, {:.2} s", report.seconds),
        None if report.tables.iter().any(|table| table.status == Status::Done) => {
            format!("\nno release: tables that read these were not run, {:.2} s", report.seconds)
        }
        None => format!("\nnothing new, nothing committed, {:.2} s", report.seconds),
    };
    text + &end
}

/// Remarks beyond which a summary only counts.
const SHOWN_FILES: usize = 10;

/// What else is to be said of a table: expectations that did not hold, files with a fault.
fn remarks(report: &TableReport) -> String {
    let mut text = String::new();
    if report.unreadable > 0 {
        text.push_str(&format!("\n{}: {} records are unreadable", report.table, output::thousands(report.unreadable)));
    }
    for broken in report.expectations.iter().filter(|expectation| expectation.failed > 0) {
        let rows = output::thousands(broken.failed);
        text.push_str(&format!(
            "\n{}: {}: '{}' does not hold for {rows} rows",
            report.table, broken.severity, broken.name
        ));
    }
    for (uri, what) in report.files.iter().take(SHOWN_FILES) {
        text.push_str(&format!("\n{}: {uri}: {what}", report.table));
    }
    if let Some(more) = report.files.len().checked_sub(SHOWN_FILES).filter(|more| *more > 0) {
        text.push_str(&format!("\n{}: and {more} more files, see ops.files", report.table));
    }
    text
}
