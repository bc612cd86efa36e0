//! What a run did, a table and as a whole.

use serde::Serialize;

use crate::contract::{Table, TableName};
use crate::error::Error;
use crate::lake::{Add, DataFile};
use crate::ops::FileRow;
use crate::silver::quarantine::SetAside;
use crate::silver::upsert::Upserted;
use crate::transform::Counts;

/// Why a table is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It has never been computed.
    First,
    /// Its contract, SQL or a reference of it changed.
    ContractChanged,
    /// The user asked for it.
    FullRefresh,
    /// An input has something new.
    NewInput,
    /// What changed in an input cannot be told any more.
    UnknownChanges,
    /// The user asked for what is in quarantine.
    Retry,
    /// An input lost batches that the table has seen.
    InputRestored,
}

impl Why {
    /// The cause in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::First => "first run",
            Why::ContractChanged => "contract changed",
            Why::FullRefresh => "full refresh",
            Why::NewInput => "new input",
            Why::UnknownChanges => "changes unknown",
            Why::Retry => "quarantine retried",
            Why::InputRestored => "input restored",
        }
    }
}

/// What became of a table in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It was refreshed.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// It failed, and is as it was.
    Failed,
    /// An input of it failed.
    LeftOut,
}

impl Status {
    /// The status in words, as in `ops.runs`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Unchanged => "nothing new",
            Status::Failed => "failed",
            Status::LeftOut => "left out",
        }
    }
}

/// What one expectation found.
#[derive(Debug, Clone, Serialize)]
pub struct ExpectationReport {
    /// Its name.
    pub name: String,
    /// Its severity.
    pub severity: &'static str,
    /// Rows for which it does not hold.
    pub failed: u64,
}

/// What a run did to a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Its stage.
    pub stage: &'static str,
    /// What became of it.
    pub status: Status,
    /// Why it was refreshed; none when it was not.
    pub why: Option<Why>,
    /// Rows in.
    pub input: u64,
    /// Rows that passed.
    pub passed: u64,
    /// Rows set aside; `input = passed + quarantined`.
    pub quarantined: u64,
    /// Of these, records that never became rows.
    pub unreadable: u64,
    /// Rows that are new in the table.
    pub written: u64,
    /// Rows that they replaced.
    pub replaced: u64,
    /// Expectations that did not hold for some rows.
    pub expectations: Vec<ExpectationReport>,
    /// Files with something to say of them: (URI, what).
    pub files: Vec<(String, String)>,
    /// The error, where the table failed.
    pub error: Option<String>,
}

impl TableReport {
    fn new(table: &Table, why: Option<Why>) -> Self {
        Self {
            table: table.name.to_string(),
            stage: table.name.stage.as_str(),
            status: if why.is_some() { Status::Done } else { Status::Unchanged },
            why,
            input: 0,
            passed: 0,
            quarantined: 0,
            unreadable: 0,
            written: 0,
            replaced: 0,
            expectations: Vec::new(),
            files: Vec::new(),
            error: None,
        }
    }

    /// There was nothing to do.
    pub fn unchanged(table: &Table) -> Self {
        Self::new(table, None)
    }

    /// The table failed.
    pub(super) fn failed(table: &Table, error: &Error) -> Self {
        Self { status: Status::Failed, error: Some(error.to_string()), ..Self::new(table, None) }
    }

    /// An input failed.
    pub(super) fn left_out(table: &Table, input: &TableName) -> Self {
        let error = Some(format!("{}: left out, because {input} failed", table.name));
        Self { status: Status::LeftOut, error, ..Self::new(table, None) }
    }

    /// Files were looked at.
    pub fn of_files(table: &Table, rows: &[FileRow]) -> Self {
        let records: i64 = rows.iter().map(|row| row.records).sum();
        let records = u64::try_from(records).unwrap_or_default();
        let told = |row: &FileRow| match (&row.reason, row.event.as_str()) {
            (Some(reason), _) => Some((row.uri.clone(), reason.clone())),
            (None, event @ ("duplicate" | "changed")) => Some((row.uri.clone(), event.to_owned())),
            _ => None,
        };
        Self {
            input: records,
            passed: records,
            written: records,
            files: rows.iter().filter_map(told).collect(),
            ..Self::new(table, Some(Why::NewInput).filter(|_| !rows.is_empty()))
        }
    }

    /// Rows of a database changed, or its columns did: (URI, what).
    pub fn of_changes(table: &Table, rows: u64, told: Vec<(String, String)>) -> Self {
        Self { input: rows, passed: rows, written: rows, files: told, ..Self::new(table, Some(Why::NewInput)) }
    }

    /// Records were read and upserted.
    pub fn of_records(table: &Table, why: Why, counts: &Counts, set_aside: &SetAside, upserted: Upserted) -> Self {
        Self {
            input: counts.input + set_aside.unreadable,
            passed: counts.passed,
            quarantined: set_aside.rows,
            unreadable: set_aside.unreadable,
            written: upserted.written,
            replaced: upserted.replaced,
            expectations: expectations(table, counts),
            ..Self::new(table, Some(why))
        }
    }

    /// Rows were derived.
    pub fn of_rows(table: &Table, why: Why, counts: &Counts, adds: &[Add], replaced: u64) -> Self {
        Self {
            input: counts.input,
            passed: counts.passed,
            quarantined: counts.input - counts.passed,
            written: adds.iter().filter_map(|add| DataFile::of(add.clone()).rows).sum(),
            replaced,
            expectations: expectations(table, counts),
            ..Self::new(table, Some(why))
        }
    }
}

fn expectations(table: &Table, counts: &Counts) -> Vec<ExpectationReport> {
    let failed = counts.failed.iter().copied().chain(std::iter::repeat(0));
    let all = table.expectations.iter().zip(failed);
    all.map(|(expectation, failed)| ExpectationReport {
        name: expectation.name.clone(),
        severity: expectation.severity.as_str(),
        failed,
    })
    .collect()
}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// A report a table, in the order of the flow.
    pub tables: Vec<TableReport>,
    /// The release that it published; none when it changed nothing.
    pub release: Option<i64>,
    /// Seconds.
    pub seconds: f64,
    /// What failed, a table; the first one's kind decides the exit code.
    #[serde(skip)]
    pub errors: Vec<Error>,
}
