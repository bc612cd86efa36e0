//! Makes few files of many small ones: the same rows, sorted by the columns that they are looked up by.

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use object_store::ObjectStoreExt;

use super::writer::{TARGET_BYTES, file_schema};
use super::{Commit, DataFile, Kind, LakeTable, TableSpec, TableWriter, read_file};
use crate::error::{Place, Result};

/// Bytes on disk below which a file is small, unless it has many rows: these cost the same work, however few bytes they are.
const SMALL_BYTES: u64 = 8 * 1024 * 1024;
const SMALL_ROWS: u64 = 64 * 1024;
/// Rows of a batch that sorted rows are written in.
const BATCH_ROWS: usize = 8192;

/// The small files of a table, in groups of at least `least` that are each to become one file.
///
/// # Errors
/// When the snapshot is not loaded.
pub fn small_files(table: &LakeTable, least: usize) -> Result<Vec<Vec<DataFile>>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let mut bytes = TARGET_BYTES;
    let is_small = |file: &DataFile| file.size < SMALL_BYTES && file.rows.is_none_or(|rows| rows < SMALL_ROWS);
    let mut small: Vec<DataFile> = table.files()?.into_iter().filter(is_small).collect();
    // Oldest first, so that rows that came together stay together.
    small.sort_by_key(|file| file.add().modification_time);
    for file in small {
        if bytes + file.size > TARGET_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += file.size;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups.retain(|group| group.len() >= least);
    Ok(groups)
}

/// Writes the rows of some files into fewer, which the commit that is given back puts in their place; `None` when they
/// would not be fewer.
///
/// # Errors
/// When a file cannot be read, or storage fails.
pub async fn compact(table: &LakeTable, spec: &TableSpec, files: &[DataFile]) -> Result<Option<Commit>> {
    let schema = file_schema(spec);
    let mut batches = Vec::new();
    for file in files {
        batches.extend(read_file(table, file).await.at(&table.name)?);
    }
    let mut writer = TableWriter::new(table, spec);
    for rows in sorted(&schema, batches, &spec.lookup)? {
        writer.write(&rows).await?;
    }
    let adds = writer.close().await?;
    if adds.len() >= files.len() {
        for add in &adds {
            table.store().delete(&deltalake::Path::parse(&add.path).at(&table.name)?).await.at(&table.name)?;
        }
        return Ok(None);
    }
    let removes = files.iter().map(DataFile::remove).collect();
    Ok(Some(Commit { kind: Kind::Compact, adds, removes, ..Commit::default() }))
}

/// The rows in batches, sorted by some columns; as they are when there are none.
fn sorted(schema: &SchemaRef, batches: Vec<RecordBatch>, by: &[String]) -> Result<Vec<RecordBatch>> {
    if by.is_empty() {
        return Ok(batches);
    }
    // A file may say of a column that it has no nulls, where another has some.
    let batches = batches.into_iter().map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()));
    let rows = concat_batches(schema, &batches.collect::<Result<Vec<_>, _>>()?)?;
    let keys: Vec<_> = by.iter().filter_map(|name| rows.column_by_name(name).cloned()).collect();
    let fields = keys.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
    let places = order.chunks(BATCH_ROWS).map(|places| arrow::array::UInt32Array::from(places.to_vec()));
    Ok(places.map(|places| take_record_batch(&rows, &places)).collect::<Result<Vec<_>, _>>()?)
}
