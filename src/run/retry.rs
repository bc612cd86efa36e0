//! Takes what is in quarantine again, after its rules were mended.
//!
//! Where only expectations changed, and the rows that passed hold by the new ones too, the records in quarantine alone run
//! again: the table is then what computing it anew would give. In all other cases it is computed anew.

use deltalake::datafusion::prelude::SessionContext;

use super::{CONTRACT, Options, Run, RunReport, TableReport, Work, fingerprint};
use crate::contract::{Definition, Expectation, Project, Severity, Stage, Table, TableName};
use crate::engine;
use crate::error::{Error, Place, Result};
use crate::lake::LakeTable;
use crate::problem::suggest;
use crate::query::{Reader, newest_release};
use crate::replay::contracts;
use crate::silver::by_record;
use crate::silver::quarantine::Places;

impl Run {
    /// Takes the quarantine of some tables again, or of all when none is named.
    ///
    /// # Errors
    /// When a table is unknown or the lease is held. What failed of single tables is in the report.
    pub async fn retry(mut self, tables: &[String]) -> Result<RunReport> {
        let known: Vec<TableName> = self.project.tables.iter().map(|table| table.name.clone()).collect();
        if let Some(unknown) = tables.iter().find(|name| !known.iter().any(|table| table.to_string() == **name)) {
            let names: Vec<String> = known.iter().map(TableName::to_string).collect();
            let hint = suggest(unknown, names.iter().map(String::as_str)).unwrap_or_default();
            return Err(Error::usage(format!("quarantine retry: no table '{unknown}'")).hint(hint));
        }
        let wanted = |table: &TableName| tables.is_empty() || tables.contains(&table.to_string());
        let select = known.iter().filter(|table| table.stage != Stage::Bronze && wanted(table));
        let options = Options { select: select.map(TableName::to_string).collect(), ..Options::default() };
        self.work = Work::Retry;
        self.execute(&options).await
    }

    pub(super) async fn retry_table(&self, table: &Table) -> Result<TableReport> {
        let name = table.name.to_string();
        if !matches!(table.definition, Definition::ByRecord { .. })
            || Places::open_of(&self.lake, &name).await?.is_empty()
        {
            return Ok(TableReport::unchanged(table));
        }
        let Some(target) = self.lake.open(&name).await? else { return Ok(TableReport::unchanged(table)) };
        match target.position(CONTRACT).await? {
            Some(known) if known == fingerprint(table) => Ok(TableReport::unchanged(table)),
            Some(known) if self.same_rows_pass(table, &target, known).await? => by_record::retry(self, table).await,
            _ => self.refresh(table).await,
        }
    }

    /// Whether the rows that passed by the contract of a fingerprint are those that pass by today's.
    async fn same_rows_pass(&self, table: &Table, target: &LakeTable, known: i64) -> Result<bool> {
        let Some(before) = self.newest_contracts().await? else { return Ok(false) };
        let Some(before) = before.table(&table.name).filter(|table| fingerprint(table) == known) else {
            return Ok(false);
        };
        if before.shape != table.shape {
            return Ok(false);
        }
        let decides = |rule: &&Expectation| rule.severity != Severity::Warn;
        let is_new = |rule: &&Expectation| !before.expectations.contains(rule);
        let rules: Vec<&Expectation> = table.expectations.iter().filter(decides).filter(is_new).collect();
        all_hold(&engine::session(self.limits)?, target, &rules).await
    }

    /// The contracts of the newest release, if they can still be read.
    async fn newest_contracts(&self) -> Result<Option<Project>> {
        let reader = Reader::new(self.lake.clone(), self.limits);
        let Some(release) = newest_release(&reader).await? else { return Ok(None) };
        let place = tempfile::tempdir().at("a folder for the contracts")?;
        contracts::of_release(&reader, release.release).await?.write_below(place.path())?;
        Ok(crate::contract::load(place.path()).ok())
    }
}

/// Whether all rows of a table hold by some rules. A rule over what the table does not keep, such as the payload, cannot
/// be shown to hold.
async fn all_hold(ctx: &SessionContext, table: &LakeTable, rules: &[&Expectation]) -> Result<bool> {
    let rows = ctx.read_table(table.provider(ctx).await?)?;
    for rule in rules {
        let Ok(condition) = rows.parse_sql_expr(&rule.condition) else { return Ok(false) };
        let Ok(broken) = rows.clone().filter(condition.is_not_true()) else { return Ok(false) };
        if broken.limit(0, Some(1))?.count().await.at(&table.name)? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
