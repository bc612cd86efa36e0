//! `pipeline maintain`.

use std::time::Duration;

use clap::Args;
use comfy_table::Cell;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::maintain::{Options, Report, TableCare, maintain as care};
use crate::units::parse_duration;

/// Make few files of many small ones, write checkpoints, and take away what no reader needs any more
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline maintain
  pipeline maintain --budget 10m --keep 7d
  pipeline maintain --dry-run silver.exams

Rows stay as they are; readers of changes see nothing. Kept are the newest version of a table, those of the newest release
and of pinned ones, those that were the newest within --keep, and what derived tables have still to read. It may be
stopped at any moment and goes on the next time; done twice, the second time does nothing.")]
pub struct MaintainArgs {
    /// Only these tables
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Begin nothing more after this time, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    budget: Option<Duration>,
    /// How long an old version can still be read; longer than the longest query takes
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = parse_duration)]
    keep: Duration,
    /// Say what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// How the report is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Takes care of the lake and prints what was done.
///
/// # Errors
/// When another run holds the lease, a table is not there, or storage fails.
pub async fn maintain(global: &Global, args: &MaintainArgs) -> Result<()> {
    let options = Options {
        budget: args.budget,
        keep: args.keep,
        dry_run: args.dry_run,
        limits: global.limits(),
        tables: args.tables.clone(),
    };
    let report = care(&global.lake()?, global.project()?, &options).await?;
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Text => output::print(&text(&report, args.dry_run)),
    }
}

fn text(report: &Report, is_plan: bool) -> String {
    let mut table =
        output::table(&["table", "small files", "became", "checkpoint", "log files gone", "files gone", "size"]);
    for row in &report.tables {
        table.add_row(cells(row));
    }
    let mut text = table.to_string();
    for (row, note) in report.tables.iter().filter_map(|row| Some((row, row.note.as_ref()?))) {
        text.push_str(&format!("\n{}: {note}", row.table));
    }
    if is_plan {
        return text + "\nnothing was changed";
    }
    if let Some(release) = report.release {
        text.push_str(&format!("\nrelease {release}: the same rows, in other files"));
    }
    if report.unfinished {
        text.push_str("\nthe time is used up: call it again for the rest");
    }
    text + &format!("\n{:.2} s", report.seconds)
}

fn cells(row: &TableCare) -> Vec<Cell> {
    vec![
        Cell::new(&row.table),
        output::number(row.compacted),
        row.into.map_or_else(|| Cell::new(""), output::number),
        Cell::new(if row.checkpoint { "yes" } else { "" }),
        output::number(row.log_files),
        output::number(row.files),
        Cell::new(output::bytes(row.bytes)),
    ]
}
