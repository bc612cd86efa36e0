//! A digest of a table's rows that does not depend on their order or on the files that hold them.

use std::collections::BTreeSet;
use std::fmt;

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::kernels::cmp;
use arrow::compute::{and, filter_record_batch};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use futures::TryStreamExt;
use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Result;
use crate::lake::{LakeTable, row_groups};
use crate::silver::quarantine::{OPEN, QUARANTINE};

/// Columns that say when something was done, or what became of it since, and not what the data are.
const LEFT_OUT: [&str; 2] = ["_quarantined_at", "released_by"];

/// How many rows there are, and the sum of their hashes: equal for the same bag of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// Rows.
    pub rows: u64,
    hash: u128,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.hash)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}:{self}", self.rows))
    }
}

impl Digest {
    /// Adds rows; the sum, unlike an exclusive or, tells two equal rows from none.
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(batch)?;
        writer.finish()?;
        // A line break in a text is escaped in JSON, so a line is a row.
        for row in writer.into_inner().split(|byte| *byte == b'\n').filter(|row| !row.is_empty()) {
            self.hash = self.hash.wrapping_add(xxh3_128(row));
            self.rows += 1;
        }
        Ok(())
    }
}

/// The digest of a table, at the version that it was opened at.
///
/// # Errors
/// When a data file cannot be read.
pub async fn digest(table: &LakeTable) -> Result<Digest> {
    digest_where(table, Ok).await
}

/// The same of what was computed: of the quarantine, only the rows that were meant for some tables, and were not taken in
/// since, which a replay does at once.
pub(super) async fn digest_of(table: &LakeTable, computed: &BTreeSet<String>) -> Result<Digest> {
    if table.name != QUARANTINE {
        return digest(table).await;
    }
    digest_where(table, |rows| set_aside_of(rows, computed)).await
}

async fn digest_where(table: &LakeTable, part: impl Fn(RecordBatch) -> Result<RecordBatch>) -> Result<Digest> {
    let schema = table.schema();
    let kept: Vec<usize> =
        (0..schema.fields().len()).filter(|at| !is_left_out(table, schema.field(*at).name())).collect();
    let mut digest = Digest::default();
    for group in row_groups(table, &table.files()?).await? {
        let batches = group.read(schema).await?;
        futures::pin_mut!(batches);
        while let Some(batch) = batches.try_next().await? {
            digest.add(&part(batch)?.project(&kept)?)?;
        }
    }
    Ok(digest)
}

fn set_aside_of(rows: RecordBatch, computed: &BTreeSet<String>) -> Result<RecordBatch> {
    let (Some(tables), Some(status)) = (rows.column_by_name("table"), rows.column_by_name("status")) else {
        return Ok(rows);
    };
    let is_computed: BooleanArray =
        tables.as_string::<i32>().iter().map(|table| table.map(|table| computed.contains(table))).collect();
    let is_open = cmp::eq(status, &StringArray::new_scalar(OPEN))?;
    Ok(filter_record_batch(&rows, &and(&is_computed, &is_open)?)?)
}

fn is_left_out(table: &LakeTable, column: &str) -> bool {
    table.name == QUARANTINE && LEFT_OUT.contains(&column)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn of(rows: &[(i64, Option<&str>)]) -> Digest {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let texts: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
        let mut digest = Digest::default();
        digest
            .add(&RecordBatch::try_from_iter_with_nullable([("n", numbers, false), ("t", texts, true)]).unwrap())
            .unwrap();
        digest
    }

    #[test]
    fn order_does_not_matter_and_all_else_does() {
        let (a, b, none) = ((1, Some("x\ny")), (2, Some("")), (2, None));
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_ne!(of(&[a, b]), of(&[a, none]), "an empty text is not NULL");
        assert_ne!(of(&[a, a]), of(&[]), "equal rows do not cancel out");
        assert_ne!(of(&[a, a]), of(&[a]));
        assert_eq!(of(&[a, b]).rows, 2);
    }
}
