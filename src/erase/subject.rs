//! Where the rows of a subject are: in bronze by the records that lead to them, elsewhere by the subject's column.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::kernels::boolean::and_not;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::DataType;
use serde_json::Value;

use super::linked::{Linked, named};
use crate::bronze::ledger::nameless;
use crate::contract::{Definition, Project, Stage, Table, TableName};
use crate::error::{Error, Result};
use crate::lake::{Redaction, read_columns, read_file, without_rows};
use crate::ops;
use crate::run::Run;
use crate::silver::by_record;
use crate::silver::quarantine::{Places, QUARANTINE};

/// Where the subject's rows are that do not bear its identifier themselves.
#[derive(Default)]
pub struct Found {
    /// Its records, by bronze table.
    pub records: BTreeMap<String, Places>,
    /// Records in quarantine that have its identifier as a word, and are of others.
    others: Places,
    /// Where records came from that were all the subject's: files whose names may tell of it.
    sources: HashSet<String>,
    /// By table, the column by which rows of the subject name rows of it, and what they name.
    named: BTreeMap<String, (String, HashSet<String>)>,
}

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

    /// The tables, inputs first, that read the subject's rows and do not say whose their own are.
    pub fn counted_in(&self, project: &Project) -> Vec<TableName> {
        let mut counted: Vec<TableName> = Vec::new();
        for table in project.tables.iter().filter(|table| table.name.stage != Stage::Bronze) {
            let is_derived = !matches!(table.definition, Definition::ByRecord { .. });
            let reads = |input: &&TableName| {
                counted.contains(*input) || project.table(input).is_some_and(|input| self.is_in(input))
            };
            if is_derived && !self.is_in(table) && table.inputs().iter().any(reads) {
                counted.push(table.name.clone());
            }
        }
        counted
    }

    /// What is the subject's: the records of each bronze table of which a row bears its identifier, and those in quarantine
    /// whose text has it as a word and that are not known to be of another.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn find(&self, run: &Run) -> Result<Found> {
        let mut found = Found::default();
        for table in run.project.tables.iter().filter(|table| self.is_in(table)) {
            let Definition::ByRecord { input, .. } = &table.definition else { continue };
            let places = by_record::places(run, table, None, &|rows| self.bears(rows)).await?;
            found.records.entry(input.to_string()).or_default().extend(places);
        }
        for linked in Linked::of(&run.lake, &run.project, self).await? {
            let Definition::ByRecord { input, .. } = &linked.table.definition else { continue };
            if !linked.values.is_empty() {
                let places = by_record::places(run, linked.table, None, &|rows| linked.names(rows)).await?;
                found.records.entry(input.to_string()).or_default().extend(places);
            }
            for table in run.project.tables.iter().filter(|table| linked.is_in(&run.project, self, table)) {
                found.named.insert(table.name.to_string(), (linked.column.clone(), linked.values.clone()));
            }
        }
        for (input, places) in self.mentioned_in_quarantine(run).await? {
            let others = self.of_others(run, &input, &places).await?;
            let places = places.without(&others);
            found.others.extend(others);
            found.records.entry(input).or_default().extend(places);
        }
        found.sources = sources(run, &found.records).await?;
        Ok(found)
    }

    /// The records in quarantine that have the identifier as a word, by the table that they came from.
    async fn mentioned_in_quarantine(&self, run: &Run) -> Result<BTreeMap<String, Places>> {
        let mut found: BTreeMap<String, Places> = BTreeMap::new();
        let Some(quarantine) = run.lake.open(QUARANTINE).await? else { return Ok(found) };
        for file in quarantine.files()? {
            for rows in read_file(&quarantine, &file).await? {
                let mentioned = self.mentioned(&rows)?;
                let (tables, keys) = (text(&rows, "table")?, text(&rows, "key")?);
                let tables = tables.as_string::<i32>();
                for row in (0..rows.num_rows()).filter(|row| mentioned.value(*row) && keys.is_null(*row)) {
                    let table = run.project.tables.iter().find(|table| table.name.to_string() == tables.value(row));
                    for input in table.map(|table| table.inputs()).unwrap_or_default() {
                        found.entry(input.to_string()).or_default().extend(Places::of(&rows.slice(row, 1))?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Of some records of a bronze table, those whose rows bear another identifier, and none the subject's.
    async fn of_others(&self, run: &Run, input: &str, among: &Places) -> Result<Places> {
        let (mut others, mut own) = (Places::default(), Places::default());
        for table in run.project.tables.iter().filter(|table| self.is_in(table)) {
            if !matches!(&table.definition, Definition::ByRecord { input: name, .. } if name.to_string() == input) {
                continue;
            }
            let bears_another =
                |rows: &RecordBatch| -> Result<BooleanArray> { Ok(and_not(&self.is_told(rows)?, &self.bears(rows)?)?) };
            others.extend(by_record::places(run, table, Some(among.clone()), &bears_another).await?);
            own.extend(by_record::places(run, table, Some(among.clone()), &|rows| self.bears(rows)).await?);
        }
        Ok(others.without(&own))
    }

    /// What becomes of the rows of a table's file.
    pub fn redaction(self: &Arc<Self>, table: &str, found: &Arc<Found>) -> Box<Redaction> {
        let (subject, found) = (self.clone(), found.clone());
        if table.starts_with("bronze.") {
            let table = table.to_owned();
            return Box::new(move |rows| match found.records.get(&table) {
                Some(places) => without_rows(rows, &places.contain(place(rows)?.each_ref())?.into()),
                None => Ok(None),
            });
        }
        if table == QUARANTINE {
            return Box::new(move |rows| {
                let others = BooleanArray::from(found.others.contain(place(rows)?.each_ref())?);
                without_rows(rows, &and_not(&subject.mentioned(rows)?, &others)?)
            });
        }
        if table == ops::files().name {
            return Box::new(move |rows| without_names(rows, &found.sources));
        }
        if let Some((column, values)) = found.named.get(table).cloned() {
            return Box::new(move |rows| without_rows(rows, &named(rows, &column, &values)?));
        }
        Box::new(move |rows| without_rows(rows, &subject.bears(rows)?))
    }

    /// Which rows have the identifier in the subject's column; none where there is no such column.
    pub(super) fn bears(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let Some(column) = rows.column_by_name(&self.column) else {
            return Ok(BooleanArray::from(vec![false; rows.num_rows()]));
        };
        let texts = cast(column, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        Ok((0..rows.num_rows()).map(|row| Some(texts.is_valid(row) && texts.value(row) == self.value)).collect())
    }

    /// Which rows have any identifier in the subject's column.
    fn is_told(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let column = rows.column_by_name(&self.column).ok_or_else(|| no_column(&self.column))?;
        Ok(is_not_null(column)?)
    }

    /// Which rows of the quarantine have the identifier: of a derived row in the subject's column, of a record, or where
    /// there is no such column, as a word of its own in the payload or key.
    fn mentioned(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let texts = ["payload", "payload_bytes", "key"].into_iter().filter_map(|name| rows.column_by_name(name));
        let texts = texts.map(|column| cast(column, &DataType::Binary)).collect::<Result<Vec<_>, _>>()?;
        let (payload, keys) = (text(rows, "payload")?, text(rows, "key")?);
        let payload = payload.as_string::<i32>();
        let is_mentioned = |row: usize| {
            let derived = (keys.is_valid(row) && payload.is_valid(row)).then(|| payload.value(row));
            match derived.and_then(|row| identifier(row, &self.column)) {
                Some(identifier) => identifier == self.value,
                None => texts.iter().any(|column| {
                    let bytes = column.as_binary::<i32>();
                    bytes.is_valid(row) && has_word(bytes.value(row), self.value.as_bytes())
                }),
            }
        };
        Ok((0..rows.num_rows()).map(|row| Some(is_mentioned(row))).collect())
    }
}

/// A member of a JSON object, as text; none when it is not there, or null.
fn identifier(row: &str, column: &str) -> Option<String> {
    let row: Value = serde_json::from_str(row).ok()?;
    match row.get(column)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The sources of records of bronze tables that have no other records.
async fn sources(run: &Run, records: &BTreeMap<String, Places>) -> Result<HashSet<String>> {
    let (mut own, mut shared) = (HashSet::new(), HashSet::new());
    for (name, places) in records {
        let Some(table) = run.lake.open(name).await? else { continue };
        for file in table.files()? {
            let columns = ["_source", "_row", "_batch"].map(str::to_owned);
            for rows in read_columns(&table, &file.path, file.size, &columns).await? {
                let is_own = places.contain(place(&rows)?.each_ref())?;
                let sources = text(&rows, "_source")?;
                for (source, is_own) in sources.as_string::<i32>().iter().flatten().zip(is_own) {
                    let known = if is_own { &mut own } else { &mut shared };
                    if !known.contains(source) {
                        known.insert(source.to_owned());
                    }
                }
            }
        }
    }
    Ok(own.difference(&shared).cloned().collect())
}

/// Rows of `ops.files` with a hash in place of some names.
fn without_names(rows: &RecordBatch, names: &HashSet<String>) -> Result<Option<RecordBatch>> {
    let index = rows.schema().index_of("uri")?;
    let uris = text(rows, "uri")?;
    let uris = uris.as_string::<i32>();
    if !uris.iter().flatten().any(|uri| names.contains(uri)) {
        return Ok(None);
    }
    let hashed = uris.iter().map(|uri| uri.map(|uri| if names.contains(uri) { nameless(uri) } else { uri.to_owned() }));
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(hashed.collect::<StringArray>());
    Ok(Some(RecordBatch::try_new(rows.schema(), columns)?))
}

/// Source, row and batch.
fn place(rows: &RecordBatch) -> Result<[ArrayRef; 3]> {
    let column = |name: &str| rows.column_by_name(name).cloned().ok_or_else(|| no_column(name));
    Ok([column("_source")?, column("_row")?, column("_batch")?])
}

fn no_column(name: &str) -> Error {
    Error::failed(format!("a file has no column {name}"))
}

/// A column as texts.
pub(super) fn text(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
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
