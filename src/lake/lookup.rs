//! Finds the rows of given keys, and where in which file they stand, without reading what cannot hold them.
//!
//! A file's bloom filters say which of its row groups may hold a key; of those only the key columns are read.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use deltalake::parquet::arrow::async_reader::AsyncFileReader;
use deltalake::parquet::bloom_filter::Sbbf;
use deltalake::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use futures::TryStreamExt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::reader::{self, FileReader, StoredFile};
use super::{DataFile, LakeTable, side_by_side};
use crate::error::{Place, Result};

/// How many keys are still asked one by one of bloom filters; beyond, key columns are read at once.
const FEW_KEYS: usize = 16 * 1024;

/// A 128-bit hash of each row's key (XXH3): no two of a table's keys are expected to meet in it.
///
/// # Errors
/// When a column's type has no row format.
pub fn hash_keys(columns: &[ArrayRef]) -> Result<Vec<u128>> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(columns)?;
    Ok(rows.iter().map(|row| xxh3_128(row.as_ref())).collect())
}

/// How maps of keys' hashes hash: they are hashes already.
pub type OfHashes = BuildHasherDefault<AsIs>;

/// Takes a hash of 128 bits for one of 64.
#[derive(Debug, Default, Clone, Copy)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
}

/// Keys to look for.
#[derive(Debug, Default, Clone)]
pub struct KeySet {
    hashes: HashSet<u128, OfHashes>,
    /// The first key column's values, while they are few.
    first: Vec<ArrayRef>,
    first_rows: usize,
}

impl KeySet {
    /// Adds the keys of some rows.
    ///
    /// # Errors
    /// When a column's type has no row format.
    pub fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.hashes.extend(hash_keys(columns)?);
        self.add_first(columns);
        Ok(())
    }

    /// Adds the keys of a batch; gives its rows whose keys were not yet there, one of each.
    ///
    /// # Errors
    /// When a column's type has no row format.
    pub fn add_new(&mut self, keys: &RecordBatch) -> Result<RecordBatch> {
        let new: BooleanArray =
            hash_keys(keys.columns())?.into_iter().map(|hash| Some(self.hashes.insert(hash))).collect();
        let new = filter_record_batch(keys, &new)?;
        self.add_first(new.columns());
        Ok(new)
    }

    /// Adds keys whose hashes are known.
    pub fn add_hashed(&mut self, hashes: impl Iterator<Item = u128>, columns: &[ArrayRef]) {
        self.hashes.extend(hashes);
        self.add_first(columns);
    }

    fn add_first(&mut self, columns: &[ArrayRef]) {
        let Some(first) = columns.first() else { return };
        if first.is_empty() {
            return;
        }
        self.first_rows += first.len();
        if self.first_rows > FEW_KEYS {
            self.first.clear();
        } else {
            self.first.push(first.clone());
        }
    }

    /// Whether a key is looked for.
    pub fn contains(&self, hash: u128) -> bool {
        self.hashes.contains(&hash)
    }

    /// How many keys are looked for.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether no key is looked for.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether they are so few that filters are asked for each.
    fn are_few(&self) -> bool {
        self.first_rows <= FEW_KEYS
    }

    fn may_be_in(&self, filter: &Sbbf) -> bool {
        self.first.iter().any(|values| match values.data_type() {
            // Bloom filters know no NULL.
            _ if values.null_count() > 0 => true,
            DataType::Utf8 => values.as_string::<i32>().iter().flatten().any(|value| filter.check(value)),
            DataType::Int32 => values.as_primitive::<Int32Type>().iter().flatten().any(|value| filter.check(&value)),
            DataType::Int64 => values.as_primitive::<Int64Type>().iter().flatten().any(|value| filter.check(&value)),
            _ => true,
        })
    }
}

/// Rows of one file that hold keys that were looked for.
#[derive(Debug)]
pub struct Match {
    /// Index into the files that were given.
    pub file: usize,
    /// Places in the file, ascending.
    pub rows: Vec<u32>,
    /// The key's hash, a row.
    pub hashes: Vec<u128>,
    /// The asked columns, a row.
    pub columns: RecordBatch,
}

