//! Writes rows into data files that no commit names yet.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use deltalake::datafile::writer::{PartitionWriter, PartitionWriterConfig};
use deltalake::kernel::Add;
use deltalake::parquet::basic::{Compression, Encoding, ZstdLevel};
use deltalake::parquet::file::properties::{EnabledStatistics, WriterProperties};
use deltalake::parquet::schema::types::ColumnPath;

use super::{LakeTable, Store, TableSpec, dictionary};
use crate::error::{Place, Result};

/// Rows and bytes of a row group: small enough that a few open files stay within memory, that tasks which take one after the
/// other end at nearly the same time, and that a bloom filter of so many keys, which is a power of two in size, has no more
/// than 64 KiB.
const ROW_GROUP_ROWS: usize = 24 * 1024;
const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of a page, before it is compressed: it stays in a processor's cache until it is.
const PAGE_BYTES: usize = 256 * 1024;
/// Rows of a data file, after which the next one begins.
const FILE_ROWS: usize = 1024 * 1024;
/// Bytes on disk that a data file should have: what is rewritten together.
pub(super) const TARGET_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes in memory, before encoding, of a data file, after which the next one begins.
const FILE_BYTES: usize = 256 * 1024 * 1024;
/// Rows that a run of kept rows should have on average, to be written without being copied.
const ROWS_OF_A_RUN: usize = 128;
/// A bloom filter's chance of a wrong yes: an increment asks for thousands of keys, and one wrong yes reads a row group.
const BLOOM_FPP: f64 = 1e-4;

/// What a data file is written to, and how.
struct Target {
    store: Store,
    properties: WriterProperties,
    /// The columns that have statistics in the log; the first ones without.
    statistics: Option<Vec<String>>,
    folder: String,
}

/// Writes one data file.
pub struct FileWriter {
    target: Target,
    /// Once there are rows.
    writer: Option<PartitionWriter>,
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
}

impl FileWriter {
    /// A data file of a table.
    ///
    /// # Errors
    /// When the writer's settings do not fit the table.
    pub fn new(table: &LakeTable, spec: &TableSpec) -> Result<Self> {
        Self::with(table.store(), file_schema(spec), properties(spec)?, Some(spec.statistics.clone()), "")
    }

    /// A file of changed rows, in `_change_data`.
    pub(super) fn of_changes(table: &LakeTable, schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder().set_compression(zstd()?).build();
        Self::with(table.store(), schema, properties, Some(Vec::new()), "_change_data")
    }

    /// A file like another one of a table: of its columns, in its folder.
    ///
    /// # Errors
    /// When the writer's settings do not fit the table.
    pub(super) fn like(table: &LakeTable, spec: &TableSpec, schema: SchemaRef, folder: &str) -> Result<Self> {
        let statistics = spec.statistics.iter().filter(|name| schema.column_with_name(name).is_some());
        Self::with(table.store(), schema.clone(), properties(spec)?, Some(statistics.cloned().collect()), folder)
    }

    fn with(
        store: Store,
        schema: SchemaRef,
        properties: WriterProperties,
        statistics: Option<Vec<String>>,
        prefix: &str,
    ) -> Result<Self> {
        let target = Target { store, properties, statistics, folder: prefix.to_owned() };
        Ok(Self { target, writer: None, schema, rows: 0, bytes: 0 })
    }

