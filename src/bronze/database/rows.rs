//! Changed rows as batches of a bronze table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Array, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;

use super::super::read::BatchInfo;
use super::shape::Shape;
use crate::decode::Decoder;
use crate::error::Result;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Insert,
    Update,
    Delete,
    /// It is part of the whole content of a table that has no key.
    Replace,
}

impl Op {
    /// As in `_op`.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Replace => "replace",
        }
    }
}

/// A changed row.
#[derive(Debug)]
pub(super) struct Change {
    pub op: Op,
    /// The row; of one that is gone, its key's columns.
    pub payload: Bytes,
    pub key: Option<Bytes>,
    pub hash: u128,
}

impl Change {
    /// Bytes that it takes in memory.
    pub fn size(&self) -> usize {
        self.payload.len() + self.key.as_ref().map_or(0, Bytes::len) + size_of::<Self>()
    }
}

/// Makes batches of changes.
pub(super) struct Builder {
    pub schema: SchemaRef,
    pub batch: BatchInfo,
    pub source: String,
    pub shape: Arc<Shape>,
}

impl Builder {
    /// The changes as a batch; `first` is the place of the first one in its source.
    ///
    /// # Errors
    /// When a column's type is none that JSON is read as; a defect.
    pub fn build(&self, first: i64, changes: &[Change]) -> Result<RecordBatch> {
        let count = changes.len();
        let (mut payload, mut bytes) = (StringBuilder::new(), BinaryBuilder::new());
        for change in changes {
            // A database without an encoding may hold what is no UTF-8.
            let text = std::str::from_utf8(&change.payload).ok();
            payload.append_option(text);
            bytes.append_option(text.is_none().then_some(&change.payload));
        }
        let at = TimestampMicrosecondArray::from(vec![self.batch.ingested_at; count]).with_timezone("UTC");
        let key = |change: &Change| change.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(payload.finish()),
            Arc::new(bytes.finish()),
            new_null_array(&DataType::Utf8, count),
            Arc::new(StringArray::from(vec![self.source.as_str(); count])),
            Arc::new(Int64Array::from_iter_values((first..).take(count))),
            Arc::new(Int64Array::from(vec![self.batch.number; count])),
            Arc::new(at),
            Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.op.as_str()))),
            Arc::new(StringArray::from_iter(changes.iter().map(key))),
            Arc::new(StringArray::from_iter_values(changes.iter().map(|change| format!("{:032x}", change.hash)))),
        ];
        if !self.shape.fields.is_empty() {
            columns.push(self.record(changes)?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn record(&self, changes: &[Change]) -> Result<ArrayRef> {
        let mut decoder = Decoder::of_rows(&self.shape.fields, self.shape.names.clone())?;
        let mut valid = Vec::with_capacity(changes.len());
        for change in changes {
            let read = std::str::from_utf8(&change.payload).is_ok_and(|text| decoder.read(text).is_ok());
            if !read {
                decoder.skip();
            }
            valid.push(read);
        }
        decoder.finish_struct(valid)
    }
}
