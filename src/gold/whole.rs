//! Tables that are computed whole when an input changed, and replaced in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::output;
use crate::contract::{Table, TableName};
use crate::engine;
use crate::error::{Error, Result};
use crate::lake::{Commit, DataFile, LakeTable, TableSpec};
use crate::run::{CONTRACT, Run, TableReport, Why, fingerprint};
use crate::silver::quarantine::{Quarantine, Replace};
use crate::transform::Transform;

/// Brings the table up to date.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let Some(inputs) = open_inputs(run, &table.inputs()).await? else { return Ok(TableReport::unchanged(table)) };
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    let why = run.why(table, &target).await?;
    if why == Why::NewInput && !any_is_newer(&target, &inputs).await? {
        return Ok(TableReport::unchanged(table));
    }
    replace_all(run, table, &mut target, &spec, &inputs, why).await
}

/// The inputs at their newest versions; `None` while one of them is not there.
pub(super) async fn open_inputs(run: &Run, names: &[&TableName]) -> Result<Option<Vec<LakeTable>>> {
    let mut inputs = Vec::new();
    for name in names {
        match run.lake.open(&name.to_string()).await? {
            Some(input) => inputs.push(input),
            None => return Ok(None),
        }
    }
    Ok(Some(inputs))
}

/// Whether an input has a version that the table has not seen.
pub(super) async fn any_is_newer(target: &LakeTable, inputs: &[LakeTable]) -> Result<bool> {
    for input in inputs {
        if target.position(&input.name).await? != Some(input.version_position()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the table has seen once the commit lands.
pub(super) fn positions(table: &Table, inputs: &[LakeTable]) -> BTreeMap<String, i64> {
    let seen = inputs.iter().map(|input| (input.name.clone(), input.version_position()));
    seen.chain([(CONTRACT.to_owned(), fingerprint(table))]).collect()
}

/// Computes all rows and replaces the table's.
pub(super) async fn replace_all(
    run: &Run,
    table: &Table,
    target: &mut LakeTable,
    spec: &TableSpec,
    inputs: &[LakeTable],
    why: Why,
) -> Result<TableReport> {
    let ctx = run.session_with_references(table.references())?;
    for input in inputs {
        engine::register(&ctx, &input.name, input.provider(&ctx).await?)?;
    }
    let transform = Transform::plan(&ctx, table, &[]).await?;
    let quarantine = Quarantine::open(&run.lake, &target.name, &run.id, run.started_micros()).await?;
    let quarantine = Arc::new(Mutex::new(quarantine));
    let output = output::write(&transform, target, spec, &spec.lookup, &quarantine).await?;
    let set_aside = into_inner(quarantine, table)?.close(&Replace::All).await?;
    let report = TableReport::of_rows(table, why, &output.counts, &output.adds, 0);
    let mut commit = Commit {
        adds: output.adds,
        removes: target.files()?.iter().map(DataFile::remove).collect(),
        metadata: target.metadata_change(spec)?,
        positions: positions(table, inputs),
        ..Commit::default()
    };
    commit.followers.extend(set_aside.follower);
    commit.followers.extend(run.expectation_rows(table, &report).await?);
    run.commit(target, commit).await?;
    Ok(report)
}

/// The quarantine, now that the tasks that wrote to it have ended.
pub(super) fn into_inner(quarantine: Arc<Mutex<Quarantine>>, table: &Table) -> Result<Quarantine> {
    let quarantine = Arc::into_inner(quarantine);
    Ok(quarantine.ok_or_else(|| Error::failed(format!("{}: the quarantine is still in use", table.name)))?.into_inner())
}
