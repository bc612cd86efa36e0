//! The values of a column while it is built. Unlike Arrow's builders they can give up their last rows: a payload may turn
//! out to be no JSON, or to have a field twice, when some of it was read already.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::error::{Error, Result};

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
    rows: Rows,
    bytes: Vec<u8>,
}

impl Bytes {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn append(&mut self, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.rows.end(self.bytes.len(), value.is_some());
    }

    pub fn truncate(&mut self, rows: usize) {
        self.bytes.truncate(self.rows.truncate(rows));
    }

    pub fn finish_texts(&mut self) -> Result<ArrayRef> {
        let (offsets, valid) = self.rows.finish();
        let bytes = self.take_bytes();
        let is_text = simdutf8::basic::from_utf8(&bytes).is_ok_and(|all| {
            offsets.iter().all(|offset| usize::try_from(*offset).is_ok_and(|at| all.is_char_boundary(at)))
        });
        if !is_text {
            return Err(Error::failed("a text that was read is not UTF-8"));
        }
        // SAFETY: all bytes are UTF-8, and no offset stands within a character. Arrow's own check of the same takes a tenth of
        // the time that decoding does.
        Ok(Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, valid) }))
    }

    pub fn finish_bytes(&mut self) -> Result<ArrayRef> {
        let (offsets, valid) = self.rows.finish();
        Ok(Arc::new(BinaryArray::try_new(offsets, self.take_bytes(), valid)?))
    }

    fn take_bytes(&mut self) -> Buffer {
        Buffer::from_vec(take(&mut self.bytes))
    }
}

/// The rows of a column of variable width: where each begins and ends, and whether it holds a value.
pub(super) struct Rows {
    offsets: Vec<i32>,
    valid: Validity,
}

impl Default for Rows {
    fn default() -> Self {
        Self { offsets: vec![0], valid: Validity::default() }
    }
}

impl Rows {
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Ends a row. A batch holds less than 2 GiB: a row group of records, or a single larger one.
    pub fn end(&mut self, at: usize, is_valid: bool) {
        self.offsets.push(i32::try_from(at).unwrap_or(i32::MAX));
        self.valid.append(is_valid);
    }

    /// Gives up later rows; gives where the last row now ends.
    pub fn truncate(&mut self, rows: usize) -> usize {
        self.valid.truncate(rows);
        self.offsets.truncate(rows + 1);
        self.offsets.last().map_or(0, |end| *end as usize)
    }

    pub fn finish(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let offsets = take(&mut self.offsets);
        self.offsets.push(0);
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), self.valid.finish())
    }
}
