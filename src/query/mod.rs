//! SQL over the lake, now or as it was: read only, and a table is opened only when the SQL names it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::JsonArray;
use deltalake::datafusion::dataframe::DataFrame;
use deltalake::datafusion::execution::SendableRecordBatchStream;
use deltalake::datafusion::logical_expr::{Expr, LogicalPlan};
use deltalake::datafusion::physical_plan::execute_stream;
use deltalake::datafusion::prelude::{SQLOptions, SessionContext};
use serde::de::DeserializeOwned;

use crate::contract::Reference;
use crate::engine::{self, Limits};
use crate::error::{Error, Result};
use crate::lake::{Lake, LakeTable};
use crate::run::register_references;

pub use as_of::{AsOf, Release, Versions, newest as newest_release};
pub use params::Values;
pub use statement::Statement;
pub use write::{Encoding, write};

mod as_of;
pub mod fault;
pub mod near;
mod params;
mod statement;
#[cfg(test)]
mod imaging_tests;
#[cfg(test)]
mod tests;
mod write;

/// A lake to read, each table at its newest version or at the one that `--as-of` gives.
#[derive(Debug, Clone)]
pub struct Reader {
    lake: Lake,
    versions: Versions,
    limits: Limits,
}

/// A query that was planned; nothing is read yet.
pub struct Answer {
    frame: DataFrame,
}

impl Reader {
    /// Reads the lake as it is.
    pub fn new(lake: Lake, limits: Limits) -> Self {
        Self { lake, versions: Versions::default(), limits }
    }

    /// Reads the lake as it was; with no `as_of`, as it is.
    ///
    /// # Errors
    /// When a release or a table's version does not exist, or two of the `as_of` contradict each other.
    pub async fn as_of(lake: Lake, as_of: &[AsOf], limits: Limits) -> Result<Self> {
        let now = Self::new(lake, limits);
        let versions = Versions::resolve(&now, as_of).await?;
        Ok(Self { versions, ..now })
    }

    /// Reads the lake as a release has it, which is named by its number or by a time that it was the newest at.
    ///
    /// # Errors
    /// Wrong use when there is no such release, or when a single table's version is given.
    pub async fn at_release(&self, release: &AsOf) -> Result<Self> {
        let versions = match release {
            AsOf::Release(release) => Versions::of_release(self, *release).await?,
            AsOf::Time(time) => Versions::of_time(self, *time).await?,
            AsOf::Version { table, version } => {
                return Err(Error::usage(format!("'{table}@{version}' is a table's version, not a release"))
                    .hint("`pipeline release list` shows the releases"));
            }
        };
        Ok(Self { versions, ..self.clone() })
    }

    /// The lake that is read.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// What the engine may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Which versions are read.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The tables that can be read, sorted.
    ///
    /// # Errors
    /// When the lake's folder cannot be listed.
    pub async fn tables(&self) -> Result<Vec<String>> {
        Ok(self.lake.tables().await?.into_iter().filter(|name| self.versions.has(name)).collect())
    }

    /// Opens a table at the version that is to be read; `None` when there is no such table.
    ///
    /// # Errors
    /// When the version does not exist or the table's log cannot be read.
    pub async fn open(&self, name: &str) -> Result<Option<LakeTable>> {
        if !is_table_name(name) || !self.versions.has(name) {
            return Ok(None);
        }
        match self.versions.of(name) {
            Some(version) => self.open_at(name, version).await,
            None => self.lake.open(name).await,
        }
    }

    async fn open_at(&self, name: &str, version: u64) -> Result<Option<LakeTable>> {
        match self.lake.open_at(name, version).await {
            Err(error) => Err(self.no_version(name, version).await.unwrap_or(error)),
            opened => opened,
        }
    }

    /// The error for a version that is newer than all, or that maintenance has taken away; `None` where something else is
    /// wrong.
    async fn no_version(&self, name: &str, version: u64) -> Option<Error> {
        let newest = self.lake.open(name).await.ok()??.version();
        if version > newest {
            let error = Error::usage(format!("{name} has no version {version}"));
            return Some(error.hint(format!("the newest is {newest}")));
        }
        let missing = self.lake.log(name).await.ok()?.missing(version);
        let error = Error::usage(format!("{name}: version {version} can no longer be read"));
        (!missing.is_empty()).then(|| {
            error.hint("maintenance keeps the newest release, pinned ones (`pipeline release pin`), and --keep")
        })
    }

    /// Opens a table that must be there.
    ///
    /// # Errors
    /// As [`Reader::open`], and when there is no such table: wrong use, with the names that are like it.
    pub async fn require(&self, name: &str) -> Result<LakeTable> {
        match self.open(name).await? {
            Some(table) => Ok(table),
            None => Err(self.unknown_table(name, &[]).await),
        }
    }

    /// Opens a table that must be there at a version, whatever else is read.
    ///
    /// # Errors
    /// As [`Reader::require`], and when it has no such version, or no longer.
    pub async fn require_at(&self, name: &str, version: u64) -> Result<LakeTable> {
        match self.open_at(name, version).await? {
            Some(table) => Ok(table),
            None => Err(self.unknown_table(name, &[]).await),
        }
    }

