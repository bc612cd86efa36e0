//! `pipeline fsck`.

use clap::Args;

use super::Global;
use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::fsck::{Finding, Options, Report, fsck as check};

/// Look whether the lake is whole: logs, files, positions, releases; changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing is wrong; 1 something is; 2 wrong use.

It can be called at any time, and takes no lease: of a run that is under way meanwhile, what it has just committed may be
told as not yet complete.")]
pub struct FsckArgs {
    /// Read all data, and compare what is counted with what the logs say
    #[arg(long)]
    deep: bool,
    /// How the report is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Looks at the lake and prints what was found.
///
/// # Errors
/// When something is wrong with the lake, or there is none.
pub async fn fsck(global: &Global, args: &FsckArgs) -> Result<()> {
    let (project, unknown) = match global.project() {
        Ok(project) => (Some(project), None),
        Err(error) => (None, Some(error)),
    };
    let options = Options { deep: args.deep, limits: global.limits() };
    let report = check(&global.lake()?, project, &options).await?;
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&text(&report))?,
    }
    if let Some(error) = unknown {
        output::tell(&format!("warning: how far tables have come was not compared: {}", error.message()));
    }
    match report.wrong() {
        0 => Ok(()),
        wrong => Err(Error::failed(format!("fsck: {wrong} things are wrong with the lake"))),
    }
}

fn text(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(line).collect();
    let numbers = [report.tables, report.files, report.rows].map(output::thousands);
    let [tables, files, rows] = numbers;
    text.push_str(&format!("{tables} tables, {files} files, {rows} rows; {} things are wrong", report.wrong()));
    text
}

fn line(finding: &Finding) -> String {
    let kind = if finding.is_wrong { "wrong" } else { "note" };
    let hint = finding.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{kind}: {}: {}{hint}\n", finding.place, finding.fact)
}
