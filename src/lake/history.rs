//! What a table's log tells: its versions, its description, its properties.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{LakeTable, LogEntry};
use crate::error::{Place, Result};

/// One version of a table, as its commit tells it.
#[derive(Debug, Clone, Serialize)]
pub struct TableVersion {
    /// Counts from 0.
    pub version: u64,
    /// When it was committed.
    pub committed_at: Option<DateTime<Utc>>,
    /// What Delta calls it, such as `WRITE`.
    pub operation: String,
    /// The run that committed it.
    pub run: Option<String>,
    /// Rows in the data files that it added; none where a file does not say.
    pub rows_added: Option<u64>,
    /// Rows in the data files that it removed; none where the log no longer says.
    pub rows_removed: Option<u64>,
    /// Data files that it added.
    pub files_added: u64,
    /// Data files that it removed.
    pub files_removed: u64,
    /// Whether its rows differ from those of the version before; not where files were only arranged anew.
    pub changes_rows: bool,
}

impl LakeTable {
    /// The newest versions up to this one, the newest first: `limit` of them, or as many as the log still has.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn versions(&self, limit: usize) -> Result<Vec<TableVersion>> {
        let mut entries: Vec<(u64, LogEntry)> = Vec::new();
        // A commit that removes a file does not say how many rows it had: the older one that added it does.
        let mut wanted: HashSet<String> = HashSet::new();
        let mut rows: HashMap<String, Option<u64>> = HashMap::new();
        for version in (0..=self.version()).rev() {
            let is_shown = entries.len() < limit;
            if !is_shown && wanted.is_empty() {
                break;
            }
            let Some(entry) = self.log_entry(version).await? else { break };
            for add in &entry.adds {
                if wanted.remove(&add.path) || is_shown {
                    rows.insert(add.path.clone(), add.rows);
                }
            }
            if is_shown {
                wanted.extend(entry.removes.iter().map(|remove| remove.path.clone()));
                entries.push((version, entry));
            }
        }
        Ok(entries.into_iter().map(|(version, entry)| entry.into_version(version, &rows)).collect())
    }

    /// When this version was committed; none when the log no longer says.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn committed_at(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(self.log_entry(self.version()).await?.and_then(|entry| entry.committed_at()))
    }

    /// What stands on the table.
    ///
    /// # Errors
    /// When the snapshot is not loaded.
    pub fn description(&self) -> Result<String> {
        Ok(self.delta().snapshot().at(&self.name)?.metadata().description().unwrap_or_default().to_owned())
    }

    /// The Delta table properties.
    ///
    /// # Errors
    /// When the snapshot is not loaded.
    pub fn properties(&self) -> Result<BTreeMap<String, String>> {
        let metadata = self.delta().snapshot().at(&self.name)?.metadata();
        Ok(metadata.configuration().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl LogEntry {
    fn into_version(self, version: u64, rows: &HashMap<String, Option<u64>>) -> TableVersion {
        TableVersion {
            version,
            committed_at: self.committed_at(),
            operation: self.operation().to_owned(),
            run: self.run().map(str::to_owned),
            rows_added: self.adds.iter().map(|add| add.rows).sum(),
            rows_removed: self.removes.iter().map(|remove| rows.get(&remove.path).copied().flatten()).sum(),
            files_added: self.adds.len() as u64,
            files_removed: self.removes.len() as u64,
            changes_rows: self.changes_rows(),
        }
    }
}
