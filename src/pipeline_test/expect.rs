//! What a case expects of a table: rows of some of its columns, in any order.
//!
//! A field is written as in JSON: numbers, `true` and `false`; texts, dates (`2021-12-31`), times
//! (`2021-12-31T08:00:00.5Z`) and bytes (hexadecimal) without JSON's quotes; lists and structs as JSON, of a struct only
//! the fields that are not NULL. An empty field is NULL, `""` is an empty text.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::writer::LineDelimited;
use arrow::json::{ReaderBuilder, WriterBuilder};
use arrow::row::{RowConverter, SortField};
use serde::Serialize;
use serde_json::{Map, Value};

use super::csv::{self, Record};
use crate::contract::Problem;
use crate::error::{Error, Result};
use crate::lake::TableSpec;
use crate::problem::suggest;

/// The rows that a table must hold.
#[derive(Debug)]
pub struct Expected {
    /// The table, `<stage>.<name>`.
    pub table: String,
    file: String,
    rows: RecordBatch,
    /// The line of each row.
    lines: Vec<u32>,
}

/// A row that is not where it should be.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The file of the expectation.
    pub file: String,
    /// The line of a row that is missing.
    pub line: Option<u32>,
    /// `missing` or `unexpected`.
    pub kind: &'static str,
    /// The row as it would stand in the file.
    pub row: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}", self.kind, self.row)
    }
}

impl Expected {
    /// Reads what a file expects of a table.
    ///
    /// # Errors
    /// Every problem that the file has.
    pub fn parse(file: &str, text: &str, spec: &TableSpec) -> Result<Self, Vec<Problem>> {
        let problem = |line: u32, message: String| Problem { line, ..Problem::of_file(file, message) };
        let mut records = csv::parse(text).map_err(|(line, what)| vec![problem(line, what.to_owned())])?.into_iter();
        let heading = records.next().ok_or_else(|| {
            let hint = "the first line names the columns to compare; no other line means no row";
            vec![problem(1, "the file is empty".to_owned()).with_hint(hint.to_owned())]
        })?;
        let schema =
            schema_of(&heading, spec).map_err(|(what, hint)| vec![problem(heading.line, what).with_hint(hint)])?;
        let (mut rows, mut lines, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match row_of(&record, &schema) {
                Ok(row) => rows.push(row),
                Err(what) => problems.push(problem(record.line, what)),
            }
            lines.push(record.line);
        }
        let rows = concat_batches(&schema, &rows).map_err(|error| vec![problem(1, error.to_string())])?;
        let expected = Self { table: spec.name.clone(), file: file.to_owned(), rows, lines };
        if problems.is_empty() { Ok(expected) } else { Err(problems) }
    }

    /// Compares with the rows of the table, as bags.
    ///
    /// # Errors
    /// When a column's type cannot be compared.
    pub fn compare(&self, batches: &[RecordBatch]) -> Result<Vec<Difference>> {
        let converter = RowConverter::new(
            self.rows.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect(),
        )?;
        let mut wanted: HashMap<Box<[u8]>, VecDeque<usize>> = HashMap::new();
        for (index, row) in converter.convert_columns(self.rows.columns())?.iter().enumerate() {
            wanted.entry(row.as_ref().into()).or_default().push_back(index);
        }
        let mut unexpected = Vec::new();
        for batch in batches {
            let batch = self.same_columns(batch)?;
            let texts = texts(&batch)?;
            for (row, text) in converter.convert_columns(batch.columns())?.iter().zip(texts) {
                if wanted.get_mut(row.as_ref()).and_then(VecDeque::pop_front).is_none() {
                    unexpected.push(self.difference("unexpected", None, text));
                }
            }
        }
        let texts = texts(&self.rows)?;
        let mut missing: Vec<usize> = wanted.into_values().flatten().collect();
        missing.sort_unstable();
        unexpected.sort_by(|a, b| a.row.cmp(&b.row));
        let missing =
            missing.into_iter().map(|row| self.difference("missing", Some(self.lines[row]), texts[row].clone()));
        Ok(missing.chain(unexpected).collect())
    }

    fn difference(&self, kind: &'static str, line: Option<u32>, row: String) -> Difference {
        Difference { file: self.file.clone(), line, kind, row }
    }

