//! Finds the rows of given keys, and where in which file they stand, without reading what cannot hold them.
//!
//! The statistics and bloom filters of a file say which of its row groups may hold a key; of those only the key columns are read.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat, filter_record_batch, sort, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
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

    /// The values that keys begin with; `None` where they are too many, not all are known, or they are nested: these have no
    /// order, and no filter.
    pub(super) fn first_values(&self) -> Result<Option<FirstValues>> {
        if !self.are_few() || self.first.iter().any(|values| values.null_count() > 0 || values.data_type().is_nested())
        {
            return Ok(None);
        }
        let values: Vec<&dyn Array> = self.first.iter().map(AsRef::as_ref).collect();
        Ok(if values.is_empty() { None } else { Some(FirstValues(sort(&concat(&values)?, None)?)) })
    }
}

/// Values that keys begin with, in ascending order; none is NULL.
#[derive(Clone)]
pub(super) struct FirstValues(ArrayRef);

impl FirstValues {
    /// Those from the least to the most that a row group has; all where that is not known.
    fn within(&self, least: &ArrayRef, most: &ArrayRef, group: usize) -> Result<Self> {
        let is_known = least.is_valid(group) && most.is_valid(group) && least.data_type() == self.0.data_type();
        // What is no number has no place among numbers.
        if !is_known || self.0.data_type().is_floating() {
            return Ok(Self(self.0.clone()));
        }
        let order = SortOptions::default();
        let (least, most) = (make_comparator(&self.0, least, order)?, make_comparator(&self.0, most, order)?);
        let places: Vec<usize> = (0..self.0.len()).collect();
        let first = places.partition_point(|place| least(*place, group).is_lt());
        let end = places.partition_point(|place| most(*place, group).is_le());
        Ok(Self(self.0.slice(first, end.saturating_sub(first))))
    }

    fn may_be_in(&self, filter: &Sbbf) -> bool {
        match self.0.data_type() {
            DataType::Utf8 => self.0.as_string::<i32>().iter().flatten().any(|value| filter.check(value)),
            DataType::Int32 => self.0.as_primitive::<Int32Type>().values().iter().any(|value| filter.check(value)),
            DataType::Int64 => self.0.as_primitive::<Int64Type>().values().iter().any(|value| filter.check(value)),
            _ => true,
        }
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
    let values = keys.first_values()?;
    let searches = files.iter().enumerate().map(|(index, file)| {
        let (table, file, keys, values) = (table.clone(), file.clone(), keys.clone(), values.clone());
        let (key, also) = (key.to_vec(), also.to_vec());
        async move { search_file(&table, index, &file, &keys, values.as_ref(), &key, &also).await }
    });
    Ok(side_by_side(searches).await?.into_iter().flatten().collect())
}

async fn search_file(
    table: &LakeTable,
    index: usize,
    file: &DataFile,
    keys: &KeySet,
    values: Option<&FirstValues>,
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
    let groups = candidate_groups(stored, reader.metadata(), reader.schema(), values, first).await.at(&file.path)?;
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

/// The row groups that may hold a key, by the values that they lie between and by the bloom filters of the column that keys begin
/// with. These are fetched together: a file has many, and to ask for each takes longer than to read it.
pub(super) async fn candidate_groups(
    mut file: StoredFile,
    metadata: &ParquetMetaData,
    schema: &Schema,
    values: Option<&FirstValues>,
    first: &str,
) -> Result<Vec<usize>> {
    let (groups, columns) = (metadata.row_groups(), metadata.file_metadata().schema_descr().columns());
    let leaf = columns.iter().position(|column| column.path().string() == first);
    let (Some(leaf), Some(values)) = (leaf, values) else { return Ok((0..groups.len()).collect()) };
    let (least, most) = reader::bounds(metadata, schema, first)?;
    let mut candidates = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let values = values.within(&least, &most, index)?;
        if !values.0.is_empty() {
            candidates.push((index, values, filter_place(group.column(leaf))));
        }
    }
    let places = candidates.iter().filter_map(|(.., place)| place.clone()).collect();
    let mut filters = file.get_byte_ranges(places).await?.into_iter();
    let mut found = Vec::new();
    for (index, values, place) in candidates {
        let filter = place.and_then(|_| filters.next()).map(|bytes| Sbbf::from_bytes(&bytes)).transpose()?;
        if filter.is_none_or(|filter| values.may_be_in(&filter)) {
            found.push(index);
        }
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn within(keys: ArrayRef, least: ArrayRef, most: ArrayRef) -> Vec<usize> {
        let mut set = KeySet::default();
        set.add(&[keys]).unwrap();
        let values = set.first_values().unwrap().unwrap();
        (0..least.len()).map(|group| values.within(&least, &most, group).unwrap().0.len()).collect()
    }

    #[test]
    fn only_groups_that_lie_around_a_key_are_asked() {
        let keys = Arc::new(StringArray::from(vec!["b", "d", "b", "dd", "x"]));
        let least = Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("c"), Some("e"), Some("y"), None]));
        let most = Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("d"), Some("w"), Some("z"), Some("a")]));
        assert_eq!(within(keys, least, most), [0, 2, 1, 0, 0, 5]);
        let keys = Arc::new(Int64Array::from(vec![7, -2, 9]));
        let (least, most) = (Int64Array::from(vec![-9, 8, 9]), Int64Array::from(vec![7, 8, 9]));
        assert_eq!(within(keys, Arc::new(least), Arc::new(most)), [2, 0, 1]);
    }

    #[test]
    fn what_cannot_be_compared_is_asked_of_each_group() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0]));
        assert_eq!(within(numbers.clone(), numbers.clone(), numbers.clone()), [2, 2]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert_eq!(within(numbers, texts.clone(), texts), [2], "the column had another type");
        let mut set = KeySet::default();
        set.add(&[Arc::new(StringArray::from(vec![Some("a"), None]))]).unwrap();
        assert!(set.first_values().unwrap().is_none(), "nothing tells where rows without a value lie");
    }
}
