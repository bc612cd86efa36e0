//! `pipeline history`.

use clap::Args;
use comfy_table::Cell;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::inspect::{HistoryRow, history as read};
use crate::query::Reader;

/// A table's versions, the newest first: when, by which run, how many rows came and went
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline history silver.exams
  pipeline history silver.exams --limit 5 --format json

A version is read with `pipeline query … --as-of silver.exams@3`.")]
pub struct HistoryArgs {
    /// The table, such as silver.exams
    table: String,
    /// At most so many versions
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints a table's versions.
///
/// # Errors
/// Wrong use when there is no such table; else when its log cannot be read.
pub async fn history(global: &Global, args: &HistoryArgs) -> Result<()> {
    let reader = Reader::new(global.lake()?, global.limits());
    let rows = read(&reader, &args.table, args.limit).await?;
    match args.format {
        Format::Json => output::print_json(&rows),
        Format::Text => output::print(&text(&rows)),
    }
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
