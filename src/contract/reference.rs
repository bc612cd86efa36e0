//! Reference tables: small CSV files that say what codes and spellings mean.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::layout::Named;
use super::types::is_identifier;
use crate::problem::{File, Place, Problem, nearest};

/// A table of texts whose first column is its key; case and outer white space do not count in the key.
#[derive(Debug, Clone)]
pub struct Reference {
    pub name: String,
    /// The pipeline that it stands in.
    pub pipeline: String,
    pub columns: Vec<String>,
    /// As many cells as there are columns; a cell that is empty is NULL in SQL.
    pub rows: Vec<Vec<String>>,
}

impl Reference {
    /// The schema that SQL sees: all columns STRING.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// All rows, for SQL.
    ///
    /// # Errors
    /// None for a reference that was loaded; Arrow's own when `rows` and `columns` were changed and disagree.
    pub fn batch(&self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let cell = |row: &Vec<String>, at: usize| row.get(at).filter(|cell| !cell.is_empty()).cloned();
        let columns = (0..self.columns.len())
            .map(|at| Arc::new(self.rows.iter().map(|row| cell(row, at)).collect::<StringArray>()) as ArrayRef)
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(self.schema(), columns, &options)
    }

    /// The row whose first column is `value`, whatever the case and the white space around it.
    pub fn lookup(&self, value: &str) -> Option<&[String]> {
        let wanted = normal(value);
        self.rows.iter().find(|row| row.first().is_some_and(|key| normal(key) == wanted)).map(Vec::as_slice)
    }

    /// At most `n` keys that resemble `value`, the most alike first.
    pub fn nearest(&self, value: &str, n: usize) -> Vec<&str> {
        let keys: Vec<&str> = self.rows.iter().filter_map(|row| row.first()).map(String::as_str).collect();
        nearest(value, &keys, n)
    }
}

fn normal(key: &str) -> String {
    key.trim().to_lowercase()
}

/// Reads a reference's CSV.
pub(super) fn read(pipeline: &str, named: &Named, problems: &mut Vec<Problem>) -> Option<Reference> {
    let before = problems.len();
    let file = &named.file;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(file.text.trim_start_matches('\u{feff}').as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => records.push(record),
            Err(error) => problems.push(file.problem_at(line(error.position()), format!("not CSV: {error}"))),
        }
    }
    let mut records = records.into_iter();
    let Some(header) = records.next() else {
        problems
            .push(Problem::of_file(&file.path, "the reference is empty").with_hint("write a header row".to_owned()));
        return None;
    };
    let columns = read_header(file, &header, problems);
    let rows = read_rows(file, columns.len(), records, problems);
    if rows.is_empty() && problems.len() == before {
        problems.push(Problem::of_file(&file.path, "the reference has a header but no row"));
    }
    let reference = Reference { name: named.name.clone(), pipeline: pipeline.to_owned(), columns, rows };
    (problems.len() == before).then_some(reference)
}

fn line(position: Option<&csv::Position>) -> Place {
    Place { line: position.map_or(1, |position| position.line() as u32), column: 1 }
}

fn read_header(file: &File, header: &csv::StringRecord, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in header {
        let mut report = |message| problems.push(file.problem_at(line(header.position()), message));
        if !is_identifier(name) {
            report(format!("'{name}' cannot be a column's name"));
        } else if columns.iter().any(|column| column == name) {
            report(format!("column '{name}' stands twice"));
        }
        columns.push(name.to_owned());
    }
    columns
}

fn read_rows(
    file: &File,
    width: usize,
    records: impl Iterator<Item = csv::StringRecord>,
    problems: &mut Vec<Problem>,
) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    for record in records {
        let place = line(record.position());
        if record.len() != width {
            let message = format!("the row has {} cells, the header {width}", record.len());
            let hint = "quote a cell that holds a comma".to_owned();
            problems.push(file.problem_at(place, message).with_hint(hint));
            continue;
        }
        let key = record.get(0).unwrap_or_default();
        if key.trim().is_empty() {
            problems.push(file.problem_at(place, "the first column is the key and cannot be empty"));
        } else if let Some(first) = seen.insert(normal(key), place.line) {
            let hint = "case and outer spaces do not count".to_owned();
            let message = format!("key '{key}' stands in line {first} too");
            problems.push(file.problem_at(place, message).with_hint(hint));
        }
        rows.push(record.iter().map(str::to_owned).collect());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    fn reference(text: &str) -> Result<Reference, Vec<Problem>> {
        let file = File { path: "r.csv".into(), text: text.into() };
        let mut problems = Vec::new();
        read("p", &Named { name: "r".into(), file }, &mut problems).ok_or(problems)
    }

    #[test]
    fn a_value_is_found_whatever_its_case_and_spaces() {
        let known = reference("# spellings\nraw,code\nChest X,CHEST\n mama ,BREAST\n").unwrap();
        assert_eq!(known.lookup(" chest x ").unwrap()[1], "CHEST");
        assert_eq!(known.lookup("MAMA").unwrap()[1], "BREAST");
        assert!(known.lookup("foot").is_none());
        assert_eq!(known.nearest("ches x", 3), ["Chest X"]);
    }

    #[test]
    fn an_empty_cell_is_null() {
        let batch = reference("a,b\nx,\ny,z\n").unwrap().batch().unwrap();
        let column = batch.column(1).as_string::<i32>();
        assert!(column.is_null(0));
        assert_eq!(column.value(1), "z");
    }

    #[test]
    fn every_bad_line_is_told() {
        let problems = reference("a,b\nx,1,2\nY,1\ny ,2\n,3\n").unwrap_err();
        let places: Vec<u32> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(places, [2, 4, 5]);
    }
}
