//! What the lake holds and how fresh it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::tables_of;
use crate::contract::{Definition, Project, Table};
use crate::engine::Limits;
use crate::error::Result;
use crate::lake::{Lake, LakeTable};
use crate::ops;
use crate::query::{Reader, Release, Values, newest_release};
use crate::run::{BATCH, Inputs, Options, Run};
use crate::silver::quarantine::QUARANTINE;

/// The state of a lake.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// In the order of the flow; those that a run would make too.
    pub tables: Vec<TableStatus>,
    /// What the newest run did.
    pub last_run: Option<LastRun>,
    /// The newest release.
    pub release: Option<Release>,
    /// Why it is not known what is up to date.
    pub unknown: Option<String>,
}

/// The state of a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// The table.
    pub table: String,
    /// Its rows; none when it is not there yet, as with the next five.
    pub rows: Option<u64>,
    /// Its data files.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Its newest version.
    pub version: Option<u64>,
    /// When that was committed.
    pub committed_at: Option<DateTime<Utc>>,
    /// How far it has come: its newest batch, or the batch or version of each input.
    pub positions: BTreeMap<String, i64>,
    /// Whether a run would find nothing to do; none where that is not known.
    pub up_to_date: Option<bool>,
    /// What a run would do.
    pub next: Option<String>,
    /// Rows of it that are in quarantine and not dealt with.
    pub quarantined: u64,
}

/// What the newest run did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastRun {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// Tables that it changed.
    pub done: u64,
    /// Tables that failed.
    pub failed: u64,
}

/// What is to be known of the lake; nothing is written, and a run may be under way.
///
/// `project` is what the tables should be, with `inputs` where sources are looked for; or why there is none. Of pipelines
/// that the options do not name only what is there is told.
///
/// # Errors
/// When there is no lake or a log cannot be read.
pub async fn status(
    lake: &Lake,
    limits: Limits,
    project: Result<Arc<Project>>,
    inputs: Result<Inputs>,
    options: &Options,
) -> Result<Status> {
    let reader = Reader::new(lake.clone(), limits);
    let names = tables_of(&reader).await?;
    let open = quarantined(&reader).await?;
    let (plan, project, unknown) = match project {
        Err(error) => (HashMap::new(), None, Some(error.to_string())),
        Ok(project) => match plan(lake, limits, project.clone(), inputs, options).await {
            Err(error) => (HashMap::new(), Some(project), Some(error.to_string())),
            Ok(plan) => (plan, Some(project), None),
        },
    };
    let declared: Vec<&Table> = project.iter().flat_map(|project| &project.tables).collect();
    let wanted = |table: &&&Table| options.takes_pipeline(&table.pipeline);
    let expected: Vec<&Table> = declared.iter().filter(wanted).copied().collect();
    let mut tables = Vec::new();
    for name in in_order(names, &expected) {
        let table = declared.iter().find(|table| table.name.to_string() == name).copied();
        let mut status = of_table(&reader, &name, table).await?;
        status.quarantined = open.get(&name).copied().unwrap_or_default();
        if let Some(next) = plan.get(&name) {
            status.up_to_date = Some(next.is_none());
            status.next.clone_from(next);
        }
        tables.push(status);
    }
    Ok(Status { tables, last_run: last_run(&reader).await?, release: newest_release(&reader).await?, unknown })
}

/// What a run would do to each table of the project; none where nothing.
async fn plan(
    lake: &Lake,
    limits: Limits,
    project: Arc<Project>,
    inputs: Result<Inputs>,
    options: &Options,
) -> Result<HashMap<String, Option<String>>> {
    let run = Run::new(lake.clone(), project, inputs?, limits, Arc::new(|_| {}));
    let plan = run.plan(options).await?;
    Ok(plan.into_iter().map(|(table, what)| (table, Some(what).filter(|what| what != "nothing new"))).collect())
}

/// The project's tables as a run walks them, after each stage those that the program itself keeps.
fn in_order(mut names: Vec<String>, declared: &[&Table]) -> Vec<String> {
    for table in declared.iter().map(|table| table.name.to_string()) {
        if !names.contains(&table) {
            names.push(table);
        }
    }
    let place = |name: &String| declared.iter().position(|table| table.name.to_string() == *name);
    names.sort_by_key(|name| (super::stage_order(name), place(name).unwrap_or(declared.len())));
    names
}

async fn of_table(reader: &Reader, name: &str, declared: Option<&Table>) -> Result<TableStatus> {
    let mut status = TableStatus {
        table: name.to_owned(),
        rows: None,
        files: None,
        bytes: None,
        version: None,
        committed_at: None,
        positions: BTreeMap::new(),
        up_to_date: None,
        next: None,
        quarantined: 0,
    };
    let Some(table) = reader.open(name).await? else { return Ok(status) };
    let files = table.files()?;
    status.rows = Some(files.iter().filter_map(|file| file.rows).sum());
    status.files = Some(files.len() as u64);
    status.bytes = Some(files.iter().map(|file| file.size).sum());
    status.version = Some(table.version());
    status.committed_at = table.committed_at().await?;
    if let Some(declared) = declared {
        status.positions = positions(&table, declared).await?;
    }
    Ok(status)
}

async fn positions(table: &LakeTable, declared: &Table) -> Result<BTreeMap<String, i64>> {
    let names: Vec<String> = match &declared.definition {
        Definition::Bronze { .. } => vec![BATCH.to_owned()],
        _ => declared.inputs().into_iter().map(ToString::to_string).collect(),
    };
    let mut positions = BTreeMap::new();
    for name in names {
        if let Some(position) = table.position(&name).await? {
            positions.insert(name, position);
        }
    }
    Ok(positions)
}

async fn quarantined(reader: &Reader) -> Result<HashMap<String, u64>> {
    #[derive(Deserialize)]
    struct Row {
        table: String,
        rows: u64,
    }
    if reader.open(QUARANTINE).await?.is_none() {
        return Ok(HashMap::new());
    }
    let sql = format!(r#"SELECT "table", COUNT(*) AS rows FROM {QUARANTINE} WHERE status = 'open' GROUP BY "table""#);
    let rows: Vec<Row> = reader.select(&sql, &Values::default()).await?;
    Ok(rows.into_iter().map(|row| (row.table, row.rows)).collect())
}

async fn last_run(reader: &Reader) -> Result<Option<LastRun>> {
    if reader.open(&ops::runs().name).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT run, MIN(started_at) AS started_at, MAX(ended_at) AS ended_at, \
               COUNT(*) FILTER (WHERE status = 'done') AS done, COUNT(*) FILTER (WHERE status = 'failed') AS failed \
               FROM ops.runs GROUP BY run ORDER BY started_at DESC, run DESC LIMIT 1";
    Ok(reader.select(sql, &Values::default()).await?.pop())
}
