//! Where the rows of a subject are: in bronze by the records that lead to them, elsewhere by the subject's column.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::contract::{Definition, Project, Table};
use crate::error::{Error, Result};
use crate::lake::{Concerned, read_file};
use crate::run::Run;
use crate::silver::by_record;
use crate::silver::quarantine::{Places, QUARANTINE};

/// Whoever or whatever is to be erased.
pub struct Subject {
    /// What it is, as contracts call it: `exam`.
    pub name: String,
    /// The column that tells it.
    pub column: String,
    value: String,
}

impl Subject {
    /// The subject of a name and an identifier.
    ///
    /// # Errors
    /// Wrong use when no contract knows such a subject.
    pub fn of(project: &Project, name: &str, value: &str) -> Result<Self> {
        let marked = |table: &&Table| table.subject.as_deref() == Some(name);
        let Some(table) = project.tables.iter().find(marked) else {
            let known: Vec<&str> = project.tables.iter().filter_map(|table| table.subject.as_deref()).collect();
            let hint = match known.as_slice() {
                [] => "mark a table's key with `subject = \"…\"` in its contract".to_owned(),
                known => format!("contracts know: {}", known.join(", ")),
            };
            return Err(Error::usage(format!("erase: no contract has a subject '{name}'")).hint(hint));
        };
        let column = table.key.first().cloned().unwrap_or_default();
        Ok(Self { name: name.to_owned(), column, value: value.to_owned() })
    }

    /// Whether a table has the subject's column.
    pub fn is_in(&self, table: &Table) -> bool {
        table.column(&self.column).is_some()
    }

    /// The records of each bronze table that are the subject's: those of which a row bears its identifier, and those in
    /// quarantine whose text has it as a word.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn records(&self, run: &Run) -> Result<BTreeMap<String, Places>> {
        let mut records: BTreeMap<String, Places> = BTreeMap::new();
        for table in run.project.tables.iter().filter(|table| self.is_in(table)) {
            let Definition::ByRecord { input, .. } = &table.definition else { continue };
            let places = by_record::places(run, table, &|rows| self.bears(rows)).await?;
            records.entry(input.to_string()).or_default().extend(places);
        }
        for (table, places) in self.set_aside(run).await? {
            records.entry(table).or_default().extend(places);
        }
        Ok(records)
    }

    async fn set_aside(&self, run: &Run) -> Result<BTreeMap<String, Places>> {
        let mut found: BTreeMap<String, Places> = BTreeMap::new();
        let Some(quarantine) = run.lake.open(QUARANTINE).await? else { return Ok(found) };
        let inputs: BTreeMap<String, BTreeSet<String>> = run
            .project
            .tables
            .iter()
            .map(|table| (table.name.to_string(), table.inputs().iter().map(ToString::to_string).collect()))
            .collect();
        for file in quarantine.files()? {
            for rows in read_file(&quarantine, &file).await? {
                let mentioned = self.mentioned(&rows)?;
                let tables = text(&rows, "table")?;
                let tables = tables.as_string::<i32>();
                for row in (0..rows.num_rows()).filter(|row| mentioned.value(*row)) {
                    for input in inputs.get(tables.value(row)).into_iter().flatten() {
                        found.entry(input.clone()).or_default().extend(Places::of(&rows.slice(row, 1))?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Which rows of a table's file are the subject's.
    pub fn concerned(self: &Arc<Self>, table: &str, records: Option<Arc<Places>>) -> Box<Concerned> {
        let subject = self.clone();
        if let Some(places) = records {
            return Box::new(move |rows| {
                let column = |name: &str| rows.column_by_name(name).cloned().ok_or_else(|| no_column(name));
                let (source, row, batch) = (column("_source")?, column("_row")?, column("_batch")?);
                Ok(places.contain([&source, &row, &batch])?.into())
            });
        }
        if table == QUARANTINE {
            return Box::new(move |rows| subject.mentioned(rows));
        }
        Box::new(move |rows| subject.bears(rows))
    }

    /// Which rows have the identifier in the subject's column; none where there is no such column.
    fn bears(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let Some(column) = rows.column_by_name(&self.column) else {
            return Ok(BooleanArray::from(vec![false; rows.num_rows()]));
        };
        let texts = cast(column, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        Ok((0..rows.num_rows()).map(|row| Some(texts.is_valid(row) && texts.value(row) == self.value)).collect())
    }

    /// Which rows of the quarantine have the identifier in their payload or key, as a word of its own.
    fn mentioned(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let mut found = vec![false; rows.num_rows()];
        for name in ["payload", "payload_bytes", "key"] {
            let Some(column) = rows.column_by_name(name) else { continue };
            let bytes = cast(column, &DataType::Binary)?;
            let bytes = bytes.as_binary::<i32>();
            for (row, found) in found.iter_mut().enumerate() {
                *found |= bytes.is_valid(row) && has_word(bytes.value(row), self.value.as_bytes());
            }
        }
        Ok(found.into())
    }
}

fn no_column(name: &str) -> Error {
    Error::failed(format!("a bronze file has no column {name}"))
}

fn text(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = rows.column_by_name(name).ok_or_else(|| no_column(name))?;
    Ok(cast(column, &DataType::Utf8)?)
}

/// Whether a text has a word, with neither a letter nor a digit before or behind it.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        !is_word(before) && !is_word(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn a_word_is_not_a_part_of_another() {
        assert!(has_word(b"{\"id\": 104}", b"104"));
        assert!(has_word(b"104", b"104"));
        assert!(!has_word(b"{\"id\": 1040}", b"104"));
        assert!(!has_word(b"x104", b"104"));
        assert!(has_word(b"x104 104", b"104"));
    }
}
