//! What is known of the columns of a database's tables, from `ops.columns`.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::error::{Error, Result};
use crate::lake::{Lake, read_file};
use crate::ops::{self, ColumnRow};
use crate::run::Run;
use crate::source::postgres::Relation;

/// What stands for the table itself among its columns.
pub(super) const TABLE: &str = "*";

/// The newest that is known of a column.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its field in `record`.
    pub field: Option<String>,
    /// Its type in the database; none when it is gone.
    pub type_name: Option<String>,
    seen_at: i64,
}

/// What is known of a table's columns, by name.
pub(super) type Columns = HashMap<String, Known>;

/// What is known of all tables of a database.
#[derive(Debug, Default)]
pub(super) struct History(HashMap<String, Columns>);

impl History {
    /// Reads what is known of a source's tables.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn read(lake: &Lake, source: &str) -> Result<Self> {
        let mut history = Self::default();
        let Some(table) = lake.open(&ops::columns().name).await? else { return Ok(history) };
        for file in table.files()? {
            for batch in read_file(&table, &file).await? {
                let column = |name: &str| {
                    let missing = || Error::failed(format!("{}: no column '{name}'", table.name));
                    batch.column_by_name(name).ok_or_else(missing)
                };
                let text = |name: &str| Ok::<_, Error>(column(name)?.as_string::<i32>());
                let (sources, tables, names) = (text("source")?, text("table")?, text("column")?);
                let (fields, types) = (text("field")?, text("type_after")?);
                let seen = column("seen_at")?.as_primitive::<TimestampMicrosecondType>();
                for row in (0..batch.num_rows()).filter(|row| sources.value(*row) == source) {
                    let value =
                        |texts: &arrow::array::StringArray| texts.is_valid(row).then(|| texts.value(row).to_owned());
                    let known = Known { field: value(fields), type_name: value(types), seen_at: seen.value(row) };
                    history.add(tables.value(row), names.value(row), known);
                }
            }
        }
        Ok(history)
    }

    fn add(&mut self, table: &str, column: &str, known: Known) {
        let columns = self.0.entry(table.to_owned()).or_default();
        if columns.get(column).is_none_or(|other| other.seen_at <= known.seen_at) {
            columns.insert(column.to_owned(), known);
        }
    }

    /// What is known of a table; none when it was never seen.
    pub fn table(&self, name: &str) -> Option<&Columns> {
        self.0.get(name)
    }

    /// That tables are gone which were there.
    pub fn dropped(&self, run: &Run, source: &str, tables: &[Relation]) -> Vec<ColumnRow> {
        let is_there = |name: &String| tables.iter().any(|relation| relation.name == *name);
        let is_told = |columns: &Columns| columns.get(TABLE).is_some_and(|table| table.type_name.is_none());
        let gone = self.0.iter().filter(|(name, columns)| !is_there(name) && !is_told(columns));
        let row = |name: &String| ColumnRow {
            run: run.id.clone(),
            source: source.to_owned(),
            table: name.clone(),
            column: TABLE.to_owned(),
            field: None,
            event: "gone".to_owned(),
            type_before: Some("table".to_owned()),
            type_after: None,
            seen_at: run.started_micros(),
        };
        gone.map(|(name, _)| row(name)).collect()
    }
}