    /// Writes rows; their columns must be those of the file, in its order, whatever the schema says of nulls.
    ///
    /// # Errors
    /// When a required column holds a null, or storage fails.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())?;
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(self.target.begin(&batch)?),
        };
        Ok(writer.write(&batch).await?)
    }

    /// Writes the rows for which `keep` holds, see [`FileWriter::write`].
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub async fn write_where(&mut self, batch: &RecordBatch, keep: &BooleanArray) -> Result<()> {
        let runs: Vec<(usize, usize)> = keep.values().set_slices().collect();
        if runs.len() * ROWS_OF_A_RUN > batch.num_rows() {
            return self.write(&filter_record_batch(batch, keep)?).await;
        }
        // Copying lists of structs costs more than writing them: the rows between those that are left out go as they are.
        let bytes = self.bytes + batch.get_array_memory_size();
        for (start, end) in runs {
            self.write(&batch.slice(start, end - start)).await?;
        }
        // Each slice holds on to the whole batch.
        self.bytes = bytes;
        Ok(())
    }

    /// Whether the file is large enough.
    pub fn is_full(&self) -> bool {
        self.rows >= FILE_ROWS || self.bytes >= FILE_BYTES
    }

    /// Ends the file; `None` when no row was written.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn close(self) -> Result<Option<Add>> {
        match self.writer {
            Some(writer) => Ok(writer.close().await?.pop()),
            None => Ok(None),
        }
    }
}

impl Target {
    fn begin(&self, first: &RecordBatch) -> Result<PartitionWriter> {
        let config = PartitionWriterConfig::try_new(
            first.schema(),
            Default::default(),
            Some(dictionary::fit(self.properties.clone(), first)?),
            None,
            None,
            None,
            Some(deltalake::Path::from(self.folder.as_str())),
        )?;
        let statistics = self.statistics.clone();
        Ok(PartitionWriter::try_with_config(self.store.clone(), config, Default::default(), statistics)?)
    }
}

/// Writes any number of rows into as many data files as they need.
pub struct TableWriter {
    table: LakeTable,
    spec: TableSpec,
    current: Option<FileWriter>,
    adds: Vec<Add>,
}

impl TableWriter {
    /// A writer for a table.
    pub fn new(table: &LakeTable, spec: &TableSpec) -> Self {
        Self { table: table.clone(), spec: spec.clone(), current: None, adds: Vec::new() }
    }

    /// Writes rows, see [`FileWriter::write`].
    ///
    /// # Errors
    /// When a required column holds a null, or storage fails.
    #[tracing::instrument(level = "trace", skip_all, name = "write", fields(table = %self.spec.name))]
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.current {
            Some(writer) => writer,
            None => self.current.insert(FileWriter::new(&self.table, &self.spec)?),
        };
        writer.write(batch).await.at(&self.spec.name)?;
        if writer.is_full() {
            self.end_file().await?;
        }
        Ok(())
    }

    async fn end_file(&mut self) -> Result<()> {
        if let Some(writer) = self.current.take() {
            self.adds.extend(writer.close().await.at(&self.spec.name)?);
        }
        Ok(())
    }

    /// Ends the last file and gives the actions that add all of them.
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, name = "write", fields(table = %self.spec.name))]
    pub async fn close(mut self) -> Result<Vec<Add>> {
        self.end_file().await?;
        Ok(self.adds)
    }
}

/// The schema of a table's data files: Parquet needs no comments.
pub(super) fn file_schema(spec: &TableSpec) -> SchemaRef {
    let fields = spec.arrow_schema();
    let plain = fields.fields().iter().map(|field| field.as_ref().clone().with_metadata(Default::default()));
    Arc::new(arrow::datatypes::Schema::new(plain.collect::<Vec<_>>()))
}

fn zstd() -> Result<Compression> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(1)?))
}

fn properties(spec: &TableSpec) -> Result<WriterProperties> {
    // Statistics help where rows are looked for by a column; of others they cost time, and tell who reads the footer more
    // than it needs.
    let mut builder = WriterProperties::builder()
        .set_compression(zstd()?)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for column in spec.lookup.iter().chain(&spec.sought).chain(&spec.statistics) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(column.as_str()), EnabledStatistics::Page);
    }
    for column in &spec.sought {
        let path = ColumnPath::from(column.as_str());
        builder =
            builder.set_column_bloom_filter_enabled(path.clone(), true).set_column_bloom_filter_fpp(path, BLOOM_FPP);
    }
    for column in &spec.rising {
        let path = ColumnPath::from(column.as_str());
        builder = builder.set_column_dictionary_enabled(path.clone(), false);
        builder = builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    Ok(builder.build())
}
