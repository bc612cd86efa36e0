//! Takes rows out of a data file, and tells the change data feed.
//!
//! Deletion vectors would save the rewriting, but readers at version 1 cannot read them.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::{Add, AddCDCFile, Remove};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::reader;
use super::{DataFile, FileWriter, LakeTable, TableSpec, side_by_side};
use crate::error::{Place, Result};

/// The column of the change data feed that says what happened to a row.
const CHANGE_TYPE: &str = "_change_type";

/// A data file without some of its rows.
#[derive(Debug)]
pub struct Rewrite {
    /// Takes the old file out.
    pub remove: Remove,
    /// Adds the new one; `None` when no row is left.
    pub add: Option<Add>,
    /// The rows that were taken out.
    pub taken: Vec<RecordBatch>,
}

/// Writes a file anew without the rows at `dead`, which are places in the file, ascending.
///
/// # Errors
/// When the file cannot be read or the new one not be written.
#[tracing::instrument(level = "trace", skip_all, name = "rewrite", fields(table = %table.name))]
async fn rewrite_without(table: &LakeTable, spec: &TableSpec, file: &DataFile, dead: &[u32]) -> Result<Rewrite> {
    let mut stream = reader::open(table, &file.path, file.size, None).await?.build().at(&file.path)?;
    let mut writer = FileWriter::new(table, spec)?;
    let (mut taken, mut dead, mut start) = (Vec::new(), dead.iter().copied().peekable(), 0_u32);
    while let Some(batch) = stream.try_next().await.at(&file.path)? {
        let end = start + batch.num_rows() as u32;
        let mut keep = vec![true; batch.num_rows()];
        while let Some(place) = dead.next_if(|place| *place < end) {
            keep[(place - start) as usize] = false;
        }
        start = end;
        let gone: BooleanArray = keep.iter().map(|keep| Some(!keep)).collect();
        writer.write_where(&batch, &BooleanArray::from(keep)).await.at(&file.path)?;
        if gone.true_count() > 0 {
            taken.push(filter_record_batch(&batch, &gone)?);
        }
    }
    Ok(Rewrite { remove: file.remove(), add: writer.close().await.at(&file.path)?, taken })
}

/// Writes files anew side by side, each without the rows at some places in it, which are ascending; gives them in their order.
///
/// # Errors
/// When a file cannot be read or the new one not be written.
pub async fn rewrite_each(
    table: &LakeTable,
    spec: &TableSpec,
    files: impl IntoIterator<Item = (DataFile, Vec<u32>)>,
) -> Result<Vec<Rewrite>> {
    side_by_side(files.into_iter().map(|(file, dead)| {
        let (table, spec) = (table.clone(), spec.clone());
        async move { rewrite_without(&table, &spec, &file, &dead).await }
    }))
    .await
}

impl LakeTable {
    /// A new file, which no commit names yet, without some of its rows; `None` when none are left. The old one is deleted.
    ///
    /// # Errors
    /// When the file cannot be read or the new one not be written.
    pub async fn shrink(&self, spec: &TableSpec, file: DataFile, dead: &[u32]) -> Result<Option<DataFile>> {
        if dead.is_empty() {
            return Ok(Some(file));
        }
        let rewrite = rewrite_without(self, spec, &file, dead).await?;
        let path = deltalake::Path::parse(&file.path).at(&self.name)?;
        self.store().delete(&path).await.at(&file.path)?;
        Ok(rewrite.add.map(DataFile::of))
    }
}

/// Writes changed rows, each batch with what happened to its rows (`insert`, `delete`, `update_preimage`,
/// `update_postimage`), as a file of the change data feed; `None` when there are none.
///
/// # Errors
/// When the file cannot be written.
#[tracing::instrument(level = "trace", skip_all, name = "change_feed", fields(table = %table.name))]
pub async fn change_file(
    table: &LakeTable,
    spec: &TableSpec,
    changes: &[(RecordBatch, &str)],
) -> Result<Option<AddCDCFile>> {
    let schema = change_schema(spec);
    let mut writer = FileWriter::of_changes(table, schema.clone())?;
    for (batch, what) in changes {
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(StringArray::from(vec![*what; batch.num_rows()])));
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?).await.at(&table.name)?;
    }
    let add = writer.close().await.at(&table.name)?;
    Ok(add.map(|add| AddCDCFile {
        path: add.path,
        size: add.size,
        partition_values: add.partition_values,
        data_change: false,
        tags: None,
    }))
}

/// The table's columns, nulls allowed everywhere, and what happened.
fn change_schema(spec: &TableSpec) -> SchemaRef {
    let mut fields: Vec<Field> =
        spec.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)).collect();
    fields.push(Field::new(CHANGE_TYPE, DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}
