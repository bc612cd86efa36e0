//! Tables that are computed whole when an input changed, and replaced in one commit.

use std::collections::BTreeMap;

use super::output::{self, Written};
use crate::contract::{Table, TableName};
use crate::engine;
use crate::error::Result;
use crate::lake::{Commit, DataFile, Lake, LakeTable, TableSpec, has_changed, identity_of};
use crate::run::{CONTRACT, Run, TableReport, Why, fingerprint};
use crate::silver::quarantine::Replace;
use crate::transform::Transform;

/// Brings the table up to date.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let Some(inputs) = open_inputs(&run.lake, &table.inputs()).await? else { return Ok(TableReport::unchanged(table)) };
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    let why = run.why(table, &target).await?;
    if why == Why::NewInput && news(&target, &inputs).await?.is_none() {
        return Ok(TableReport::unchanged(table));
    }
    let written = compute(run, table, &target, &spec, &inputs).await?;
    replace_all(run, table, &mut target, &spec, &inputs, why, written).await
}

/// The inputs at their newest versions; `None` while one of them is not there.
///
/// # Errors
/// When a log cannot be read.
pub async fn open_inputs(lake: &Lake, names: &[&TableName]) -> Result<Option<Vec<LakeTable>>> {
    let mut inputs = Vec::new();
    for name in names {
        match lake.open(&name.to_string()).await? {
            Some(input) => inputs.push(input),
            None => return Ok(None),
        }
    }
    Ok(Some(inputs))
}

/// The first input that changed since the version that the table has seen. A newer version need not have other rows: it
/// may record only how far the input has come, or hold the same rows in other files.
///
/// # Errors
/// When a log cannot be read.
pub async fn news<'a>(target: &LakeTable, inputs: &'a [LakeTable]) -> Result<Option<&'a LakeTable>> {
    for input in inputs {
        if is_another(target, input).await? {
            return Ok(Some(input));
        }
        let seen = target.position(&input.name).await?.and_then(|seen| u64::try_from(seen).ok());
        if seen != Some(input.version()) && has_changed(input, seen.unwrap_or_default()).await? {
            return Ok(Some(input));
        }
    }
    Ok(None)
}

/// Whether the input was deleted and made anew since the table has read it.
pub(super) async fn is_another(target: &LakeTable, input: &LakeTable) -> Result<bool> {
    let seen = target.position(&identity_of(&input.name)).await?;
    let identity = input.identity()?;
    Ok(seen.is_some_and(|seen| seen != identity))
}

/// What the table has seen once the commit lands.
///
/// # Errors
/// When an input's snapshot is not loaded.
pub fn positions(table: &Table, inputs: &[LakeTable]) -> Result<BTreeMap<String, i64>> {
    let mut positions = BTreeMap::from([(CONTRACT.to_owned(), fingerprint(table))]);
    for input in inputs {
        positions.insert(input.name.clone(), input.version_position());
        positions.insert(identity_of(&input.name), input.identity()?);
    }
    Ok(positions)
}

/// Computes all rows in one go.
async fn compute(
    run: &Run,
    table: &Table,
    target: &LakeTable,
    spec: &TableSpec,
    inputs: &[LakeTable],
) -> Result<Written> {
    let ctx = run.session_with_references(table.references())?;
    for input in inputs {
        engine::register(&ctx, &input.name, input.provider(&ctx).await?)?;
    }
    let transform = Transform::plan(&ctx, table, &[], None).await?;
    output::write(run, &transform, target, spec, &Replace::All).await?.judged()
}

/// Replaces all of the table's rows by those that were written.
pub(super) async fn replace_all(
    run: &Run,
    table: &Table,
    target: &mut LakeTable,
    spec: &TableSpec,
    inputs: &[LakeTable],
    why: Why,
    written: Written,
) -> Result<TableReport> {
    let replaced = if why == Why::NewInput { target.row_count()? } else { 0 };
    let report = TableReport::of_rows(table, why, &written.counts, &written.adds, replaced);
    let mut commit = Commit {
        adds: written.adds,
        removes: target.files()?.iter().map(DataFile::remove).collect(),
        metadata: target.metadata_change(spec)?,
        positions: positions(table, inputs)?,
        ..Commit::default()
    };
    commit.followers.extend(written.set_aside);
    commit.followers.extend(run.expectation_rows(table, &report).await?);
    run.commit(target, commit).await?;
    Ok(report)
}
