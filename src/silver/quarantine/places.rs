//! Where records stand that were set aside: source, position and batch, as one hash.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use xxhash_rust::xxh3::xxh3_64;

use super::{OPEN, QUARANTINE};
use crate::error::{Error, Result};
use crate::lake::{Lake, read_file};

/// Records of a bronze table that are to be read again.
#[derive(Debug, Default, Clone)]
pub struct Places {
    batches: BTreeSet<i64>,
    hashes: HashSet<u64>,
}

impl Places {
    /// The records that a table has in quarantine and that were not taken in since.
    ///
    /// # Errors
    /// When the quarantine cannot be read.
    pub async fn open_of(lake: &Lake, for_table: &str) -> Result<Self> {
        let mut places = Self::default();
        let Some(table) = lake.open(QUARANTINE).await? else { return Ok(places) };
        for file in table.files()? {
            for rows in read_file(&table, &file).await? {
                let text = |name: &str| {
                    rows.column_by_name(name).map(|column| column.as_string::<i32>().clone()).ok_or_else(|| no(name))
                };
                let column = |name: &str| rows.column_by_name(name).ok_or_else(|| no(name));
                let (tables, status, keys) = (text("table")?, text("status")?, text("key")?);
                let batches = column("_batch")?.as_primitive::<Int64Type>().clone();
                let hashes = hashes([column("_source")?, column("_row")?, column("_batch")?])?;
                for (row, hash) in hashes.into_iter().enumerate() {
                    if tables.value(row) == for_table && status.value(row) == OPEN && keys.is_null(row) {
                        places.batches.insert(batches.value(row));
                        places.hashes.insert(hash);
                    }
                }
            }
        }
        Ok(places)
    }

    /// The places of some rows, with columns as in bronze.
    ///
    /// # Errors
    /// When a column is missing; a defect.
    pub fn of(rows: &RecordBatch) -> Result<Self> {
        let column = |name: &str| rows.column_by_name(name).ok_or_else(|| no(name));
        Self::of_columns([column("_source")?, column("_row")?, column("_batch")?])
    }

    /// The places that three columns tell: source, row and batch.
    ///
    /// # Errors
    /// When the columns are of other types; a defect.
    pub fn of_columns(columns: [&ArrayRef; 3]) -> Result<Self> {
        let batches = columns[2].as_primitive::<Int64Type>();
        let hashes = hashes(columns)?;
        Ok(Self { batches: batches.iter().flatten().collect(), hashes: hashes.into_iter().collect() })
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.batches.extend(others.batches);
        self.hashes.extend(others.hashes);
    }

    /// Those that others are not.
    pub fn without(mut self, others: &Self) -> Self {
        self.hashes.retain(|hash| !others.hashes.contains(hash));
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The first batch that has one; all later ones may.
    pub fn first_batch(&self) -> i64 {
        self.batches.first().copied().unwrap_or_default()
    }

    /// Which rows are among them; columns as in bronze: source, row and batch.
    ///
    /// # Errors
    /// When the columns are of other types; a defect.
    pub fn contain(&self, columns: [&ArrayRef; 3]) -> Result<Vec<bool>> {
        Ok(hashes(columns)?.into_iter().map(|hash| self.hashes.contains(&hash)).collect())
    }
}

fn no(column: &str) -> Error {
    Error::failed(format!("{QUARANTINE}: there is no column {column}"))
        .hint("was the table made by something else? `pipeline history silver.quarantine` shows its commits")
}

/// A hash of each record's place: source, row and batch.
pub(super) fn hashes([source, row, batch]: [&ArrayRef; 3]) -> Result<Vec<u64>> {
    let source = cast(source, &DataType::Utf8)?;
    let (source, rows) = (source.as_string::<i32>(), row.as_primitive::<Int64Type>());
    let batches = batch.as_primitive::<Int64Type>();
    let hash = |at: usize| {
        let mut place = source.value(at).as_bytes().to_vec();
        place.extend(rows.value(at).to_le_bytes());
        place.extend(batches.value(at).to_le_bytes());
        xxh3_64(&place)
    };
    Ok((0..source.len()).map(hash).collect())
}
