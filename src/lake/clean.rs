//! Takes away what no reader needs any more: log entries behind a checkpoint, and files that no kept version names.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use deltalake::Path;
use deltalake::checkpoints::create_checkpoint;
use futures::{StreamExt, TryStreamExt};

use super::log::{LOG, Log, LogEntry, entry_path};
use super::{Lake, LakeTable};
use crate::error::{Error, Place, Result};

/// Files that no version names go only when they are older: another program may be about to commit them.
const SAFE_AGE: Duration = Duration::from_hours(24);

/// Files that are taken away between two looks at the lease.
const DELETED_AT_ONCE: usize = 100;

/// What is still needed of a table, beside its newest version.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    /// When this is asked.
    pub now: DateTime<Utc>,
    /// Versions that were the newest one then, or later.
    pub since: DateTime<Utc>,
    /// Versions that can be read for good.
    pub pinned: BTreeSet<u64>,
    /// What changed after this version is still to be read by a derived table.
    pub changes_after: Option<u64>,
}

/// What can be taken away of a table.
#[derive(Debug, Default)]
pub struct Waste {
    /// Files of its log.
    pub log: Vec<Path>,
    /// Data files and files of changed rows, those of killed runs too.
    pub files: Vec<Path>,
    /// The bytes of `files`.
    pub bytes: u64,
    /// Files that were never finished, which only a local lake has.
    pub staged: Vec<std::path::PathBuf>,
}

impl Waste {
    /// Whether there is nothing to take away.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.files.is_empty() && self.staged.is_empty()
    }
}

