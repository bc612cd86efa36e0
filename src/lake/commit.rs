//! One commit: rows, the position that they came from, and what other tables must learn of them.
//!
//! Delta commits one table at a time. A run's counts and its set-aside rows belong to other tables than the rows
//! themselves, so the commit that decides carries them as [`Follower`]s: files that are already written, to be added to
//! another table. They are applied right after it, and again by whoever finds that they were not ([`catch_up`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, AddCDCFile, Remove, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::log::{LogEntry, RUN};
use super::table::signed;
use super::writer::TARGET_BYTES;
use super::{Lake, LakeTable};
use crate::error::{Error, Place, Result};

/// Commits after which a table gets a checkpoint: opening it reads no more entries than that.
pub(super) const CHECKPOINT_EVERY: u64 = 10;
/// The key of the followers in Delta's commit info.
const FOLLOWERS: &str = "medalha.followers";

/// What another table takes over from a commit, exactly once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Follower {
    /// The table that follows, `<stage>.<name>`.
    pub table: String,
    /// Data files that are already written there.
    pub adds: Vec<Add>,
    /// Data files that they replace.
    pub removes: Vec<Remove>,
}

/// What a commit is, to whoever reads the table's history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Rows came or went.
    #[default]
    Write,
    /// The same rows, in other files.
    Compact,
    /// The rows of an older version.
    Restore {
        /// The version.
        version: u64,
    },
}

/// The position under which a table records which table it has read, or followed, under a name: one that was deleted and
/// made anew counts its versions from 0 again.
pub fn identity_of(name: &str) -> String {
    format!("{name}#table")
}

/// What one commit changes and records.
#[derive(Debug, Default)]
pub struct Commit {
    /// What it is.
    pub kind: Kind,
    /// New data files.
    pub adds: Vec<Add>,
    /// Data files that go.
    pub removes: Vec<Remove>,
    /// Changed rows, for the change data feed.
    pub changes: Vec<AddCDCFile>,
    /// New columns or a new description.
    pub metadata: Option<Action>,
    /// How far the table has come with each input: a batch number, a version, or the fingerprint of its contract.
    pub positions: BTreeMap<String, i64>,
    /// What other tables take over.
    pub followers: Vec<Follower>,
    /// The run, for the table's history.
    pub run: String,
}

impl Commit {
    fn operation(&self) -> DeltaOperation {
        let mode = if self.removes.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
        match self.kind {
            Kind::Write => DeltaOperation::Write { mode, partition_by: None, predicate: None },
            Kind::Compact => DeltaOperation::Optimize { predicate: None, target_size: signed(TARGET_BYTES) },
            Kind::Restore { version } => DeltaOperation::Restore { version: Some(version), datetime: None },
        }
    }

    fn properties(&self) -> Result<CommitProperties> {
        let mut info = HashMap::from([(RUN.to_owned(), Value::from(self.run.as_str()))]);
        if !self.followers.is_empty() {
            info.insert(FOLLOWERS.to_owned(), serde_json::to_value(&self.followers)?);
        }
        let positions = self.positions.iter().map(|(name, version)| Transaction::new(name, *version));
        // Another writer on one of our tables is not to be merged with but to be told of: no retries.
        Ok(CommitProperties::default()
            .with_metadata(info)
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(positions.collect()))
    }

    fn into_actions(self) -> Vec<Action> {
        let data_change = self.kind != Kind::Compact;
        let mut actions: Vec<Action> = self.metadata.into_iter().collect();
        actions.extend(self.removes.into_iter().map(|remove| Action::Remove(Remove { data_change, ..remove })));
        actions.extend(self.adds.into_iter().map(|add| Action::Add(Add { data_change, ..add })));
        actions.extend(self.changes.into_iter().map(Action::Cdc));
        actions
    }
}

impl LakeTable {
    /// Commits to the table, then lets its followers follow.
    ///
    /// # Errors
    /// When someone else wrote to the table since it was opened, the lease was lost, or storage fails. Whether the commit landed is then
    /// told by the positions that the next run reads.
    pub async fn commit(&mut self, lake: &Lake, commit: Commit) -> Result<()> {
        let followers = commit.followers.clone();
        let run = commit.run.clone();
        self.commit_alone(lake, commit).await?;
        for follower in followers {
            self.follow(lake, self.version(), follower, &run).await?;
        }
        Ok(())
    }

