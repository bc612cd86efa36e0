//! `pipeline catalog`.

use clap::Args;
use comfy_table::Cell;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::inspect::{ColumnInfo, TableInfo, catalog as read};
use crate::query::{AsOf, Reader};

/// All tables of the lake with their descriptions and columns; no row is shown
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline catalog
  pipeline catalog --as-of release:3 --format json")]
pub struct CatalogArgs {
    /// As the lake was: a release, a time, or a table's version, see `pipeline query --help`
    #[arg(long, value_name = "WHEN")]
    as_of: Vec<AsOf>,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints the tables.
///
/// # Errors
/// When there is no lake or a log cannot be read.
pub async fn catalog(global: &Global, args: &CatalogArgs) -> Result<()> {
    let reader = Reader::as_of(global.lake()?, &args.as_of, global.limits()).await?;
    let tables = read(&reader).await?;
    match args.format {
        Format::Json => output::print_json(&tables),
        Format::Text => output::print(&tables.iter().map(text).collect::<Vec<_>>().join("\n\n")),
    }
}

fn text(table: &TableInfo) -> String {
    format!("{}\n{}", heading(table), columns(&table.columns))
}

/// A table's name, size and description.
pub fn heading(table: &TableInfo) -> String {
    let size = match (table.rows, table.version) {
        (Some(rows), Some(version)) => format!("{} rows, version {version}", output::thousands(rows)),
        _ => "not in the lake yet".to_owned(),
    };
    format!("{} ({size})\n{}", table.table, table.description)
}

/// A table's columns.
pub fn columns(columns: &[ColumnInfo]) -> String {
    let has_nulls = columns.iter().any(|column| column.nulls.is_some());
    let mut heading = vec!["column", "type", "required"];
    heading.extend(has_nulls.then_some("nulls"));
    heading.push("comment");
    let mut table = output::table(&heading);
    for column in columns {
        let required = if column.required { "yes" } else { "" };
        let mut cells = vec![Cell::new(&column.name), Cell::new(&column.data_type), Cell::new(required)];
        cells.extend(column.nulls.map(output::number));
        cells.push(Cell::new(&column.comment));
        table.add_row(cells);
    }
    table.to_string()
}
