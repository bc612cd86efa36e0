//! Reads a dataset's Parquet files again: what the card tells is counted from the files themselves.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use deltalake::parquet::arrow::ProjectionMask;
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use xxhash_rust::xxh3::xxh3_128;

use super::manifest::SplitCounts;
use super::part::STATUS;
use super::recipe::Recipe;
use super::rows::PERSON;
use crate::error::{Place, Result};

/// The columns of a file.
///
/// # Errors
/// When it cannot be read.
pub fn schema(path: &Path) -> Result<SchemaRef> {
    let file = File::open(path).at(path.display())?;
    Ok(ParquetRecordBatchReaderBuilder::try_new(file).at(path.display())?.schema().clone())
}

/// Some columns of all rows of a file, as far as it has them.
///
/// # Errors
/// When it cannot be read.
pub fn batches(path: &Path, columns: &[&str]) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let file = File::open(path).at(path.display())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).at(path.display())?;
    let roots = builder.schema().fields().iter().enumerate();
    let roots: Vec<usize> =
        roots.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).build().at(path.display())?;
    let place = path.display().to_string();
    Ok(reader.map(move |batch| batch.at(&place)))
}

/// The values of a label column in each row: one, several where it is a list, none where it is NULL.
///
/// # Errors
/// When a value cannot be shown as text.
pub fn values(column: &ArrayRef) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default();
    let shown = |array: &dyn Array| -> Result<Vec<Option<String>>> {
        let formatter = ArrayFormatter::try_new(array, &options)?;
        Ok((0..array.len()).map(|row| array.is_valid(row).then(|| formatter.value(row).to_string())).collect())
    };
    let Some(lists) = column.as_list_opt::<i32>() else {
        return Ok(shown(column)?.into_iter().map(|value| value.into_iter().collect()).collect());
    };
    let of_row = |list: Option<ArrayRef>| -> Result<Vec<String>> {
        list.map_or(Ok(Vec::new()), |items| Ok(shown(&items)?.into_iter().flatten().collect()))
    };
    lists.iter().map(of_row).collect()
}

/// Counts what is in a split.
///
/// # Errors
/// When a file cannot be read.
pub fn count(recipe: &Recipe, name: &str, paths: &[std::path::PathBuf]) -> Result<SplitCounts> {
    let mut counts = SplitCounts { name: name.to_owned(), ..SplitCounts::default() };
    counts.labels = recipe.labels.iter().map(|label| (label.clone(), BTreeMap::new())).collect();
    let mut persons: HashSet<u128> = HashSet::new();
    let mut columns: Vec<&str> = recipe.labels.iter().map(String::as_str).collect();
    columns.extend([PERSON, STATUS]);
    for path in paths {
        for batch in batches(path, &columns)? {
            let batch = batch?;
            counts.rows += batch.num_rows() as u64;
            add(&mut counts, &mut persons, recipe, &batch)?;
        }
    }
    counts.persons = recipe.person.is_some().then_some(persons.len() as u64);
    Ok(counts)
}

fn add(counts: &mut SplitCounts, persons: &mut HashSet<u128>, recipe: &Recipe, batch: &RecordBatch) -> Result<()> {
    for (label, balance) in &mut counts.labels {
        let Some(column) = batch.column_by_name(label) else { continue };
        for value in values(column)?.into_iter().flatten() {
            *balance.entry(value).or_default() += 1;
        }
    }
    if recipe.original.is_some()
        && let Some(column) = batch.column_by_name(STATUS)
    {
        for status in values(column)?.into_iter().flatten() {
            *counts.originals.entry(status).or_default() += 1;
        }
    }
    if recipe.person.is_some()
        && let Some(column) = batch.column_by_name(PERSON).and_then(|column| column.as_string_opt::<i32>())
    {
        counts.without_person += column.null_count() as u64;
        persons.extend(column.iter().flatten().map(|person| xxh3_128(person.as_bytes())));
    }
    Ok(())
}
