//! The values of a column while it is built. Unlike Arrow's builders they can give up their last rows: a payload may turn
//! out to be no JSON, or to have a field twice, when some of it was read already.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::error::Result;

/// What was built, in exchange for room for as much again: batches are much alike.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

/// Which rows hold a value. Costs nothing while all do.
pub(super) struct Validity(NullBufferBuilder);

impl Default for Validity {
    fn default() -> Self {
        Self(NullBufferBuilder::new(0))
    }
}

impl Validity {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn append(&mut self, is_valid: bool) {
        self.0.append(is_valid);
    }

    pub fn truncate(&mut self, rows: usize) {
        self.0.truncate(rows);
    }

    pub fn finish(&mut self) -> Option<NullBuffer> {
        self.0.finish()
    }
}

/// Values of a fixed width.
pub(super) struct Fixed<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Validity,
}

impl<T: ArrowPrimitiveType> Default for Fixed<T> {
    fn default() -> Self {
        Self { values: Vec::new(), valid: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> Fixed<T> {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn append(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }

    pub fn finish(&mut self) -> Result<PrimitiveArray<T>> {
        let values = ScalarBuffer::from(take(&mut self.values));
        Ok(PrimitiveArray::try_new(values, self.valid.finish())?)
    }
}

/// True and false.
pub(super) struct Flags {
    values: BooleanBufferBuilder,
    valid: Validity,
}

impl Default for Flags {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), valid: Validity::default() }
    }
}

impl Flags {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn append(&mut self, value: Option<bool>) {
        self.values.append(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }

    pub fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.valid.finish()))
    }
}

/// Texts or bytes.
#[derive(Default)]
pub(super) struct Bytes {
    /// Where each row ends.
    ends: Offsets,
    bytes: Vec<u8>,
    valid: Validity,
}

impl Bytes {
    pub fn len(&self) -> usize {
        self.ends.rows()
    }

    pub fn append(&mut self, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push(self.bytes.len());
        self.valid.append(value.is_some());
    }

    pub fn truncate(&mut self, rows: usize) {
        self.bytes.truncate(self.ends.truncate(rows));
        self.valid.truncate(rows);
    }

    pub fn finish_texts(&mut self) -> Result<ArrayRef> {
        let (offsets, bytes, valid) = self.take();
        Ok(Arc::new(StringArray::try_new(offsets, bytes, valid)?))
    }

    pub fn finish_bytes(&mut self) -> Result<ArrayRef> {
        let (offsets, bytes, valid) = self.take();
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, valid)?))
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        (self.ends.finish(), Buffer::from_vec(take(&mut self.bytes)), self.valid.finish())
    }
}

/// Where the rows of a column of variable width begin and end.
pub(super) struct Offsets(Vec<i32>);

impl Default for Offsets {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Offsets {
    pub fn rows(&self) -> usize {
        self.0.len() - 1
    }

    /// Ends a row. A batch holds less than 2 GiB: a row group of records, or a single larger one.
    pub fn push(&mut self, end: usize) {
        self.0.push(i32::try_from(end).unwrap_or(i32::MAX));
    }

    /// Gives up later rows; gives where the last row now ends.
    pub fn truncate(&mut self, rows: usize) -> usize {
        self.0.truncate(rows + 1);
        self.0.last().map_or(0, |end| *end as usize)
    }

    pub fn finish(&mut self) -> OffsetBuffer<i32> {
        let offsets = take(&mut self.0);
        self.0.push(0);
        OffsetBuffer::new(ScalarBuffer::from(offsets))
    }
}
