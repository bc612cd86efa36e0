//! Tables whose rows are counts: what changed is added to the rows that are there. `check` has found which are of this kind,
//! and what is counted.
//!
//! A label that is new may be of any month, and then each month would be counted anew, over all labels that there are. But a
//! group's counts are sums over the exams: so of the exams that changed, what they counted for in the version that the table
//! has seen is taken away, and what they count for now is added.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use deltalake::datafusion::datasource::MemTable;
use deltalake::datafusion::functions_aggregate::sum::sum;
use deltalake::datafusion::logical_expr::{Expr, ident};
use deltalake::datafusion::prelude::{DataFrame, SessionContext};

use super::by_key::{Work, seen};
use super::held::Held;
use super::keys::{self, ChangedKeys, rows_of_keys};
use super::output::{self, Written};
use super::parts::Parts;
use crate::contract::{Counts, KeyedInput};
use crate::engine;
use crate::error::{Place, Result};
use crate::lake::LakeTable;
use crate::silver::quarantine::Replace;
use crate::transform::Transform;

/// How many values may have changed, and how many rows the table may hold of the keys: beyond, counting all costs less.
const MOST_CHANGED: usize = 16 * 1024;
const MOST_ROWS: usize = 1024 * 1024;
/// Bytes that a counted value takes: where the values of all rows may take more than memory, they are counted part by part.
const BYTES_OF_VALUE: u64 = 64;
/// How many times as much as its rows the engine holds to count them.
const COST: usize = 4;

/// Writes the table's rows of the keys that changed, `held` as they are, with what changed added; `None` where that cannot
/// be done, and they have to be computed anew.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails.
#[tracing::instrument(level = "trace", skip_all, name = "add_counts", fields(table = %work.table.name))]
pub(super) async fn add(work: &Work<'_>, held: &Held) -> Result<Option<Written>> {
    let Some(counts) = work.table.counts().filter(|_| held.row_count() <= MOST_ROWS) else { return Ok(None) };
    let Some((before, after)) = count_changed(work, counts, &inputs_of(work, counts)).await? else { return Ok(None) };
    let held = held.rows(work.target).await?;
    let ctx = engine::session(work.run.limits)?;
    let rows = sums(work, counts, &ctx, [held, after].concat(), before).await.at(&work.table.name)?;
    // A group of which nothing is left may have rows still, of which nothing is counted.
    if rows.iter().any(|batch| has_none(batch, &counts.columns)) {
        return Ok(None);
    }
    let written = write(work, &ctx, rows, &Replace::Nothing).await?;
    // A group that is set aside is not held, so that its counts are not known.
    if written.counts.passed < written.counts.input { Ok(None) } else { written.judged().map(Some) }
}

/// Counts all rows of inputs that have many, a part of the counted values after the other: what the engine counts once it
/// holds, and does not put on disk. `None` where there are few rows, or too many groups to be added up.
///
/// # Errors
/// As [`add`].
#[tracing::instrument(level = "trace", skip_all, name = "count_all", fields(table = %work.table.name))]
pub(super) async fn count_all(work: &Work<'_>) -> Result<Option<Written>> {
    let Some(counts) = work.table.counts() else { return Ok(None) };
    let inputs = inputs_of(work, counts);
    let rows = inputs.iter().map(LakeTable::row_count).sum::<Result<u64>>()?;
    if rows.saturating_mul(BYTES_OF_VALUE) <= work.run.limits.memory as u64 {
        return Ok(None);
    }
    tracing::info!(table = %work.table.name, rows, "they are counted part by part");
    let parts = Parts { keyed: &counts.inputs, inputs: &inputs, ..work.parts(None) };
    let (mut counted, mut groups) = (Vec::new(), 0);
    let count = async |ctx: SessionContext| {
        if groups <= MOST_ROWS {
            let rows = rows_of_sql(work, &ctx).await?;
            groups += rows.iter().map(RecordBatch::num_rows).sum::<usize>();
            counted.extend(rows);
        }
        Ok(())
    };
    // Boxed as `Parts::compute_in_portions` is.
    Box::pin(parts.each_portion(&schema_of(counts), work.run.limits.memory / COST, count)).await?;
    if groups > MOST_ROWS {
        return Ok(None);
    }
    let ctx = engine::session(work.run.limits)?;
    let rows = sums(work, counts, &ctx, counted, Vec::new()).await.at(&work.table.name)?;
    write(work, &ctx, rows, &Replace::All).await?.judged().map(Some)
}

