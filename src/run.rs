//! One run: walks the tables in the order of the flow, brings each up to date, and returns a report.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::datatypes::Fields;
use chrono::{DateTime, Utc};
use deltalake::datafusion::datasource::MemTable;
use deltalake::datafusion::prelude::SessionContext;
use serde::Serialize;

use crate::contract::{Definition, Project, Severity, Stage, Table, TableName};
use crate::engine::{self, Limits};
use crate::error::{Error, Kind, Result};
use crate::lake::{Add, Commit, DataFile, Follower, Lake, LakeTable, Lease};
use crate::ops::{self, ExpectationRow, FileRow, ReleaseRow, RunRow};
use crate::silver::quarantine::SetAside;
use crate::silver::upsert::Upserted;
use crate::transform::Counts;
use crate::{bronze, gold, silver};

/// The position under which a table records the fingerprint of the contract that it was computed by.
pub const CONTRACT: &str = "contract";
/// The position under which a bronze table records its newest batch.
pub const BATCH: &str = "batch";

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

/// A run under way.
pub struct Run {
    /// Where the tables are.
    pub lake: Lake,
    /// What they are.
    pub project: Arc<Project>,
    /// Where sources are looked for.
    pub data: String,
    /// What the engine may use.
    pub limits: Limits,
    /// The run's id: sorts by time.
    pub id: String,
    /// Who is told of its progress.
    pub progress: Progress,
    started: DateTime<Utc>,
    full_refresh: bool,
    committed: Mutex<HashSet<String>>,
}

/// Why a table is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It has never been computed.
    First,
    /// Its contract, SQL or a reference of it changed.
    ContractChanged,
    /// The user asked for it.
    FullRefresh,
    /// An input has something new.
    NewInput,
    /// What changed in an input cannot be told any more.
    UnknownChanges,
}

impl Why {
    /// The cause in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::First => "first run",
            Why::ContractChanged => "contract changed",
            Why::FullRefresh => "full refresh",
            Why::NewInput => "new input",
            Why::UnknownChanges => "changes unknown",
        }
    }
}

/// What one expectation found.
#[derive(Debug, Clone, Serialize)]
pub struct ExpectationReport {
    /// Its name.
    pub name: String,
    /// Its severity.
    pub severity: &'static str,
    /// Rows for which it does not hold.
    pub failed: u64,
}

/// What a run did to a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Its stage.
    pub stage: &'static str,
    /// Why it was refreshed; none when there was nothing to do.
    pub why: Option<Why>,
    /// Rows in.
    pub input: u64,
    /// Rows that passed.
    pub passed: u64,
    /// Rows set aside; `input = passed + quarantined`.
    pub quarantined: u64,
    /// Of these, records that never became rows.
    pub unreadable: u64,
    /// Rows that are new in the table.
    pub written: u64,
    /// Rows that they replaced.
    pub replaced: u64,
    /// Expectations that did not hold for some rows.
    pub expectations: Vec<ExpectationReport>,
    /// Files with something to say of them: (URI, what).
    pub files: Vec<(String, String)>,
    /// The error, where the table failed.
    pub error: Option<String>,
}

impl TableReport {
    fn new(table: &Table, why: Option<Why>) -> Self {
        Self {
            table: table.name.to_string(),
            stage: table.name.stage.as_str(),
            why,
            input: 0,
            passed: 0,
            quarantined: 0,
            unreadable: 0,
            written: 0,
            replaced: 0,
            expectations: Vec::new(),
            files: Vec::new(),
            error: None,
        }
    }

    /// There was nothing to do.
    pub fn unchanged(table: &Table) -> Self {
        Self::new(table, None)
    }

    /// The table failed.
    fn failed(table: &Table, error: &Error) -> Self {
        Self { error: Some(error.to_string()), ..Self::new(table, None) }
    }

