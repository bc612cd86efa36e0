//! `pipeline check`.

use clap::Args;

use super::Flags;
use super::output;
use crate::contract;
use crate::error::{Error, Result};
use crate::problem::Problems;
use crate::profile;

/// Read all pipelines and profiles and list every problem with its place and a hint; needs no lake
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Checks the project.
///
/// # Errors
/// Every problem that it has.
pub fn check(flags: &Flags, _: &CheckArgs) -> Result<()> {
    let mut problems = Vec::new();
    let project = contract::load(&flags.project).map_err(|found| problems.extend(found.0)).ok();
    let profiles = profile::load_all(&flags.project).map_err(|found| problems.extend(found.0)).unwrap_or_default();
    let count = profiles.len();
    for (_, profile) in profiles {
        let checked = profile.and_then(|profile| project.as_ref().map_or(Ok(()), |project| profile.check(project)));
        problems.extend(checked.err().into_iter().flat_map(|found| found.0));
    }
    let Some(project) = project.filter(|_| problems.is_empty()) else {
        return Err(Error::usage(Problems::sorted(problems).to_string()));
    };
    let cases = flags.resolve()?.cases(&project)?;
    let expectations: usize = project.tables.iter().map(|table| table.expectations.len()).sum();
    output::print(&format!(
        "{} pipelines, {} tables, {expectations} expectations, {} references, {} queries, {} test cases, \
         {count} profiles: no problems",
        project.pipelines.len(),
        project.tables.len(),
        project.references.len(),
        project.queries.len(),
        cases.len(),
    ))
}