    /// The error for a table that is not there; `more` are names that the lake does not list.
    pub async fn unknown_table(&self, name: &str, more: &[String]) -> Error {
        let mut known = match self.tables().await {
            Ok(tables) if tables.is_empty() => return self.no_lake(),
            Ok(tables) => tables,
            Err(error) => return error,
        };
        known.extend(more.iter().cloned());
        let when = self.versions.release().map(|release| format!(" in release {release}")).unwrap_or_default();
        let message = format!("unknown table '{name}'{when}");
        near::unknown(&message, name, &known, "`pipeline catalog` lists the tables")
    }

    /// The error for a place that holds no table.
    pub fn no_lake(&self) -> Error {
        Error::failed(format!("there is no lake at {}", self.lake))
            .hint("`pipeline run` makes it; --lake says where it is")
    }

    /// Plans a statement over the lake's tables and a project's references, which are needed where the statement reads them
    /// ([`Statement::reads_references`]).
    ///
    /// # Errors
    /// Wrong use when the SQL names what is not there, does not plan, or parameters and values do not match.
    pub async fn plan(&self, statement: &Statement, references: &[Reference], values: &Values) -> Result<Answer> {
        let ctx = engine::session(self.limits)?;
        self.register(&ctx, statement, references).await?;
        let plan = ctx.state().statement_to_plan(statement.parsed()).await;
        let plan = plan.map_err(|error| fault::of_sql(&error))?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(|_| statement::only_reads())?;
        Ok(Answer { frame: DataFrame::new(ctx.state(), values.bind(plan)?) })
    }

    async fn register(&self, ctx: &SessionContext, statement: &Statement, references: &[Reference]) -> Result<()> {
        register_references(ctx, references, |_| true)?;
        let references: Vec<String> =
            references.iter().map(|reference| format!("reference.{}", reference.name)).collect();
        let tables = if statement.reads_catalog() { self.tables().await? } else { statement.tables(&ctx.state()) };
        for name in tables.iter().filter(|name| !references.contains(name)) {
            let Some(table) = self.open(name).await? else { return Err(self.unknown_table(name, &references).await) };
            engine::register(ctx, name, table.provider(ctx).await?)?;
        }
        Ok(())
    }

    /// The rows of a query of the program's own.
    ///
    /// # Errors
    /// When the query fails, or a row is not a `T`.
    pub async fn select<T: DeserializeOwned>(&self, sql: &str, values: &Values) -> Result<Vec<T>> {
        let answer = self.plan(&Statement::parse(sql)?, &[], values).await?;
        let batches: Vec<RecordBatch> = answer.frame.collect().await?;
        let mut writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
        writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
        writer.finish()?;
        Ok(serde_json::from_slice(&writer.into_inner())?)
    }
}

/// Whether a text can name a table of a lake: it becomes a path.
fn is_table_name(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    text.split_once('.').is_some_and(|(stage, name)| is_word(stage) && is_word(name))
}

impl Answer {
    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.frame.schema().inner().clone()
    }

    /// What is to be done to get the rows.
    pub fn logical_plan(&self) -> &LogicalPlan {
        self.frame.logical_plan()
    }

    /// The same rows without some columns.
    ///
    /// # Errors
    /// None for columns that there are.
    pub fn without(self, unwanted: impl Fn(&str) -> bool) -> Result<Self> {
        let schema = self.schema();
        let names: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).filter(|n| unwanted(n)).collect();
        Ok(Self { frame: self.frame.drop_columns(&names).map_err(|error| fault::of_sql(&error))? })
    }

    /// The same rows, sorted by a column, NULL first.
    ///
    /// # Errors
    /// Wrong use when there is no such column.
    pub fn sorted_by(self, column: &str) -> Result<Self> {
        let (qualifier, field) =
            self.frame.schema().qualified_field_with_unqualified_name(column).map_err(|error| fault::of_sql(&error))?;
        let sort = Expr::Column((qualifier, field).into()).sort(true, true);
        let frame = self.frame.sort(vec![sort]).map_err(|error| fault::of_sql(&error))?;
        let (mut state, plan) = frame.into_parts();
        // Sorts side by side take all memory, and what merges them, which cannot spill, finds none.
        state.config_mut().options_mut().optimizer.repartition_sorts = false;
        Ok(Self { frame: DataFrame::new(state, plan) })
    }

    /// Starts to read.
    ///
    /// # Errors
    /// Wrong use when the SQL cannot be executed or a constant in it does not fit.
    pub async fn rows(self) -> Result<SendableRecordBatchStream> {
        let task = Arc::new(self.frame.task_ctx());
        let plan = self.frame.create_physical_plan().await.map_err(|error| fault::of_sql(&error))?;
        execute_stream(plan, task).map_err(|error| fault::of_rows(&error))
    }
}
