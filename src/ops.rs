//! The lake's own history, the tables of `ops`: runs, files, columns, expectations, releases, contracts, pins, erasures.
//! Delta tables like the others.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use serde::Serialize;

use crate::contract::Column;
use crate::error::{Place, Result};
use crate::lake::{Add, Commit, Follower, Lake, TableSpec, TableWriter};

/// A row of `ops.files`: what was found of a file, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct FileRow {
    /// The run that looked at it.
    pub run: String,
    /// The source, `<pipeline>.<source>`.
    pub source: String,
    /// The batch that its records are in; none when it brought none.
    pub batch: Option<i64>,
    /// Where it lies.
    pub uri: String,
    /// Bytes.
    pub size: i64,
    /// When it was last modified, microseconds since the epoch.
    pub modified_at: i64,
    /// What its store called this state of it.
    pub e_tag: Option<String>,
    /// BLAKE3 of its bytes; SHA-256 of an original.
    pub content_hash: Option<String>,
    /// What happened: see [`files`].
    pub event: String,
    /// Records that it brought.
    pub records: i64,
    /// What is wrong with it, and at which byte.
    pub reason: Option<String>,
    /// When it was looked at, microseconds since the epoch.
    pub seen_at: i64,
}

/// A row of `ops.columns`: that a column of a database's table appeared, went or changed its type.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnRow {
    /// The run that saw it.
    pub run: String,
    /// The source, `<pipeline>.<source>`.
    pub source: String,
    /// The database's table, `<schema>.<table>`.
    pub table: String,
    /// The column; `*` is the table itself.
    pub column: String,
    /// Its field in the bronze table's `record`.
    pub field: Option<String>,
    /// `appeared`, `gone` or `changed`.
    pub event: String,
    /// The database's type before.
    pub type_before: Option<String>,
    /// The database's type after.
    pub type_after: Option<String>,
    /// When it was seen, microseconds since the epoch.
    pub seen_at: i64,
}

/// A row of `ops.expectations`: `input = passed + failed`, and for the table `input = passed + quarantined`.
#[derive(Debug, Clone, Serialize)]
pub struct ExpectationRow {
    /// The run.
    pub run: String,
    /// The table.
    pub table: String,
    /// The expectation; `*` is the table as a whole, `readable` whether the record could be read.
    pub expectation: String,
    /// `warn`, `quarantine` or `fail`.
    pub severity: String,
    /// Rows that were looked at.
    pub input: i64,
    /// Rows for which it holds.
    pub passed: i64,
    /// Rows for which it does not.
    pub failed: i64,
    /// When, microseconds since the epoch.
    pub checked_at: i64,
}

/// A row of `ops.runs`: what a run did to a table.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// The run.
    pub run: String,
    /// The table.
    pub table: String,
    /// `bronze`, `silver` or `gold`.
    pub stage: String,
    /// `done`, `failed` or `left out`.
    pub status: String,
    /// Why the table was refreshed.
    pub cause: Option<String>,
    /// Rows in.
    pub input: i64,
    /// Rows that passed.
    pub passed: i64,
    /// Rows set aside.
    pub quarantined: i64,
    /// Rows that are new in the table.
    pub written: i64,
    /// Rows that went.
    pub replaced: i64,
    /// The table's version afterwards.
    pub version: Option<i64>,
    /// The error, without values from data.
    pub error: Option<String>,
    /// When the run began, microseconds since the epoch.
    pub started_at: i64,
    /// When it ended.
    pub ended_at: i64,
}

/// A row of `ops.releases`: the version of a table in a release.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseRow {
    /// Counts from 1.
    pub release: i64,
    /// The run that published it.
    pub run: String,
    /// The table.
    pub table: String,
    /// Its version.
    pub version: i64,
    /// The hash of the contracts that the run worked by.
    pub contracts: Option<String>,
    /// When, microseconds since the epoch.
    pub published_at: i64,
}

/// A row of `ops.contracts`: a file of the contracts that releases were computed by.
#[derive(Debug, Clone, Serialize)]
pub struct ContractRow {
    /// The hash of all files together.
    pub contracts: String,
    /// The file, relative to the project.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// When a release first used them, microseconds since the epoch.
    pub first_used_at: i64,
}

/// A row of `ops.pins`: a release is to be kept, or need not be kept any more. The last event of a release counts.
#[derive(Debug, Clone, Serialize)]
pub struct PinRow {
    /// Counts from 1, with gaps.
    pub event: i64,
    /// The release.
    pub release: i64,
    /// `pin` or `unpin`.
    pub action: String,
    /// What for.
    pub why: Option<String>,
    /// The user of the system who asked for it.
    pub by: String,
    /// When, microseconds since the epoch.
    pub at: i64,
}

fn column(name: &str, data_type: DataType, required: bool, comment: &str) -> Column {
    Column { name: name.to_owned(), data_type, required, comment: comment.to_owned() }
}

