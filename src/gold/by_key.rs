//! Tables of which a row depends only on the input rows that share its key: recomputed and replaced for the keys that
//! changed. `check` has shown that the SQL is of this kind; a full refresh gives the same table.

use arrow::array::RecordBatch;
use futures::future::LocalBoxFuture;

use super::counts;
use super::held::Held;
use super::keys::{self, ChangedKeys, key_schema};
use super::output::{Written, json_keys};
use super::parts::Parts;
use super::whole::{is_another, news, open_inputs, positions, replace_all};
use crate::contract::{Definition, KeyedInput, Table, TableName};
use crate::error::{Error, Result};
use crate::lake::{Add, AddCDCFile, DataFile, LakeTable, TableSpec, change_file, read_file};
use crate::run::{Run, TableReport, Why};
use crate::silver::quarantine::Replace;

/// Brings the table up to date with its inputs.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let Definition::ByKey { replace_by, inputs: keyed, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_key table", table.name)));
    };
    let Some(inputs) = open_inputs(&run.lake, &table.inputs()).await? else { return Ok(TableReport::unchanged(table)) };
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    let why = run.why(table, &target).await?;
    let mut work = Work { run, table, replace_by, keyed, target: &mut target, spec: &spec, inputs: &inputs };
    if why != Why::NewInput {
        return work.replace_all(why).await;
    }
    if news(work.target, &inputs).await?.is_none() {
        return Ok(TableReport::unchanged(table));
    }
    for input in &inputs {
        if is_another(work.target, input).await? {
            return work.replace_all(Why::UnknownChanges).await;
        }
    }
    let ctx = run.session_with_references(&[])?;
    let seen = seen(work.target, keyed, &inputs).await?;
    match keys::changed(&ctx, table, &key_schema(table, replace_by), &seen).await? {
        None => work.replace_all(Why::UnknownChanges).await,
        Some(keys) if keys.set.is_empty() => Ok(TableReport::unchanged(table)),
        Some(keys) => {
            let held = Held::find(work.target, &spec, &keys).await?;
            match unless_out_of_memory(counts::add(&work, &held).await)? {
                Some(counted) => work.replace_keys(held, counted).await,
                None if held.are_most_of(work.target)? => work.replace_all(why).await,
                None => {
                    let computed = work.compute(&keys).await?;
                    work.replace_keys(held, computed).await
                }
            }
        }
    }
}

/// How many keys changed since the table was last brought up to date; `None` when that cannot be told.
///
/// # Errors
/// When storage fails.
pub async fn changed_keys(run: &Run, table: &Table, target: &LakeTable) -> Result<Option<usize>> {
    let Some((kept_by, keyed)) = table.keyed() else { return Ok(None) };
    let Some(inputs) = open_inputs(&run.lake, &table.inputs()).await? else { return Ok(Some(0)) };
    let ctx = run.session_with_references(&[])?;
    let seen = seen(target, keyed, &inputs).await?;
    Ok(keys::changed(&ctx, table, &key_schema(table, kept_by), &seen).await?.map(|keys| keys.set.len()))
}

/// The inputs, each with the version that the table has seen.
pub(crate) async fn seen<'a>(
    target: &LakeTable,
    keyed: &'a [KeyedInput],
    inputs: &'a [LakeTable],
) -> Result<Vec<(&'a KeyedInput, &'a LakeTable, u64)>> {
    let mut seen = Vec::new();
    for (keyed, input) in keyed.iter().zip(inputs) {
        let version = target.position(&input.name).await?.unwrap_or_default();
        seen.push((keyed, input, u64::try_from(version).unwrap_or_default()));
    }
    Ok(seen)
}

/// A table that is being brought up to date.
pub(super) struct Work<'a> {
    pub run: &'a Run,
    pub table: &'a Table,
    replace_by: &'a [String],
    keyed: &'a [KeyedInput],
    pub target: &'a mut LakeTable,
    pub spec: &'a TableSpec,
    inputs: &'a [LakeTable],
}

impl Work<'_> {
    /// Computes all rows and replaces the table's. Boxed, for [`refresh`] would be three times as large.
    fn replace_all(&mut self, why: Why) -> LocalBoxFuture<'_, Result<TableReport>> {
        Box::pin(async move {
            let written = match unless_out_of_memory(counts::count_all(self).await)? {
                Some(counted) => counted,
                None => self.parts(None).compute(&Replace::All).await?,
            };
            replace_all(self.run, self.table, self.target, self.spec, self.inputs, why, written).await
        })
    }

    /// The input of a name.
    pub fn input(&self, name: &TableName) -> Option<&LakeTable> {
        self.keyed.iter().zip(self.inputs).find(|(keyed, _)| keyed.table == *name).map(|(_, input)| input)
    }

    /// Computes the rows of some keys.
    async fn compute(&self, keys: &ChangedKeys) -> Result<Written> {
        let replaced = Replace::Keys(json_keys(&keys.rows, &self.spec.lookup)?);
        self.parts(Some(keys)).compute(&replaced).await
    }

    /// Replaces the rows of some keys that the table holds by those that were written.
    async fn replace_keys(&mut self, mut held: Held, written: Written) -> Result<TableReport> {
        let Written { adds, counts, set_aside, .. } = written;
        let adds = held.keep_equal(self.target, self.spec, adds).await?;
        let (mut commit, gone) = held.take_out(self.target, self.spec).await?;
        let rows_gone = gone.iter().map(|rows| rows.num_rows() as u64).sum();
        let report = TableReport::of_rows(self.table, Why::NewInput, &counts, &adds, rows_gone);
        commit.changes = changes(self.target, self.spec, gone, &adds).await?;
        commit.adds.extend(adds);
        commit.positions = positions(self.table, self.inputs)?;
        commit.followers.extend(set_aside);
        commit.followers.extend(self.run.expectation_rows(self.table, &report).await?);
        self.run.commit(self.target, commit).await?;
        Ok(report)
    }

    /// How the table is computed for some keys, or for all.
    pub fn parts<'a>(&'a self, keys: Option<&'a ChangedKeys>) -> Parts<'a> {
        let Self { run, table, replace_by, keyed, spec, inputs, .. } = *self;
        Parts { run, table, replace_by, keyed, target: self.target, spec, inputs, keys }
    }
}

/// Where counts do not fit into memory, the rows are computed as others are, in as small portions as it takes.
fn unless_out_of_memory(counted: Result<Option<Written>>) -> Result<Option<Written>> {
    match counted {
        Err(error) if error.is_out_of_memory() => Ok(None),
        counted => counted,
    }
}

/// The change data feed of a replacement; a commit that only adds needs none.
async fn changes(
    target: &LakeTable,
    spec: &TableSpec,
    gone: Vec<RecordBatch>,
    adds: &[Add],
) -> Result<Vec<AddCDCFile>> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let mut changes: Vec<_> = gone.into_iter().map(|rows| (rows, "delete")).collect();
    for add in adds {
        let rows = read_file(target, &DataFile::of(add.clone())).await?;
        changes.extend(rows.into_iter().map(|rows| (rows, "insert")));
    }
    Ok(change_file(target, spec, &changes).await?.into_iter().collect())
}
