//! Tables whose SQL is a function of one record: it runs over the batches that are new, and the upsert keeps, a key, the
//! row of the highest sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use tokio::sync::Mutex;

use super::quarantine::{Quarantine, Replace, SharedQuarantine};
use super::records::Records;
use super::upsert::{Entrant, Upsert};
use crate::contract::{Definition, Table, TableName};
use crate::engine;
use crate::error::{Error, Result};
use crate::lake::{LakeTable, TableSpec, identity_of};
use crate::run::{BATCH, CONTRACT, RESTORED, Run, TableReport, Why, fingerprint, restored_of};
use crate::transform::{Counts, Transform};

/// What a record's row leads through the SQL, in case it is set aside.
const CARRIED: [&str; 4] = ["payload", "_source", "_row", "_batch"];

/// Brings the table up to date with the newest batch of its bronze input.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let Definition::ByRecord { input, sequence, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let Some(bronze) = run.lake.open(&input.to_string()).await? else {
        return Ok(TableReport::unchanged(table));
    };
    let newest = bronze.position(BATCH).await?.unwrap_or_default();
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    let why = why(run, table, &target, &bronze).await?;
    let done = target.position(&input.to_string()).await?.unwrap_or_default();
    if why == Why::NewInput && done >= newest {
        return Ok(TableReport::unchanged(table));
    }
    let anew = why != Why::NewInput;
    let after = if anew { 0 } else { done };
    let upsert = Upsert::new(&target, &spec, &table.key, sequence.as_deref());
    let positions = positions(table, &bronze, newest).await?;
    let (transform, quarantine) = plan(run, table, input, bronze, after).await?;
    let (entrants, counts) = stream(&transform, &upsert, &quarantine).await?;
    transform.judge().stop_on_failure(&counts)?;
    let (mut commit, upserted) = upsert.finish(entrants, anew).await?;
    drop(transform);
    let quarantine = Arc::into_inner(quarantine)
        .ok_or_else(|| Error::failed(format!("{}: the quarantine is still in use", table.name)))?
        .into_inner();
    let set_aside = quarantine.close(if anew { &Replace::All } else { &Replace::Nothing }).await?;
    let report = TableReport::of_records(table, why, &counts, &set_aside, upserted);
    if anew {
        commit.metadata = target.metadata_change(&spec)?;
    }
    commit.followers.extend(set_aside.follower);
    commit.followers.extend(run.expectation_rows(table, &report).await?);
    commit.positions = positions;
    run.commit(&mut target, commit).await?;
    Ok(report)
}

/// Why the table is refreshed; an input that is not the one that it was computed from is an error.
async fn why(run: &Run, table: &Table, target: &LakeTable, bronze: &LakeTable) -> Result<Why> {
    let why = run.why(table, target).await?;
    if why == Why::FullRefresh || why == Why::First {
        return Ok(why);
    }
    let known = target.position(&identity_of(&bronze.name)).await?;
    let identity = bronze.identity()?;
    let newest = bronze.position(BATCH).await?.unwrap_or_default();
    let done = target.position(&bronze.name).await?.unwrap_or_default();
    if known.is_some_and(|known| known != identity) || done > newest {
        return Err(Error::failed(format!(
            "{}: it has taken batch {done} of {}, of which only {newest} are there: the table, or the end of its log, \
             was deleted",
            table.name, bronze.name
        ))
        .hint("put it back from a backup; or compute anew from what is there with `pipeline run --full-refresh`"));
    }
    if why == Why::NewInput && was_restored(target, bronze).await? {
        return Ok(Why::InputRestored);
    }
    Ok(why)
}

/// Whether batches that the table has seen were taken out of its input since.
///
/// # Errors
/// When a log cannot be read.
pub async fn was_restored(target: &LakeTable, bronze: &LakeTable) -> Result<bool> {
    let restored = bronze.position(RESTORED).await?.unwrap_or_default();
    Ok(restored != target.position(&restored_of(&bronze.name)).await?.unwrap_or_default())
}

/// What the table has seen once the commit lands.
async fn positions(table: &Table, bronze: &LakeTable, newest: i64) -> Result<BTreeMap<String, i64>> {
    let mut positions = BTreeMap::from([
        (bronze.name.clone(), newest),
        (identity_of(&bronze.name), bronze.identity()?),
        (CONTRACT.to_owned(), fingerprint(table)),
    ]);
    if let Some(restored) = bronze.position(RESTORED).await? {
        positions.insert(restored_of(&bronze.name), restored);
    }
    Ok(positions)
}

async fn plan(
    run: &Run,
    table: &Table,
    input: &TableName,
    bronze: LakeTable,
    after: i64,
) -> Result<(Transform, SharedQuarantine)> {
    let payload = run.payload_of(input)?;
    let quarantine = Quarantine::open(&run.lake, &table.name.to_string(), run.started_micros()).await?;
    let quarantine: SharedQuarantine = Arc::new(Mutex::new(quarantine));
    let records = Records::after(bronze, payload, after, quarantine.clone()).await?;
    let ctx = run.session_with_references(table.references())?;
    engine::register(&ctx, &input.to_string(), records.table(run.limits.threads)?)?;
    let transform = Transform::plan(&ctx, table, &CARRIED).await?;
    Ok((transform, quarantine))
}

/// Runs the SQL in as many tasks as it has streams; rows that pass enter the upsert, the others are set aside.
async fn stream(
    transform: &Transform,
    upsert: &Arc<Upsert>,
    quarantine: &SharedQuarantine,
) -> Result<(Vec<Entrant>, Counts)> {
    let tasks = transform.execute().await?.into_iter().map(|mut rows| {
        let mut entrant = upsert.entrant();
        let (judge, quarantine) = (transform.judge(), quarantine.clone());
        tokio::spawn(async move {
            let mut counts = Counts::default();
            while let Some(batch) = rows.try_next().await? {
                let judged = judge.judge(&batch, &mut counts)?;
                entrant.bring(judged.passed).await?;
                if let Some((failed, reasons)) = judged.failed {
                    set_aside(&quarantine, &failed, &reasons).await?;
                }
            }
            Ok::<_, Error>((entrant, counts))
        })
    });
    let mut entrants = Vec::new();
    let mut counts = Counts::default();
    for ended in futures::future::join_all(tasks).await {
        let (entrant, counted) = ended??;
        entrants.push(entrant);
        counts.add(&counted);
    }
    Ok((entrants, counts))
}

async fn set_aside(quarantine: &SharedQuarantine, failed: &RecordBatch, reasons: &[Vec<String>]) -> Result<()> {
    let first = failed.num_columns() - CARRIED.len();
    let column = |index: usize| failed.column(first + index);
    let place = [column(1), column(2), column(3)];
    quarantine.lock().await.add_records(column(0), None, place, reasons).await
}