/// The inputs in the order of what is counted of them.
fn inputs_of(work: &Work<'_>, counts: &Counts) -> Vec<LakeTable> {
    counts.inputs.iter().filter_map(|keyed| work.input(&keyed.table)).cloned().collect()
}

/// A column for what is counted.
fn schema_of(counts: &Counts) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("counted", counts.data_type.clone(), true)]))
}

async fn write(work: &Work<'_>, ctx: &SessionContext, rows: Vec<RecordBatch>, replace: &Replace) -> Result<Written> {
    let transform = Transform::of(work.table, frame(work, ctx, rows)?)?;
    output::write(work.run, &transform, work.target, work.spec, replace).await
}

/// What is counted of the values whose rows changed: in the versions of the inputs that the table has seen, and now.
async fn count_changed(
    work: &Work<'_>,
    counts: &Counts,
    inputs: &[LakeTable],
) -> Result<Option<(Vec<RecordBatch>, Vec<RecordBatch>)>> {
    let ctx = work.run.session_with_references(&[])?;
    let schema = schema_of(counts);
    let seen = seen(work.target, &counts.inputs, inputs).await?;
    let changed = match keys::changed(&ctx, work.table, &schema, &seen).await? {
        Some(changed) if changed.set.len() <= MOST_CHANGED => changed,
        _ => return Ok(None),
    };
    let mut old = Vec::new();
    for (keyed, input, version) in seen {
        if keyed.is_broadcast() {
            old.push(input.clone());
            continue;
        }
        match work.run.lake.open_at(&input.name, version).await {
            Ok(Some(table)) => old.push(table),
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::info!(table = %work.table.name, "all is counted, as it was before is not known: {error}");
                return Ok(None);
            }
        }
    }
    let before = count(work, &counts.inputs, &old, &changed).await?;
    Ok(Some((before, count(work, &counts.inputs, inputs, &changed).await?)))
}

/// The table's SQL over the input rows of some values.
async fn count(
    work: &Work<'_>,
    keyed: &[KeyedInput],
    inputs: &[LakeTable],
    changed: &ChangedKeys,
) -> Result<Vec<RecordBatch>> {
    let ctx = work.run.session_with_references(work.table.references())?;
    for (keyed, input) in keyed.iter().zip(inputs) {
        engine::register(&ctx, &input.name, rows_of_keys(&ctx, input, keyed, changed).await?)?;
    }
    rows_of_sql(work, &ctx).await
}

/// The rows that the table's SQL gives.
async fn rows_of_sql(work: &Work<'_>, ctx: &SessionContext) -> Result<Vec<RecordBatch>> {
    let rows = ctx.sql(work.table.sql().unwrap_or_default()).await.at(&work.table.name)?;
    let columns: Vec<&str> = work.table.columns.iter().map(|column| column.name.as_str()).collect();
    rows.select_columns(&columns)?.collect().await.at(&work.table.name)
}

/// The groups of some rows with the sums of their counts, from which those of others are taken away.
async fn sums(
    work: &Work<'_>,
    counts: &Counts,
    ctx: &SessionContext,
    added: Vec<RecordBatch>,
    taken: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>> {
    let is_count = |name: &str| counts.columns.iter().any(|count| count == name);
    let names: Vec<&str> = work.table.columns.iter().map(|column| column.name.as_str()).collect();
    let negative = names.iter().map(|name| if is_count(name) { (-ident(*name)).alias(*name) } else { ident(*name) });
    let taken = frame(work, ctx, taken)?.select(negative.collect::<Vec<_>>())?;
    let all = frame(work, ctx, added)?.union(taken)?;
    let (sums, groups): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| is_count(name));
    let sums: Vec<Expr> = sums.into_iter().map(|name| sum(ident(name)).alias(name)).collect();
    let summed = all.aggregate(groups.into_iter().map(ident).collect(), sums)?;
    Ok(summed.select_columns(&names)?.collect().await?)
}

/// Rows with the table's columns, for SQL.
fn frame(work: &Work<'_>, ctx: &SessionContext, rows: Vec<RecordBatch>) -> Result<DataFrame> {
    let fields = work.table.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = rows.into_iter().map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(ctx.read_table(Arc::new(MemTable::try_new(schema.clone(), vec![rows])?))?)
}

/// Whether a row counts nothing.
fn has_none(rows: &RecordBatch, counts: &[String]) -> bool {
    let counts: Vec<_> = counts.iter().filter_map(|name| rows.column_by_name(name)).collect();
    (0..rows.num_rows())
        .any(|row| counts.iter().all(|count| count.is_null(row) || count.as_primitive::<Int64Type>().value(row) == 0))
}
