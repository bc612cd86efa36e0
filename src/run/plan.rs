//! What a run would do.

use std::collections::BTreeSet;

use super::{BATCH, Options, Run, Why, selected};
use crate::contract::{Definition, Stage, Table, TableName};
use crate::error::Result;
use crate::lake::{LakeTable, signed};
use crate::{bronze, gold};

impl Run {
    /// What the run would do to each table, in words; nothing is changed.
    ///
    /// # Errors
    /// When the selection names no table or pipeline, or a source or log cannot be read.
    pub async fn plan(mut self, options: &Options) -> Result<Vec<(String, String)>> {
        self.full_refresh = options.full_refresh;
        let (mut plan, mut stale) = (Vec::new(), BTreeSet::new());
        for name in selected(&self.project, options)? {
            let Some(table) = self.project.table(&name) else { continue };
            let what = match &table.definition {
                Definition::Bronze { .. } => bronze::plan(&self, table).await?,
                _ => self.plan_derived(table, &stale).await?,
            };
            if what.is_some() {
                stale.insert(name.clone());
            }
            plan.push((name.to_string(), what.unwrap_or_else(|| "nothing new".to_owned())));
        }
        Ok(plan)
    }

    async fn plan_derived(&self, table: &Table, stale: &BTreeSet<TableName>) -> Result<Option<String>> {
        let Some(target) = self.lake.open(&table.name.to_string()).await? else {
            return Ok(Some(format!("refresh: {}", Why::First.as_str())));
        };
        let why = self.why(table, &target).await?;
        if why != Why::NewInput {
            return Ok(Some(format!("refresh: {}", why.as_str())));
        }
        if let Some(name) = table.inputs().into_iter().find(|name| stale.contains(*name)) {
            return Ok(Some(format!("refresh, if something of {name} changes")));
        }
        for name in table.inputs() {
            let Some(input) = self.lake.open(&name.to_string()).await? else { continue };
            let newest = match name.stage {
                Stage::Bronze => input.position(BATCH).await?.unwrap_or_default(),
                _ => signed(input.version()),
            };
            if target.position(&name.to_string()).await?.unwrap_or_default() < newest {
                return self.plan_newer(table, &target, name).await;
            }
        }
        Ok(None)
    }

    /// A newer version of an input need not have other rows: it may record only how far the input has come.
    async fn plan_newer(&self, table: &Table, target: &LakeTable, input: &TableName) -> Result<Option<String>> {
        if table.keyed().is_none() {
            return Ok(Some(format!("refresh: {} in {input}", Why::NewInput.as_str())));
        }
        Ok(match gold::by_key::changed_keys(self, table, target).await? {
            None => Some(format!("refresh: {}", Why::UnknownChanges.as_str())),
            Some(0) => None,
            Some(keys) => Some(format!("refresh {keys} keys: {} in {input}", Why::NewInput.as_str())),
        })
    }
}
