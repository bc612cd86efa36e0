//! Reads `pipelines/`: contracts, SQL, references and queries in; a validated [`Project`] or every problem out.
//!
//! Nothing here touches a lake or executes a query.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use arrow::datatypes::{DataType, Fields, SchemaRef};
use deltalake::datafusion::logical_expr::Expr;

pub use crate::problem::{Problem, Problems};
use crate::variables::Template;
pub use csv::CsvOptions;
pub use database::{Database, Place as DatabasePlace, matches as matches_pattern};
pub use dataset::{Dataset, DatasetRows, Share, Shares, Use};
pub use files::Files;
pub use format::{Format, OriginalOptions};
pub use query::BadValue;
pub use reference::Reference;
pub use sql::check_replays;
pub use types::{BronzeKind, bronze_columns, bronze_schema, parse_type, type_name};

mod compile;
mod counts;
mod csv;
mod database;
mod dataset;
mod define;
mod equal;
mod erased_with;
mod files;
mod format;
mod graph;
mod keys;
mod layout;
mod parallel;
mod plan;
mod query;
mod raw;
mod record;
mod reference;
mod sql;
mod surrogate;
mod table;
mod types;

/// Reads `<project_dir>/pipelines/*/` and compiles it.
///
/// # Errors
/// Every problem that was found, sorted by place.
pub fn load(project_dir: &Path) -> Result<Project, Problems> {
    let mut problems = Vec::new();
    let folders = layout::read(project_dir, &mut problems);
    match compile::compile(&folders, &mut problems) {
        Some(project) if problems.is_empty() => Ok(project),
        _ => Err(Problems::sorted(problems)),
    }
}

/// One query of a project, and the project's references; `None` where it has no query of the name. The SQL of its tables is
/// not looked at, which is most of what [`load`] does: whoever asks for rows that are there need not wait for it.
///
/// # Errors
/// Every problem that the query or what is declared has, sorted by place.
pub fn load_query(project_dir: &Path, name: &str) -> Result<Option<(Query, Vec<Reference>)>, Problems> {
    let mut problems = Vec::new();
    let folders = layout::read(project_dir, &mut problems);
    let query = compile::compile_query(&folders, name, &mut problems);
    if problems.is_empty() { Ok(query) } else { Err(Problems::sorted(problems)) }
}

/// All pipelines of a project, validated: names resolve, types fit, and the SQL plans.
#[derive(Debug, Clone)]
pub struct Project {
    /// Sorted by name.
    pub pipelines: Vec<Pipeline>,
    /// The tables of all pipelines, inputs before their users.
    pub tables: Vec<Table>,
    /// Sorted by name.
    pub references: Vec<Reference>,
    /// Sorted by name.
    pub queries: Vec<Query>,
    /// What all of it was read from.
    pub files: Files,
    /// Sorted by name.
    pub datasets: Vec<Dataset>,
}

impl Project {
    /// The table of this name.
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == *name)
    }

    /// The pipeline of this name.
    pub fn pipeline(&self, name: &str) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// The reference of this name, without `reference.`.
    pub fn reference(&self, name: &str) -> Option<&Reference> {
        self.references.iter().find(|reference| reference.name == name)
    }

    /// The query of this name.
    pub fn query(&self, name: &str) -> Option<&Query> {
        self.queries.iter().find(|query| query.name == name)
    }

    /// The dataset of this name.
    pub fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// The source that a bronze table reads.
    pub fn source(&self, table: &Table) -> Option<&Source> {
        let Definition::Bronze { source, .. } = &table.definition else {
            return None;
        };
        self.pipeline(&table.pipeline)?.sources.iter().find(|known| known.name == *source)
    }
}

/// One folder of `pipelines/`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub description: String,
    /// The pipeline's folder.
    pub dir: PathBuf,
    pub sources: Vec<Source>,
}

/// Where records come from.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub description: String,
    pub kind: SourceKind,
}

/// The kind of place that a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Files below a place.
    Files(FileSource),
    /// Tables of a PostgreSQL database.
    Postgres(Database),
}