fn text(name: &str, required: bool, comment: &str) -> Column {
    column(name, DataType::Utf8, required, comment)
}

fn number(name: &str, required: bool, comment: &str) -> Column {
    column(name, DataType::Int64, required, comment)
}

fn time(name: &str, comment: &str) -> Column {
    column(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true, comment)
}

fn spec(name: &str, description: &str, columns: Vec<Column>) -> TableSpec {
    TableSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        columns,
        statistics: Vec::new(),
        lookup: Vec::new(),
        sought: Vec::new(),
        rising: Vec::new(),
        change_feed: false,
    }
}

/// `ops.files`, the ledger of all files that were ever looked at.
pub fn files() -> TableSpec {
    spec(
        "ops.files",
        "Every file that was looked at, and what became of it; a row each time that something about it was new.",
        vec![
            text("run", true, "The run that looked at it."),
            text("source", true, "The source, <pipeline>.<source>."),
            number("batch", false, "The batch that its records are in; NULL when it brought none."),
            text("uri", true, "Where it lies."),
            number("size", true, "Bytes."),
            time("modified_at", "When it was last modified."),
            text("e_tag", false, "What an object store calls this state of it; NULL of a local file."),
            text("content_hash", false, "BLAKE3 of its bytes, of an original SHA-256; NULL when it could not be read."),
            text(
                "event",
                true,
                "new; changed: other content under a known name; touched: the same content, modified later; \
                 duplicate: known content under another name; unreadable.",
            ),
            number("records", true, "Records that it brought."),
            text("reason", false, "What is wrong with it, and at which byte."),
            time("seen_at", "When it was looked at."),
        ],
    )
}

/// `ops.columns`, how the tables of databases changed their shape.
pub fn columns() -> TableSpec {
    spec(
        "ops.columns",
        "The columns of databases' tables: a row each time that one appears, goes or changes its type.",
        vec![
            text("run", true, "The run that saw it."),
            text("source", true, "The source, <pipeline>.<source>."),
            text("table", true, "The database's table, <schema>.<table>."),
            text("column", true, "The column; * is the table itself."),
            text("field", false, "Its field in the bronze table's record; NULL for the table itself."),
            text("event", true, "appeared, gone or changed."),
            text("type_before", false, "The database's type before; NULL where it was not there."),
            text("type_after", false, "The database's type after; NULL where it is gone."),
            time("seen_at", "When it was seen."),
        ],
    )
}

/// `ops.expectations`, the counts of every check.
pub fn expectations() -> TableSpec {
    spec(
        "ops.expectations",
        "What every expectation found, a run and table; input = passed + failed.",
        vec![
            text("run", true, "The run."),
            text("table", true, "The table."),
            text(
                "expectation",
                true,
                "The expectation; * is the table as a whole: passed or quarantined; readable: the record could be read.",
            ),
            text("severity", true, "warn, quarantine or fail."),
            number("input", true, "Rows that were looked at."),
            number("passed", true, "Rows for which it holds."),
            number("failed", true, "Rows for which it does not."),
            time("checked_at", "When."),
        ],
    )
}

/// `ops.runs`, what each run did to each table.
pub fn runs() -> TableSpec {
    spec(
        "ops.runs",
        "What each run did to each table that it changed or failed at.",
        vec![
            text("run", true, "The run."),
            text("table", true, "The table."),
            text("stage", true, "bronze, silver or gold."),
            text("status", true, "done, failed, or left out because an input failed."),
            text("cause", false, "Why the table was refreshed."),
            number("input", true, "Rows in."),
            number("passed", true, "Rows that passed."),
            number("quarantined", true, "Rows set aside."),
            number("written", true, "Rows that are new in the table."),
            number("replaced", true, "Rows that went."),
            number("version", false, "The table's version afterwards."),
            text("error", false, "The error, without values from data."),
            time("started_at", "When the run began."),
            time("ended_at", "When the run ended."),
        ],
    )
}

/// `ops.releases`, table versions that belong together.
pub fn releases() -> TableSpec {
    spec(
        "ops.releases",
        "The table versions that belong together, published by a run in one commit.",
        vec![
            number("release", true, "Counts from 1."),
            text("run", true, "The run that published it."),
            text("table", true, "The table."),
            number("version", true, "Its version."),
            text("contracts", false, "The hash of the contracts that the run worked by: see ops.contracts."),
            time("published_at", "When."),
        ],
    )
}

/// `ops.contracts`, the contracts that releases were computed by.
pub fn contracts() -> TableSpec {
    spec(
        "ops.contracts",
        "The files of the contracts that releases were computed by, each set of them once.",
        vec![
            text("contracts", true, "The hash of all files together."),
            text("path", true, "The file, relative to the project."),
            text("text", true, "What it holds."),
            time("first_used_at", "When a release first used them."),
        ],
    )
}

