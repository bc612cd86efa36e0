//! One run: walks the tables in the order of the flow, brings each up to date, and returns a report.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::datatypes::Fields;
use chrono::{DateTime, Utc};
use deltalake::datafusion::datasource::MemTable;
use deltalake::datafusion::prelude::SessionContext;
use futures::future::LocalBoxFuture;

use crate::bronze::database::{self, Databases};
use crate::bronze::ledger::Ledgers;
use crate::contract::{Definition, Project, Reference, Source, Stage, Table, TableName};
use crate::engine::{self, Limits};
use crate::error::{Error, Result};
use crate::lake::{Commit, Lake, LakeTable};
use crate::retry::Retry;
use crate::silver::quarantine::QUARANTINE;
use crate::variables::Variables;
use crate::{bronze, gold, maintain, memory, ops, silver};

mod absent;
mod ends;
mod leftovers;
mod plan;
mod publish;
mod record;
mod report;
mod retry;
mod select;
mod walk;

use ends::Ends;
pub use publish::{is_published, publish, versions};
pub use report::{ExpectationReport, RunReport, Status, TableReport, Why};
pub use select::selected;
use walk::Outcome;

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
    /// So many tables failed by what may pass, and will be tried again, for the so-manieth time.
    Again { tables: usize, further: u32, of: u32 },
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
    /// Only the tables of these pipelines; of all when empty.
    pub pipelines: Vec<String>,
    /// Compute silver and gold anew from bronze.
    pub full_refresh: bool,
    /// How often, and after how long, what failed by what may pass is tried again.
    pub retry: Retry,
}

