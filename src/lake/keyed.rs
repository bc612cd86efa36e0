//! The rows of some keys, as a table that SQL reads: row groups that cannot hold them are left out, and in the others the
//! columns besides the key are read only for the rows that are wanted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use deltalake::datafusion::catalog::{Session, TableProvider};
use deltalake::datafusion::common::DFSchema;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::logical_expr::{Expr, TableType};
use deltalake::datafusion::physical_expr::PhysicalExpr;
use deltalake::datafusion::physical_plan::ExecutionPlan;
use deltalake::datafusion::prelude::SessionContext;
use deltalake::parquet::arrow::ProjectionMask;
use deltalake::parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use futures::{Stream, TryStreamExt};

use super::lookup::{FirstValues, KeySet, candidate_groups, hash_keys};
use super::reader::{self, RowGroup, StoredFile};
use super::shares::{Shared, scan};
use super::table::without_comments;
use super::{DataFile, LakeTable, side_by_side};
use crate::error::{Error, Place, Result};

/// How the key of a table's row is told from its columns.
#[derive(Debug, Clone)]
pub struct RowKey {
    /// The columns that it is told from.
    columns: SchemaRef,
    /// Its parts over `columns`, each with the type that it is compared in.
    parts: Vec<(Arc<dyn PhysicalExpr>, DataType)>,
    /// The column that it begins with, where it begins with one as it is stored.
    first: Option<String>,
}

impl RowKey {
    /// The key with these parts, as expressions over a table's columns, that is compared in these types.
    ///
    /// # Errors
    /// When an expression does not fit the table.
    pub fn new(ctx: &SessionContext, table: &LakeTable, key: &[Expr], types: &SchemaRef) -> Result<Self> {
        Self::of_columns(ctx, &without_comments(table.schema()), key, types)
    }

    /// The same of rows with these columns.
    ///
    /// # Errors
    /// When an expression does not fit them.
    pub fn of_columns(ctx: &SessionContext, plain: &SchemaRef, key: &[Expr], types: &SchemaRef) -> Result<Self> {
        let named: Vec<_> = key.iter().flat_map(Expr::column_refs).map(|column| column.name.clone()).collect();
        let columns = plain.fields().iter().filter(|field| named.contains(field.name()));
        let columns = Schema::new(columns.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
        let of_columns = DFSchema::try_from(columns.clone())?;
        let types = types.fields().iter().map(|field| field.data_type().clone());
        let parts = key
            .iter()
            .zip(types)
            .map(|(part, data_type)| Ok::<_, Error>((ctx.create_physical_expr(part.clone(), &of_columns)?, data_type)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let first = match (key.first(), parts.first()) {
            (Some(Expr::Column(column)), Some((part, stored))) if part.data_type(&columns)? == *stored => {
                Some(column.name.clone())
            }
            _ => None,
        };
        Ok(Self { columns: Arc::new(columns), parts, first })
    }

    /// The names of the columns that the key is told from.
    pub fn columns(&self) -> Vec<String> {
        self.columns.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The keys of some rows, a column a part; `rows` has the columns that keys are told from, but for those that are
    /// younger than its file.
    ///
    /// # Errors
    /// When an expression fails.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let rows = aligned(rows, &self.columns)?;
        let part = |(part, data_type): &(Arc<dyn PhysicalExpr>, DataType)| {
            Ok(cast(&part.evaluate(&rows)?.into_array(rows.num_rows())?, data_type)?)
        };
        self.parts.iter().map(part).collect()
    }

    fn is_among(&self, keys: &KeySet, rows: &RecordBatch) -> Result<BooleanArray> {
        let hashes = hash_keys(&self.of_rows(rows)?)?;
        Ok(hashes.into_iter().map(|hash| Some(keys.contains(hash))).collect())
    }
}

/// The rows of a table whose key is among some.
pub struct KeyedRows {
    schema: SchemaRef,
    groups: Vec<RowGroup>,
    key: RowKey,
    keys: Arc<KeySet>,
}

impl std::fmt::Debug for KeyedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rows of {} keys in {} row groups", self.keys.len(), self.groups.len())
    }
}

impl KeyedRows {
    /// Finds the row groups that may hold rows of the keys.
    ///
    /// # Errors
    /// When a data file cannot be read.
    #[tracing::instrument(level = "trace", skip_all, name = "keyed_rows", fields(table = %table.name))]
    pub async fn find(table: &LakeTable, key: RowKey, keys: Arc<KeySet>) -> Result<Arc<dyn TableProvider>> {
        let values = keys.first_values()?;
        let searches = table.files()?.into_iter().map(|file| {
            let (table, key, values) = (table.clone(), key.clone(), values.clone());
            async move { groups_of(&table, &file, &key, values.as_ref()).await.at(&table.name) }
        });
        let groups = side_by_side(searches).await?.into_iter().flatten().collect();
        Ok(Arc::new(Self { schema: without_comments(table.schema()), groups, key, keys }))
    }
}

async fn groups_of(
    table: &LakeTable,
    file: &DataFile,
    key: &RowKey,
    values: Option<&FirstValues>,
) -> Result<Vec<RowGroup>> {
    let reader = reader::open(table, &file.path, file.size, None).await?;
    let candidates = match &key.first {
        Some(first) => {
            let stored = StoredFile::of(table, &file.path, file.size)?;
            candidate_groups(stored, reader.metadata(), reader.schema(), values, first).await.at(&file.path)?
        }
        None => (0..reader.metadata().num_row_groups()).collect(),
    };
    candidates.into_iter().map(|index| RowGroup::of(table, file, reader.metadata(), index)).collect()
}

#[async_trait]
impl TableProvider for KeyedRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let groups = Mutex::new(self.groups.clone().into());
        scan(Scan { schema, groups, key: self.key.clone(), keys: self.keys.clone() }, session, None)
    }
}