    /// Files were looked at.
    pub fn of_files(table: &Table, rows: &[FileRow]) -> Self {
        let records: i64 = rows.iter().map(|row| row.records).sum();
        let records = u64::try_from(records).unwrap_or_default();
        let told = |row: &FileRow| match (&row.reason, row.event.as_str()) {
            (Some(reason), _) => Some((row.uri.clone(), reason.clone())),
            (None, event @ ("duplicate" | "changed")) => Some((row.uri.clone(), event.to_owned())),
            _ => None,
        };
        Self {
            input: records,
            passed: records,
            written: records,
            files: rows.iter().filter_map(told).collect(),
            ..Self::new(table, Some(Why::NewInput).filter(|_| !rows.is_empty()))
        }
    }

    /// Records were read and upserted.
    pub fn of_records(table: &Table, why: Why, counts: &Counts, set_aside: &SetAside, upserted: Upserted) -> Self {
        Self {
            input: counts.input + set_aside.unreadable,
            passed: counts.passed,
            quarantined: set_aside.rows,
            unreadable: set_aside.unreadable,
            written: upserted.written,
            replaced: upserted.replaced,
            expectations: expectations(table, counts),
            ..Self::new(table, Some(why))
        }
    }

    /// Rows were derived.
    pub fn of_rows(table: &Table, why: Why, counts: &Counts, adds: &[Add], replaced: u64) -> Self {
        Self {
            input: counts.input,
            passed: counts.passed,
            quarantined: counts.input - counts.passed,
            written: adds.iter().filter_map(|add| DataFile::of(add.clone()).rows).sum(),
            replaced,
            expectations: expectations(table, counts),
            ..Self::new(table, Some(why))
        }
    }
}

fn expectations(table: &Table, counts: &Counts) -> Vec<ExpectationReport> {
    let failed = counts.failed.iter().copied().chain(std::iter::repeat(0));
    let all = table.expectations.iter().zip(failed);
    all.map(|(expectation, failed)| ExpectationReport {
        name: expectation.name.clone(),
        severity: expectation.severity.as_str(),
        failed,
    })
    .collect()
}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// A report a table, in the order of the flow.
    pub tables: Vec<TableReport>,
    /// The release that it published; none when it changed nothing.
    pub release: Option<i64>,
    /// Seconds.
    pub seconds: f64,
    /// The first error's kind decides the exit code.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// The fingerprint of a table's contract as a position.
pub fn fingerprint(table: &Table) -> i64 {
    // Positions are not negative in Delta.
    (table.fingerprint >> 1) as i64
}

