//! Care of a lake: few files instead of many small ones, checkpoints, and nothing that no reader needs.
//!
//! Each step is a commit, or takes away what is not needed: it may end after any of them, and the next one goes on there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde::Serialize;

use crate::contract::{Definition, Project};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::gold::whole;
use crate::lake::{Commit, Kind, Lake, TableSpec, compact, small_files};
use crate::ops;
use crate::problem::suggest;
use crate::run::{self, CONTRACT};
use crate::silver::quarantine;

pub use clean::kept;

mod clean;

/// Small files that are worth a rewrite: each run may leave a few.
const WORTHWHILE: usize = 4;
/// Small files after which a run does not leave them to maintenance.
const MANY: usize = 16;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// After how long no further step is begun.
    pub budget: Option<Duration>,
    /// How long a version can be read after a newer one took its place.
    pub keep: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the engine may use.
    pub limits: Limits,
    /// These tables; all when empty.
    pub tables: Vec<String>,
}

/// What was done to a table, or would be.
#[derive(Debug, Default, Clone, Serialize)]
pub struct TableCare {
    /// The table.
    pub table: String,
    /// Small files that were rewritten.
    pub compacted: u64,
    /// The files that they became; none where that was only planned.
    pub into: Option<u64>,
    /// Whether it got a checkpoint.
    pub checkpoint: bool,
    /// Files of its log that were taken away.
    pub log_files: u64,
    /// Data files that were taken away.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What else is to be said of it.
    pub note: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Report {
    /// A row a table.
    pub tables: Vec<TableCare>,
    /// The release of the same rows in their new files.
    pub release: Option<i64>,
    /// Whether the budget was used up before all was done.
    pub unfinished: bool,
    /// Seconds.
    pub seconds: f64,
}

/// Maintenance under way.
struct Care<'a> {
    lake: &'a Lake,
    project: Arc<Project>,
    options: &'a Options,
    id: String,
    begun: Instant,
    tables: Vec<TableCare>,
}

/// Takes care of tables.
///
/// # Errors
/// When the lease is held, a table is not there, or storage fails; what was done until then stays.
pub async fn maintain(lake: &Lake, project: Arc<Project>, options: &Options) -> Result<Report> {
    if options.dry_run {
        return care(lake, project, options).await;
    }
    lake.with_lease(async |lake| care(lake, project, options).await).await
}

async fn care(lake: &Lake, project: Arc<Project>, options: &Options) -> Result<Report> {
    let names = selected(lake, &project, options).await?;
    let tables = names.into_iter().map(|table| TableCare { table, ..TableCare::default() }).collect();
    let id = uuid::Uuid::now_v7().to_string();
    let mut care = Care { lake, project, options, id, begun: Instant::now(), tables };
    let release = if options.dry_run { None } else { care.rewrite().await? };
    care.clean().await?;
    let unfinished = care.is_over();
    Ok(Report { tables: care.tables, release, unfinished, seconds: care.begun.elapsed().as_secs_f64() })
}