/// One reading of the rows, by several tasks.
#[derive(Debug)]
struct Scan {
    schema: SchemaRef,
    groups: Mutex<VecDeque<RowGroup>>,
    key: RowKey,
    keys: Arc<KeySet>,
}

impl Shared for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn stream(self: Arc<Self>) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let groups = futures::stream::try_unfold(self, |scan| async move {
            let group = scan.groups.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(group) = group else { return Ok(None) };
            Ok::<_, Error>(Some((scan.read(group)?, scan)))
        });
        groups.try_flatten()
    }
}

impl Scan {
    /// The rows of a row group that are wanted.
    fn read(&self, group: RowGroup) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let builder = group.open()?;
        let columns = |schema: &SchemaRef| {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            ProjectionMask::columns(builder.parquet_schema(), names)
        };
        let (of_key, wanted) = (columns(&self.key.columns), columns(&self.schema));
        let (key, keys) = (self.key.clone(), self.keys.clone());
        let is_among = ArrowPredicateFn::new(of_key, move |rows| {
            key.is_among(&keys, &rows).map_err(|error| ArrowError::ExternalError(Box::new(error)))
        });
        let rows = builder.with_row_filter(RowFilter::new(vec![Box::new(is_among)])).with_projection(wanted).build()?;
        let schema = self.schema.clone();
        Ok(rows.map_err(Error::from).and_then(move |rows| std::future::ready(aligned(&rows, &schema))))
    }
}

/// A file's rows with the columns of a schema, in its types; NULL in those that are younger than the file.
fn aligned(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{Field, Int64Type};
    use deltalake::datafusion::prelude::{col, lit};

    use super::super::{Commit, Durability, Lake, TableSpec, TableWriter};
    use super::*;
    use crate::contract::Column;
    use crate::engine::{self, Limits};

    fn spec(columns: &[(&str, DataType)]) -> TableSpec {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            required: false,
            comment: String::new(),
        };
        TableSpec {
            name: "silver.things".to_owned(),
            description: String::new(),
            columns: columns.iter().map(column).collect(),
            statistics: Vec::new(),
            lookup: Vec::new(),
            sought: vec!["kind".to_owned()],
            rising: Vec::new(),
            change_feed: true,
        }
    }

    async fn append(lake: &Lake, spec: &TableSpec, columns: Vec<ArrayRef>) -> LakeTable {
        let mut table = lake.open_or_create(spec).await.unwrap();
        let mut writer = TableWriter::new(&table, spec);
        writer.write(&RecordBatch::try_new(spec.arrow_schema(), columns).unwrap()).await.unwrap();
        let adds = writer.close().await.unwrap();
        let metadata = table.metadata_change(spec).unwrap();
        table.commit(lake, Commit { adds, metadata, ..Commit::default() }).await.unwrap();
        table
    }

    /// The ids of the rows with some keys, and how many row groups are read for them.
    async fn ids(table: &LakeTable, key: Expr, keys: ArrayRef) -> (Vec<i64>, usize) {
        let ctx = engine::session(Limits::default()).unwrap();
        let types = Arc::new(Schema::new(vec![Field::new("key", keys.data_type().clone(), true)]));
        let key = RowKey::new(&ctx, table, &[key], &types).unwrap();
        let mut set = KeySet::default();
        set.add(&[keys]).unwrap();
        let rows = KeyedRows::find(table, key, Arc::new(set)).await.unwrap();
        let groups = format!("{rows:?}").rsplit(" in ").next().and_then(|text| text.split(' ').next()?.parse().ok());
        engine::register(&ctx, "silver.things", rows).unwrap();
        let found = ctx.sql("SELECT id FROM silver.things ORDER BY id").await.unwrap().collect().await.unwrap();
        let count = ctx.sql("SELECT COUNT(*) FROM silver.things").await.unwrap().collect().await.unwrap();
        let ids: Vec<i64> =
            found.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(count[0].column(0).as_primitive::<Int64Type>().value(0), ids.len() as i64);
        (ids, groups.unwrap())
    }

    #[tokio::test]
    async fn rows_are_found_by_column_by_expression_and_in_files_that_are_older_than_the_column() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(folder.path().to_str().unwrap(), Durability::None).unwrap();
        let before = spec(&[("id", DataType::Int64)]);
        append(&lake, &before, vec![Arc::new(Int64Array::from(vec![1, 2]))]).await;
        let now = spec(&[("id", DataType::Int64), ("kind", DataType::Utf8)]);
        let kinds = |kinds: Vec<Option<&str>>| Arc::new(StringArray::from(kinds)) as ArrayRef;
        let (ids_of_a, a) = (Arc::new(Int64Array::from(vec![3, 4, 5])), kinds(vec![Some("a"), Some("b"), None]));
        append(&lake, &now, vec![ids_of_a, a]).await;
        let table = append(&lake, &now, vec![Arc::new(Int64Array::from(vec![6])), kinds(vec![Some("c")])]).await;

        // The older file has no bloom filter, and NULL in all its rows.
        assert_eq!(ids(&table, col("kind"), kinds(vec![Some("b")])).await, (vec![4], 2));
        assert_eq!(ids(&table, col("kind"), kinds(vec![Some("b"), Some("c")])).await, (vec![4, 6], 3));
        assert_eq!(ids(&table, col("kind"), kinds(vec![None])).await.0, [1, 2, 5]);
        assert_eq!(ids(&table, col("kind"), kinds(vec![Some("z")])).await.0, [0_i64; 0]);
        assert_eq!(ids(&table, col("id") % lit(2_i64), Arc::new(Int64Array::from(vec![1]))).await, (vec![1, 3, 5], 3));
    }
}
