//! `pipeline describe`.

use clap::Args;

use super::output::{self, Format};
use super::{Global, catalog};
use crate::error::Result;
use crate::inspect::{Contract, Description, describe as read};
use crate::query::{AsOf, Reader};

/// All that is known of a table but its rows: columns, key, expectations, inputs, properties
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline describe silver.exams
  pipeline describe silver.exams --counts
  pipeline describe gold.label_completeness --as-of 2024-06-30 --format json")]
pub struct DescribeArgs {
    /// The table, such as silver.exams
    table: String,
    /// Also count the NULLs of each column; reads the whole table
    #[arg(long)]
    counts: bool,
    /// As the lake was: a release, a time, or a table's version, see `pipeline query --help`
    #[arg(long, value_name = "WHEN")]
    as_of: Vec<AsOf>,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints a table's description.
///
/// # Errors
/// Wrong use when there is no such table; else when it cannot be read.
pub async fn describe(global: &Global, args: &DescribeArgs) -> Result<()> {
    let reader = Reader::as_of(global.lake()?, &args.as_of, global.limits()).await?;
    // A lake can be read without the project that made it; the contract's part is then left out.
    let project = global.project();
    if let Err(error) = &project {
        tracing::warn!("without contracts: {error}");
    }
    let description = read(&reader, project.as_deref().ok(), &args.table, args.counts).await?;
    match args.format {
        Format::Json => output::print_json(&description),
        Format::Text => output::print(&text(&description)),
    }
}

fn text(description: &Description) -> String {
    let mut text = catalog::heading(&description.table);
    if let Some(contract) = &description.contract {
        text.push_str(&of_contract(contract));
    }
    text.push_str(&format!("\n{}", catalog::columns(&description.table.columns)));
    if let Some(contract) = &description.contract {
        text.push_str(&expectations(contract));
    }
    if let (Some(files), Some(bytes)) = (description.files, description.bytes) {
        text.push_str(&format!("\n{} files, {}", output::thousands(files), output::bytes(bytes)));
    }
    for (key, value) in &description.properties {
        text.push_str(&format!("\n{key} = {value}"));
    }
    text
}

fn of_contract(contract: &Contract) -> String {
    let strategy = match (contract.strategy, &contract.sequence) {
        ("bronze", _) => "append-only: every record as it came".to_owned(),
        ("by_record", Some(sequence)) => format!("by record: of a key the row with the highest {sequence}"),
        ("by_record", None) => "by record".to_owned(),
        ("by_key", _) => format!("by key: rows are replaced by {}", contract.replace_by.join(", ")),
        _ => "whole: recomputed when an input changed".to_owned(),
    };
    let mut lines = vec![("kept up to date", strategy), ("pipeline", contract.pipeline.clone())];
    lines.push(("key", contract.key.join(", ")));
    lines.push(("source", contract.source.clone().unwrap_or_default()));
    lines.push(("reads", contract.inputs.join(", ")));
    lines.push(("references", contract.references.join(", ")));
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("\n{name}: {value}")).collect()
}

fn expectations(contract: &Contract) -> String {
    if contract.expectations.is_empty() {
        return String::new();
    }
    let mut table = output::table(&["expectation", "severity", "condition", "comment"]);
    for expectation in &contract.expectations {
        let cells = [&expectation.name, expectation.severity, &expectation.condition, &expectation.comment];
        table.add_row(cells.map(|cell: &str| cell.to_owned()));
    }
    format!("\n{table}")
}
