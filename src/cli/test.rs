//! `pipeline test`.

use clap::Args;
use serde_json::json;

use super::Global;
use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::pipeline_test::{self, CaseReport};

/// Run the cases of pipelines/<p>/tests: each is given files and says what the tables then hold
#[derive(Debug, Args)]
#[command(after_help = "\
A case is a folder pipelines/<p>/tests/<case>:
  given/<source>.json         what the source delivers; or a folder <source>/ with any files
  given/1/…, given/2/…        the same, a folder before each run
  expect/<stage>.<table>.csv  the rows of the columns that its first line names, in any order;
                              an empty field is NULL, \"\" an empty text, a list or struct is JSON

Each case runs in a lake of its own that is gone afterwards; --lake and --data are not used.
Exit codes: 0 all passed; 1 a case failed; 2 a case that cannot be read, or a pipeline that does not check.")]
pub struct TestArgs {
    /// Only these cases: <case> or <pipeline>/<case>
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// How the result is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Runs the cases and prints what became of each.
///
/// # Errors
/// When a case cannot be read, or did not pass.
pub async fn test(global: &Global, args: &TestArgs) -> Result<()> {
    let project = global.project()?;
    let cases = global.cases(&project)?;
    let cases = pipeline_test::select(cases, &args.cases)?;
    let text = args.format == Format::Text;
    let tell = |report: &CaseReport| {
        if text {
            // That standard output is gone shows again at the summary.
            let _ = output::print(&report.to_string());
        }
    };
    let reports = pipeline_test::run(&project, cases, global.limits(), tell).await;
    let failed = reports.iter().filter(|report| !report.passed).count();
    let passed = reports.len() - failed;
    match args.format {
        Format::Text => output::print(&format!("{passed} passed, {failed} failed"))?,
        Format::Json => output::print_json(&json!({ "passed": passed, "failed": failed, "cases": reports }))?,
    }
    if failed > 0 {
        return Err(Error::failed(format!("{failed} of {} cases failed", reports.len())));
    }
    Ok(())
}
