//! Checkpoints, and taking away what no reader needs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;

use super::{Care, WORTHWHILE};
use crate::contract::{Definition, Stage};
use crate::engine::Limits;
use crate::error::Result;
use crate::lake::{Lake, LakeTable, Needed, Waste, small_files};
use crate::ops;
use crate::query::Reader;
use crate::release::pinned_versions;

impl Care<'_> {
    /// Checkpoints, then takes away what is not needed.
    pub(super) async fn clean(&mut self) -> Result<()> {
        let pinned = kept(self.lake, self.options.limits).await?;
        for index in 0..self.tables.len() {
            if self.is_over() {
                break;
            }
            let name = self.tables[index].table.clone();
            let Some(table) = self.lake.open(&name).await? else { continue };
            let needed = self.needed(&table, pinned.get(&name)).await?;
            if self.options.dry_run {
                self.plan(index, &table).await?;
            } else {
                self.checkpoint(index, &table, &needed).await?;
            }
            let waste = table.waste(self.lake, &needed).await?;
            self.count(index, &waste);
            if !self.options.dry_run {
                table.clean(self.lake, waste).await?;
            }
        }
        Ok(())
    }

    /// What would be rewritten.
    async fn plan(&mut self, index: usize, table: &LakeTable) -> Result<()> {
        let care = &mut self.tables[index];
        care.compacted = small_files(table, WORTHWHILE)?.iter().map(|files| files.len() as u64).sum();
        care.checkpoint =
            table.version() > 0 && !self.lake.log(&table.name).await?.checkpoints.contains_key(&table.version());
        Ok(())
    }

    /// Pinned versions first: where readers begin is what is written last.
    async fn checkpoint(&mut self, index: usize, table: &LakeTable, needed: &Needed) -> Result<()> {
        let is_missing = !self.lake.log(&table.name).await?.checkpoints.contains_key(&table.version());
        let bare = table.unsecured(self.lake, needed).await?;
        for version in &bare {
            if let Some(old) = self.lake.open_at(&table.name, *version).await? {
                old.checkpoint().await?;
            }
        }
        if table.version() > 0 && (is_missing || !bare.is_empty()) {
            table.checkpoint().await?;
            self.tables[index].checkpoint = true;
        }
        Ok(())
    }

    /// What is still needed of a table.
    async fn needed(&self, table: &LakeTable, pinned: Option<&BTreeSet<u64>>) -> Result<Needed> {
        let now = Utc::now();
        let mut changes_after: Option<u64> = None;
        for user in self.project.tables.iter().filter(|user| user.name.stage != Stage::Bronze) {
            let reads = user.inputs().iter().any(|input| input.to_string() == table.name);
            let is_derived = !matches!(user.definition, Definition::Bronze { .. } | Definition::ByRecord { .. });
            if !reads || !is_derived {
                continue;
            }
            let Some(user) = self.lake.open(&user.name.to_string()).await? else { continue };
            let seen = user.position(&table.name).await?.and_then(|seen| u64::try_from(seen).ok());
            changes_after = seen.map(|seen| changes_after.map_or(seen, |least| least.min(seen))).or(changes_after);
        }
        let since = now.checked_sub_signed(chrono::TimeDelta::from_std(self.options.keep).unwrap_or_default());
        Ok(Needed { now, since: since.unwrap_or_default(), pinned: pinned.cloned().unwrap_or_default(), changes_after })
    }

    fn count(&mut self, index: usize, waste: &Waste) {
        let care = &mut self.tables[index];
        care.log_files = waste.log.len() as u64;
        care.files = (waste.files.len() + waste.staged.len()) as u64;
        care.bytes = waste.bytes;
    }
}

/// The versions that can be read whatever their age: those of the newest release, and of pinned ones.
///
/// # Errors
/// When a table of `ops` cannot be read.
pub async fn kept(lake: &Lake, limits: Limits) -> Result<BTreeMap<String, BTreeSet<u64>>> {
    let mut kept = pinned_versions(&Reader::new(lake.clone(), limits)).await?;
    let Some(releases) = lake.open(&ops::releases().name).await? else { return Ok(kept) };
    for name in lake.tables().await? {
        if let Some(version) = releases.position(&name).await?.and_then(|version| u64::try_from(version).ok()) {
            kept.entry(name).or_default().insert(version);
        }
    }
    Ok(kept)
}
