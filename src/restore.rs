//! Makes a table, or all tables of a release, what they were: as a new commit, so that nothing is lost by it.
//!
//! How far a table has come with its inputs goes back with its rows: the next run computes again what came after. Of
//! bronze, the files of the batches that go are forgotten by the ledger in the same commit, and are taken in again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;

use crate::bronze::files::source_name;
use crate::bronze::ledger::Ledger;
use crate::contract::{Definition, Project, Table};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::lake::{Commit, DataFile, Follower, Kind, Lake, LakeTable, file_rows, identity_of};
use crate::ops;
use crate::query::{AsOf, Reader};
use crate::run::{self, BATCH, CONTRACT, RESTORED, restored_of};
use crate::silver::quarantine::{QUARANTINE, without_later};

/// The position under which a bronze table records the batch up to which no restore has taken rows out.
const INTACT: &str = "intact";

/// What is to be as it was.
#[derive(Debug, Clone)]
pub enum Target {
    /// A table.
    Table {
        /// `<stage>.<name>`.
        name: String,
        /// Its version.
        version: u64,
    },
    /// All tables of a release; those that it does not have stay as they are.
    Release(AsOf),
}

/// What was done to a table.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// The table.
    pub table: String,
    /// The version whose rows it has again.
    pub to: u64,
    /// The version that this made.
    pub version: u64,
    /// Data files that are back.
    pub files_added: u64,
    /// Data files that went.
    pub files_removed: u64,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The tables that were not yet so.
    pub tables: Vec<Restored>,
    /// The release of what is there now, where a release was restored.
    pub release: Option<i64>,
}

/// A table with the version that it is to go back to.
struct Step {
    now: LakeTable,
    old: LakeTable,
}

/// Restores a table or a release.
///
/// # Errors
/// When there is no such table or version, it can no longer be read, or another process holds the lease. Everything is
/// looked at before the first commit.
pub async fn restore(lake: &Lake, project: Arc<Project>, limits: Limits, target: &Target) -> Result<Report> {
    lake.with_lease(async |lake| restore_leased(lake, project, limits, target).await).await
}

async fn restore_leased(lake: &Lake, project: Arc<Project>, limits: Limits, target: &Target) -> Result<Report> {
    for name in lake.tables().await? {
        if let Some(table) = lake.open(&name).await? {
            table.catch_up(lake).await?;
        }
    }
    let reader = Reader::new(lake.clone(), limits);
    let versions = match target {
        Target::Table { name, version } => BTreeMap::from([(alone(name)?.to_owned(), *version)]),
        Target::Release(release) => reader.at_release(release).await?.versions().members(),
    };
    let mut steps = Vec::new();
    for (name, version) in in_order(&project, versions) {
        steps.extend(step(&reader, &project, &name, version).await?);
    }
    let id = uuid::Uuid::now_v7().to_string();
    let mut tables = Vec::new();
    for step in steps {
        tables.push(step.restore(lake, &project, &id).await?);
    }
    let release = match target {
        Target::Release(_) if !tables.is_empty() => {
            Some(run::publish(lake, &id, run::versions(lake).await?, None, Utc::now()).await?)
        }
        _ => None,
    };
    Ok(Report { tables, release })
}

/// A table that can be restored alone.
fn alone(name: &str) -> Result<&str> {
    if name.starts_with("ops.") {
        return Err(Error::usage(format!("{name}: the lake's own history stays as it is")));
    }
    if name == QUARANTINE {
        return Err(Error::usage(format!("{name}: its rows belong to other tables, and come and go with them"))
            .hint("restore the table that they were meant for, or a release"));
    }
    Ok(name)
}

/// Inputs before those that read them: these can then tell that they go on from there.
fn in_order(project: &Project, versions: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let place = |name: &str| project.tables.iter().position(|table| table.name.to_string() == name);
    let mut versions: Vec<(String, u64)> = versions.into_iter().collect();
    versions.sort_by_key(|(name, _)| place(name).unwrap_or(project.tables.len()));
    versions
}

/// What is to be done to a table; `None` when it is at that version.
async fn step(reader: &Reader, project: &Project, name: &str, version: u64) -> Result<Option<Step>> {
    let now = reader.require(name).await?;
    if now.version() == version {
        return Ok(None);
    }
    let old = reader.require_at(name, version).await?;
    let held: BTreeSet<String> = now.files()?.into_iter().map(|file| file.path).collect();
    for file in old.files()?.iter().filter(|file| !held.contains(&file.path)) {
        file_rows(&now, file).await.map_err(|error| {
            error
                .at(format!("{name}: version {version}: {}", file.path))
                .hint("this version can no longer be restored: maintenance, or someone else, took its files away")
        })?;
    }
    let step = Step { now, old };
    if is_bronze(project, name) {
        step.check_batches().await?;
    }
    Ok(Some(step))
}

