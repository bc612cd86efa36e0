//! What a table in the lake is made from: columns with comments, and how Delta is to keep it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;

use super::LakeTable;
use crate::contract::{Column, Definition, Table};
use crate::error::{Place, Result};

/// A table as its contract, or the program itself for those of `ops`, describes it.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// `<stage>.<name>`.
    pub name: String,
    /// Stands on the Delta table.
    pub description: String,
    /// In the order in which they are stored.
    pub columns: Vec<Column>,
    /// Columns whose minimum and maximum stand in clear text in the Delta log.
    pub statistics: Vec<String>,
    /// Columns that rows are looked up and replaced by.
    pub lookup: Vec<String>,
    /// Columns with a bloom filter in each data file: those that keys begin with which rows are looked up by.
    pub sought: Vec<String>,
    /// Columns of whole numbers or times that mostly rise a little from row to row: stored as differences.
    pub rising: Vec<String>,
    /// Changed rows are recorded in the change data feed.
    pub change_feed: bool,
}

impl TableSpec {
    /// The spec of a table of a contract.
    pub fn of(table: &Table) -> Self {
        let lookup: Vec<String> = match &table.definition {
            Definition::ByRecord { .. } => table.key.clone(),
            Definition::ByKey { replace_by, .. } => replace_by.clone(),
            Definition::Surrogate { number, inherits, .. } => {
                table.key.iter().chain([number]).chain(inherits).cloned().collect()
            }
            Definition::Bronze { .. } | Definition::Whole { .. } => Vec::new(),
        };
        // Rows with numbers are looked up by each of the columns, others by all together.
        let begin = if matches!(table.definition, Definition::Surrogate { .. }) { lookup.len() } else { 1 };
        let mut sought = table.sought.clone();
        sought.extend(lookup.iter().take(begin).filter(|column| !table.sought.contains(column)).cloned());
        Self {
            name: table.name.to_string(),
            description: table.description.clone(),
            columns: table.columns.clone(),
            statistics: table.statistics.clone(),
            lookup,
            sought,
            rising: rising(table),
            change_feed: !matches!(table.definition, Definition::Bronze { .. }),
        }
    }

    /// The spec of a table that no contract describes any more: its columns as they are stored.
    pub fn as_stored(table: &LakeTable) -> Self {
        let column = |field: &Arc<Field>| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            required: !field.is_nullable(),
            comment: String::new(),
        };
        Self {
            name: table.name.clone(),
            description: String::new(),
            columns: table.schema().fields().iter().map(column).collect(),
            statistics: Vec::new(),
            lookup: Vec::new(),
            sought: Vec::new(),
            rising: Vec::new(),
            change_feed: false,
        }
    }

    /// The Arrow schema of the data files, comments included.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| {
            Field::new(&column.name, column.data_type.clone(), !column.required)
                .with_metadata(HashMap::from([("comment".to_owned(), column.comment.clone())]))
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The Delta schema.
    ///
    /// # Errors
    /// When a column's type has no counterpart in Delta.
    pub fn delta_schema(&self) -> Result<StructType> {
        self.arrow_schema().as_ref().try_into_kernel().at(&self.name)
    }

    /// The Delta table properties.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let statistics = if self.statistics.is_empty() {
            ("delta.dataSkippingNumIndexedCols", "0".to_owned())
        } else {
            ("delta.dataSkippingStatsColumns", self.statistics.join(","))
        };
        let mut properties = vec![statistics];
        if self.change_feed {
            properties.push(("delta.enableChangeDataFeed", "true".to_owned()));
        }
        properties
    }
}

/// A record's place in its source, and what says which of two records is newer: records mostly come in their order.
fn rising(table: &Table) -> Vec<String> {
    let sequence = match &table.definition {
        Definition::ByRecord { sequence, .. } => sequence.as_deref(),
        _ => None,
    };
    let counts = |data_type: &DataType| {
        matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..))
    };
    let rises = |column: &&Column| column.name == "_row" || Some(column.name.as_str()) == sequence;
    let columns = table.columns.iter().filter(rises).filter(|column| counts(&column.data_type));
    columns.map(|column| column.name.clone()).collect()
}
