//! What differs between two releases, told from the logs and the runs' counts; no row is read.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::error::Result;
use crate::inspect::{self, HistoryRow};
use crate::query::Reader;

/// A table that differs between two releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// `<stage>.<name>`.
    pub table: String,
    /// Its version in the first; none when it is not in it.
    pub from: Option<u64>,
    /// Its version in the second; none when it is not in it.
    pub to: Option<u64>,
    /// Its rows in the first; none when that version can no longer be opened.
    pub rows_from: Option<u64>,
    /// Its rows in the second.
    pub rows_to: Option<u64>,
    /// Rows that came, over all versions in between: a row that is updated twice comes twice. None when the logs do not say.
    pub added: Option<u64>,
    /// Rows that went, likewise.
    pub removed: Option<u64>,
}

/// The tables of which two releases hold different versions, sorted by name.
///
/// # Errors
/// When a log cannot be read.
pub async fn diff(a: &Reader, b: &Reader) -> Result<Vec<TableChange>> {
    let (first, second) = (a.versions().members(), b.versions().members());
    let mut changes = Vec::new();
    for table in first.keys().chain(second.keys()).collect::<BTreeSet<_>>() {
        let (from, to) = (first.get(table).copied(), second.get(table).copied());
        if from == to {
            continue;
        }
        let (rows_from, rows_to) = (rows(a, table).await, rows(b, table).await);
        let (added, removed) = match (from, to) {
            (Some(from), Some(to)) if from < to => moved(b, table, from).await,
            (Some(_), Some(to)) => {
                let (added, removed) = moved(a, table, to).await;
                (removed, added)
            }
            _ => (rows_to.or(Some(0)), rows_from.or(Some(0))),
        };
        changes.push(TableChange { table: table.clone(), from, to, rows_from, rows_to, added, removed });
    }
    Ok(changes)
}

async fn rows(release: &Reader, table: &str) -> Option<u64> {
    release.open(table).await.ok()??.row_count().ok()
}

/// Rows in and out of a table after a version, up to the one that is read; none where maintenance has cut the log.
async fn moved(release: &Reader, table: &str, since: u64) -> (Option<u64>, Option<u64>) {
    let Ok(Some(newest)) = release.open(table).await.map(|table| table.map(|table| table.version())) else {
        return (None, None);
    };
    let between = usize::try_from(newest - since).unwrap_or(usize::MAX);
    match inspect::history(release, table, between).await {
        Ok(history) if history.len() == between => (sum(&history, added), sum(&history, removed)),
        _ => (None, None),
    }
}

fn sum(history: &[HistoryRow], rows: fn(&HistoryRow) -> Option<u64>) -> Option<u64> {
    history.iter().map(|row| if row.version.changes_rows { rows(row) } else { Some(0) }).sum()
}

/// As the run counted them; else of the files, unless some were rewritten, which brings old rows again.
fn added(row: &HistoryRow) -> Option<u64> {
    row.written.or_else(|| row.version.rows_added.filter(|_| row.version.files_removed == 0))
}

fn removed(row: &HistoryRow) -> Option<u64> {
    row.replaced
        .or_else(|| row.version.rows_removed.filter(|_| row.version.files_added == 0 || row.version.files_removed == 0))
}
