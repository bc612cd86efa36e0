//! `pipeline history`.

use clap::Args;
use comfy_table::Cell;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::inspect::{HistoryRow, StageRun, history as read, runs};
use crate::query::Reader;

/// The lake's runs and how each stage of them ended; or a table's versions, by which run, how many rows came and went
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline history
  pipeline history silver.exams
  pipeline history silver.exams --limit 5 --format json

A version is read with `pipeline query … --as-of silver.exams@3`.")]
pub struct HistoryArgs {
    /// The table, such as silver.exams; without one, the runs
    table: Option<String>,
    /// At most so many versions or runs
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints a table's versions, or the lake's runs.
///
/// # Errors
/// Wrong use when there is no such table; else when its log cannot be read.
pub async fn history(global: &Global, args: &HistoryArgs) -> Result<()> {
    let reader = Reader::new(global.lake()?, global.limits());
    let Some(table) = &args.table else {
        let rows = runs(&reader, args.limit).await?;
        return match args.format {
            Format::Json => output::print_json(&rows),
            Format::Text => output::print(&text_of_runs(&rows)),
        };
    };
    let rows = read(&reader, table, args.limit).await?;
    match args.format {
        Format::Json => output::print_json(&rows),
        Format::Text => output::print(&text(&rows)),
    }
}

fn text_of_runs(rows: &[StageRun]) -> String {
    let mut table = output::table(&["run", "ended", "stage", "outcome", "done", "failed", "left out", "error"]);
    for row in rows {
        let mut cells = vec![Cell::new(&row.run), Cell::new(output::time(row.ended_at))];
        cells.extend([Cell::new(&row.stage), Cell::new(&row.outcome)]);
        cells.extend([row.done, row.failed, row.left_out].map(output::number));
        cells.push(Cell::new(row.error.as_deref().unwrap_or_default()));
        table.add_row(cells);
    }
    table.to_string()
}

fn text(rows: &[HistoryRow]) -> String {
    let mut table = output::table(&["version", "committed", "operation", "run", "rows in", "rows out", "files"]);
    let number = |number: Option<u64>| number.map_or_else(|| Cell::new("?"), output::number);
    for row in rows {
        let version = &row.version;
        table.add_row(vec![
            output::number(version.version),
            Cell::new(version.committed_at.map(output::time).unwrap_or_default()),
            Cell::new(&version.operation),
            Cell::new(version.run.as_deref().unwrap_or_default()),
            number(row.written.or(version.rows_added)),
            number(row.replaced.or(version.rows_removed)),
            Cell::new(format!("+{} -{}", version.files_added, version.files_removed)),
        ]);
    }
    let mut text = table.to_string();
    if let Some(oldest) = rows.last().filter(|row| row.version.version > 0) {
        text.push_str(&format!(
            "\nolder: {} versions, with --limit as far as the log has them",
            oldest.version.version
        ));
    }
    text
}
