//! `pipeline quarantine`.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::Global;
use super::output::{self, Format};
use super::progress::progress;
use super::query::{AnswerFormat, print};
use super::run::summary;
use crate::error::Result;
use crate::query::{Reader, Statement, Values};
use crate::run::Run;
use crate::silver::quarantine::QUARANTINE;

/// What was set aside: list it, look at it, take it again when its rules were mended
#[derive(Debug, Args)]
pub struct QuarantineArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How many rows each rule has set aside, and where the first of them stands
    List(ListArgs),
    /// The rows themselves, with what was delivered: they may tell of people
    Show(ShowArgs),
    /// Take the rows again by the contracts as they are now: those that pass are taken in, once
    #[command(after_help = "Where only expectations changed, the rows in quarantine alone run again; where the SQL, \
a reference or a column changed, the rows that passed may change too, and the table is computed anew. Tables that \
depend on it follow in the next run.")]
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Only rows that were meant for this table
    table: Option<String>,
    /// Only rows that failed this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Also rows that were taken in after all
    #[arg(long)]
    all: bool,
    /// At most so many rows
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// How it is written
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: AnswerFormat,
}

#[derive(Debug, Args)]
struct RetryArgs {
    /// Only rows that were meant for these tables
    tables: Vec<String>,
    /// How the summary is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Runs one of the commands.
///
/// # Errors
/// As the command says.
pub async fn quarantine(global: &Global, args: &QuarantineArgs) -> Result<()> {
    match &args.command {
        Command::List(args) => list(global, args).await,
        Command::Show(args) => show(global, args).await,
        Command::Retry(args) => retry(global, args).await,
    }
}

/// The rows that a rule has set aside.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    table: String,
    rule: String,
    rows: u64,
    /// Where the first of them stands.
    source: String,
    row: Option<i64>,
    batch: Option<i64>,
}

const LIST: &str = r#"
WITH reasons AS (
  SELECT "table", unnest(reasons) AS rule, _source, _row, _batch FROM silver.quarantine WHERE status = 'open'
),
numbered AS (
  SELECT *, count(*) OVER (PARTITION BY "table", rule) AS rows,
         row_number() OVER (PARTITION BY "table", rule ORDER BY _batch, _source, _row) AS place
  FROM reasons
)
SELECT "table", rule, rows, _source AS source, _row AS row, _batch AS batch FROM numbered WHERE place = 1
ORDER BY "table", rows DESC, rule
"#;

async fn list(global: &Global, args: &ListArgs) -> Result<()> {
    let reader = Reader::new(global.lake()?, global.limits());
    let groups: Vec<Group> = match reader.open(QUARANTINE).await? {
        Some(_) => reader.select(LIST, &Values::default()).await?,
        None if reader.tables().await?.is_empty() => return Err(reader.no_lake()),
        None => Vec::new(),
    };
    if args.format == Format::Json {
        return output::print_json(&groups);
    }
    if groups.is_empty() {
        return output::print("nothing is in quarantine");
    }
    let mut table = output::table(&["table", "rule", "rows", "the first: source", "row", "batch"]);
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    for group in &groups {
        let (row, batch) = (number(group.row), number(group.batch));
        let rows = group.rows.to_string();
        table.add_row([&group.table, &group.rule, &rows, &group.source, &row, &batch]);
    }
    output::print(&table.to_string())
}

async fn show(global: &Global, args: &ShowArgs) -> Result<()> {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut conditions = vec!["TRUE".to_owned()];
    conditions.extend(args.table.iter().map(|table| format!(r#""table" = {}"#, text(table))));
    conditions.extend(args.rule.iter().map(|rule| format!("array_has(reasons, {})", text(rule))));
    if !args.all {
        conditions.push("status = 'open'".to_owned());
    }
    let sql = format!(
        "SELECT * FROM {QUARANTINE} WHERE {} ORDER BY \"table\", _batch, _source, _row LIMIT {}",
        conditions.join(" AND "),
        args.limit
    );
    let reader = Reader::new(global.lake()?, global.limits());
    let answer = reader.plan(&Statement::parse(&sql)?, None, &Values::default()).await?;
    print(answer.rows().await?, args.format).await
}

async fn retry(global: &Global, args: &RetryArgs) -> Result<()> {
    let (progress, bar) = progress();
    let run = Run::new(global.lake()?, global.project()?, global.inputs()?, global.limits(), progress);
    let report = run.retry(&args.tables).await;
    bar.finish_and_clear();
    let report = report?;
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&summary(&report))?,
    }
    report.errors.into_iter().next().map_or(Ok(()), Err)
}
