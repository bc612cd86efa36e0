//! Which rows of a table changed between two versions, old values included.
//!
//! The Delta protocol says where they stand: in the commit's change data files where it has some, else in the files
//! that it added and removed.

use super::reader::read_columns;
use super::{LakeTable, LogEntry};
use crate::error::Result;
use arrow::array::RecordBatch;

/// The rows that changed, or that they cannot be told any more.
#[derive(Debug)]
pub enum Changed {
    /// Rows before and after.
    Rows(Vec<RecordBatch>),
    /// The log or the files of the range are gone, or the columns changed: everything counts as changed.
    Unknown,
}

/// Some columns of all rows that changed after version `since`, up to the table's version.
///
/// # Errors
/// When storage fails; what is gone for good is [`Changed::Unknown`].
pub async fn changed_rows(table: &LakeTable, since: u64, columns: &[String]) -> Result<Changed> {
    // A version that the table no longer has: it was made anew, or lost its newest entries.
    if since > table.version() {
        return Ok(Changed::Unknown);
    }
    let mut rows = Vec::new();
    for version in since + 1..=table.version() {
        let Some(files) = table.log_entry(version).await?.and_then(changed_files) else { return Ok(Changed::Unknown) };
        for (path, size) in files {
            match read_columns(table, &path, size, columns).await {
                Ok(batches) => rows.extend(batches),
                // A file that maintenance has taken away: the feed's range is over.
                Err(_) if file_is_gone(table, &path).await => return Ok(Changed::Unknown),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Changed::Rows(rows))
}

/// Whether rows or columns changed after version `since`, up to the table's version; so too when the log no longer says.
///
/// # Errors
/// When storage fails.
pub async fn has_changed(table: &LakeTable, since: u64) -> Result<bool> {
    if since > table.version() {
        return Ok(true);
    }
    for version in since + 1..=table.version() {
        if table.log_entry(version).await?.is_none_or(|entry| entry.changes_data()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files that hold a commit's changed rows, with their sizes; `None` when the commit changed the columns, or does not
/// say a size.
fn changed_files(entry: LogEntry) -> Option<Vec<(String, u64)>> {
    if entry.has_metadata {
        return None;
    }
    if !entry.changes.is_empty() {
        return entry.changes.into_iter().map(|cdc| Some((cdc.path, u64::try_from(cdc.size).ok()?))).collect();
    }
    let adds = entry.adds.into_iter().filter(|file| file.add().data_change).map(|file| Some((file.path, file.size)));
    let removes = entry.removes.into_iter().filter(|remove| remove.data_change);
    adds.chain(removes.map(|remove| Some((remove.path, u64::try_from(remove.size?).ok()?)))).collect()
}

async fn file_is_gone(table: &LakeTable, path: &str) -> bool {
    match deltalake::Path::parse(path) {
        Ok(path) => matches!(table.has_file(&path).await, Ok(false)),
        Err(_) => false,
    }
}
