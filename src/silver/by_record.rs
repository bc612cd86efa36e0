//! Tables whose SQL is a function of one record: it runs over the batches that are new, and the upsert keeps, a key, the
//! row of the highest sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use tokio::sync::Mutex;
use tracing::{Instrument, trace_span};

use super::quarantine::{Places, Quarantine, Replace, SharedQuarantine};
use super::records::{Part, Records};
use super::upsert::{Entrant, Upsert};
use crate::contract::{Definition, Table, TableName};
use crate::engine;
use crate::error::{Error, Place, Result};
use crate::lake::{LakeTable, TableSpec, identity_of};
use crate::run::{BATCH, CONTRACT, RESTORED, Run, TableReport, Why, fingerprint, restored_of};
use crate::transform::{Counts, Transform};

/// What a record's row leads through the SQL, in case it is set aside.
const CARRIED: [&str; 4] = ["payload", "_source", "_row", "_batch"];
/// Whether the record deletes its key's row: a column that the table's input has besides its own.
const DELETES: &str = "_deletes";

/// Brings the table up to date with the newest batch of its bronze input.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let Definition::ByRecord { input, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let Some(bronze) = run.lake.open(&input.to_string()).await? else {
        return Ok(TableReport::unchanged(table));
    };
    let newest = bronze.position(BATCH).await?.unwrap_or_default();
    let target = run.lake.open_or_create(&TableSpec::of(table)).await?;
    target.catch_up(&run.lake).await?;
    let why = why(run, table, &target, &bronze).await?;
    let done = target.position(&input.to_string()).await?.unwrap_or_default();
    if why == Why::NewInput && done >= newest {
        return Ok(TableReport::unchanged(table));
    }
    let anew = why != Why::NewInput;
    let part = Part::After(if anew { 0 } else { done });
    let replace = if anew { Replace::All } else { Replace::Nothing };
    write(run, table, Work { target, bronze, part, why, replace, seen: Some(newest) }).await
}

