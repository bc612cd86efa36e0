//! `pipeline restore`.

use clap::Args;

use super::Global;
use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::query::AsOf;
use crate::restore::{Report, Target, restore as carry_out};

/// Make a table, or all tables of a release, what they were; as a new version, so that nothing is lost by it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline restore silver.exams --to 12
  pipeline restore --release 3

The next run computes again what came after; of a bronze table it takes the files in again whose batches went.")]
pub struct RestoreArgs {
    /// The table
    #[arg(value_name = "TABLE", required_unless_present = "release", conflicts_with = "release", requires = "to")]
    table: Option<String>,
    /// The version that it is to be as; see `pipeline history`
    #[arg(long, value_name = "VERSION", conflicts_with = "release")]
    to: Option<u64>,
    /// A release: its number, or a time that it was the newest at
    #[arg(long, value_name = "RELEASE")]
    release: Option<AsOf>,
    /// How the report is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Restores and prints what was done.
///
/// # Errors
/// When there is no such table, version or release, it can no longer be read, or another run holds the lease.
pub async fn restore(global: &Global, args: &RestoreArgs) -> Result<()> {
    let target = match (&args.table, args.to, &args.release) {
        (Some(name), Some(version), None) => Target::Table { name: name.clone(), version },
        (None, None, Some(release)) => Target::Release(release.clone()),
        _ => return Err(Error::usage("give a table with --to, or --release")),
    };
    let report = carry_out(&global.lake()?, global.project()?, global.limits(), &target).await?;
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Text => output::print(&text(&report)),
    }
}

fn text(report: &Report) -> String {
    if report.tables.is_empty() {
        return "nothing to do: all of it is at that version".to_owned();
    }
    let mut table = output::table(&["table", "is as version", "is now version", "files back", "files gone"]);
    for row in &report.tables {
        let mut cells = vec![comfy_table::Cell::new(&row.table)];
        cells.extend([row.to, row.version, row.files_added, row.files_removed].map(output::number));
        table.add_row(cells);
    }
    let release = report.release.map(|release| format!("\nrelease {release}")).unwrap_or_default();
    format!("{table}{release}\nthe next run computes again what came after")
}
