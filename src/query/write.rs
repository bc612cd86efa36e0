//! Rows as JSON, CSV or Parquet, written as they come.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::json::writer::{EncoderOptions, JsonArray, make_encoder};
use arrow::json::{Writer as JsonWriter, WriterBuilder as JsonBuilder};
use deltalake::datafusion::execution::SendableRecordBatchStream;
use deltalake::parquet::arrow::ArrowWriter;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use futures::StreamExt;

use super::fault;
use crate::error::{Place, Result};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// An array of objects.
    Json,
    /// A heading line, then a line a row; lists and structs as JSON.
    Csv,
    /// With Zstandard.
    Parquet,
}

/// Writes all rows; gives their number.
///
/// # Errors
/// When the query fails, or `out` cannot be written: then with the I/O error's own text, so that the caller, who knows
/// what `out` is, can tell it.
pub async fn write(rows: SendableRecordBatchStream, encoding: Encoding, out: impl Write + Send) -> Result<u64> {
    let schema = rows.schema();
    match encoding {
        Encoding::Json => drain(rows, Json::new(out)).await,
        Encoding::Csv => drain(rows, Csv { out, columns: schema, has_heading: false }).await,
        Encoding::Parquet => {
            let level = ZstdLevel::try_new(3)?;
            let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
            drain(rows, ArrowWriter::try_new(out, schema, Some(properties))?).await
        }
    }
}

/// What takes rows.
trait Sink {
    fn take(&mut self, batch: &RecordBatch) -> Result<()>;
    fn end(self) -> Result<()>;
}

async fn drain(mut rows: SendableRecordBatchStream, mut sink: impl Sink) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| fault::of_rows(&error))?;
        count += batch.num_rows() as u64;
        sink.take(&batch)?;
    }
    sink.end()?;
    Ok(count)
}

struct Json<W: Write> {
    out: W,
    encoder: JsonWriter<Vec<u8>, JsonArray>,
}

impl<W: Write> Json<W> {
    fn new(out: W) -> Self {
        Self { out, encoder: JsonBuilder::new().with_explicit_nulls(true).build(Vec::new()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(self.encoder.get_ref())?;
        self.encoder.get_mut().clear();
        Ok(())
    }
}

impl<W: Write> Sink for Json<W> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encoder.write(batch)?;
        self.flush()
    }

    fn end(mut self) -> Result<()> {
        self.encoder.finish()?;
        self.encoder.get_mut().push(b'\n');
        self.flush()?;
        Ok(self.out.flush()?)
    }
}

struct Csv<W: Write> {
    out: W,
    columns: SchemaRef,
    has_heading: bool,
}

impl<W: Write> Sink for Csv<W> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut writer = arrow::csv::WriterBuilder::new().with_header(!self.has_heading).build(Vec::new());
        writer.write(&flat(batch)?)?;
        self.has_heading = true;
        Ok(self.out.write_all(&writer.into_inner())?)
    }

    fn end(mut self) -> Result<()> {
        if !self.has_heading {
            self.take(&RecordBatch::new_empty(self.columns.clone()))?;
        }
        Ok(self.out.flush()?)
    }
}

impl<W: Write + Send> Sink for ArrowWriter<W> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.write(batch)?)
    }

    fn end(self) -> Result<()> {
        self.into_inner().at("Parquet")?.flush()?;
        Ok(())
    }
}

/// The batch with lists, structs and maps as the text of their JSON: CSV has cells only.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(as_json(field, column)?);
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    // A batch without columns still has a number of rows.
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Each value of a column as the text of its JSON.
pub fn as_json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltalake::datafusion::prelude::SessionContext;

    async fn written(sql: &str, encoding: Encoding) -> (u64, Vec<u8>) {
        let ctx = SessionContext::new();
        let rows = ctx.sql(sql).await.unwrap().execute_stream().await.unwrap();
        let mut out = Vec::new();
        let count = write(rows, encoding, &mut out).await.unwrap();
        (count, out)
    }

    const SQL: &str = "SELECT * FROM (VALUES (1, 'a,\"b\"', [1, NULL]), (2, NULL, NULL)) AS t(n, s, l) ORDER BY n";

    #[tokio::test]
    async fn json_is_an_array_with_its_nulls() {
        let (count, out) = written(SQL, Encoding::Json).await;
        let found: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!([{"n": 1, "s": "a,\"b\"", "l": [1, null]}, {"n": 2, "s": null, "l": null}]);
        assert_eq!((count, found), (2, expected));
        assert_eq!(written("SELECT 1 AS n WHERE false", Encoding::Json).await, (0, b"[]\n".to_vec()));
    }

    #[tokio::test]
    async fn csv_quotes_and_holds_lists_as_json() {
        let (count, out) = written(SQL, Encoding::Csv).await;
        assert_eq!(count, 2);
        assert_eq!(String::from_utf8(out).unwrap(), "n,s,l\n1,\"a,\"\"b\"\"\",\"[1,null]\"\n2,,\n");
        assert_eq!(written("SELECT 1 AS n WHERE false", Encoding::Csv).await, (0, b"n\n".to_vec()));
    }

    #[tokio::test]
    async fn parquet_reads_back() {
        let (count, out) = written(SQL, Encoding::Parquet).await;
        let reader =
            deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(out), 1024);
        let rows: usize = reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!((count, rows), (2, 2));
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_end_that_cannot_be_written_is_an_error() {
        let ctx = SessionContext::new();
        let rows = ctx.sql(SQL).await.unwrap().execute_stream().await.unwrap();
        assert!(write(rows, Encoding::Csv, Closed).await.is_err());
    }
}
