//! Which keys of a derived table changed: its key expressions over the changed rows of its inputs, old values included.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::prelude::SessionContext;

use crate::contract::{KeyedInput, Table};
use crate::error::{Place, Result};
use crate::lake::{Changed, KeySet, KeyedRows, LakeTable, RowKey, changed_rows};

/// The distinct keys that changed.
#[derive(Clone)]
pub struct ChangedKeys {
    /// One row a key, one column a column of `replace_by`.
    pub rows: RecordBatch,
    /// The same, to be looked up.
    pub set: Arc<KeySet>,
}

/// The keys, with columns as in `schema`, whose rows in an input changed since the versions that the table has seen; `None`
/// when that cannot be told, or when it is all of them.
///
/// # Errors
/// When storage fails.
#[tracing::instrument(level = "trace", skip_all, name = "changed_keys")]
pub async fn changed(
    ctx: &SessionContext,
    table: &Table,
    schema: &SchemaRef,
    inputs: &[(&KeyedInput, &LakeTable, u64)],
) -> Result<Option<ChangedKeys>> {
    let mut set = KeySet::default();
    let mut keys = Vec::new();
    for (keyed, input, since) in inputs {
        if keyed.is_broadcast() {
            if any_changed(input, *since).await? {
                return Ok(None);
            }
            continue;
        }
        let key = RowKey::new(ctx, input, &keyed.key, schema).at(&table.name)?;
        let Changed::Rows(batches) = changed_rows(input, *since, &key.columns()).await? else { return Ok(None) };
        for batch in batches {
            let batch = RecordBatch::try_new(schema.clone(), key.of_rows(&batch).at(&table.name)?)?;
            keys.push(set.add_new(&batch)?);
        }
    }
    Ok(Some(ChangedKeys { rows: concat_batches(schema, &keys)?, set: Arc::new(set) }))
}

/// Whether a row changed after a version; a newer version need not have other rows.
async fn any_changed(input: &LakeTable, since: u64) -> Result<bool> {
    let column: Vec<String> = input.schema().fields().iter().take(1).map(|field| field.name().clone()).collect();
    Ok(match changed_rows(input, since, &column).await? {
        Changed::Rows(batches) => batches.iter().any(|batch| batch.num_rows() > 0),
        Changed::Unknown => true,
    })
}

/// The columns of `replace_by`, with their declared types.
pub fn key_schema(table: &Table, replace_by: &[String]) -> SchemaRef {
    let columns = replace_by.iter().filter_map(|name| table.column(name));
    let fields = columns.map(|column| Field::new(&column.name, column.data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows of an input that some keys depend on, as a table; all of one that is broadcast.
///
/// # Errors
/// When a data file cannot be read.
pub async fn rows_of_keys(
    ctx: &SessionContext,
    input: &LakeTable,
    keyed: &KeyedInput,
    keys: &ChangedKeys,
) -> Result<Arc<dyn TableProvider>> {
    if keyed.is_broadcast() {
        return input.provider(ctx).await;
    }
    let key = RowKey::new(ctx, input, &keyed.key, &keys.rows.schema())?;
    KeyedRows::find(input, key, keys.set.clone()).await
}