/// Takes the table's records in quarantine again, by rules that changed since. The caller has seen that the rows that
/// passed are the same by the new rules.
///
/// # Errors
/// As [`refresh`].
pub async fn retry(run: &Run, table: &Table) -> Result<TableReport> {
    let Definition::ByRecord { input, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let Some(bronze) = run.lake.open(&input.to_string()).await? else {
        return Ok(TableReport::unchanged(table));
    };
    let target = run.lake.open_or_create(&TableSpec::of(table)).await?;
    target.catch_up(&run.lake).await?;
    let part = Part::Places(Places::open_of(&run.lake, &table.name.to_string()).await?);
    write(run, table, Work { target, bronze, part, why: Why::Retry, replace: Replace::All, seen: None }).await
}

/// The records of the table's input, or of some of them, that lead to rows of some kind, those that are set aside too.
///
/// # Errors
/// When a record cannot be read.
pub async fn places(
    run: &Run,
    table: &Table,
    among: Option<Places>,
    wanted: &(dyn Fn(&RecordBatch) -> Result<BooleanArray> + Sync),
) -> Result<Places> {
    let mut places = Places::default();
    let Definition::ByRecord { input, .. } = &table.definition else { return Ok(places) };
    let Some(bronze) = run.lake.open(&input.to_string()).await? else { return Ok(places) };
    let quarantine = Quarantine::nowhere(&run.lake, &table.name.to_string()).await?;
    let part = among.map_or(Part::After(0), Part::Places);
    let transform = transform(run, table, input, bronze, part, Arc::new(Mutex::new(quarantine))).await?;
    for mut rows in transform.execute().await? {
        while let Some(batch) = rows.try_next().await? {
            let found = filter_record_batch(&batch, &wanted(&batch)?)?;
            let [_, source, row, batch] = [0, 1, 2, 3].map(|carried| found.column(table.columns.len() + carried));
            places.extend(Places::of_columns([source, row, batch])?);
        }
    }
    Ok(places)
}

/// What of the input is worked on, and what it replaces.
struct Work {
    target: LakeTable,
    bronze: LakeTable,
    part: Part,
    why: Why,
    /// Of the quarantine.
    replace: Replace,
    /// The newest batch of the input that the table has seen then, where that changes.
    seen: Option<i64>,
}

async fn write(run: &Run, table: &Table, work: Work) -> Result<TableReport> {
    let Definition::ByRecord { input, sequence, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let Work { mut target, bronze, part, why, replace, seen } = work;
    let anew = why != Why::NewInput && why != Why::Retry;
    let spec = TableSpec::of(table);
    let records: u64 = part.files(&bronze)?.iter().filter_map(|file| file.rows).sum();
    let expected = usize::try_from(records).unwrap_or(usize::MAX);
    let upsert = Upsert::new(&target, &spec, &table.key, sequence.as_deref(), expected);
    let mut positions = positions(table, &bronze, seen.unwrap_or_default()).await?;
    if seen.is_none() {
        positions.remove(&bronze.name);
    }
    let (transform, quarantine) = plan(run, table, input, bronze.clone(), part).await?;
    let (entrants, counts) = stream(&transform, &upsert, &quarantine).await?;
    transform.judge().stop_on_failure(&counts)?;
    let (mut commit, upserted) = upsert.finish(entrants, anew).await?;
    drop(transform);
    let quarantine = Arc::into_inner(quarantine)
        .ok_or_else(|| Error::failed(format!("{}: the quarantine is still in use", table.name)))?
        .into_inner();
    let set_aside = quarantine.close(&replace, Some(&bronze)).await?;
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
    part: Part,
) -> Result<(Transform, SharedQuarantine)> {
    let quarantine = Quarantine::open(&run.lake, &table.name.to_string(), &run.id, run.started_micros()).await?;
    let quarantine: SharedQuarantine = Arc::new(Mutex::new(quarantine));
    Ok((transform(run, table, input, bronze, part, quarantine.clone()).await?, quarantine))
}

async fn transform(
    run: &Run,
    table: &Table,
    input: &TableName,
    bronze: LakeTable,
    part: Part,
    quarantine: SharedQuarantine,
) -> Result<Transform> {
    let (payload, is_database) = run.payload_of(input)?;
    let Definition::ByRecord { delete_when, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let records = Records::of(bronze, payload, is_database, part, quarantine).await?;
    let ctx = run.session_with_references(table.references())?;
    let records = records.table(run.limits.threads)?;
    let (records, deletes) = match delete_when {
        None => (records, None),
        Some(condition) => (with_deletes(&ctx, records, condition).at(&table.name)?, Some(DELETES)),
    };
    engine::register(&ctx, &input.to_string(), records)?;
    Transform::plan(&ctx, table, &CARRIED, deletes).await
}

/// The records, each with whether it deletes its key's row.
fn with_deletes(
    ctx: &SessionContext,
    records: Arc<dyn TableProvider>,
    condition: &str,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let frame = ctx.read_table(records)?;
    let condition = frame.parse_sql_expr(condition)?;
    Ok(frame.with_column(DELETES, condition.is_true())?.into_view())
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
        let work = async move {
            let mut counts = Counts::default();
            while let Some(batch) = rows.try_next().await? {
                let (batch, deletions) = judge.split(batch)?;
                let judged = judge.judge(&batch, &mut counts)?;
                entrant.bring(judged.rows, judged.passes).await?;
                set_aside(&quarantine, judged.failed).await?;
                if let Some(deletions) = deletions {
                    let judged = judge.judge_deletions(&deletions, &mut counts)?;
                    entrant.delete(&judged.passed()?)?;
                    set_aside(&quarantine, judged.failed).await?;
                }
            }
            Ok::<_, Error>((entrant, counts))
        };
        tokio::spawn(work.instrument(trace_span!("sql")))
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

/// Sets rows aside; their last columns are those that were carried.
async fn set_aside(quarantine: &SharedQuarantine, failed: Option<(RecordBatch, Vec<Vec<String>>)>) -> Result<()> {
    let Some((failed, reasons)) = failed else { return Ok(()) };
    let first = failed.num_columns() - CARRIED.len();
    let column = |index: usize| failed.column(first + index);
    let place = [column(1), column(2), column(3)];
    quarantine.lock().await.add_records(column(0), None, place, &reasons).await
}
