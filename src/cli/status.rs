//! `pipeline status`.

use clap::Args;
use comfy_table::Cell;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::inspect::{Status, TableStatus, status as read};

/// What the lake holds, how fresh it is, and what a run would do; changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline status
  pipeline status --format json

'up to date' compares with the sources below --data and with the contracts. A run may be under way meanwhile: what it has
not committed yet does not show.")]
pub struct StatusArgs {
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints the state of the lake.
///
/// # Errors
/// When there is no lake or a log cannot be read.
pub async fn status(global: &Global, args: &StatusArgs) -> Result<()> {
    let status = read(&global.lake()?, global.limits(), global.project(), global.inputs()).await?;
    match args.format {
        Format::Json => output::print_json(&status),
        Format::Text => output::print(&text(&status)),
    }
}

fn text(status: &Status) -> String {
    let mut table = output::table(&[
        "table",
        "rows",
        "files",
        "size",
        "version",
        "committed",
        "has taken",
        "up to date",
        "quarantined",
    ]);
    for row in &status.tables {
        table.add_row(cells(row));
    }
    let mut text = table.to_string();
    for row in &status.tables {
        if let Some(next) = &row.next {
            text.push_str(&format!("\n{}: a run would {next}", row.table));
        }
    }
    if let Some(unknown) = &status.unknown {
        text.push_str(&format!("\nwhat a run would do is not known: {unknown}"));
    }
    text.push_str(&match &status.last_run {
        Some(run) => format!(
            "\nlast run {} ended {}: {} tables changed, {} failed",
            run.run,
            output::time(run.ended_at),
            run.done,
            run.failed
        ),
        None => "\nno run yet".to_owned(),
    });
    text.push_str(&match &status.release {
        Some(release) => format!("\nrelease {} of {}", release.release, output::time(release.published_at)),
        None => "\nno release yet".to_owned(),
    });
    text
}

fn cells(row: &TableStatus) -> Vec<Cell> {
    let number = |number: Option<u64>| number.map_or_else(|| Cell::new(""), output::number);
    let positions: Vec<String> = row.positions.iter().map(|(input, position)| format!("{input} {position}")).collect();
    let fresh = match row.up_to_date {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    vec![
        Cell::new(&row.table),
        number(row.rows),
        number(row.files),
        Cell::new(row.bytes.map(output::bytes).unwrap_or_default()).set_alignment(comfy_table::CellAlignment::Right),
        number(row.version),
        Cell::new(row.committed_at.map_or_else(|| "not yet".to_owned(), output::time)),
        Cell::new(positions.join("\n")),
        Cell::new(fresh),
        if row.quarantined > 0 { output::number(row.quarantined) } else { Cell::new("") },
    ]
}
