//! `pipeline run`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use super::output::{self, Format};
use crate::contract::{Project, Stage, TableName};
use crate::engine::Limits;
use crate::error::Result;
use crate::lake::Lake;
use crate::query::{AsOf, Reader};
use crate::run::{Options, Progress, ProgressEvent, Run, RunReport, TableReport, Why, selected};

/// Bring the lake up to date: take in what is new, and refresh what depends on it
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done; 1 failed; 2 wrong use or a pipeline that does not check; \
3 an expectation of severity 'fail' did not hold; 4 another run holds the lease.")]
pub struct RunArgs {
    /// Only the tables of one stage: bronze, silver or gold
    #[arg(long, value_name = "STAGE")]
    stage: Option<Stage>,
    /// Only this table; 'T+' also what depends on it, '+T' also what it depends on; may be given again
    #[arg(long, value_name = "TABLE")]
    select: Vec<String>,
    /// Compute silver and gold anew from bronze
    #[arg(long)]
    full_refresh: bool,
    /// Compute silver and gold anew from bronze as it was in a release or at a time
    #[arg(long, value_name = "RELEASE|TIME", conflicts_with = "stage")]
    as_of: Option<AsOf>,
    /// Say what would be done and why; change nothing
    #[arg(long)]
    dry_run: bool,
    /// How the summary is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Runs and prints the summary.
///
/// # Errors
/// The first error of a table, after the summary; the others are told before it.
pub async fn run(global: &Global, args: &RunArgs) -> Result<()> {
    let options = Options { stage: args.stage, select: args.select.clone(), full_refresh: args.full_refresh };
    let (progress, bar) = progress();
    let (lake, project) = (global.lake()?, global.project()?);
    let (lake, options) = match &args.as_of {
        Some(as_of) => as_it_was(lake, &project, options, as_of, global.limits()).await?,
        None => (lake, options),
    };
    let run = Run::new(lake, project, global.inputs(), global.limits(), progress);
    if args.dry_run {
        return print_plan(&run.plan(&options).await?, args.format);
    }
    let report = run.execute(&options).await;
    bar.finish_and_clear();
    let report = report?;
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&summary(&report))?,
    }
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
    Ok((lake.clone().over(&lake, versions), Options { select, full_refresh: true, stage: None }))
}

fn print_plan(plan: &[(String, String)], format: Format) -> Result<()> {
    if format == Format::Json {
        let rows: Vec<_> = plan.iter().map(|(table, what)| serde_json::json!({"table": table, "plan": what})).collect();
        return output::print_json(&rows);
    }
    let mut table = output::table(&["table", "what a run would do"]);
    for (name, what) in plan {
        table.add_row([name, what]);
    }
    output::print(&table.to_string())
}

/// A bar for a person, lines for a file, and who feeds them.
/// Who is told of a run's progress, and the bar that shows it on a terminal.
pub(super) fn progress() -> (Progress, ProgressBar) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(spinner());
    let interactive = output::is_interactive();
    if interactive {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let fed = bar.clone();
    let progress = move |event: ProgressEvent| match event {
        ProgressEvent::Table { name } => {
            fed.set_style(spinner());
            fed.set_message(name);
        }
        ProgressEvent::Reading { table, bytes } => {
            fed.set_style(bytes_bar());
            fed.set_message(table);
            fed.set_position(0);
            fed.set_length(bytes);
        }
        ProgressEvent::Read { bytes } => fed.inc(bytes),
        ProgressEvent::Done { report } if !interactive => output::tell(&line(&report)),
        ProgressEvent::Done { .. } => {}
    };
    (Arc::new(progress), bar)
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}  {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes_bar() -> ProgressStyle {
    let template = "{spinner} {msg}  {bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A table's report in a line.
fn line(report: &TableReport) -> String {
    match report.why {
        None => format!("{}: {}", report.table, report.status.as_str()),
        Some(why) => format!(
            "{}: {}: {} in, {} passed, {} quarantined, {} written, {} replaced",
            report.table,
            why.as_str(),
            report.input,
            report.passed,
            report.quarantined,
            report.written,
            report.replaced
        ),
    }
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
