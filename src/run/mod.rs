//! One run: walks the tables in the order of the flow, brings each up to date, and returns a report.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::datatypes::Fields;
use chrono::{DateTime, Utc};
use deltalake::datafusion::datasource::MemTable;
use deltalake::datafusion::prelude::SessionContext;

use crate::contract::{Definition, Project, Stage, Table, TableName};
use crate::engine::{self, Limits};
use crate::error::{Error, Result};
use crate::lake::{Commit, Lake, LakeTable, Lease};
use crate::silver::quarantine::QUARANTINE;
use crate::variables::Variables;
use crate::{bronze, gold, maintain, ops, silver};

mod plan;
mod publish;
mod record;
mod report;
mod retry;
mod select;

pub use publish::{is_published, publish, versions};
pub use report::{ExpectationReport, RunReport, Status, TableReport, Why};
pub use select::selected;

/// The position under which a table records the fingerprint of the contract that it was computed by.
pub const CONTRACT: &str = "contract";
/// The position under which a bronze table records its newest batch.
pub const BATCH: &str = "batch";

/// The position under which a bronze table records the version that last took batches out of it.
pub const RESTORED: &str = "restored";

/// The position under which a table records the input's [`RESTORED`] that it has seen.
pub fn restored_of(input: &str) -> String {
    format!("{input}#restored")
}

/// What a run tells while it works.
#[derive(Debug, Clone)]
pub enum ProgressEvent {
    /// A table is looked at.
    Table { name: String },
    /// So many bytes of files will be read for it.
    Reading { table: String, bytes: u64 },
    /// So many of them were read.
    Read { bytes: u64 },
    /// A table is done.
    Done { report: TableReport },
}

/// Who is told.
pub type Progress = Arc<dyn Fn(ProgressEvent) + Send + Sync>;

/// What a run is to do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only tables of this stage.
    pub stage: Option<Stage>,
    /// Only these tables; see [`selected`].
    pub select: Vec<String>,
    /// Compute silver and gold anew from bronze.
    pub full_refresh: bool,
}

/// Where sources are.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The place that relative paths of sources lie below.
    pub data: String,
    /// What the sources' variables stand for.
    pub variables: Variables,
}

/// What a run does to each of its tables.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Brings it up to date.
    Refresh,
    /// Takes again what is in quarantine.
    Retry,
}

/// A run under way.
pub struct Run {
    /// Where the tables are.
    pub lake: Lake,
    /// What they are.
    pub project: Arc<Project>,
    /// Where sources are.
    pub inputs: Inputs,
    /// What the engine may use.
    pub limits: Limits,
    /// The run's id: sorts by time.
    pub id: String,
    /// Who is told of its progress.
    pub progress: Progress,
    /// Compute silver and gold anew from bronze.
    pub full_refresh: bool,
    started: DateTime<Utc>,
    committed: Mutex<HashSet<String>>,
}

/// The fingerprint of a table's contract as a position.
pub fn fingerprint(table: &Table) -> i64 {
    // Positions are not negative in Delta.
    (table.fingerprint >> 1) as i64
}

impl Run {
    /// Prepares a run.
    pub fn new(lake: Lake, project: Arc<Project>, inputs: Inputs, limits: Limits, progress: Progress) -> Self {
        let started = Utc::now();
        Self {
            lake,
            project,
            inputs,
            limits,
            id: uuid::Uuid::now_v7().to_string(),
            progress,
            started,
            full_refresh: false,
            committed: Mutex::default(),
        }
    }

    /// Does the run: takes the lease, brings the tables up to date, records what was done.
    ///
    /// A table that fails does not stop those that do not depend on it.
    ///
    /// # Errors
    /// When the lease is held or the selection names no table. What failed of single tables is in the report.
    pub async fn execute(self, options: &Options) -> Result<RunReport> {
        // A wrong selection is told before a lease is asked for.
        selected(&self.project, options)?;
        let lease = Lease::take(&self.lake)?;
        self.execute_under(&lease, options).await
    }

    /// Does the run under a lease that is held already.
    ///
    /// # Errors
    /// As [`Run::execute`].
    pub async fn execute_under(mut self, _lease: &Lease, options: &Options) -> Result<RunReport> {
        let tables = selected(&self.project, options)?;
        self.full_refresh = options.full_refresh;
        self.walk(&tables, Work::Refresh).await
    }

    /// Another run of the same kind, which begins now.
    pub fn again(&self) -> Self {
        let progress = self.progress.clone();
        Self::new(self.lake.clone(), self.project.clone(), self.inputs.clone(), self.limits, progress)
    }