fn declared<'a>(project: &'a Project, name: &str) -> Option<&'a Table> {
    project.tables.iter().find(|table| table.name.to_string() == name)
}

fn is_bronze(project: &Project, name: &str) -> bool {
    name.starts_with("bronze.")
        || declared(project, name).is_some_and(|table| matches!(table.definition, Definition::Bronze { .. }))
}

impl Step {
    /// The ledger has forgotten the batches that an earlier restore took out: they cannot come back without it.
    async fn check_batches(&self) -> Result<()> {
        let restored = self.now.position(RESTORED).await?.and_then(|version| u64::try_from(version).ok());
        let intact = self.now.position(INTACT).await?.unwrap_or(i64::MAX);
        let batch = self.old.position(BATCH).await?.unwrap_or_default();
        if restored.is_some_and(|restored| self.old.version() < restored) && batch > intact {
            return Err(Error::usage(format!(
                "{}: version {} has batches after {intact}, which were taken out since",
                self.now.name,
                self.old.version()
            ))
            .hint("a run takes their files in anew"));
        }
        Ok(())
    }

    async fn restore(self, lake: &Lake, project: &Project, id: &str) -> Result<Restored> {
        // What was restored before it may have committed to it, as a follower.
        let Self { now, old } = self;
        let mut now = lake.open(&now.name).await?.unwrap_or(now);
        let (held, wanted) = (now.files()?, old.files()?);
        let missing_in =
            |files: &[DataFile]| -> BTreeSet<String> { files.iter().map(|file| file.path.clone()).collect() };
        let (in_now, in_old) = (missing_in(&held), missing_in(&wanted));
        let mut commit = Commit {
            kind: Kind::Restore { version: old.version() },
            adds: wanted.iter().filter(|file| !in_now.contains(&file.path)).map(|file| file.add().clone()).collect(),
            removes: held.iter().filter(|file| !in_old.contains(&file.path)).map(DataFile::remove).collect(),
            metadata: now.metadata_of(&old)?,
            run: id.to_owned(),
            ..Commit::default()
        };
        if is_bronze(project, &now.name) {
            (commit.positions, commit.followers) = bronze(lake, project, &now, &old).await?;
        } else if now.name != QUARANTINE {
            (commit.positions, commit.followers) = derived(lake, project, &now, &old).await?;
        }
        let (files_added, files_removed) = (commit.adds.len() as u64, commit.removes.len() as u64);
        now.commit(lake, commit).await?;
        Ok(Restored { table: now.name.clone(), to: old.version(), version: now.version(), files_added, files_removed })
    }
}

type Records = (BTreeMap<String, i64>, Vec<Follower>);

/// Batch numbers are never given again, so that nobody takes a new batch for one that went; the ledger forgets the files.
async fn bronze(lake: &Lake, project: &Project, now: &LakeTable, old: &LakeTable) -> Result<Records> {
    let batch = old.position(BATCH).await?.unwrap_or_default();
    let intact = now.position(INTACT).await?.unwrap_or(i64::MAX).min(batch);
    let restored = now.version_position() + 1;
    let positions = BTreeMap::from([(RESTORED.to_owned(), restored), (INTACT.to_owned(), intact)]);
    let source = declared(project, &now.name).and_then(|table| Some((table, project.source(table)?)));
    let Some((table, source)) = source else {
        return Err(Error::usage(format!("{}: it is not in the project", now.name))
            .hint("its contract says which files it was taken from"));
    };
    let Some(files) = lake.open(&ops::files().name).await? else { return Ok((positions, Vec::new())) };
    let ledger = Ledger::read(&files, &source_name(table, source), batch).await?;
    Ok((positions, ledger.forget(&files).await?.into_iter().collect()))
}

/// The table has come as far as it had then.
async fn derived(lake: &Lake, project: &Project, now: &LakeTable, old: &LakeTable) -> Result<Records> {
    let mut names = vec![CONTRACT.to_owned()];
    for name in lake.tables().await? {
        names.extend([identity_of(&name), restored_of(&name), name]);
    }
    let mut positions = BTreeMap::new();
    for name in names {
        let (before, after) = (old.position(&name).await?, now.position(&name).await?);
        if before != after {
            positions.insert(name, before.unwrap_or_default());
        }
    }
    let Some(Definition::ByRecord { input, .. }) = declared(project, &now.name).map(|table| &table.definition) else {
        return Ok((positions, Vec::new()));
    };
    let input = input.to_string();
    let seen = old.position(&input).await?.unwrap_or_default();
    // Whatever was taken out of bronze, it has all batches that the table has seen.
    if let Some(bronze) = lake.open(&input).await?
        && let Some(restored) = bronze.position(RESTORED).await?
        && bronze.position(INTACT).await?.is_some_and(|intact| seen <= intact)
    {
        positions.insert(restored_of(&input), restored);
    }
    // What was set aside of later records is set aside again when they are read again.
    Ok((positions, without_later(lake, &now.name, seen).await?.into_iter().collect()))
}
