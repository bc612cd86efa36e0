//! Reads single data files, where the place of a row in its file matters.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use deltalake::Path;
use deltalake::parquet::arrow::ProjectionMask;
use deltalake::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use deltalake::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use deltalake::parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use deltalake::parquet::errors::ParquetError;
use deltalake::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, TryStreamExt};
use object_store::ObjectStoreExt;
use tracing::{Instrument, trace_span};

use super::{DataFile, LakeTable, Store};
use crate::error::{Error, Place, Result};

/// Bytes at a file's end that mostly hold its footer, and are fetched at once.
const FOOTER_BYTES: usize = 64 * 1024;
/// Rows of a batch that a file is read in.
const BATCH_ROWS: usize = 8192;

pub(super) type FileReader = ParquetRecordBatchStreamBuilder<StoredFile>;

/// A file in an object store, for Parquet to read from.
#[derive(Debug, Clone)]
pub(super) struct StoredFile {
    store: Store,
    path: Path,
    size: u64,
}

impl StoredFile {
    pub fn of(table: &LakeTable, path: &str, size: u64) -> Result<Self> {
        let path = Path::parse(path).at(format!("{}: {path}", table.name))?;
        Ok(Self { store: table.store(), path, size })
    }
}

type ParquetResult<T> = std::result::Result<T, ParquetError>;

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(|error| ParquetError::External(error.into())) }
            .instrument(trace_span!("fetch"))
            .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            self.store.get_ranges(&self.path, &ranges).await.map_err(|error| ParquetError::External(error.into()))
        }
        .instrument(trace_span!("fetch"))
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            let reader = reader.with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// Opens a file of a table; `columns` in the order of the file, all of them when `None`.
pub(super) async fn open(table: &LakeTable, path: &str, size: u64, columns: Option<&[String]>) -> Result<FileReader> {
    let reader = StoredFile::of(table, path, size)?;
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.at(format!("{}: {path}", table.name))?;
    let builder = builder.with_batch_size(BATCH_ROWS);
    let Some(columns) = columns else { return Ok(builder) };
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
    Ok(builder.with_projection(mask))
}

/// The least and the most that each row group of a file has in a column, NULL where that is not known: no value is less
/// or more, but of texts they may be cut off.
pub(super) fn bounds(metadata: &ParquetMetaData, schema: &Schema, column: &str) -> Result<(ArrayRef, ArrayRef)> {
    let groups = metadata.row_groups();
    let known = StatisticsConverter::try_new(column, schema, metadata.file_metadata().schema_descr())?;
    Ok((known.row_group_mins(groups)?, known.row_group_maxes(groups)?))
}

/// All rows of some columns of a file.
///
/// # Errors
/// When the file cannot be read.
pub async fn read_columns(table: &LakeTable, path: &str, size: u64, columns: &[String]) -> Result<Vec<RecordBatch>> {
    let reader = open(table, path, size, Some(columns)).await?;
    reader.build().at(path)?.try_collect().await.at(format!("{}: {path}", table.name))
}

/// Some columns of the rows of a data file, in the file's order, as they come.
///
/// # Errors
/// When the file cannot be read.
pub async fn stream_columns(
    table: &LakeTable,
    file: &DataFile,
    columns: &[String],
) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
    let place = format!("{}: {}", table.name, file.path);
    let stream = open(table, &file.path, file.size, Some(columns)).await?.build().at(&place)?;
    Ok(stream.map_err(move |error| Error::from(error).at(&place)))
}

/// All rows of a data file.
///
/// # Errors
/// When the file cannot be read.
pub async fn read_file(table: &LakeTable, file: &DataFile) -> Result<Vec<RecordBatch>> {
    let reader = open(table, &file.path, file.size, None).await?;
    reader.build().at(&file.path)?.try_collect().await.at(&file.path)
}

/// The rows of a data file at some places, which are ascending.
///
/// # Errors
/// When the file cannot be read.
pub async fn read_rows(table: &LakeTable, file: &DataFile, places: &[u32]) -> Result<Vec<RecordBatch>> {
    let reader = open(table, &file.path, file.size, None).await?;
    let all = reader.metadata().row_groups().iter().map(|group| group.num_rows() as usize).sum();
    let ranges = places.iter().map(|place| *place as usize..*place as usize + 1);
    let reader = reader.with_row_selection(RowSelection::from_consecutive_ranges(ranges, all));
    reader.build().at(&file.path)?.try_collect().await.at(&file.path)
}

/// The rows of a data file, from its footer. A file of another size than the log says is an error.
///
/// # Errors
/// When the file is not there, has another size, or is no Parquet file.
pub async fn file_rows(table: &LakeTable, file: &DataFile) -> Result<u64> {
    let path = Path::parse(&file.path)?;
    let size = table.store().head(&path).await?.size;
    if size != file.size {
        return Err(Error::failed(format!("it has {size} bytes, the log says {}", file.size)));
    }
    let reader = StoredFile { store: table.store(), path, size };
    let metadata = ParquetRecordBatchStreamBuilder::new(reader).await?.metadata().clone();
    Ok(metadata.row_groups().iter().map(|group| group.num_rows() as u64).sum())
}

/// A row group of a data file, still to be read.
#[derive(Debug, Clone)]
pub struct RowGroup {
    file: StoredFile,
    metadata: Arc<ParquetMetaData>,
    index: usize,
}

impl RowGroup {
    pub(super) fn of(
        table: &LakeTable,
        file: &DataFile,
        metadata: &Arc<ParquetMetaData>,
        index: usize,
    ) -> Result<Self> {
        Ok(Self { file: StoredFile::of(table, &file.path, file.size)?, metadata: metadata.clone(), index })
    }

    /// The row group, its columns as the file has them.
    pub(super) fn open(self) -> Result<FileReader> {
        let metadata = ArrowReaderMetadata::try_new(self.metadata, ArrowReaderOptions::new());
        let metadata = metadata.at(&self.file.path)?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(self.file, metadata);
        Ok(builder.with_batch_size(BATCH_ROWS).with_row_groups(vec![self.index]))
    }

    /// Some columns of its rows, in the file's order, typed as in `schema`: as the file has them but for views of strings.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(self, schema: &SchemaRef) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let place = self.file.path.to_string();
        let stored = ArrowReaderMetadata::try_new(self.metadata.clone(), ArrowReaderOptions::new()).at(&place)?;
        let typed = stored.schema().fields().iter().map(|field| schema.field_with_name(field.name()).unwrap_or(field));
        let typed = Arc::new(Schema::new(typed.cloned().collect::<Vec<_>>()));
        let metadata = ArrowReaderMetadata::try_new(self.metadata, ArrowReaderOptions::new().with_schema(typed));
        let metadata = metadata.at(&place)?;
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(metadata.parquet_schema(), names);
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(self.file, metadata)
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask)
            .with_row_groups(vec![self.index])
            .build()
            .at(&place)?;
        Ok(stream.map_err(move |error| Error::from(error).at(&place)))
    }
}

/// The row groups of some files of a table.
///
/// # Errors
/// When a file's footer cannot be read.
pub async fn row_groups(table: &LakeTable, files: &[DataFile]) -> Result<Vec<RowGroup>> {
    let mut groups = Vec::new();
    for file in files {
        let metadata = open(table, &file.path, file.size, None).await?.metadata().clone();
        for index in 0..metadata.num_row_groups() {
            groups.push(RowGroup::of(table, file, &metadata, index)?);
        }
    }
    Ok(groups)
}