/// Where the files of a source are, and how they hold records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Below the data directory, or absolute.
    pub path: Template,
    pub format: Format,
    /// A folder that is not there counts as empty.
    pub optional: bool,
}

/// A stage of the flow; a stage reads only itself and those before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Stage {
    Bronze,
    Silver,
    Gold,
}

impl Stage {
    /// All stages, in the order of the flow.
    pub const ALL: [Stage; 3] = [Stage::Bronze, Stage::Silver, Stage::Gold];

    /// The stage's one name, in folders, SQL and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Bronze => "bronze",
            Stage::Silver => "silver",
            Stage::Gold => "gold",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no stage or no table name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct BadName {
    text: String,
    expected: &'static str,
}

impl FromStr for Stage {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Stage::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| BadName { text: text.to_owned(), expected: "a stage: bronze, silver or gold" })
    }
}

/// A table's name in SQL and, with `/` for the dot, its place in the lake.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TableName {
    pub stage: Stage,
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.stage, self.name))
    }
}

impl FromStr for TableName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), expected: "a table name such as silver.exams" };
        let (stage, name) = text.split_once('.').ok_or_else(bad)?;
        if !types::is_identifier(name) {
            return Err(bad());
        }
        Ok(Self { stage: stage.parse().map_err(|_| bad())?, name: name.to_owned() })
    }
}

/// A column of a table in the lake.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    /// A row with NULL here goes to quarantine.
    pub required: bool,
    pub comment: String,
}

