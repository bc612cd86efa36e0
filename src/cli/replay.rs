//! `pipeline replay`.

use clap::Args;

use super::Global;
use super::output::{self, Format};
use super::progress::progress;
use super::run::summary;
use crate::contract::Stage;
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::query::AsOf;
use crate::replay::{Comparison, Outcome, Past};

/// Compute silver and gold again from older inputs, by the contracts of that time
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline replay --as-of 12 --into lake-12
  pipeline replay --as-of 2024-06-30 --stage silver --into /tmp/june
  pipeline replay --verify 12

--verify computes a release again in a place of its own and compares rows: it exits with 1 when a table differs. A table
that counts rows which were erased since is told as redacted, and is no failure; so is one that is kept: it gives numbers
that nothing but itself knows, or no contract of the release declares it.")]
pub struct ReplayArgs {
    /// The release, or a time: the inputs and contracts are those of then
    #[arg(long, value_name = "RELEASE|TIME", required_unless_present = "verify")]
    as_of: Option<AsOf>,
    /// Only the tables of one stage: silver or gold
    #[arg(long, value_name = "STAGE", conflicts_with = "verify")]
    stage: Option<Stage>,
    /// The lake that the tables go to: a new place
    #[arg(long, value_name = "URI", required_unless_present = "verify", conflicts_with = "verify")]
    into: Option<String>,
    /// Prove that the tables of a release come out again from its bronze and its contracts
    #[arg(long, value_name = "RELEASE|TIME", conflicts_with = "as_of")]
    verify: Option<AsOf>,
    /// How the outcome is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Replays and prints what came out.
///
/// # Errors
/// When a table fails or, with `--verify`, differs.
pub async fn replay(global: &Global, args: &ReplayArgs) -> Result<()> {
    match (&args.verify, &args.as_of, &args.into) {
        (Some(release), ..) => verify(global, release.clone(), args.format).await,
        (None, Some(as_of), Some(into)) => compute(global, args, as_of.clone(), into).await,
        _ => Err(Error::usage("replay: give --as-of and --into, or --verify")),
    }
}

async fn compute(global: &Global, args: &ReplayArgs, as_of: AsOf, into: &str) -> Result<()> {
    if args.stage == Some(Stage::Bronze) {
        return Err(Error::usage("replay --stage bronze: bronze is what came in, it cannot be computed again")
            .hint("give silver or gold"));
    }
    let past = Past::of_release(global.lake()?, as_of, global.limits()).await?;
    let (progress, bar) = progress();
    let report = past.replay(Lake::at(into, global.durability)?, args.stage, progress).await;
    bar.finish_and_clear();
    let report = report?;
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&summary(&report))?,
    }
    report.errors.into_iter().next().map_or(Ok(()), Err)
}

async fn verify(global: &Global, release: AsOf, format: Format) -> Result<()> {
    let past = Past::of_release(global.lake()?, release, global.limits()).await?;
    let (progress, bar) = progress();
    let compared = past.verify(progress).await;
    bar.finish_and_clear();
    let compared = compared?;
    match format {
        Format::Json => output::print_json(&compared)?,
        Format::Text => output::print(&text(&compared))?,
    }
    let different = named(&compared, Outcome::Differs);
    if different.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("other rows come out: {different}"))
        .hint("was the table written to by something else? `pipeline history TABLE` shows its commits"))
}

/// The tables of an outcome.
fn named(compared: &[Comparison], outcome: Outcome) -> String {
    let tables = compared.iter().filter(|compared| compared.outcome == outcome);
    tables.map(|compared| compared.table.as_str()).collect::<Vec<_>>().join(", ")
}

fn text(rows: &[Comparison]) -> String {
    let mut table = output::table(&["table", "version", "rows", "digest", "computed again"]);
    for compared in rows {
        let outcome = match (compared.outcome, compared.replayed) {
            (Outcome::Equal, _) => "equal".to_owned(),
            (Outcome::Kept, _) => "kept: not computed again".to_owned(),
            (Outcome::Redacted, Some(other)) => format!("redacted: {} rows, {other}", other.rows),
            (_, Some(other)) => format!("differs: {} rows, {other}", other.rows),
            (_, None) => "no table came out".to_owned(),
        };
        table.add_row([
            comfy_table::Cell::new(&compared.table),
            output::number(compared.version),
            output::number(compared.released.rows),
            comfy_table::Cell::new(compared.released),
            comfy_table::Cell::new(outcome),
        ]);
    }
    let mut text = table.to_string();
    let redacted = named(rows, Outcome::Redacted);
    if !redacted.is_empty() {
        text.push_str(&format!(
            "\nrows of this release were erased since: {redacted} counted them, and cannot come out as they were; what else \
             there is was compared without them"
        ));
    }
    text
}