    /// Works on tables, inputs before their users, and records what was done.
    async fn walk(self, tables: &[TableName], work: Work) -> Result<RunReport> {
        let (mut reports, mut broken, mut errors) = (Vec::new(), BTreeSet::new(), Vec::new());
        for name in tables {
            let Some(table) = self.project.table(name) else { continue };
            if let Some(input) = table.inputs().into_iter().find(|input| broken.contains(*input)) {
                broken.insert(name.clone());
                reports.push(TableReport::left_out(table, input));
                continue;
            }
            (self.progress)(ProgressEvent::Table { name: name.to_string() });
            let begun = Instant::now();
            let done = match work {
                Work::Refresh => self.refresh(table).await,
                Work::Retry => self.retry_table(table).await,
            };
            let report = match done {
                Ok(report) => {
                    tracing::info!(table = %name, seconds = begun.elapsed().as_secs_f64(), "refreshed");
                    report
                }
                Err(error) => {
                    broken.insert(name.clone());
                    let report = TableReport::failed(table, &error);
                    errors.push(error);
                    report
                }
            };
            (self.progress)(ProgressEvent::Done { report: report.clone() });
            reports.push(report);
        }
        let whole = tables.len() == self.project.tables.len();
        if whole && errors.is_empty() {
            self.tidy().await;
        }
        let release = self.record(&reports, errors.is_empty(), whole).await?;
        let seconds = (Utc::now() - self.started).as_seconds_f64();
        Ok(RunReport { run: self.id.clone(), tables: reports, release, seconds, errors })
    }

    /// Rewrites what has become many small files. Only in a run of all tables, after which no commit waits for its followers.
    async fn tidy(&self) {
        let mut names = self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if names.is_empty() {
            return;
        }
        names.extend(ops::all().into_iter().map(|spec| spec.name).chain([QUARANTINE.to_owned()]));
        for name in names {
            if let Err(error) = maintain::tidy(&self.lake, &self.project, &name, &self.id).await {
                // The rows are there; they only lie in many files.
                tracing::warn!("{name}: small files stay: {error}");
            }
        }
    }

    async fn refresh(&self, table: &Table) -> Result<TableReport> {
        match &table.definition {
            Definition::Bronze { .. } => bronze::ingest(self, table).await,
            Definition::ByRecord { .. } => silver::by_record::refresh(self, table).await,
            Definition::ByKey { .. } => gold::by_key::refresh(self, table).await,
            Definition::Whole { .. } => gold::whole::refresh(self, table).await,
        }
    }

    /// Microseconds since the epoch at which the run began: the one time that all its rows bear.
    pub fn started_micros(&self) -> i64 {
        self.started.timestamp_micros()
    }

    /// Why a table has to be refreshed, new input aside.
    ///
    /// # Errors
    /// When the table's log cannot be read.
    pub async fn why(&self, table: &Table, target: &LakeTable) -> Result<Why> {
        Ok(match target.position(CONTRACT).await? {
            None => Why::First,
            Some(_) if self.full_refresh => Why::FullRefresh,
            Some(known) if known != fingerprint(table) => Why::ContractChanged,
            Some(_) => Why::NewInput,
        })
    }

    /// The payload type of a bronze table.
    ///
    /// # Errors
    /// When there is no such table; a defect.
    pub fn payload_of(&self, name: &TableName) -> Result<&Fields> {
        match self.project.table(name).map(|table| &table.definition) {
            Some(Definition::Bronze { payload, .. }) => Ok(payload),
            _ => Err(Error::failed(format!("{name}: not a bronze table"))),
        }
    }

    /// A session with some references registered.
    ///
    /// # Errors
    /// When there is no such reference; a defect.
    pub fn session_with_references(&self, references: &[String]) -> Result<SessionContext> {
        let ctx = engine::session(self.limits)?;
        register_references(&ctx, &self.project, |name| references.iter().any(|wanted| wanted == name))?;
        Ok(ctx)
    }

    /// Commits to a table in the name of this run.
    ///
    /// # Errors
    /// As [`LakeTable::commit`].
    pub async fn commit(&self, table: &mut LakeTable, mut commit: Commit) -> Result<()> {
        commit.run.clone_from(&self.id);
        table.commit(&self.lake, commit).await?;
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).insert(table.name.clone());
        Ok(())
    }
}

/// Registers references as tables of the schema `reference`.
///
/// # Errors
/// When a name is taken; a defect.
pub fn register_references(ctx: &SessionContext, project: &Project, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for reference in project.references.iter().filter(|reference| wanted(&reference.name)) {
        let batch = reference.batch()?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        engine::register(ctx, &format!("reference.{}", reference.name), Arc::new(table))?;
    }
    Ok(())
}
