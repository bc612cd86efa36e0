//! Rows that do not say whose they are: rows of another table name them, and these do (`erased_with` in a contract).

use std::collections::HashSet;

use arrow::array::{AsArray, BooleanArray, RecordBatch};

use super::subject::{Subject, text};
use crate::contract::{Project, Table, TableName};
use crate::error::Result;
use crate::lake::Lake;

/// What the subject's rows name of a table.
pub(super) struct Linked<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its key's column, and that of the naming table.
    pub column: String,
    /// The values that rows of the subject name, and those of no other.
    pub values: HashSet<String>,
}

impl<'a> Linked<'a> {
    /// The tables of a project whose rows the subject's rows name, in whatever version.
    pub async fn of(lake: &Lake, project: &'a Project, subject: &Subject) -> Result<Vec<Self>> {
        let mut linked = Vec::new();
        for (table, by) in naming(project, subject) {
            let Some(column) = table.key.first().cloned() else { continue };
            let (mut own, mut others) = (HashSet::new(), HashSet::new());
            if let Some(by) = lake.open(&by.to_string()).await? {
                by.each_stored(&mut |rows| {
                    let is_own = subject.bears(rows)?;
                    let names = text(rows, &column)?;
                    for (name, is_own) in names.as_string::<i32>().iter().zip(is_own.values()) {
                        let named = if is_own { &mut own } else { &mut others };
                        named.extend(name.map(str::to_owned));
                    }
                    Ok(())
                })
                .await?;
            }
            linked.push(Self { table, column, values: own.difference(&others).cloned().collect() });
        }
        Ok(linked)
    }

    /// Whether a table has rows that are named: the table itself, and those made of it that have its key.
    pub fn is_in(&self, project: &Project, subject: &Subject, table: &Table) -> bool {
        let reads = |name: &&TableName| project.table(name).is_some_and(|input| self.is_in(project, subject, input));
        table.name == self.table.name
            || (table.column(&self.column).is_some() && !subject.is_in(table) && table.inputs().iter().any(reads))
    }

    /// Which rows are named.
    pub fn names(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        named(rows, &self.column, &self.values)
    }
}

/// Which rows have one of some values in a column.
pub(super) fn named(rows: &RecordBatch, column: &str, values: &HashSet<String>) -> Result<BooleanArray> {
    let texts = text(rows, column)?;
    let is_named = |text: Option<&str>| Some(text.is_some_and(|text| values.contains(text)));
    Ok(texts.as_string::<i32>().iter().map(is_named).collect())
}

/// Tables whose rows are named by rows that bear the subject, and these.
fn naming<'a>(project: &'a Project, subject: &Subject) -> Vec<(&'a Table, &'a TableName)> {
    let with = |table: &'a Table| table.erased_with.as_ref().map(|by| (table, by));
    let bears = |by: &TableName| project.table(by).is_some_and(|by| subject.is_in(by));
    project.tables.iter().filter_map(with).filter(|(_, by)| bears(by)).collect()
}