    /// The expected columns of a table's rows.
    fn same_columns(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.rows.schema();
        let columns = schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name());
            let column = column.ok_or_else(|| Error::failed(format!("no column '{}'", field.name())))?;
            Ok(cast(column, field.data_type())?)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

/// The columns that a heading names; or what is wrong with it, and a hint.
fn schema_of(heading: &Record, spec: &TableSpec) -> Result<SchemaRef, (String, Option<String>)> {
    let mut fields: Vec<Field> = Vec::new();
    for name in &heading.fields {
        let name = name.as_deref().unwrap_or_default();
        let Some(column) = spec.columns.iter().find(|column| column.name == name) else {
            let hint = suggest(name, spec.columns.iter().map(|column| column.name.as_str()));
            return Err((format!("{} has no column '{name}'", spec.name), hint));
        };
        if fields.iter().any(|field| field.name() == name) {
            return Err((format!("column '{name}' stands twice"), None));
        }
        fields.push(Field::new(name, column.data_type.clone(), true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// One row, typed; or what does not fit.
fn row_of(record: &Record, schema: &SchemaRef) -> Result<RecordBatch, String> {
    if record.fields.len() != schema.fields().len() {
        return Err(format!("{} fields, where the first line has {}", record.fields.len(), schema.fields().len()));
    }
    let mut row = Map::new();
    for (text, field) in record.fields.iter().zip(schema.fields()) {
        let Some(text) = text else { continue };
        let value = json_of(text, field.data_type()).map_err(|what| format!("column '{}': {what}", field.name()))?;
        row.insert(field.name().clone(), value);
    }
    let decoded = ReaderBuilder::new(schema.clone()).with_strict_mode(true).build_decoder().and_then(|mut decoder| {
        decoder.serialize(&[row])?;
        decoder.flush()
    });
    match decoded {
        Ok(Some(row)) => Ok(row),
        Ok(None) => Err("the row is empty".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A field's text as the JSON value that its type is read from.
fn json_of(text: &str, data_type: &DataType) -> Result<Value, String> {
    match data_type {
        DataType::Boolean => text.parse().map(Value::Bool).map_err(|_| format!("'{text}' is neither true nor false")),
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
        }
        // Numbers, dates and times are read from texts too.
        _ => Ok(Value::from(text)),
    }
}

/// The rows as they would stand in a file.
fn texts(batch: &RecordBatch) -> Result<Vec<String>> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let json = writer.into_inner();
    let rows = serde_json::Deserializer::from_slice(&json).into_iter::<Map<String, Value>>();
    rows.map(|row| Ok(csv::line(&row?.into_iter().map(|(_, value)| text_of(value)).collect::<Vec<_>>()))).collect()
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Column, parse_type};

    fn spec() -> TableSpec {
        let column = |name: &str, of: &str| Column {
            name: name.to_owned(),
            data_type: parse_type(of).unwrap(),
            required: false,
            comment: String::new(),
        };
        TableSpec {
            name: "silver.things".to_owned(),
            description: String::new(),
            columns: vec![
                column("id", "STRING"),
                column("share", "DOUBLE"),
                column("on_day", "DATE"),
                column("at", "TIMESTAMP"),
                column("good", "BOOLEAN"),
                column("parts", "ARRAY<STRUCT<name STRING, size BIGINT>>"),
            ],
            statistics: Vec::new(),
            lookup: Vec::new(),
            sought: Vec::new(),
            rising: Vec::new(),
            change_feed: false,
        }
    }

    fn parse(text: &str) -> Result<Expected, Vec<Problem>> {
        Expected::parse("expect/silver.things.csv", text, &spec())
    }

    const ALL: &str = "id,share,on_day,at,good,parts
a,40.0,2021-12-31,2021-12-31T08:00:00.500Z,true,\"[{\"\"name\"\":\"\"x\"\",\"\"size\"\":null}]\"
\"\",,,,,[]
";

    #[test]
    fn rows_are_written_as_they_are_read() {
        let written = texts(&parse(ALL).unwrap().rows).unwrap();
        assert_eq!(written, ALL.lines().skip(1).collect::<Vec<_>>());
    }

    #[test]
    fn values_count_not_their_spelling() {
        let table = parse(ALL).unwrap().rows;
        let expected =
            parse("parts,share,id,at\n[],,\"\",\n\"[{\"\"name\"\": \"\"x\"\"}]\",4e1,a,2021-12-31T09:00:00.5+01:00\n");
        assert!(expected.unwrap().compare(&[table]).unwrap().is_empty());
    }

    #[test]
    fn rows_are_a_bag() {
        let table = parse("id\na\na\nb\n").unwrap().rows;
        let split = [table.slice(2, 1), table.slice(0, 2)];
        assert!(parse("id\na\nb\na\n").unwrap().compare(&split).unwrap().is_empty());
        let found = parse("id\na\n# none\nc\nb\nb\n").unwrap().compare(&split).unwrap();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let file = "expect/silver.things.csv";
        assert_eq!(
            told,
            [format!("{file}:4: missing: c"), format!("{file}:6: missing: b"), format!("{file}: unexpected: a")]
        );
    }

    #[test]
    fn null_is_not_an_empty_text() {
        let table = parse("id,good\n\"\",true\n").unwrap().rows;
        assert_eq!(parse("id,good\n,true\n").unwrap().compare(&[table]).unwrap().len(), 2);
    }

    #[test]
    fn no_rows_can_be_expected() {
        let table = parse("id\na\n").unwrap().rows;
        assert_eq!(parse("id\n").unwrap().compare(&[table]).unwrap().len(), 1);
        assert!(parse("id\n").unwrap().compare(&[]).unwrap().is_empty());
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let told = |text: &str| -> Vec<String> {
            parse(text).unwrap_err().iter().map(|problem| problem.to_string().replace("expect/silver.", "")).collect()
        };
        assert_eq!(
            told(""),
            ["things.csv:1:1: the file is empty\n  hint: the first line names the columns to compare; \
                               no other line means no row"]
        );
        assert_eq!(
            told("id,shar\n"),
            ["things.csv:1:1: silver.things has no column 'shar'\n  hint: did you mean 'share'?"]
        );
        assert_eq!(told("id,id\n"), ["things.csv:1:1: column 'id' stands twice"]);
        let wrong = told("id,share,good\na,1\na,x,true\na,1,yes\nb,2,true\n");
        assert_eq!(wrong.len(), 3);
        assert_eq!(wrong[0], "things.csv:2:1: 2 fields, where the first line has 3");
        assert!(wrong[1].starts_with("things.csv:3:1: ") && wrong[1].contains("share"), "{}", wrong[1]);
        assert_eq!(wrong[2], "things.csv:4:1: column 'good': 'yes' is neither true nor false");
    }
}