/// Finds rows by key. `key` names the key columns, `also` further columns whose values are wanted.
///
/// # Errors
/// When a file cannot be read.
#[tracing::instrument(level = "trace", skip_all, fields(table = %table.name))]
pub async fn lookup(
    table: &LakeTable,
    files: &[DataFile],
    keys: Arc<KeySet>,
    key: &[String],
    also: &[String],
) -> Result<Vec<Match>> {
    let searches = files.iter().enumerate().map(|(index, file)| {
        let (table, file, keys) = (table.clone(), file.clone(), keys.clone());
        let (key, also) = (key.to_vec(), also.to_vec());
        async move { search_file(&table, index, &file, &keys, &key, &also).await }
    });
    Ok(side_by_side(searches).await?.into_iter().flatten().collect())
}

async fn search_file(
    table: &LakeTable,
    index: usize,
    file: &DataFile,
    keys: &KeySet,
    key: &[String],
    also: &[String],
) -> Result<Vec<Match>> {
    let columns: Vec<String> = key.iter().chain(also).cloned().collect();
    let reader = reader::open(table, &file.path, file.size, Some(&columns)).await?;
    if key.iter().any(|name| reader.schema().column_with_name(name).is_none()) {
        // The file is older than the column: all its rows have NULL there.
        return Ok(Vec::new());
    }
    let Some(first) = key.first() else { return Ok(Vec::new()) };
    let stored = StoredFile::of(table, &file.path, file.size)?;
    let groups = candidate_groups(stored, reader.metadata(), keys, first).await.at(&file.path)?;
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let mut places = places(&reader, &groups);
    let mut stream = reader.with_row_groups(groups).build().at(&file.path)?;
    let mut found = Vec::new();
    while let Some(batch) = stream.try_next().await.at(&file.path)? {
        let key_columns = key.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect::<Vec<_>>();
        let mut hit = (Vec::new(), Vec::new(), Vec::new());
        for (in_batch, hash) in hash_keys(&key_columns)?.into_iter().enumerate() {
            let place = places.next().unwrap_or_default();
            if keys.contains(hash) {
                hit.0.push(place);
                hit.1.push(hash);
                hit.2.push(in_batch as u32);
            }
        }
        if !hit.0.is_empty() {
            let columns = take_record_batch(&batch, &UInt32Array::from(hit.2))?;
            found.push(Match { file: index, rows: hit.0, hashes: hit.1, columns });
        }
    }
    Ok(found)
}

/// The row groups that may hold a key, by the bloom filters of the column that keys begin with. These are fetched together: a
/// file has many, and to ask for each takes longer than to read it.
pub(super) async fn candidate_groups(
    mut file: StoredFile,
    metadata: &ParquetMetaData,
    keys: &KeySet,
    first: &str,
) -> Result<Vec<usize>> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let leaf = columns.iter().position(|column| column.path().string() == first);
    let all = 0..metadata.num_row_groups();
    let Some(leaf) = leaf.filter(|_| keys.are_few()) else { return Ok(all.collect()) };
    let places: Vec<_> = metadata.row_groups().iter().map(|group| filter_place(group.column(leaf))).collect();
    let mut filters = file.get_byte_ranges(places.iter().flatten().cloned().collect()).await?.into_iter();
    let mut groups = Vec::new();
    for (group, place) in all.zip(places) {
        let filter = place.and_then(|_| filters.next()).map(|bytes| Sbbf::from_bytes(&bytes)).transpose()?;
        if filter.is_none_or(|filter| keys.may_be_in(&filter)) {
            groups.push(group);
        }
    }
    Ok(groups)
}

/// Where a column chunk's bloom filter is in its file, if it has one.
fn filter_place(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
    Some(start..start + u64::try_from(column.bloom_filter_length()?).ok()?)
}

/// The places in the file of the rows of some row groups, in the order in which they are read.
fn places(reader: &FileReader, groups: &[usize]) -> impl Iterator<Item = u32> + use<> {
    let mut ranges = Vec::new();
    let mut start = 0_u32;
    for (index, group) in reader.metadata().row_groups().iter().enumerate() {
        let end = start + group.num_rows() as u32;
        if groups.contains(&index) {
            ranges.push(start..end);
        }
        start = end;
    }
    ranges.into_iter().flatten()
}