impl Options {
    /// Whether tables of a pipeline are asked for.
    pub fn takes_pipeline(&self, name: &str) -> bool {
        self.pipelines.is_empty() || self.pipelines.iter().any(|known| known == name)
    }
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
    /// The snapshots of databases that the run reads.
    pub(crate) databases: Databases,
    /// What it knows of the files of its sources.
    pub(crate) ledgers: Ledgers,
    /// Compute silver and gold anew from bronze.
    pub full_refresh: bool,
    work: Work,
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
            databases: Databases::default(),
            ledgers: Ledgers::default(),
            started,
            full_refresh: false,
            work: Work::Refresh,
            committed: Mutex::default(),
        }
    }

    /// Does the run: takes the lease, brings the tables up to date, records what was done.
    ///
    /// A table that fails does not stop those that do not depend on it.
    ///
    /// # Errors
    /// When the lease is held or the selection names no table or pipeline. What failed of single tables is in the report.
    #[tracing::instrument(level = "trace", skip_all, name = "run")]
    pub async fn execute(mut self, options: &Options) -> Result<RunReport> {
        // A wrong selection is told before a lease is asked for.
        selected(&self.project, options)?;
        self.lake = options.retry.run(async || self.lake.leased().await).await?.remembering();
        let lake = self.lake.clone();
        let report = self.execute_under_lease(options).await;
        lake.release().await;
        report
    }

    /// Does the run on a lake whose lease is taken already.
    ///
    /// # Errors
    /// As [`Run::execute`].
    pub async fn execute_under_lease(mut self, options: &Options) -> Result<RunReport> {
        let options = &self.without_absent(options).await?;
        let tables = selected(&self.project, options)?;
        self.full_refresh = options.full_refresh;
        self.refresh_all(&tables, options).await
    }

    /// Another run of the same kind, which begins now.
    pub fn again(&self) -> Self {
        let progress = self.progress.clone();
        Self::new(self.lake.clone(), self.project.clone(), self.inputs.clone(), self.limits, progress)
    }

    /// Boxed as [`Self::refresh`] is.
    fn refresh_all<'a>(
        &'a self,
        tables: &'a [TableName],
        options: &'a Options,
    ) -> LocalBoxFuture<'a, Result<RunReport>> {
        Box::pin(async move {
            // Of ops, what a run without news looks at too.
            let of_ops = [ops::files(), ops::expectations(), ops::releases()].map(|spec| spec.name);
            let names = of_ops.into_iter().chain([QUARANTINE.to_owned()]);
            self.lake.open_ahead(names.chain(tables.iter().map(TableName::to_string))).await;
            let (mut errors, is_whole) = self.catch_up_others(tables, options).await;
            let (reports, failed) = self.walk(tables, options).await;
            errors.extend(failed);
            if is_whole && errors.is_empty() {
                self.tidy().await;
            }
            let release = self.record(&reports, errors.is_empty(), options).await?;
            let seconds = (Utc::now() - self.started).as_seconds_f64();
            Ok(RunReport { run: self.id.clone(), tables: reports, release, seconds, errors })
        })
    }

    /// Brings tables up to date, and gives a report a table and what failed.
    async fn walk(&self, names: &[TableName], options: &Options) -> (Vec<TableReport>, Vec<Error>) {
        let retry = options.retry;
        let tables: Vec<&Table> = names.iter().filter_map(|name| self.project.table(name)).collect();
        let ends = Ends::of(&self.project, &tables, options);
        let refresh = async |table: &Table| Box::pin(self.refresh_and_tell(table)).await;
        let wait = async |further: u32, due: &[&Table]| {
            (self.progress)(ProgressEvent::Again { tables: due.len(), further, of: retry.times });
            tracing::warn!(further, of = retry.times, tables = due.len(), "what failed may pass: trying again");
            retry.sleep(further).await;
        };
        let after = async |table: &Table, rest: &[&Table]| match ends.after(table, rest) {
            Some((pipeline, source)) => self.end_database(pipeline, source, ends.with_rest).await,
            None => Vec::new(),
        };
        let mut outcomes = Vec::new();
        for (pipeline, source) in ends.without_tables(&tables) {
            outcomes.extend(self.end_database(pipeline, source, true).await);
        }
        outcomes.extend(walk::walk(&tables, retry, refresh, after, wait).await);
        let (mut reports, mut errors) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Outcome::Done(report) | Outcome::LeftOut(report) => reports.push(report),
                Outcome::Failed(report, error) => {
                    reports.push(report);
                    errors.push(error);
                }
            }
        }
        (reports, errors)
    }

    /// Ends the work on a source's database: see [`database::finish`].
    async fn end_database(&self, pipeline: &str, source: &Source, with_rest: bool) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (table, result) in database::finish(self, pipeline, source, with_rest).await {
            let outcome = match result {
                Ok(report) => Outcome::Done(report),
                Err(error) => Outcome::Failed(TableReport::failed(&table, &error), error),
            };
            if let Outcome::Done(report) | Outcome::Failed(report, _) = &outcome {
                (self.progress)(ProgressEvent::Done { report: report.clone() });
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Rewrites what has become many small files. Only where no commit of any table waits for its followers.
    #[tracing::instrument(level = "trace", skip_all)]
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

    #[tracing::instrument(level = "trace", skip_all, name = "refresh", fields(table = %table.name))]
    async fn refresh_and_tell(&self, table: &Table) -> Result<TableReport> {
        (self.progress)(ProgressEvent::Table { name: table.name.to_string() });
        let begun = Instant::now();
        let refreshed = match self.work {
            Work::Refresh => self.refresh(table).await,
            Work::Retry => self.retry_table(table).await,
        };
        let report = match &refreshed {
            Ok(report) => {
                tracing::info!(table = %table.name, seconds = begun.elapsed().as_secs_f64(), "refreshed");
                report.clone()
            }
            Err(error) => TableReport::failed(table, error),
        };
        memory::give_back_beyond(self.limits.memory);
        (self.progress)(ProgressEvent::Done { report });
        refreshed
    }

    /// Boxed, for together they are too large for the stack of a thread.
    fn refresh<'a>(&'a self, table: &'a Table) -> LocalBoxFuture<'a, Result<TableReport>> {
        match &table.definition {
            Definition::Bronze { .. } => Box::pin(bronze::ingest(self, table)),
            Definition::ByRecord { .. } => Box::pin(silver::by_record::refresh(self, table)),
            Definition::ByKey { .. } => Box::pin(gold::by_key::refresh(self, table)),
            Definition::Surrogate { .. } => Box::pin(silver::surrogate::refresh(self, table)),
            Definition::Whole { .. } => Box::pin(gold::whole::refresh(self, table)),
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

    /// The payload type of a bronze table, and whether its records are rows of a database.
    ///
    /// # Errors
    /// When there is no such table; a defect.
    pub fn payload_of(&self, name: &TableName) -> Result<(&Fields, bool)> {
        match self.project.table(name).map(|table| &table.definition) {
            Some(Definition::Bronze { payload, relation, .. }) => Ok((payload, relation.is_some())),
            _ => Err(Error::failed(format!("{name}: not a bronze table"))),
        }
    }

    /// A session with some references registered.
    ///
    /// # Errors
    /// When there is no such reference; a defect.
    pub fn session_with_references(&self, references: &[String]) -> Result<SessionContext> {
        let ctx = engine::session(self.limits)?;
        register_references(&ctx, &self.project.references, |name| references.iter().any(|wanted| wanted == name))?;
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
pub fn register_references(
    ctx: &SessionContext,
    references: &[Reference],
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    for reference in references.iter().filter(|reference| wanted(&reference.name)) {
        let batch = reference.batch()?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        engine::register(ctx, &format!("reference.{}", reference.name), Arc::new(table))?;
    }
    Ok(())
}