impl Run {
    /// Prepares a run.
    pub fn new(lake: Lake, project: Arc<Project>, data: String, limits: Limits, progress: Progress) -> Self {
        let started = Utc::now();
        Self {
            lake,
            project,
            data,
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
    pub async fn execute(mut self, options: &Options) -> Result<RunReport> {
        let tables = selected(&self.project, options)?;
        self.full_refresh = options.full_refresh;
        let _lease = Lease::take(&self.lake)?;
        let (mut reports, mut broken, mut first) = (Vec::new(), BTreeSet::new(), None);
        for name in &tables {
            let Some(table) = self.project.table(name) else { continue };
            if let Some(input) = table.inputs().into_iter().find(|input| broken.contains(*input)) {
                let error = Error::failed(format!("{name}: left out, because {input} failed"));
                broken.insert(name.clone());
                reports.push(TableReport::failed(table, &error));
                continue;
            }
            (self.progress)(ProgressEvent::Table { name: name.to_string() });
            let begun = Instant::now();
            let report = match self.refresh(table).await {
                Ok(report) => {
                    tracing::info!(table = %name, seconds = begun.elapsed().as_secs_f64(), "refreshed");
                    report
                }
                Err(error) => {
                    tracing::error!("{}", error.without_values());
                    broken.insert(name.clone());
                    let report = TableReport::failed(table, &error);
                    first.get_or_insert(error);
                    report
                }
            };
            (self.progress)(ProgressEvent::Done { report: report.clone() });
            reports.push(report);
        }
        let release = self.record(&reports, first.is_none()).await?;
        let seconds = (Utc::now() - self.started).as_seconds_f64();
        Ok(RunReport { run: self.id.clone(), tables: reports, release, seconds, error: first })
    }

    /// What the run would do to each table, in words; nothing is changed.
    ///
    /// # Errors
    /// When the selection names no table, or a source or log cannot be read.
    pub async fn plan(mut self, options: &Options) -> Result<Vec<(String, String)>> {
        self.full_refresh = options.full_refresh;
        let (mut plan, mut stale) = (Vec::new(), BTreeSet::new());
        for name in selected(&self.project, options)? {
            let Some(table) = self.project.table(&name) else { continue };
            let what = match &table.definition {
                Definition::Bronze { .. } => bronze::plan(&self, table).await?,
                _ => self.plan_derived(table, &stale).await?,
            };
            if what.is_some() {
                stale.insert(name.clone());
            }
            plan.push((name.to_string(), what.unwrap_or_else(|| "nothing new".to_owned())));
        }
        Ok(plan)
    }

    async fn plan_derived(&self, table: &Table, stale: &BTreeSet<TableName>) -> Result<Option<String>> {
        let Some(target) = self.lake.open(&table.name.to_string()).await? else {
            return Ok(Some(format!("refresh: {}", Why::First.as_str())));
        };
        let why = self.why(table, &target).await?;
        if why != Why::NewInput {
            return Ok(Some(format!("refresh: {}", why.as_str())));
        }
        for name in table.inputs() {
            if stale.contains(name) {
                return Ok(Some(format!("refresh, if something of {name} changes")));
            }
            let Some(input) = self.lake.open(&name.to_string()).await? else { continue };
            let newest = match name.stage {
                Stage::Bronze => input.position(BATCH).await?.unwrap_or_default(),
                _ => signed(input.version()),
            };
            if target.position(&name.to_string()).await?.unwrap_or_default() < newest {
                return Ok(Some(format!("refresh: {} in {name}", why.as_str())));
            }
        }
        Ok(None)
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

    /// What a table's expectations found, for its commit to carry.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn expectation_rows(&self, table: &Table, report: &TableReport) -> Result<Option<Follower>> {
        let row = |expectation: &str, severity: Severity, input: u64, failed: u64| ExpectationRow {
            run: self.id.clone(),
            table: table.name.to_string(),
            expectation: expectation.to_owned(),
            severity: severity.as_str().to_owned(),
            input: signed(input),
            passed: signed(input - failed),
            failed: signed(failed),
            checked_at: self.started_micros(),
        };
        let mut rows = vec![row("*", Severity::Quarantine, report.input, report.quarantined)];
        if matches!(table.definition, Definition::ByRecord { .. }) {
            rows.push(row("readable", Severity::Quarantine, report.input, report.unreadable));
        }
        let judged: HashMap<&str, u64> = report.expectations.iter().map(|e| (e.name.as_str(), e.failed)).collect();
        for expectation in &table.expectations {
            let failed = judged.get(expectation.name.as_str()).copied().unwrap_or_default();
            rows.push(row(&expectation.name, expectation.severity, report.input - report.unreadable, failed));
        }
        Ok(Some(ops::follower(&self.lake, &ops::expectations(), &rows).await?))
    }

    /// Records what the run did, and publishes a release when all of it succeeded.
    async fn record(&self, reports: &[TableReport], succeeded: bool) -> Result<Option<i64>> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut rows = Vec::new();
        for report in reports.iter().filter(|report| committed.contains(&report.table) || report.error.is_some()) {
            rows.push(self.run_row(report).await?);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        self.append(&ops::runs(), &rows).await?;
        if !succeeded || committed.is_empty() {
            return Ok(None);
        }
        self.publish().await.map(Some)
    }

    async fn run_row(&self, report: &TableReport) -> Result<RunRow> {
        let version = self.lake.open(&report.table).await?.map(|table| table.version());
        // Of the error only what holds no values: this table is read by people who may not see the data.
        let error = report.error.as_ref().map(|error| Error::failed(error.as_str()).without_values());
        Ok(RunRow {
            run: self.id.clone(),
            table: report.table.clone(),
            stage: report.stage.to_owned(),
            status: if error.is_some() { "failed" } else { "done" }.to_owned(),
            cause: report.why.map(|why| why.as_str().to_owned()),
            input: signed(report.input),
            passed: signed(report.passed),
            quarantined: signed(report.quarantined),
            written: signed(report.written),
            replaced: signed(report.replaced),
            version: version.map(signed),
            error,
            started_at: self.started_micros(),
            ended_at: Utc::now().timestamp_micros(),
        })
    }

    /// Publishes the versions that all tables of the project have now.
    async fn publish(&self) -> Result<i64> {
        let spec = ops::releases();
        let releases = self.lake.open_or_create(&spec).await?;
        // Each release is one commit, and creating the table is the commit before the first.
        let release = signed(releases.version()) + 1;
        let mut rows = Vec::new();
        for name in self.lake.tables()?.into_iter().filter(|name| !name.starts_with("ops.")) {
            if let Some(table) = self.lake.open(&name).await? {
                rows.push(ReleaseRow {
                    release,
                    run: self.id.clone(),
                    table: name,
                    version: signed(table.version()),
                    published_at: self.started_micros(),
                });
            }
        }
        self.append(&spec, &rows).await?;
        Ok(release)
    }

    async fn append<T: Serialize>(&self, spec: &crate::lake::TableSpec, rows: &[T]) -> Result<()> {
        let adds = ops::write(&self.lake, spec, rows).await?;
        let mut table = self.lake.open_or_create(spec).await?;
        table.commit(&self.lake, Commit { adds, run: self.id.clone(), ..Commit::default() }).await
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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

/// The tables that the options name, inputs before their users. A selection is a table's name; `T+` takes what depends on
/// it too, `+T` what it depends on.
///
/// # Errors
/// When a selection names no table.
pub fn selected(project: &Project, options: &Options) -> Result<Vec<TableName>> {
    let mut wanted: HashSet<TableName> = HashSet::new();
    for text in &options.select {
        let (up, down) = (text.starts_with('+'), text.ends_with('+'));
        let name = text.trim_matches('+');
        let table = project.tables.iter().find(|table| table.name.to_string() == name).ok_or_else(|| {
            let names = project.tables.iter().map(|table| table.name.to_string());
            let error = Error::new(Kind::Usage, format!("--select {text}: no table '{name}'"));
            match nearest(name, names) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error,
            }
        })?;
        wanted.insert(table.name.clone());
        if down {
            add_users(project, &table.name, &mut wanted);
        }
        if up {
            add_inputs(project, table, &mut wanted);
        }
    }
    let takes = |table: &&Table| {
        (options.select.is_empty() || wanted.contains(&table.name))
            && options.stage.is_none_or(|stage| stage == table.name.stage)
    };
    Ok(project.tables.iter().filter(takes).map(|table| table.name.clone()).collect())
}

fn add_users(project: &Project, name: &TableName, wanted: &mut HashSet<TableName>) {
    for user in project.tables.iter().filter(|table| table.inputs().contains(&name)) {
        if wanted.insert(user.name.clone()) {
            add_users(project, &user.name, wanted);
        }
    }
}

fn add_inputs(project: &Project, table: &Table, wanted: &mut HashSet<TableName>) {
    for input in table.inputs() {
        if wanted.insert(input.clone())
            && let Some(table) = project.table(input)
        {
            add_inputs(project, table, wanted);
        }
    }
}

/// The name that is most like another, where one is alike at all.
pub fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let scored = known.map(|known| (strsim::jaro_winkler(name, &known), known));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
