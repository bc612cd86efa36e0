//! What bronze knows of a table's rows: of each key the hash of the newest row, or a sum over rows that have no key.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use xxhash_rust::xxh3::xxh3_128;

use super::rows::Op;
use crate::error::{Error, Result};
use crate::lake::{DataFile, LakeTable, stream_columns};

/// The row is there, as far as bronze knows.
const ALIVE: u32 = 1 << 31;
/// The row has been met in the database.
const MET: u32 = 1 << 30;
const BATCH: u32 = MET - 1;

/// A key, as its hash. Of words, so that a key with its state takes 28 bytes: of millions of keys that counts.
type Key = [u32; 4];

/// The newest row of a key.
#[derive(Debug, Clone, Copy)]
struct State {
    hash: [u32; 2],
    batch_and_flags: u32,
}

/// The rows that bronze knows, by key.
#[derive(Debug, Default)]
pub(super) struct KnownRows(HashMap<Key, State>);

fn key_of(key: &[u8]) -> Key {
    let hash = xxh3_128(key);
    [hash as u32, (hash >> 32) as u32, (hash >> 64) as u32, (hash >> 96) as u32]
}

/// Half of a row's hash: it is compared with that of one other row.
fn half(hash: u64) -> [u32; 2] {
    [hash as u32, (hash >> 32) as u32]
}

/// Half of a hash that is stored as hexadecimal.
fn stored_half(text: &str) -> Result<[u32; 2]> {
    let digits = text.get(..16).unwrap_or_default();
    let number = u64::from_str_radix(digits, 16).map_err(|_| Error::failed("_row_hash is no hash"))?;
    Ok(half(number))
}

impl KnownRows {
    /// Reads what a bronze table knows.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn read(table: &LakeTable) -> Result<Self> {
        let mut known = Self::default();
        known.0.reserve(usize::try_from(table.row_count()?).unwrap_or_default());
        for file in table.files()? {
            let mut batches = stream_columns(table, &file, &names(&["_batch", "_op", "_key", "_row_hash"])).await?;
            while let Some(batch) = batches.try_next().await? {
                known.add(&batch)?;
            }
        }
        Ok(known)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let batches = column(batch, "_batch")?.as_primitive::<Int64Type>();
        let (ops, keys) = (column(batch, "_op")?.as_string::<i32>(), column(batch, "_key")?.as_string::<i32>());
        let hashes = column(batch, "_row_hash")?.as_string::<i32>();
        for row in (0..batch.num_rows()).filter(|row| keys.is_valid(*row)) {
            let number = u32::try_from(batches.value(row)).unwrap_or(BATCH).min(BATCH);
            let alive = if ops.value(row) == Op::Delete.as_str() { 0 } else { ALIVE };
            let state = State { hash: stored_half(hashes.value(row))?, batch_and_flags: number | alive };
            let newest = self.0.entry(key_of(keys.value(row).as_bytes())).or_insert(state);
            if newest.batch_and_flags & BATCH <= number {
                *newest = state;
            }
        }
        Ok(())
    }

    /// What happened to a row of the database; none when it is as it was.
    pub fn meet(&mut self, key: &[u8], hash: u128) -> Option<Op> {
        let hash = half((hash >> 64) as u64);
        let state = self.0.get_mut(&key_of(key)).filter(|state| state.batch_and_flags & ALIVE != 0);
        let Some(state) = state else { return Some(Op::Insert) };
        state.batch_and_flags |= MET;
        (state.hash != hash).then_some(Op::Update)
    }

    /// The keys of the rows that were not met, which are gone.
    pub fn unmet(self) -> Unmet {
        let gone = self.0.into_iter().filter(|(_, state)| state.batch_and_flags & (ALIVE | MET) == ALIVE);
        Unmet(gone.map(|(key, _)| key).collect())
    }
}

/// Keys of rows that are gone.
#[derive(Debug)]
pub(super) struct Unmet(HashSet<Key>);

impl Unmet {
    /// Whether there is none left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a file's keys that are gone and were not yet told.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn of_file(&mut self, table: &LakeTable, file: &DataFile) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let mut batches = stream_columns(table, file, &names(&["_key"])).await?;
        while let Some(batch) = batches.try_next().await? {
            let keys = column(&batch, "_key")?.as_string::<i32>();
            let gone = keys.iter().flatten().filter(|key| self.0.remove(&key_of(key.as_bytes())));
            told.extend(gone.map(str::to_owned));
        }
        Ok(told)
    }
}

/// A table's content whatever its order: the number of its rows and the sum of their hashes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    rows: u64,
    sum: u128,
}

impl Content {
    /// Adds a row.
    pub fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// The content that a batch of a bronze table replaced all others with.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn of_batch(table: &LakeTable, number: i64) -> Result<Self> {
        let mut content = Self::default();
        let may_hold = |file: &DataFile| file.max_integer("_batch").is_none_or(|newest| newest >= number);
        for file in table.files()?.into_iter().filter(may_hold) {
            let mut batches = stream_columns(table, &file, &names(&["_batch", "_op", "_row_hash"])).await?;
            while let Some(batch) = batches.try_next().await? {
                let numbers = column(&batch, "_batch")?.as_primitive::<Int64Type>();
                let ops = column(&batch, "_op")?.as_string::<i32>();
                let hashes = column(&batch, "_row_hash")?.as_string::<i32>();
                let is_of = |row: &usize| numbers.value(*row) == number && ops.value(*row) == Op::Replace.as_str();
                for row in (0..batch.num_rows()).filter(is_of) {
                    let hash = u128::from_str_radix(hashes.value(row), 16);
                    content.add(hash.map_err(|_| Error::failed("_row_hash is no hash"))?);
                }
            }
        }
        Ok(content)
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::failed(format!("a bronze file has no column '{name}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_its_state_is_small() {
        assert_eq!(size_of::<(Key, State)>(), 28);
    }

    #[test]
    fn content_has_no_order_and_counts_doubles() {
        let content = |hashes: &[u128]| {
            let mut content = Content::default();
            hashes.iter().for_each(|hash| content.add(*hash));
            content
        };
        assert_eq!(content(&[1, u128::MAX, 7]), content(&[7, 1, u128::MAX]));
        assert_ne!(content(&[7, 7]), content(&[14]));
        assert_ne!(content(&[0]), content(&[]));
    }
}
