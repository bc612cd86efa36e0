//! Tables whose SQL is a function of one record: it runs over the batches that are new, and the upsert keeps, a key, the
//! row of the highest sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use tokio::sync::Mutex;

use super::quarantine::{Quarantine, Replace, SharedQuarantine};
use super::records::Records;
use super::upsert::{Entrant, Upsert};
use crate::contract::{Definition, Table, TableName};
use crate::engine;
use crate::error::{Error, Place, Result};
use crate::lake::{LakeTable, TableSpec};
use crate::run::{BATCH, CONTRACT, Run, TableReport, Why};
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
    let why = run.why(table, &target).await?;
    let done = target.position(&input.to_string()).await?.unwrap_or_default();
    if why == Why::NewInput && done >= newest {
        return Ok(TableReport::unchanged(table));
    }
    let anew = why != Why::NewInput;
    let after = if anew { 0 } else { done };
    let upsert = Upsert::new(&target, &spec, &table.key, sequence.as_deref());
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
    commit.positions =
        BTreeMap::from([(input.to_string(), newest), (CONTRACT.to_owned(), crate::run::fingerprint(table))]);
    run.commit(&mut target, commit).await?;
    Ok(report)
}

async fn plan(
    run: &Run,
    table: &Table,
    input: &TableName,
    bronze: LakeTable,
    after: i64,
) -> Result<(Transform, SharedQuarantine)> {
    let (payload, is_database) = run.payload_of(input)?;
    let Definition::ByRecord { delete_when, .. } = &table.definition else {
        return Err(Error::failed(format!("{}: not a by_record table", table.name)));
    };
    let quarantine = Quarantine::open(&run.lake, &table.name.to_string(), run.started_micros()).await?;
    let quarantine: SharedQuarantine = Arc::new(Mutex::new(quarantine));
    let records = Records::after(bronze, payload, is_database, after, quarantine.clone()).await?;
    let ctx = run.session_with_references(table.references())?;
    let records = records.table(run.limits.threads)?;
    let (records, deletes) = match delete_when {
        None => (records, None),
        Some(condition) => (with_deletes(&ctx, records, condition).at(&table.name)?, Some(DELETES)),
    };
    engine::register(&ctx, &input.to_string(), records)?;
    let transform = Transform::plan(&ctx, table, &CARRIED, deletes).await?;
    Ok((transform, quarantine))
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
        tokio::spawn(async move {
            let mut counts = Counts::default();
            while let Some(batch) = rows.try_next().await? {
                let (batch, deletions) = judge.split(batch)?;
                let judged = judge.judge(&batch, &mut counts)?;
                entrant.bring(judged.passed).await?;
                set_aside(&quarantine, judged.failed).await?;
                if let Some(deletions) = deletions {
                    let judged = judge.judge_deletions(&deletions, &mut counts)?;
                    entrant.delete(&judged.passed)?;
                    set_aside(&quarantine, judged.failed).await?;
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

/// Sets rows aside; their last columns are those that were carried.
async fn set_aside(quarantine: &SharedQuarantine, failed: Option<(RecordBatch, Vec<Vec<String>>)>) -> Result<()> {
    let Some((failed, reasons)) = failed else { return Ok(()) };
    let first = failed.num_columns() - CARRIED.len();
    let column = |index: usize| failed.column(first + index);
    let place = [column(1), column(2), column(3)];
    quarantine.lock().await.add_records(column(0), None, place, &reasons).await
}
