//! A table's log: its entries, and which of them are there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use deltalake::Path;
use deltalake::kernel::{Action, AddCDCFile, CommitInfo, Remove};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde_json::Value;

use super::{DataFile, Lake, LakeTable, Store};
use crate::error::{Error, Place, Result};

/// The folder of a table that holds its log.
pub(super) const LOG: &str = "_delta_log";
/// The key of the run in Delta's commit info: what bears it was written by this program.
pub(super) const RUN: &str = "medalha.run";

/// The actions of one commit.
#[derive(Debug, Default)]
pub struct LogEntry {
    /// What the writer tells of the commit.
    pub info: Option<CommitInfo>,
    /// Data files that it added.
    pub adds: Vec<DataFile>,
    /// Data files that it removed.
    pub removes: Vec<Remove>,
    /// Files of its changed rows.
    pub changes: Vec<AddCDCFile>,
    /// The positions that it records, see [`super::Commit`].
    pub positions: BTreeMap<String, i64>,
    /// Whether it set columns, description or properties.
    pub has_metadata: bool,
}

impl LogEntry {
    /// Reads the lines of an entry.
    ///
    /// # Errors
    /// When a line is no action of the Delta protocol, or there is none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut entry = Self::default();
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            return Err(Error::failed("the entry is empty"));
        }
        for line in lines {
            match serde_json::from_slice(line)? {
                Action::CommitInfo(info) => entry.info = Some(info),
                Action::Add(add) => entry.adds.push(DataFile::of(add)),
                Action::Remove(remove) => entry.removes.push(remove),
                Action::Cdc(cdc) => entry.changes.push(cdc),
                Action::Txn(position) => drop(entry.positions.insert(position.app_id, position.version)),
                Action::Metadata(_) => entry.has_metadata = true,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// When it was committed, by the writer's clock.
    pub fn committed_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.info.as_ref()?.timestamp?)
    }

    /// What Delta calls the commit, such as `WRITE`.
    pub fn operation(&self) -> &str {
        self.info.as_ref().and_then(|info| info.operation.as_deref()).unwrap_or_default()
    }

    /// A text of the commit info that is not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// A member of the commit info.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.info.as_ref()?.info.get(key)
    }

    /// The run that committed it; none when another program did.
    pub fn run(&self) -> Option<&str> {
        self.text(RUN)
    }

    /// Whether another program wrote it: making a table is no run's commit.
    pub fn is_foreign(&self) -> bool {
        self.value(RUN).is_none() && self.operation() != "CREATE TABLE"
    }

    /// Whether the table has other rows or columns since.
    pub fn changes_data(&self) -> bool {
        self.has_metadata || self.changes_rows()
    }

    /// Whether the table has other rows since: not where files were only arranged anew.
    pub fn changes_rows(&self) -> bool {
        !self.changes.is_empty()
            || self.adds.iter().any(|file| file.add().data_change)
            || self.removes.iter().any(|remove| remove.data_change)
    }

    /// All files that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let adds = self.adds.iter().map(|file| file.path.as_str());
        let removes = self.removes.iter().map(|remove| remove.path.as_str());
        adds.chain(removes).chain(self.changes.iter().map(|cdc| cdc.path.as_str()))
    }
}

/// Which files of a table's log are there.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// The versions with an entry.
    pub entries: BTreeSet<u64>,
    /// The versions with a checkpoint, and its files.
    pub checkpoints: BTreeMap<u64, Vec<String>>,
    store: Option<Store>,
}

impl Log {
    /// The newest version.
    pub fn newest(&self) -> Option<u64> {
        self.entries.last().copied().max(self.checkpoints.keys().last().copied())
    }

    /// Where reading a version starts: the newest checkpoint up to it, or 0.
    pub fn base(&self, version: u64) -> u64 {
        self.checkpoints.range(..=version).next_back().map_or(0, |(version, _)| *version)
    }

    /// The versions whose entries are missing for a version to be read.
    pub fn missing(&self, version: u64) -> Vec<u64> {
        let base = self.base(version);
        let first = if self.checkpoints.contains_key(&base) { base + 1 } else { 0 };
        (first..=version).filter(|version| !self.entries.contains(version)).collect()
    }

    /// Reads an entry; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or is no log entry.
    pub async fn read(&self, version: u64) -> Result<Option<LogEntry>> {
        let Some(store) = self.store.as_ref().filter(|_| self.entries.contains(&version)) else { return Ok(None) };
        let path = entry_path(version);
        let bytes = store.get(&path).await.at(&path)?.bytes().await.at(&path)?;
        LogEntry::parse(&bytes).at(&path).map(Some)
    }
}

/// The place of a version's entry in its table.
pub(super) fn entry_path(version: u64) -> Path {
    Path::from(format!("{LOG}/{version:020}.json"))
}

impl Lake {
    /// Which files of a table's log are there; the table need not be whole.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub async fn log(&self, name: &str) -> Result<Log> {
        let store = self.table_store(name)?;
        let mut log = Log { store: Some(store.clone()), ..Log::default() };
        let files: Vec<_> = store.list(Some(&Path::from(LOG))).try_collect().await.at(name)?;
        for file in files {
            let Some((version, rest)) = file.location.filename().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(version) = version.parse::<u64>() else { continue };
            match rest {
                "json" => drop(log.entries.insert(version)),
                _ if rest.starts_with("checkpoint") && rest.ends_with(".parquet") => {
                    log.checkpoints.entry(version).or_default().push(file.location.to_string());
                }
                _ => {}
            }
        }
        Ok(log)
    }

    /// A store rooted at a table, whether or not the table can be read.
    pub(super) fn table_store(&self, name: &str) -> Result<Store> {
        Ok(self.builder(name)?.build().at(name)?.object_store())
    }
}

impl LakeTable {
    /// Looks whether the entries that the table was read from hold anything: readers take an empty one, as a power cut may
    /// leave it, for a commit that changed nothing.
    ///
    /// # Errors
    /// When one is empty, or cannot be looked at.
    pub async fn check_log(&self) -> Result<()> {
        let store = self.store();
        let hint = store.get(&Path::from(format!("{LOG}/_last_checkpoint"))).await;
        let first = match hint {
            Ok(hint) => {
                let hint: Value = serde_json::from_slice(&hint.bytes().await.at(&self.name)?).unwrap_or_default();
                hint["version"].as_u64().map_or(0, |version| version + 1)
            }
            Err(_) => 0,
        };
        for version in first..=self.version() {
            // One that is not there has been told by opening the table, or a checkpoint stands in for it.
            if store.head(&entry_path(version)).await.is_ok_and(|entry| entry.size == 0) {
                return Err(Error::failed(format!("{}: version {version}: its log entry is empty", self.name))
                    .hint("put it back from a backup; `pipeline fsck` says more"));
            }
        }
        Ok(())
    }

    /// Whether the log has an entry for a version.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) async fn has_entry(&self, version: u64) -> Result<bool> {
        self.has_file(&entry_path(version)).await
    }

    /// A version's entry in the log; `None` when the log no longer has it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn log_entry(&self, version: u64) -> Result<Option<LogEntry>> {
        let bytes = self.delta().log_store().read_commit_entry(version).await.at(&self.name)?;
        bytes.map(|bytes| LogEntry::parse(&bytes).at(format!("{}: version {version}", self.name))).transpose()
    }
}