/// A row of `ops.erasures`: what was erased of a table, at whose request. Says nothing of whom.
#[derive(Debug, Clone, Serialize)]
pub struct ErasureRow {
    /// The erasure.
    pub erasure: String,
    /// What was erased, as contracts call it.
    pub subject: String,
    /// BLAKE3 of the identifier, keyed by what only the certificate has.
    pub subject_hash: String,
    /// The table.
    pub table: String,
    /// Rows that its newest version lacks since.
    pub rows: i64,
    /// Files of all versions that held rows.
    pub files: i64,
    /// The digest of the newest version's rows before.
    pub digest_before: String,
    /// The digest of its rows afterwards.
    pub digest_after: String,
    /// The releases up to this one lack rows since.
    pub last_release: Option<i64>,
    /// The user of the system who asked for it.
    pub by: String,
    /// When, microseconds since the epoch.
    pub at: i64,
}

/// `ops.erasures`, what was erased.
pub fn erasures() -> TableSpec {
    spec(
        "ops.erasures",
        "What was erased of each table, in all its versions; nothing here says whom.",
        vec![
            text("erasure", true, "The erasure."),
            text("subject", true, "What was erased, as contracts call it: exam."),
            text("subject_hash", true, "BLAKE3 of the identifier, keyed by what only the certificate has."),
            text(
                "table",
                true,
                "The table; * is what an erasure had taken out that was killed, and ended by this one.",
            ),
            number("rows", true, "Rows that its newest version lacks since."),
            number("files", true, "Files of all versions that held rows."),
            text("digest_before", true, "The digest of the newest version's rows before."),
            text("digest_after", true, "The digest of its rows afterwards."),
            number("last_release", false, "The releases up to this one lack rows since."),
            text("by", true, "The user of the system who asked for it."),
            time("at", "When."),
        ],
    )
}

/// All tables of `ops`.
pub fn all() -> Vec<TableSpec> {
    vec![files(), columns(), expectations(), runs(), releases(), contracts(), pins(), erasures()]
}

/// `ops.pins`, which releases are to be kept.
pub fn pins() -> TableSpec {
    spec(
        "ops.pins",
        "Which releases are to be kept whatever their age; the last event of a release counts.",
        vec![
            number("event", true, "Counts from 1, with gaps."),
            number("release", true, "The release."),
            text("action", true, "pin or unpin."),
            text("why", false, "What for."),
            text("by", true, "The user of the system who asked for it."),
            time("at", "When."),
        ],
    )
}

/// Rows as the columns of a spec.
///
/// # Errors
/// When a row does not have them; a defect.
pub fn batch<T: Serialize>(spec: &TableSpec, rows: &[T]) -> Result<RecordBatch> {
    let schema: SchemaRef = Arc::new(spec.arrow_schema().as_ref().clone());
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows).at(&spec.name)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// Writes rows into files of a table of `ops` that no commit names yet.
///
/// # Errors
/// When storage fails.
pub async fn write<T: Serialize>(lake: &Lake, spec: &TableSpec, rows: &[T]) -> Result<Vec<Add>> {
    let mut table = lake.open_or_create(spec).await?;
    // A lake that an older release of the program made has fewer columns.
    if let metadata @ Some(_) = table.metadata_change(spec)? {
        table.commit(lake, Commit { metadata, ..Commit::default() }).await?;
    }
    let mut writer = TableWriter::new(&table, spec);
    writer.write(&batch(spec, rows)?).await?;
    writer.close().await
}

/// Rows of `ops` that another table's commit carries.
///
/// # Errors
/// When storage fails.
pub async fn follower<T: Serialize>(lake: &Lake, spec: &TableSpec, rows: &[T]) -> Result<Follower> {
    let adds = write(lake, spec, rows).await?;
    Ok(Follower { table: spec.name.clone(), adds, removes: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::{Durability, read_file};

    #[tokio::test]
    async fn a_table_of_an_older_release_gets_the_new_columns() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(folder.path().to_str().unwrap(), Durability::None).unwrap();
        let mut older = files();
        older.columns.retain(|column| column.name != "e_tag");
        let table = lake.open_or_create(&older).await.unwrap();
        assert!(table.schema().column_with_name("e_tag").is_none());
        let row = FileRow {
            run: "r".to_owned(),
            source: "p.s".to_owned(),
            batch: None,
            uri: "s3://b/x".to_owned(),
            size: 1,
            modified_at: 0,
            e_tag: Some("tag".to_owned()),
            content_hash: None,
            event: "new".to_owned(),
            records: 0,
            reason: None,
            seen_at: 0,
        };
        let adds = write(&lake, &files(), &[row]).await.unwrap();
        let mut table = lake.open(&files().name).await.unwrap().unwrap();
        assert!(table.schema().column_with_name("e_tag").is_some());
        table.commit(&lake, Commit { adds, ..Commit::default() }).await.unwrap();
        let rows = read_file(&table, &table.files().unwrap()[0]).await.unwrap();
        assert!(rows[0].column_by_name("e_tag").is_some());
    }
}
