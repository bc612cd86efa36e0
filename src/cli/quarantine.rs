//! `pipeline quarantine`.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::Global;
use super::output::{self, Format};
use super::progress::progress;
use super::query::{AnswerFormat, print};
use super::run::summary;
use crate::error::Result;
use crate::ops;
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
    /// Those that came with a file which has changed since: what was half written then may have come whole.
    of_changed_files: u64,
    /// Where the first of them stands.
    source: String,
    row: Option<i64>,
    batch: Option<i64>,
}

/// The newest batch of each file: a record of an earlier one may have come again, whole.
const FILES: &str = "SELECT uri, MAX(batch) AS newest FROM ops.files GROUP BY uri";
/// The same of a lake that never took in files.
const NO_FILES: &str = "SELECT NULL AS uri, NULL AS newest WHERE FALSE";

const LIST: &str = r#"
reasons AS (
  SELECT "table", unnest(reasons) AS rule, _source, _row, _batch, COALESCE(f.newest > _batch, FALSE) AS changed
  FROM silver.quarantine LEFT JOIN files AS f ON f.uri = _source
  WHERE status = 'open'
),
numbered AS (
  SELECT *, count(*) OVER (PARTITION BY "table", rule) AS rows,
         sum(CASE WHEN changed THEN 1 ELSE 0 END) OVER (PARTITION BY "table", rule) AS of_changed_files,
         row_number() OVER (PARTITION BY "table", rule ORDER BY _batch, _source, _row) AS place
  FROM reasons
)
SELECT "table", rule, rows, of_changed_files, _source AS source, _row AS row, _batch AS batch
FROM numbered WHERE place = 1
ORDER BY "table", rows DESC, rule
"#;

/// What a question about quarantine begins with: the table `files`.
async fn with_files(reader: &Reader) -> Result<String> {
    let is_there = reader.open(&ops::files().name).await?.is_some();
    Ok(format!("WITH files AS ({})", if is_there { FILES } else { NO_FILES }))
}

async fn list(global: &Global, args: &ListArgs) -> Result<()> {
    let reader = Reader::new(global.lake()?, global.limits());
    let groups: Vec<Group> = match reader.open(QUARANTINE).await? {
        Some(_) => reader.select(&format!("{},{LIST}", with_files(&reader).await?), &Values::default()).await?,
        None if reader.tables().await?.is_empty() => return Err(reader.no_lake()),
        None => Vec::new(),
    };
    if args.format == Format::Json {
        return output::print_json(&groups);
    }
    if groups.is_empty() {
        return output::print("nothing is in quarantine");
    }
    let mut table =
        output::table(&["table", "rule", "rows", "of files changed since", "the first: source", "row", "batch"]);
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    for group in &groups {
        let (row, batch) = (number(group.row), number(group.batch));
        let (rows, changed) = (group.rows.to_string(), group.of_changed_files.to_string());
        table.add_row([&group.table, &group.rule, &rows, &changed, &group.source, &row, &batch]);
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
    let reader = Reader::new(global.lake()?, global.limits());
    let sql = format!(
        "{} SELECT q.*, COALESCE(f.newest > q._batch, FALSE) AS file_changed
         FROM {QUARANTINE} AS q LEFT JOIN files AS f ON f.uri = q._source
         WHERE {} ORDER BY \"table\", _batch, _source, _row LIMIT {}",
        with_files(&reader).await?,
        conditions.join(" AND "),
        args.limit
    );
    let answer = reader.plan(&Statement::parse(&sql)?, &[], &Values::default()).await?;
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
