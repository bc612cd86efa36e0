//! How far tables have come: never further than their inputs, bronze as far as its rows and its ledger.

use super::Check;
use crate::bronze::files::source_name;
use crate::bronze::ledger::Ledger;
use crate::contract::{Definition, Project, Table};
use crate::error::Result;
use crate::lake::{LakeTable, identity_of};
use crate::ops;
use crate::run::{BATCH, RESTORED};

impl Check<'_> {
    /// Compares the positions of the project's tables.
    pub(super) async fn positions(&mut self, project: &Project) -> Result<()> {
        for table in &project.tables {
            let name = table.name.to_string();
            match self.tables.get(&name).cloned() {
                Some(held) if matches!(table.definition, Definition::Bronze { .. }) => {
                    self.bronze(project, table, &held).await?;
                }
                Some(held) => self.derived(table, &held).await?,
                None if matches!(table.definition, Definition::Bronze { .. }) => {
                    self.ledger(project, table, None).await?;
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn bronze(&mut self, project: &Project, table: &Table, held: &LakeTable) -> Result<()> {
        let told = held.position(BATCH).await?.unwrap_or_default();
        let found = held.files()?.iter().filter_map(|file| file.max_integer("_batch")).max().unwrap_or_default();
        // Batches that were taken out leave their numbers.
        let is_short = found < told && held.position(RESTORED).await?.is_none() && !self.was_erased_from(held).await?;
        if found > told || is_short {
            self.report.wrong_at(
                &held.name,
                format!("its newest batch is {told}, that of its rows {found}"),
                format!("`pipeline history {0}`, then `pipeline restore {0} --to` a version before", held.name),
            );
        }
        self.ledger(project, table, Some(told)).await
    }

    /// Whether rows of the table were erased for good: the newest batch may have had no others.
    async fn was_erased_from(&self, held: &LakeTable) -> Result<bool> {
        match self.tables.get(&ops::erasures().name) {
            Some(erasures) => Ok(erasures.position(&held.name).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Compares a bronze table with the ledger of its files; `batch` is its newest one, none when it is not there.
    async fn ledger(&mut self, project: &Project, table: &Table, batch: Option<i64>) -> Result<()> {
        let (Some(source), Some(files)) = (project.source(table), self.tables.get(&ops::files().name)) else {
            return Ok(());
        };
        let last = batch.unwrap_or_default();
        let ledger = Ledger::read(files, &source_name(table, source), last).await?;
        if ledger.newest_batch > last {
            self.report.wrong_at(
                &table.name,
                format!("ops.files knows of batch {}, the table of {last}", ledger.newest_batch),
                "put the table back from a backup; or `pipeline run --full-refresh` takes the files in anew",
            );
        }
        Ok(())
    }

    async fn derived(&mut self, table: &Table, held: &LakeTable) -> Result<()> {
        let hint = "`pipeline run --full-refresh` computes it anew";
        for input in table.inputs().into_iter().map(ToString::to_string) {
            let Some(seen) = held.position(&input).await? else { continue };
            let Some(from) = self.tables.get(&input) else {
                self.report.wrong_at(&held.name, format!("its input {input} is gone, or cannot be read"), hint);
                continue;
            };
            let newest = match &table.definition {
                Definition::ByRecord { .. } => from.position(BATCH).await?.unwrap_or_default(),
                _ => from.version_position(),
            };
            let known = held.position(&identity_of(&input)).await?;
            if seen > newest {
                let fact = format!("it has seen {seen} of {input}, which is only at {newest}");
                self.report.wrong_at(&held.name, fact, hint);
            } else if known.is_some_and(|known| from.identity().is_ok_and(|identity| known != identity)) {
                self.report.wrong_at(&held.name, format!("its input {input} was deleted and made anew"), hint);
            }
        }
        Ok(())
    }
}
