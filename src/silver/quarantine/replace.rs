//! What of the quarantine goes, and what is kept of it, when a table is computed again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, Schema};
use futures::TryStreamExt;

use super::{OPEN, QUARANTINE, RELEASED, Replace, places, spec};
use crate::error::Result;
use crate::lake::{Add, DataFile, Follower, KeySet, Lake, LakeTable, Remove, lookup, rewrite_each, stream_columns};

/// Rows that new ones stand in for.
#[derive(Default)]
pub(super) struct Replaced {
    pub removes: Vec<Remove>,
    pub adds: Vec<Add>,
    /// The rows that went.
    pub taken: Vec<RecordBatch>,
}

/// Takes the rows of a table out of the quarantine.
pub(super) async fn replaced(table: &LakeTable, for_table: &str, replace: &Replace) -> Result<Replaced> {
    let (names, mut keys) = match replace {
        Replace::Nothing => return Ok(Replaced::default()),
        Replace::All => (vec!["table".to_owned()], KeySet::default()),
        Replace::Keys(_) => (vec!["key".to_owned(), "table".to_owned()], KeySet::default()),
    };
    let name = |rows: usize| Arc::new(StringArray::from(vec![for_table; rows])) as ArrayRef;
    match replace {
        Replace::Keys(values) => keys.add(&[Arc::new(StringArray::from(values.clone())), name(values.len())])?,
        _ => keys.add(&[name(1)])?,
    }
    let files = table.files()?;
    if files.is_empty() {
        return Ok(Replaced::default());
    }
    let mut dead: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for found in lookup(table, &files, Arc::new(keys), &names, &[]).await? {
        dead.entry(found.file).or_default().extend(found.rows);
    }
    rewrite(table, &files, dead).await
}

async fn rewrite(table: &LakeTable, files: &[DataFile], dead: BTreeMap<usize, Vec<u32>>) -> Result<Replaced> {
    let mut replaced = Replaced::default();
    let touched = dead.into_iter().filter(|(_, rows)| !rows.is_empty());
    for rewrite in rewrite_each(table, &spec(), touched.map(|(file, rows)| (files[file].clone(), rows))).await? {
        replaced.removes.push(rewrite.remove);
        replaced.adds.extend(rewrite.add);
        replaced.taken.extend(rewrite.taken);
    }
    Ok(replaced)
}

/// What takes the rows of a table that came with batches after `batch` out of the quarantine; `None` when there are none.
///
/// # Errors
/// When storage fails.
pub async fn without_later(lake: &Lake, for_table: &str, batch: i64) -> Result<Option<Follower>> {
    let Some(table) = lake.open(QUARANTINE).await? else { return Ok(None) };
    let files = table.files()?;
    let mut keys = KeySet::default();
    keys.add(&[Arc::new(StringArray::from(vec![for_table])) as ArrayRef])?;
    let mut dead: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for found in lookup(&table, &files, Arc::new(keys), &["table".to_owned()], &["_batch".to_owned()]).await? {
        let batches = found.columns.column_by_name("_batch").map(|column| column.as_primitive::<Int64Type>());
        let is_later = |row: usize| batches.is_some_and(|batches| batches.is_valid(row) && batches.value(row) > batch);
        let later = found.rows.iter().enumerate().filter(|(row, _)| is_later(*row)).map(|(_, place)| *place);
        dead.entry(found.file).or_default().extend(later);
    }
    let Replaced { removes, adds, .. } = rewrite(&table, &files, dead).await?;
    Ok((!removes.is_empty()).then(|| Follower { table: QUARANTINE.to_owned(), adds, removes }))
}

/// The batches that a bronze table holds.
pub(super) async fn batches(bronze: &LakeTable) -> Result<HashSet<i64>> {
    let mut batches = HashSet::new();
    for file in bronze.files()? {
        let mut rows = stream_columns(bronze, &file, &["_batch".to_owned()]).await?;
        while let Some(rows) = rows.try_next().await? {
            batches.extend(rows.column(0).as_primitive::<Int64Type>().iter().flatten());
        }
    }
    Ok(batches)
}

/// Of rows that went, those to be kept: a record that is not set aside any more is released, by this run or an earlier
/// one. A record goes without a trace whose batch a restore took out of bronze: if it was delivered again, it is there as
/// another one. So do rows of derived tables: they were computed, not delivered.
pub(super) fn kept(
    taken: &RecordBatch,
    batches: &HashSet<i64>,
    set_aside: &HashSet<u64>,
    run: &str,
) -> Result<Option<RecordBatch>> {
    let column = |name: &str| Ok::<_, crate::error::Error>(taken.column(taken.schema().index_of(name)?).clone());
    let keys = column("key")?;
    let batch = column("_batch")?;
    let batch = batch.as_primitive::<Int64Type>();
    let is_record = |row: usize| keys.is_null(row) && batch.is_valid(row) && batches.contains(&batch.value(row));
    let records: BooleanArray = (0..taken.num_rows()).map(|row| Some(is_record(row))).collect();
    let taken = filter_record_batch(taken, &records)?;
    let column = |name: &str| Ok::<_, crate::error::Error>(taken.column(taken.schema().index_of(name)?).clone());
    let hashes = places::hashes([&column("_source")?, &column("_row")?, &column("_batch")?])?;
    let (status, by) = (column("status")?, column("released_by")?);
    let (status, by) = (status.as_string::<i32>(), by.as_string::<i32>());
    let is_kept: BooleanArray = hashes.iter().map(|hash| Some(!set_aside.contains(hash))).collect();
    if is_kept.true_count() == 0 {
        return Ok(None);
    }
    let released_by =
        (0..taken.num_rows()).map(|row| Some(if status.value(row) == OPEN { run } else { by.value(row) }));
    let mut columns = taken.columns().to_vec();
    let at = |name: &str| taken.schema().index_of(name);
    columns[at("released_by")?] = Arc::new(released_by.collect::<StringArray>());
    columns[at("status")?] = Arc::new(StringArray::from(vec![RELEASED; taken.num_rows()]));
    let schema: Arc<Schema> = spec().arrow_schema();
    Ok(Some(filter_record_batch(&RecordBatch::try_new(schema, columns)?, &is_kept)?))
}
