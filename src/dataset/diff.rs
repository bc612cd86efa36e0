//! What differs between two datasets.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::RecordBatch;
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::manifest::Manifest;
use super::rows::texts;
use super::scan;
use crate::error::Result;

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Ids that only the second has.
    pub came: Ids,
    /// Ids that only the first has.
    pub went: Ids,
    /// Ids with another value in a label column.
    pub labels: Ids,
    /// Ids in another split.
    pub splits: Ids,
    /// Rows of both with nothing of this.
    pub same: u64,
}

/// How many ids, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// All.
    pub count: u64,
    /// As many as were asked for.
    pub ids: Vec<String>,
}

impl Ids {
    fn add(&mut self, id: &str, limit: usize) {
        self.count += 1;
        if self.ids.len() < limit {
            self.ids.push(id.to_owned());
        }
    }
}

/// What a dataset holds of an id.
struct Entry {
    split: String,
    labels: u64,
    is_in_both: bool,
}

/// Compares two datasets by id; tells at most `limit` ids of each kind.
///
/// # Errors
/// Wrong use when one is no dataset; else when a file cannot be read.
pub fn diff(a: &Path, b: &Path, limit: usize) -> Result<Difference> {
    let (first, second) = (Manifest::require(a)?, Manifest::require(b)?);
    // What only one of them calls a label cannot be compared.
    let labels: Vec<&str> =
        first.recipe.labels.iter().filter(|label| second.recipe.labels.contains(label)).map(String::as_str).collect();
    let mut known: HashMap<u128, Entry> = HashMap::new();
    each(a, &first, &labels, |id, split, labels| {
        known.insert(xxh3_128(id.as_bytes()), Entry { split: split.to_owned(), labels, is_in_both: false });
    })?;
    let mut found = Difference::default();
    each(b, &second, &labels, |id, split, labels| match known.get_mut(&xxh3_128(id.as_bytes())) {
        None => found.came.add(id, limit),
        Some(entry) => {
            entry.is_in_both = true;
            let (relabelled, moved) = (entry.labels != labels, entry.split != split);
            if relabelled {
                found.labels.add(id, limit);
            }
            if moved {
                found.splits.add(id, limit);
            }
            found.same += u64::from(!relabelled && !moved);
        }
    })?;
    each(a, &first, &[], |id, _, _| {
        if known.get(&xxh3_128(id.as_bytes())).is_some_and(|entry| !entry.is_in_both) {
            found.went.add(id, limit);
        }
    })?;
    Ok(found)
}

/// Tells the id, the split and a hash of the labels of each row.
fn each(folder: &Path, manifest: &Manifest, labels: &[&str], mut tell: impl FnMut(&str, &str, u64)) -> Result<()> {
    let id = manifest.recipe.id.as_str();
    let columns = [&[id], labels].concat();
    for (place, file) in manifest.rows_by_split() {
        let split = manifest.recipe.splits.get(place).map_or("", |split| split.name.as_str());
        for batch in scan::batches(&folder.join(&file), &columns)? {
            let batch = batch?;
            let hashes = hashes(&batch, labels)?;
            for (id, hash) in texts(&batch, id)?.iter().zip(hashes) {
                tell(id.unwrap_or_default(), split, hash);
            }
        }
    }
    Ok(())
}

/// A hash of the labels of each row; of a list it does not depend on the order.
fn hashes(batch: &RecordBatch, labels: &[&str]) -> Result<Vec<u64>> {
    let mut hashes: Vec<Xxh3> = vec![Xxh3::new(); batch.num_rows()];
    for column in labels.iter().filter_map(|label| batch.column_by_name(label)) {
        for (hash, mut values) in hashes.iter_mut().zip(scan::values(column)?) {
            values.sort();
            hash.update(&(values.len() as u64).to_le_bytes());
            for value in values {
                hash.update(&(value.len() as u64).to_le_bytes());
                hash.update(value.as_bytes());
            }
        }
    }
    Ok(hashes.into_iter().map(|hash| hash.digest()).collect())
}
