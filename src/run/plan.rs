//! What a run would do.

use std::collections::BTreeSet;

use super::{BATCH, Options, Run, Why, selected};
use crate::contract::{Definition, Table, TableName};
use crate::error::Result;
use crate::lake::LakeTable;
use crate::{bronze, gold, silver};

impl Run {
    /// What the run would do to each table, in words; nothing is changed.
    ///
    /// # Errors
    /// When the selection names no table or pipeline, or a source or log cannot be read.
    pub async fn plan(mut self, options: &Options) -> Result<Vec<(String, String)>> {
        self.full_refresh = options.full_refresh;
        let options = self.without_absent(options).await?;
        let (mut plan, mut stale) = (Vec::new(), BTreeSet::new());
        for name in selected(&self.project, &options)? {
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
        if let Definition::ByRecord { input, .. } = &table.definition {
            return self.plan_by_record(&target, input).await;
        }
        let Some(inputs) = gold::whole::open_inputs(&self.lake, &table.inputs()).await? else { return Ok(None) };
        match gold::whole::news(&target, &inputs).await? {
            Some(input) => self.plan_newer(table, &target, &input.name).await,
            None => Ok(None),
        }
    }

    async fn plan_by_record(&self, target: &LakeTable, input: &TableName) -> Result<Option<String>> {
        let Some(bronze) = self.lake.open(&input.to_string()).await? else { return Ok(None) };
        if silver::by_record::was_restored(target, &bronze).await? {
            return Ok(Some(format!("refresh: {}", Why::InputRestored.as_str())));
        }
        let newest = bronze.position(BATCH).await?.unwrap_or_default();
        let done = target.position(&bronze.name).await?.unwrap_or_default();
        Ok((done < newest).then(|| format!("refresh: {} in {input}", Why::NewInput.as_str())))
    }

    async fn plan_newer(&self, table: &Table, target: &LakeTable, input: &str) -> Result<Option<String>> {
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
