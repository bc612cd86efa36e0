//! The rows that a table holds of keys that are computed anew.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;

use super::keys::ChangedKeys;
use crate::error::Result;
use crate::lake::{
    Add, Commit, DataFile, LakeTable, OfHashes, TableSpec, hash_keys, lookup, read_file, read_rows, rewrite_each,
    side_by_side,
};

/// The rows of some keys that the table holds: their places by the file that they are in.
pub(super) struct Held {
    files: Vec<DataFile>,
    places: BTreeMap<usize, Vec<u32>>,
}

impl Held {
    /// Finds them.
    ///
    /// # Errors
    /// When a data file cannot be read.
    pub async fn find(target: &LakeTable, spec: &TableSpec, keys: &ChangedKeys) -> Result<Self> {
        let files = target.files()?;
        let mut places: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for found in lookup(target, &files, keys.set.clone(), &spec.lookup, &[]).await? {
            places.entry(found.file).or_default().extend(found.rows);
        }
        Ok(Self { files, places })
    }

    /// Whether they are at least half of the table's rows: then looking for the input rows of their keys costs more than
    /// reading all.
    ///
    /// # Errors
    /// When the table's snapshot is not loaded.
    pub fn are_most_of(&self, target: &LakeTable) -> Result<bool> {
        let held = self.row_count();
        Ok(held > 0 && 2 * held as u64 >= target.row_count()?)
    }

    /// How many they are.
    pub fn row_count(&self) -> usize {
        self.places.values().map(Vec::len).sum()
    }

    /// The rows.
    ///
    /// # Errors
    /// When a data file cannot be read.
    pub async fn rows(&self, target: &LakeTable) -> Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        for (file, places) in &self.places {
            rows.extend(read_rows(target, &self.files[*file], places).await?);
        }
        Ok(rows)
    }

    /// Leaves in place those that were computed as they are, so that their files need not be written anew, and nobody who
    /// reads the table's changes hears of them. Gives the new files, `adds`, without these rows.
    ///
    /// # Errors
    /// When a data file cannot be read or written.
    #[tracing::instrument(level = "trace", skip_all, name = "compare", fields(table = %target.name))]
    pub async fn keep_equal(&mut self, target: &LakeTable, spec: &TableSpec, adds: Vec<Add>) -> Result<Vec<Add>> {
        if self.places.is_empty() {
            return Ok(adds);
        }
        let mut computed = Vec::with_capacity(adds.len());
        let mut counts: HashMap<u128, u32, OfHashes> = HashMap::default();
        for add in adds {
            let file = DataFile::of(add);
            let hashes = hashes_of(&read_file(target, &file).await?)?;
            for hash in &hashes {
                *counts.entry(*hash).or_default() += 1;
            }
            computed.push((file, hashes));
        }
        let mut equal: HashMap<u128, u32, OfHashes> = HashMap::default();
        for (file, places) in &mut self.places {
            let mut hashes = hashes_of(&read_rows(target, &self.files[*file], places).await?)?.into_iter();
            places.retain(|_| match hashes.next() {
                Some(hash) if take_one(&mut counts, hash) => {
                    *equal.entry(hash).or_default() += 1;
                    false
                }
                _ => true,
            });
        }
        self.places.retain(|_, places| !places.is_empty());
        let shrinking = computed.into_iter().map(|(file, hashes)| {
            let places = (0_u32..).zip(hashes);
            let dead: Vec<u32> =
                places.filter(|(_, hash)| take_one(&mut equal, *hash)).map(|(place, _)| place).collect();
            let (target, spec) = (target.clone(), spec.clone());
            async move { target.shrink(&spec, file, &dead).await }
        });
        let left = side_by_side(shrinking).await?;
        Ok(left.into_iter().flatten().map(|file| file.add().clone()).collect())
    }

    /// The commit that takes them out of the table, and the rows.
    ///
    /// # Errors
    /// When a data file cannot be read or written.
    pub async fn take_out(self, target: &LakeTable, spec: &TableSpec) -> Result<(Commit, Vec<RecordBatch>)> {
        let mut commit = Commit::default();
        let mut gone = Vec::new();
        let touched = self.places.into_iter().map(|(file, rows)| (self.files[file].clone(), rows));
        for rewrite in rewrite_each(target, spec, touched).await? {
            commit.removes.push(rewrite.remove);
            commit.adds.extend(rewrite.add);
            gone.extend(rewrite.taken);
        }
        Ok((commit, gone))
    }
}

/// A hash of each row's values.
fn hashes_of(rows: &[RecordBatch]) -> Result<Vec<u128>> {
    Ok(rows.iter().map(|batch| hash_keys(batch.columns())).collect::<Result<Vec<_>>>()?.concat())
}

/// Takes one of as many as were counted of a hash, if any is left.
fn take_one(counts: &mut HashMap<u128, u32, OfHashes>, hash: u128) -> bool {
    match counts.get_mut(&hash) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