/// A table of the lake: its contract, validated.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: TableName,
    /// The pipeline that declares it.
    pub pipeline: String,
    pub description: String,
    pub columns: Vec<Column>,
    /// The columns of which one value is one row; empty for tables without a key.
    pub key: Vec<String>,
    /// What one value of the key stands for, whose rows can be erased: `exam`.
    pub subject: Option<String>,
    /// The table whose rows name rows of this one by its key, and with whose rows they are erased.
    pub erased_with: Option<TableName>,
    /// Columns with min and max in the Delta log: the key first, none twice.
    pub statistics: Vec<String>,
    /// Columns that rows are looked for by when a table that is derived from this one is brought up to date.
    pub sought: Vec<String>,
    /// Those of the `required` columns first.
    pub expectations: Vec<Expectation>,
    pub definition: Definition,
    /// Changes when the contract, its SQL, a reference that it uses or its bronze input's payload type changes.
    pub fingerprint: u64,
    /// Changes with what makes rows: all of that but expectations, comments and descriptions.
    pub shape: u64,
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The tables that this one reads.
    pub fn inputs(&self) -> Vec<&TableName> {
        match &self.definition {
            Definition::Bronze { .. } => Vec::new(),
            Definition::ByRecord { input, .. } => vec![input],
            Definition::ByKey { inputs, .. } | Definition::Surrogate { inputs, .. } => {
                inputs.iter().map(|input| &input.table).collect()
            }
            Definition::Whole { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// The references that its SQL reads.
    pub fn references(&self) -> &[String] {
        match &self.definition {
            Definition::Bronze { .. } => &[],
            Definition::ByRecord { references, .. }
            | Definition::ByKey { references, .. }
            | Definition::Surrogate { references, .. }
            | Definition::Whole { references, .. } => references,
        }
    }

    /// The schema that SQL sees.
    pub fn sql_schema(&self) -> SchemaRef {
        match &self.definition {
            Definition::Bronze { payload, relation, .. } => bronze_schema(payload, relation.is_some()),
            _ => table::schema_of(&self.columns),
        }
    }

    /// Its SQL; a bronze table has none.
    pub fn sql(&self) -> Option<&str> {
        match &self.definition {
            Definition::Bronze { .. } => None,
            Definition::ByRecord { sql, .. }
            | Definition::ByKey { sql, .. }
            | Definition::Surrogate { sql, .. }
            | Definition::Whole { sql, .. } => Some(sql),
        }
    }

    /// What its rows count, where changes can be added to them.
    pub fn counts(&self) -> Option<&Counts> {
        match &self.definition {
            Definition::ByKey { counts, .. } => counts.as_deref(),
            _ => None,
        }
    }

    /// The columns by whose values its changes can be told, and its inputs by them; `None` where they cannot.
    pub fn keyed(&self) -> Option<(&[String], &[KeyedInput])> {
        match &self.definition {
            Definition::ByKey { replace_by, inputs, .. } => Some((replace_by, inputs)),
            Definition::Surrogate { inputs, .. } if inputs.iter().all(|input| !input.key.is_empty()) => {
                Some((&self.key, inputs))
            }
            _ => None,
        }
    }
}

/// Where a table's rows come from, and how it is kept up to date.
#[derive(Debug, Clone)]
pub enum Definition {
    /// The records of a source as they came; `payload` is the type that SQL sees, `relation` the table of a database.
    Bronze { source: String, relation: Option<String>, payload: Fields },
    /// A function of one record of one bronze table. A record for which `delete_when` is true takes its key's row out.
    ByRecord {
        sql: String,
        sequence: Option<String>,
        delete_when: Option<String>,
        input: TableName,
        references: Vec<String>,
    },
    /// Rows that depend only on the input rows that share their `replace_by` values.
    ByKey {
        sql: String,
        replace_by: Vec<String>,
        inputs: Vec<KeyedInput>,
        references: Vec<String>,
        /// Where its rows are counts to which changes can be added.
        counts: Option<Box<Counts>>,
    },
    /// Keys, each with a number that is given once and kept: the column `number`, which the SQL does not give. A new key
    /// takes over the number of the key in its column `inherits`.
    Surrogate {
        sql: String,
        number: String,
        inherits: Option<String>,
        inputs: Vec<KeyedInput>,
        references: Vec<String>,
    },
    /// Recomputed when an input changed.
    Whole { sql: String, inputs: Vec<TableName>, references: Vec<String> },
}

/// An input of a table that is kept by key, and which of its rows an output key depends on.
#[derive(Debug, Clone)]
pub struct KeyedInput {
    pub table: TableName,
    /// Over the input's unqualified columns, one a column that the table is kept by, in their order; empty when any key
    /// may depend on any row: of a table that is broadcast, or an input of a surrogate table.
    pub key: Vec<Expr>,
}

impl KeyedInput {
    /// Whether any row may matter to any key: rows are joined with it whatever their key, and it is read whole.
    pub fn is_broadcast(&self) -> bool {
        self.key.is_empty()
    }
}

/// What a table's rows count, whose counts are sums over the values of one expression: each value's rows are counted apart.
#[derive(Debug, Clone)]
pub struct Counts {
    /// The table's inputs, each with what of a row is counted.
    pub inputs: Vec<KeyedInput>,
    /// The type of that.
    pub data_type: DataType,
    /// The columns that are counts. The others are what is grouped by.
    pub columns: Vec<String>,
}

/// A named SQL condition on a row; it passes only when it is TRUE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    pub name: String,
    pub condition: String,
    pub severity: Severity,
    /// Empty when the author gave none.
    pub comment: String,
}

/// What becomes of a row that fails an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It is counted and kept.
    Warn,
    /// It is set aside.
    Quarantine,
    /// The run stops and nothing of it is visible.
    Fail,
}

impl Severity {
    /// The severity's name in contracts and in `ops.expectations`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warn => "warn",
            Severity::Quarantine => "quarantine",
            Severity::Fail => "fail",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A named query with parameters.
#[derive(Debug, Clone)]
pub struct Query {
    pub name: String,
    pub pipeline: String,
    pub description: String,
    /// The whole file: to SQL the front matter is a comment. `$name` stands where a parameter's value goes.
    pub sql: String,
    pub params: Vec<Param>,
}

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub name: String,
    pub data_type: DataType,
    /// A reference and a column of it: the value is looked up there and replaced by that column.
    pub reference: Option<(String, String)>,
    /// Without it the parameter must be given.
    pub default: Option<String>,
    pub comment: String,
}