/// The tables, inputs before those that read them: what a table has seen of its inputs is brought up to date after them.
async fn selected(lake: &Lake, project: &Project, options: &Options) -> Result<Vec<String>> {
    let all = lake.tables().await?;
    if all.is_empty() {
        return Err(Error::usage("there is no table to take care of").hint("--lake says where the tables are"));
    }
    if let Some(unknown) = options.tables.iter().find(|name| !all.contains(name)) {
        let error = Error::usage(format!("no table '{unknown}'"));
        return Err(match suggest(unknown, all.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let place = |name: &String| project.tables.iter().position(|table| table.name.to_string() == *name);
    let mut names: Vec<String> =
        all.into_iter().filter(|name| options.tables.is_empty() || options.tables.contains(name)).collect();
    names.sort_by_key(|name| place(name).unwrap_or(project.tables.len()));
    Ok(names)
}

impl Care<'_> {
    /// Whether the time is used up.
    fn is_over(&self) -> bool {
        self.options.budget.is_some_and(|budget| self.begun.elapsed() >= budget)
    }

    /// Rewrites small files; if the newest release had all tables as they were, so has a new one.
    async fn rewrite(&mut self) -> Result<Option<i64>> {
        // What a killed run left to its followers must not be hidden by newer commits, nor its files be taken away.
        for name in self.lake.tables().await? {
            if let Some(table) = self.lake.open(&name).await? {
                table.catch_up(self.lake).await?;
            }
        }
        let before = run::versions(self.lake).await?;
        let was_published = run::is_published(self.lake, &before).await?;
        for index in 0..self.tables.len() {
            self.compact(index).await?;
            self.advance(index).await?;
        }
        let after = run::versions(self.lake).await?;
        if !was_published || before == after {
            return Ok(None);
        }
        run::publish(self.lake, &self.id, after, None, Utc::now()).await.map(Some)
    }

    async fn compact(&mut self, index: usize) -> Result<()> {
        let name = self.tables[index].table.clone();
        let Some(mut table) = self.lake.open(&name).await? else { return Ok(()) };
        let Some(spec) = spec(&self.project, &name) else {
            self.tables[index].note = Some("not in the project: its files stay as they are".to_owned());
            return Ok(());
        };
        if table.metadata_change(&spec)?.is_some() {
            self.tables[index].note =
                Some("its contract changed: its files stay until a run has computed it".to_owned());
            return Ok(());
        }
        for files in small_files(&table, WORTHWHILE)? {
            if self.is_over() {
                break;
            }
            let Some(commit) = compact(&table, &spec, &files).await? else { continue };
            let care = &mut self.tables[index];
            care.compacted += commit.removes.len() as u64;
            *care.into.get_or_insert_default() += commit.adds.len() as u64;
            table.commit(self.lake, Commit { run: self.id.clone(), ..commit }).await?;
        }
        Ok(())
    }

    /// Records that a derived table has seen its inputs' newest versions, where these changed nothing: so that runs need not
    /// look through the commits in between, and their log can go.
    async fn advance(&self, index: usize) -> Result<()> {
        let name = &self.tables[index].table;
        let Some(declared) = self.project.tables.iter().find(|table| table.name.to_string() == *name) else {
            return Ok(());
        };
        if !matches!(declared.definition, Definition::ByKey { .. } | Definition::Whole { .. }) || self.is_over() {
            return Ok(());
        }
        let Some(mut table) = self.lake.open(name).await? else { return Ok(()) };
        let Some(inputs) = whole::open_inputs(self.lake, &declared.inputs()).await? else { return Ok(()) };
        let mut is_behind = false;
        for input in &inputs {
            is_behind |= table.position(&input.name).await? != Some(input.version_position());
        }
        if !is_behind
            || table.position(CONTRACT).await? != Some(run::fingerprint(declared))
            || whole::news(&table, &inputs).await?.is_some()
        {
            return Ok(());
        }
        let positions = whole::positions(declared, &inputs)?;
        let commit = Commit { kind: Kind::Compact, positions, run: self.id.clone(), ..Commit::default() };
        table.commit(self.lake, commit).await
    }
}

/// What a table's files are written by: its contract, or the program itself.
fn spec(project: &Project, name: &str) -> Option<TableSpec> {
    let own = ops::all().into_iter().chain([quarantine::spec()]).find(|spec| spec.name == name);
    own.or_else(|| project.tables.iter().find(|table| table.name.to_string() == name).map(TableSpec::of))
}

/// Rewrites the small files of a table that a run has just committed to, once there are many: each file costs the next
/// runs a look.
///
/// # Errors
/// When storage fails.
pub async fn tidy(lake: &Lake, project: &Project, name: &str, run: &str) -> Result<()> {
    let (Some(mut table), Some(spec)) = (lake.open(name).await?, spec(project, name)) else { return Ok(()) };
    if table.metadata_change(&spec)?.is_some() {
        return Ok(());
    }
    for files in small_files(&table, MANY)? {
        if let Some(commit) = compact(&table, &spec, &files).await? {
            table.commit(lake, Commit { run: run.to_owned(), ..commit }).await?;
        }
    }
    Ok(())
}
