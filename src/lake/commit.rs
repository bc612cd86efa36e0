//! One commit: rows, the position that they came from, and what other tables must learn of them.
//!
//! Delta commits one table at a time. A run's counts and its set-aside rows belong to other tables than the rows
//! themselves, so the commit that decides carries them as [`Follower`]s: files that are already written, to be added to
//! another table. They are applied right after it, and again by whoever finds that they were not ([`catch_up`]).

use std::collections::{BTreeMap, HashMap};

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, AddCDCFile, Remove, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Lake, LakeTable};
use crate::error::{Error, Place, Result};

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

/// What one commit changes and records.
#[derive(Debug, Default)]
pub struct Commit {
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
        DeltaOperation::Write { mode, partition_by: None, predicate: None }
    }

    fn properties(&self) -> Result<CommitProperties> {
        let mut info = HashMap::from([("medalha.run".to_owned(), Value::from(self.run.as_str()))]);
        if !self.followers.is_empty() {
            info.insert(FOLLOWERS.to_owned(), serde_json::to_value(&self.followers)?);
        }
        let positions = self.positions.iter().map(|(name, version)| Transaction::new(name, *version));
        // Another writer on one of our tables is not to be merged with but to be told of: no retries.
        Ok(CommitProperties::default()
            .with_metadata(info)
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(positions.collect()))
    }

    fn into_actions(self) -> Vec<Action> {
        let mut actions: Vec<Action> = self.metadata.into_iter().collect();
        actions.extend(self.removes.into_iter().map(Action::Remove));
        actions.extend(self.adds.into_iter().map(Action::Add));
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
            self.follow(lake, follower, &run).await?;
        }
        Ok(())
    }

    async fn commit_alone(&mut self, lake: &Lake, commit: Commit) -> Result<()> {
        lake.check_lease().await?;
        let operation = commit.operation();
        let builder = CommitBuilder::from(commit.properties()?).with_actions(commit.into_actions());
        let log_store = self.delta().log_store();
        let snapshot = self.delta().snapshot().at(&self.name)?.snapshot().clone();
        let committed = builder.build(Some(&snapshot), log_store, operation).await;
        let finished = committed.map_err(|error| {
            Error::from(error)
                .at(format!("{}: the commit after version {}", self.name, snapshot.version()))
                .or_hint("run again; if it stays, look with `pipeline history` for another writer")
        })?;
        self.set_state(finished.snapshot())
    }

    async fn follow(&self, lake: &Lake, follower: Follower, run: &str) -> Result<()> {
        let version = self.version_position();
        let mut table = lake
            .open(&follower.table)
            .await?
            .ok_or_else(|| Error::failed(format!("{}: the table is gone", follower.table)))?;
        if table.position(&self.name).await?.is_some_and(|done| done >= version) {
            return Ok(());
        }
        let commit = Commit {
            adds: follower.adds,
            removes: follower.removes,
            positions: BTreeMap::from([(self.name.clone(), version)]),
            run: run.to_owned(),
            ..Commit::default()
        };
        table.commit_alone(lake, commit).await
    }

    /// Applies what the table's newest commit left to its followers, where a run ended in between.
    ///
    /// # Errors
    /// When a log cannot be read or a follower cannot commit.
    pub async fn catch_up(&self, lake: &Lake) -> Result<()> {
        let entry = self.delta().log_store().read_commit_entry(self.version()).await.at(&self.name)?;
        let Some(info) = entry.as_deref().and_then(commit_info) else { return Ok(()) };
        let Some(followers) = info.get(FOLLOWERS) else { return Ok(()) };
        let followers: Vec<Follower> = serde_json::from_value(followers.clone()).at(&self.name)?;
        let run = info.get("medalha.run").and_then(Value::as_str).unwrap_or_default();
        for follower in followers {
            self.follow(lake, follower, run).await?;
        }
        Ok(())
    }
}

/// The commit info among the actions of a log entry.
fn commit_info(entry: &[u8]) -> Option<Value> {
    entry.split(|byte| *byte == b'\n').find_map(|line| {
        let mut action: Value = serde_json::from_slice(line).ok()?;
        action.get_mut("commitInfo").map(Value::take)
    })
}
