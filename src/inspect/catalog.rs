//! Tables with their columns, as the lake has them, and what the contracts say of them.

use std::collections::BTreeMap;

use arrow::datatypes::Field;
use serde::Serialize;

use super::tables_of;
use crate::contract::{Definition, Project, Table, type_name};
use crate::error::Result;
use crate::lake::{LakeTable, TableSpec};
use crate::query::{Reader, Values};

/// A table with its columns.
#[derive(Debug, Clone, Serialize)]
pub struct TableInfo {
    /// `<stage>.<name>`.
    pub table: String,
    /// What it holds.
    pub description: String,
    /// The version that was read; none when the lake does not have the table yet.
    pub version: Option<u64>,
    /// Its rows.
    pub rows: Option<u64>,
    /// In the order in which they are stored.
    pub columns: Vec<ColumnInfo>,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type, as contracts write it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Never NULL.
    pub required: bool,
    /// What it means.
    pub comment: String,
    /// How many of its values are NULL, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nulls: Option<u64>,
}

/// All that is known of a table but its rows.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The table.
    #[serde(flatten)]
    pub table: TableInfo,
    /// Its data files.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Delta's table properties.
    pub properties: BTreeMap<String, String>,
    /// What its contract says; none for the tables that the program itself keeps.
    pub contract: Option<Contract>,
}

/// What a contract says of a table besides its columns.
#[derive(Debug, Clone, Serialize)]
pub struct Contract {
    /// The pipeline that declares it.
    pub pipeline: String,
    /// `bronze`, `by_record`, `by_key` or `whole`.
    pub strategy: &'static str,
    /// The columns of which one value is one row.
    pub key: Vec<String>,
    /// By record: the row with the highest wins.
    pub sequence: Option<String>,
    /// By key: the columns by which rows are replaced.
    pub replace_by: Vec<String>,
    /// The source of a bronze table.
    pub source: Option<String>,
    /// The tables that it reads.
    pub inputs: Vec<String>,
    /// The references that it reads.
    pub references: Vec<String>,
    /// Its conditions on rows.
    pub expectations: Vec<ExpectationInfo>,
}

/// A condition on rows.
#[derive(Debug, Clone, Serialize)]
pub struct ExpectationInfo {
    /// Its name.
    pub name: String,
    /// What must be TRUE.
    pub condition: String,
    /// What becomes of a row for which it is not.
    pub severity: &'static str,
    /// Why.
    pub comment: String,
}

/// All tables that can be read, in the order of the flow.
///
/// # Errors
/// When there is no lake or a log cannot be read.
pub async fn catalog(reader: &Reader) -> Result<Vec<TableInfo>> {
    let mut tables = Vec::new();
    for name in tables_of(reader).await? {
        if let Some(table) = reader.open(&name).await? {
            tables.push(info(&table)?);
        }
    }
    Ok(tables)
}

/// Describes a table that is in the lake, or that the project declares. With `count_nulls` its rows are read.
///
/// # Errors
/// Wrong use when neither has it; else when its log or, for the counts, its rows cannot be read.
pub async fn describe(
    reader: &Reader,
    project: Option<&Project>,
    name: &str,
    count_nulls: bool,
) -> Result<Description> {
    let declared = project.and_then(|project| project.tables.iter().find(|table| table.name.to_string() == name));
    let Some(table) = reader.open(name).await? else {
        let names = project.map(|project| project.tables.iter().map(|table| table.name.to_string()).collect());
        let names: Vec<String> = names.unwrap_or_default();
        return match declared {
            Some(table) => Ok(planned(table)),
            None => Err(reader.unknown_table(name, &names).await),
        };
    };
    let mut info = info(&table)?;
    if count_nulls {
        let nulls = nulls(reader, &info).await?;
        for (column, nulls) in info.columns.iter_mut().zip(nulls) {
            column.nulls = Some(nulls);
        }
    }
    let files = table.files()?;
    Ok(Description {
        table: info,
        files: Some(files.len() as u64),
        bytes: Some(files.iter().map(|file| file.size).sum()),
        properties: table.properties()?,
        contract: declared.map(contract),
    })
}

fn info(table: &LakeTable) -> Result<TableInfo> {
    Ok(TableInfo {
        table: table.name.clone(),
        description: table.description()?,
        version: Some(table.version()),
        rows: Some(table.row_count()?),
        columns: table.schema().fields().iter().map(|field| column(field)).collect(),
    })
}

/// What a run will make of a contract.
fn planned(table: &Table) -> Description {
    let spec = TableSpec::of(table);
    let info = TableInfo {
        table: spec.name.clone(),
        description: spec.description.clone(),
        version: None,
        rows: None,
        columns: spec.arrow_schema().fields().iter().map(|field| column(field)).collect(),
    };
    let properties = spec.properties().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Description { table: info, files: None, bytes: None, properties, contract: Some(contract(table)) }
}

fn column(field: &Field) -> ColumnInfo {
    ColumnInfo {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        required: !field.is_nullable(),
        comment: field.metadata().get("comment").cloned().unwrap_or_default(),
        nulls: None,
    }
}

fn contract(table: &Table) -> Contract {
    let (strategy, sequence, replace_by, source) = match &table.definition {
        Definition::Bronze { source, .. } => ("bronze", None, Vec::new(), Some(source.clone())),
        Definition::ByRecord { sequence, .. } => ("by_record", sequence.clone(), Vec::new(), None),
        Definition::ByKey { replace_by, .. } => ("by_key", None, replace_by.clone(), None),
        Definition::Surrogate { .. } => ("surrogate", None, Vec::new(), None),
        Definition::Whole { .. } => ("whole", None, Vec::new(), None),
    };
    let expectations = table.expectations.iter().map(|expectation| ExpectationInfo {
        name: expectation.name.clone(),
        condition: expectation.condition.clone(),
        severity: expectation.severity.as_str(),
        comment: expectation.comment.clone(),
    });
    Contract {
        pipeline: table.pipeline.clone(),
        strategy,
        key: table.key.clone(),
        sequence,
        replace_by,
        source,
        inputs: table.inputs().into_iter().map(ToString::to_string).collect(),
        references: table.references().to_vec(),
        expectations: expectations.collect(),
    }
}

/// How many values of each column are NULL, in one pass over the rows.
async fn nulls(reader: &Reader, table: &TableInfo) -> Result<Vec<u64>> {
    let count = |column: &ColumnInfo| format!("COUNT(*) - COUNT(\"{}\")", column.name);
    let counts: Vec<String> = table.columns.iter().map(count).collect();
    let sql = format!("SELECT [{}] AS nulls FROM {}", counts.join(", "), table.table);
    #[derive(serde::Deserialize)]
    struct Row {
        nulls: Vec<u64>,
    }
    let rows: Vec<Row> = reader.select(&sql, &Values::default()).await?;
    Ok(rows.into_iter().next().map(|row| row.nulls).unwrap_or_default())
}
