//! Computes silver and gold again from older inputs, and proves that a release comes out of them.
//!
//! A replay is a run into another lake that reads its bronze tables from the one that it replays, each at the version that
//! the release has, by the contracts that the release was computed by ([`contracts`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::contract::{Definition, Project, Stage, Table};
use crate::error::{Error, Place, Result};
use crate::lake::{Durability, Lake};
use crate::query::{AsOf, Reader};
use crate::run::{Inputs, Options, Progress, Run, RunReport};
use crate::silver::quarantine::QUARANTINE;
use crate::{contract, engine::Limits};

pub mod contracts;
mod digest;
mod redacted;

use digest::digest_of;
pub use digest::{Digest, digest};

/// What a comparison tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The same rows came out.
    Equal,
    /// Other rows came out, or no table did.
    Differs,
    /// Other rows came out, as they must: the table counts rows that were erased since.
    Redacted,
    /// The table is not made of its inputs alone, and was not computed again: it gives numbers that are kept, or no
    /// contract of the release declares it.
    Kept,
}

/// A table of a release, and what came out when it was computed again.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The table.
    pub table: String,
    /// Its version in the release.
    pub version: u64,
    /// What the digests tell.
    pub outcome: Outcome,
    /// The rows of the release.
    pub released: Digest,
    /// The rows that came out; none when no table did.
    pub replayed: Option<Digest>,
}

/// The past of a lake that is computed again.
#[derive(Debug)]
pub struct Past {
    lake: Lake,
    project: Arc<Project>,
    release: i64,
    versions: BTreeMap<String, u64>,
    limits: Limits,
}

impl Past {
    /// The lake as of a release or time, with the contracts of that release.
    ///
    /// # Errors
    /// Wrong use when there is no such release, or no longer; else when its contracts are not stored any more, or do not
    /// check.
    pub async fn of_release(lake: Lake, as_of: AsOf, limits: Limits) -> Result<Self> {
        let reader = Reader::as_of(lake.clone(), &[as_of], limits).await?;
        let release = reader.versions().release().ok_or_else(|| {
            Error::usage("a replay needs a release or a time").hint("`pipeline release list` shows them")
        })?;
        let versions = reader.versions().members();
        // Before anything is computed: of a release that is not kept, maintenance takes tables away.
        for (name, version) in &versions {
            reader.require_at(name, *version).await.at(format!("release {release}"))?;
        }
        let files = contracts::of_release(&reader, release).await?;
        let place = tempfile::tempdir().at("a folder for the contracts")?;
        files.write_below(place.path())?;
        let project = contract::load(place.path())
            .map_err(|problems| Error::failed(format!("the contracts of release {release}: {problems}")))?;
        Ok(Self { lake, project: Arc::new(project), release, versions, limits })
    }

    /// Computes the tables of a stage, or of silver and gold, into another lake.
    ///
    /// # Errors
    /// When the other lake has tables already, its lease is held, or a table fails.
    pub async fn replay(&self, into: Lake, stage: Option<Stage>, progress: Progress) -> Result<RunReport> {
        if !into.tables().await?.is_empty() {
            return Err(Error::usage("there is a lake already where the replay is to go")
                .hint("give a new or an empty place with --into"));
        }
        let select: Vec<String> = self.derived(stage).map(|table| table.name.to_string()).collect();
        let into = into.over(&self.lake, self.inputs(&select));
        let run = Run::new(into, self.project.clone(), Inputs::default(), self.limits, progress);
        run.execute(&Options { select, ..Options::default() }).await
    }

    /// Computes silver and gold again in a place of its own and compares them with the release.
    ///
    /// # Errors
    /// When a table fails, or cannot be read.
    pub async fn verify(&self, progress: Progress) -> Result<Vec<Comparison>> {
        let place = tempfile::tempdir().at("a folder for the replay")?;
        let into = Lake::at(&place.path().join("lake").to_string_lossy(), Durability::None)?;
        let report = self.replay(into.clone(), None, progress).await?;
        if let Some(error) = report.errors.into_iter().next() {
            return Err(error);
        }
        let computed: BTreeSet<String> = self.derived(None).map(|table| table.name.to_string()).collect();
        let redacted = redacted::tables(&self.lake, &self.project, self.release, self.limits).await?;
        let mut comparisons = Vec::new();
        for (name, version) in self.versions.iter().filter(|(name, _)| !name.starts_with("bronze.")) {
            let released = self.lake.open_at(name, *version).await?;
            let released = released.ok_or_else(|| Error::failed(format!("{name}: the table is gone")))?;
            let released = digest_of(&released, &computed).await?;
            let replayed = match into.open(name).await? {
                Some(table) => Some(digest_of(&table, &computed).await?),
                None => None,
            };
            let outcome = match replayed {
                _ if name != QUARANTINE && !computed.contains(name) => Outcome::Kept,
                Some(replayed) if replayed == released => Outcome::Equal,
                // No row was set aside.
                None if name == QUARANTINE && released == Digest::default() => Outcome::Equal,
                Some(_) if redacted.contains(name) => Outcome::Redacted,
                _ => Outcome::Differs,
            };
            comparisons.push(Comparison { table: name.clone(), version: *version, outcome, released, replayed });
        }
        Ok(comparisons)
    }

    fn derived(&self, stage: Option<Stage>) -> impl Iterator<Item = &Table> {
        let wanted = move |table: &&Table| {
            let is_computed = !matches!(table.definition, Definition::Bronze { .. } | Definition::Surrogate { .. });
            is_computed && stage.is_none_or(|stage| stage == table.name.stage)
        };
        self.project.tables.iter().filter(wanted).filter(|table| self.versions.contains_key(&table.name.to_string()))
    }

    /// The tables of the release that are read as they were: all that are not computed again.
    fn inputs(&self, computed: &[String]) -> BTreeMap<String, u64> {
        let is_input = |name: &String| !computed.contains(name) && name != QUARANTINE;
        self.versions.iter().filter(|(name, _)| is_input(name)).map(|(name, at)| (name.clone(), *at)).collect()
    }
}
