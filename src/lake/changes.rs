//! Which rows of a table changed between two versions, old values included.
//!
//! The Delta protocol says where they stand: in the commit's change data files where it has some, else in the files
//! that it added and removed.

use deltalake::kernel::Action;

use super::LakeTable;
use super::reader::read_columns;
use crate::error::{Place, Result};
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
    let mut rows = Vec::new();
    for version in since + 1..=table.version() {
        let entry = table.delta().log_store().read_commit_entry(version).await.at(&table.name)?;
        let Some(files) = entry.as_deref().and_then(changed_files) else { return Ok(Changed::Unknown) };
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

/// The files that hold a commit's changed rows, with their sizes; `None` when the commit changed the columns.
fn changed_files(entry: &[u8]) -> Option<Vec<(String, u64)>> {
    let (mut feed, mut files) = (Vec::new(), Vec::new());
    for line in entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line).ok()? {
            Action::Cdc(cdc) => feed.push((cdc.path, cdc.size)),
            Action::Add(add) if add.data_change => files.push((add.path, add.size)),
            Action::Remove(remove) if remove.data_change => files.push((remove.path, remove.size?)),
            Action::Metadata(_) => return None,
            _ => {}
        }
    }
    let files = if feed.is_empty() { files } else { feed };
    files.into_iter().map(|(path, size)| Some((path, u64::try_from(size).ok()?))).collect()
}

async fn file_is_gone(table: &LakeTable, path: &str) -> bool {
    use deltalake::ObjectStoreError::NotFound;
    let Ok(path) = deltalake::Path::parse(path) else { return false };
    let options = object_store::GetOptions { head: true, ..Default::default() };
    matches!(table.store().get_opts(&path, options).await, Err(NotFound { .. }))
}
