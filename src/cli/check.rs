//! `pipeline check`.

use clap::Args;

use super::Global;
use super::output;
use crate::error::Result;

/// Read all pipelines and list every problem with its place and a hint; needs no lake
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Checks the project.
///
/// # Errors
/// Every problem that it has.
pub fn check(global: &Global, _: &CheckArgs) -> Result<()> {
    let project = global.project()?;
    let cases = global.cases(&project)?;
    let expectations: usize = project.tables.iter().map(|table| table.expectations.len()).sum();
    output::print(&format!(
        "{} pipelines, {} tables, {expectations} expectations, {} references, {} queries, {} test cases: no problems",
        project.pipelines.len(),
        project.tables.len(),
        project.references.len(),
        project.queries.len(),
        cases.len(),
    ))
}