    #[tracing::instrument(level = "trace", skip_all, name = "commit", fields(table = %self.name))]
    async fn commit_alone(&mut self, lake: &Lake, commit: Commit) -> Result<()> {
        lake.check_lease().await?;
        let (operation, positions) = (commit.operation(), commit.positions.clone());
        let builder = CommitBuilder::from(commit.properties()?).with_actions(commit.into_actions());
        let log_store = self.delta().log_store();
        let snapshot = self.delta().snapshot().at(&self.name)?.snapshot().clone();
        let committed = builder.build(Some(&snapshot), log_store, operation).await;
        let finished = committed.map_err(|error| {
            Error::from(error)
                .at(format!("{}: the commit after version {}", self.name, snapshot.version()))
                .or_hint("run again; if it stays, look with `pipeline history` for another writer")
        })?;
        self.set_state(finished.snapshot(), positions)?;
        lake.keep(self);
        if (self.version() + 1).is_multiple_of(CHECKPOINT_EVERY)
            && let Err(error) = self.checkpoint().await
        {
            // The commit has landed; without the checkpoint, reading it only takes longer.
            tracing::warn!("{error}");
        }
        Ok(())
    }

    /// Lets a follower take over what the commit of a version carries for it.
    #[tracing::instrument(level = "trace", skip_all, fields(table = %follower.table))]
    async fn follow(&self, lake: &Lake, version: u64, follower: Follower, run: &str) -> Result<()> {
        let version = signed(version);
        let mut table = lake
            .open(&follower.table)
            .await?
            .ok_or_else(|| Error::failed(format!("{}: the table is gone", follower.table)))?;
        if self.is_followed(version, &table).await? {
            return Ok(());
        }
        let commit = Commit {
            adds: follower.adds,
            removes: follower.removes,
            positions: BTreeMap::from([(self.name.clone(), version), (identity_of(&self.name), self.identity()?)]),
            run: run.to_owned(),
            ..Commit::default()
        };
        table.commit_alone(lake, commit).await
    }

    /// Whether another table has taken over what a version of this one carries for it.
    async fn is_followed(&self, version: i64, by: &Self) -> Result<bool> {
        let done = by.position(&self.name).await?.is_some_and(|done| done >= version);
        // A table that was deleted and made anew counts its versions from 0 again.
        let known = by.position(&identity_of(&self.name)).await?;
        let identity = self.identity()?;
        Ok(done && known.is_none_or(|known| known == identity))
    }

    /// Applies what the newest commit of a run left to its followers, where the run ended in between; tells of commits that
    /// another program made since.
    ///
    /// # Errors
    /// When a log cannot be read or a follower cannot commit.
    #[tracing::instrument(level = "trace", skip_all, fields(table = %self.name))]
    pub async fn catch_up(&self, lake: &Lake) -> Result<()> {
        self.check_log().await?;
        let Some((version, entry)) = self.newest_own().await? else { return Ok(()) };
        let run = entry.run().unwrap_or_default();
        for follower in entry.followers().at(&self.name)? {
            let is_waiting = match lake.open(&follower.table).await? {
                Some(table) if self.is_followed(signed(version), &table).await? => continue,
                Some(table) => is_there(&table, &follower).await?,
                None => false,
            };
            if is_waiting {
                self.follow(lake, version, follower, run).await?;
            } else {
                tracing::warn!("{}: was deleted, with what {} had for it", follower.table, self.name);
            }
        }
        Ok(())
    }

    /// The newest commit that this program made, as far as the log tells.
    async fn newest_own(&self) -> Result<Option<(u64, Arc<LogEntry>)>> {
        for version in (0..=self.version()).rev() {
            let Some(entry) = self.recent_entry(version).await? else { break };
            if !entry.is_foreign() {
                return Ok(Some((version, entry)));
            }
            tracing::warn!(
                "{}: version {version} ({}) was not written by a run; `pipeline fsck` says more",
                self.name,
                entry.operation()
            );
        }
        Ok(None)
    }

    /// The followers that have not yet taken over what the newest commit of a run carries for them.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn waiting_followers(&self, lake: &Lake) -> Result<Vec<String>> {
        let Some((version, entry)) = self.newest_own().await? else { return Ok(Vec::new()) };
        let mut waiting = Vec::new();
        for follower in entry.followers().at(&self.name)? {
            let is_done = match lake.open(&follower.table).await? {
                Some(table) => self.is_followed(signed(version), &table).await?,
                None => false,
            };
            if !is_done {
                waiting.push(follower.table);
            }
        }
        Ok(waiting)
    }
}

/// Whether the files that a follower is to take over are there: not when its folder was deleted.
async fn is_there(table: &LakeTable, follower: &Follower) -> Result<bool> {
    for add in &follower.adds {
        let path = deltalake::Path::parse(&add.path).at(&table.name)?;
        if !table.has_file(&path).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl LogEntry {
    fn followers(&self) -> Result<Vec<Follower>> {
        match self.value(FOLLOWERS) {
            Some(followers) => Ok(serde_json::from_value(followers.clone())?),
            None => Ok(Vec::new()),
        }
    }
}