impl LakeTable {
    /// Writes a checkpoint of this version.
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, fields(table = %self.name))]
    pub async fn checkpoint(&self) -> Result<()> {
        create_checkpoint(self.delta(), None).await.at(format!(
            "{}: checkpoint of version {}",
            self.name,
            self.version()
        ))
    }

    /// What can be taken away; pinned versions need a checkpoint first, see [`LakeTable::unsecured`].
    ///
    /// # Errors
    /// When the log or a folder cannot be read.
    pub async fn waste(&self, lake: &Lake, needed: &Needed) -> Result<Waste> {
        self.waste_of_age(lake, needed, needed.age()).await
    }

    async fn waste_of_age(&self, lake: &Lake, needed: &Needed, age: Duration) -> Result<Waste> {
        let log = lake.log(&self.name).await?;
        let entries = self.entries(&log).await?;
        let oldest = oldest_needed(&log, &entries, needed).min(self.version());
        let base = log.base(oldest);
        let mut waste = Waste { log: old_log(&log, base, &needed.pinned), ..Waste::default() };
        let mut named: HashSet<String> = entries
            .iter()
            .filter(|(version, _)| *version > oldest)
            .flat_map(|(_, entry)| entry.paths().map(str::to_owned))
            .collect();
        // A pinned version whose log is broken is for `fsck` to tell: its files are not known.
        let can_be_read = |version: &u64| *version < oldest && log.missing(*version).is_empty();
        for version in needed.pinned.iter().copied().filter(can_be_read).chain([oldest]) {
            named.extend(self.files_at(lake, version).await?);
        }
        let files: Vec<_> = self.store().list(None).try_collect().await.at(&self.name)?;
        for file in files {
            let path = file.location.to_string();
            let is_old = (needed.now - file.last_modified).to_std().unwrap_or_default() >= age;
            if !path.starts_with(LOG) && is_old && !named.contains(&path) {
                waste.bytes += file.size;
                waste.files.push(file.location);
            }
        }
        waste.staged = self.staged(lake, needed.now.into(), age)?;
        Ok(waste)
    }

    /// Pinned versions that can be read only with entries that are about to be taken away.
    ///
    /// # Errors
    /// When the log cannot be listed.
    pub async fn unsecured(&self, lake: &Lake, needed: &Needed) -> Result<Vec<u64>> {
        let log = lake.log(&self.name).await?;
        let entries = self.entries(&log).await?;
        let oldest = oldest_needed(&log, &entries, needed).min(self.version());
        let is_bare = |version: &&u64| {
            **version < oldest && !log.checkpoints.contains_key(*version) && log.missing(**version).is_empty()
        };
        Ok(needed.pinned.iter().filter(is_bare).copied().collect())
    }

    /// Takes files away.
    ///
    /// # Errors
    /// When the lease was lost, or storage fails; what is left goes the next time.
    pub async fn clean(&self, lake: &Lake, waste: Waste) -> Result<()> {
        // Log entries first: a version that cannot be read is told so, one whose files are gone is found out late.
        for paths in waste.log.chunks(DELETED_AT_ONCE).chain(waste.files.chunks(DELETED_AT_ONCE)) {
            // Another run may need what this one found to be waste.
            lake.check_lease().await?;
            let paths: Vec<_> = paths.iter().cloned().map(Ok).collect();
            self.store()
                .delete_stream(futures::stream::iter(paths).boxed())
                .try_collect::<Vec<_>>()
                .await
                .at(&self.name)?;
        }
        delete_local(&waste.staged)
    }

    /// Takes the files away that no version names, whatever their age: what killed processes left, finished or not. Nobody
    /// else may be writing to the table, and nothing may wait for its followers.
    ///
    /// # Errors
    /// When the lease was lost, or storage fails.
    pub async fn delete_orphans(&self, lake: &Lake) -> Result<()> {
        let bases = lake.log(&self.name).await?.checkpoints.into_keys().collect();
        let all = Needed { now: Utc::now(), pinned: bases, ..Needed::default() };
        let waste = self.waste_of_age(lake, &all, Duration::ZERO).await?;
        self.clean(lake, Waste { log: Vec::new(), ..waste }).await
    }

    /// The entries without a gap up to this version, oldest first.
    async fn entries(&self, log: &Log) -> Result<Vec<(u64, LogEntry)>> {
        let mut entries = Vec::new();
        for version in (0..=self.version()).rev() {
            match log.read(version).await.at(&self.name)? {
                Some(entry) => entries.push((version, entry)),
                None => break,
            }
        }
        entries.reverse();
        Ok(entries)
    }

    async fn files_at(&self, lake: &Lake, version: u64) -> Result<Vec<String>> {
        let table = lake.open_at(&self.name, version).await?;
        let table = table.ok_or_else(|| Error::failed(format!("{}: the table is gone", self.name)))?;
        Ok(table.files()?.into_iter().map(|file| file.path).collect())
    }

    /// Files that a killed process had not finished: they are hidden from listings.
    fn staged(&self, lake: &Lake, now: SystemTime, age: Duration) -> Result<Vec<std::path::PathBuf>> {
        let Some(mut folder) = lake.folder() else { return Ok(Vec::new()) };
        folder.extend(self.name.split('.'));
        let mut staged = Vec::new();
        for found in walkdir::WalkDir::new(&folder) {
            let found = found.map_err(std::io::Error::from).at(folder.display())?;
            let name = found.file_name().to_string_lossy();
            let is_staged = name.rsplit_once('#').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
            let modified = found.metadata().map_err(std::io::Error::from).at(folder.display())?.modified().ok();
            let old = modified.and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
            let is_old = old >= age;
            if is_staged && is_old && found.file_type().is_file() {
                staged.push(found.into_path());
            }
        }
        Ok(staged)
    }
}

fn delete_local(paths: &[std::path::PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| std::fs::remove_file(path).at(path.display()))
}

impl Needed {
    fn age(&self) -> Duration {
        (self.now - self.since).to_std().unwrap_or_default().min(SAFE_AGE)
    }
}

/// The oldest version that is needed, pinned ones aside.
fn oldest_needed(log: &Log, entries: &[(u64, LogEntry)], needed: &Needed) -> u64 {
    let first = entries.iter().map(|(version, _)| *version).find(|version| log.missing(*version).is_empty());
    let first = first.or(log.newest()).unwrap_or_default();
    let mut oldest = first;
    for (version, entry) in entries.iter().filter(|(version, _)| *version >= first) {
        // The newest one of that time was in use then. An entry that does not say its time counts as young.
        if entry.committed_at().is_none_or(|at| at > needed.since) {
            break;
        }
        oldest = *version;
    }
    needed.changes_after.map_or(oldest, |seen| oldest.min(seen.max(first)))
}

/// The entries and checkpoints before `base`, but for the checkpoints of pinned versions.
fn old_log(log: &Log, base: u64, pinned: &BTreeSet<u64>) -> Vec<Path> {
    let entries = log.entries.range(..base).map(|version| entry_path(*version));
    let checkpoints = log.checkpoints.range(..base).filter(|(version, _)| !pinned.contains(version));
    entries.chain(checkpoints.flat_map(|(_, files)| files.iter().map(|file| Path::from(file.as_str())))).collect()
}
