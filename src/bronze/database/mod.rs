//! The tables of a database: what changed in each since the batch before, as one batch.
//!
//! Rows carry no time of change, so each is compared with what bronze itself knows of its key (`known.rs`): there is no
//! other record of what was taken. All tables of a source are read from one snapshot, which the run keeps from the first
//! of them to the last.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::Fields;
use tokio::sync::Mutex;

use crate::contract::{BronzeKind, Database, Definition, Source, SourceKind, Stage, Table, TableName, bronze_columns};
use crate::error::{Error, Result};
use crate::lake::{Commit, LakeTable, TableSpec};
use crate::ops;
use crate::problem::suggest;
use crate::run::{BATCH, Run, TableReport};
use crate::source::postgres::{Relation, Snapshot};
use extract::{Taken, take};
use history::History;
use shape::Shape;

mod extract;
mod history;
mod known;
mod rows;
mod shape;

/// The databases of a run, each with its one snapshot; one that could not be opened is not tried again.
#[derive(Default)]
pub struct Databases(Mutex<HashMap<String, Result<Arc<Opened>>>>);

/// A database under way.
struct Opened {
    /// `<pipeline>.<source>`.
    name: String,
    snapshot: Snapshot,
    history: History,
}

impl Databases {
    async fn get(&self, run: &Run, pipeline: &str, source: &Source, database: &Database) -> Result<Arc<Opened>> {
        let name = format!("{pipeline}.{}", source.name);
        let mut open = self.0.lock().await;
        if let Some(opened) = open.get(&name) {
            return opened.clone();
        }
        let opened = Opened::open(run, pipeline, source, database).await.map(Arc::new);
        open.insert(name, opened.clone());
        opened
    }

    async fn close(&self, name: &str) {
        if let Some(Ok(opened)) = self.0.lock().await.remove(name)
            && let Some(opened) = Arc::into_inner(opened)
        {
            opened.snapshot.close().await;
        }
    }
}

impl Opened {
    async fn open(run: &Run, pipeline: &str, source: &Source, database: &Database) -> Result<Self> {
        let name = format!("{pipeline}.{}", source.name);
        let snapshot =
            Snapshot::open(database, &run.inputs).await.map_err(|error| error.at(format!("source '{name}'")))?;
        // What a killed run left to be recorded of columns must be there before they are compared.
        let tables =
            with_contract(run, pipeline, source).chain(without_contract(run, pipeline, source, database, &snapshot));
        for table in tables {
            if let Some(target) = run.lake.open(&table.name.to_string()).await? {
                target.catch_up(&run.lake).await?;
            }
        }
        let history = History::read(&run.lake, &name).await?;
        Ok(Self { name, snapshot, history })
    }
}

/// Takes what changed in the database's table of a contract.
///
/// # Errors
/// When the database cannot be read to the table's end, or storage fails; nothing of the table is then taken.
pub async fn ingest(run: &Run, table: &Table, source: &Source, database: &Database) -> Result<TableReport> {
    let opened = run.databases.get(run, &table.pipeline, source, database).await?;
    let wanted = relation_of(table);
    if let Some(relation) = opened.snapshot.tables().iter().find(|relation| relation.name == wanted) {
        return refresh(run, table, &opened, relation).await;
    }
    let message = format!("{}: the database has no table '{wanted}'", table.name);
    if run.lake.open(&table.name.to_string()).await?.is_some() {
        tracing::warn!("{message} any more; its rows stay");
        return Ok(TableReport::unchanged(table));
    }
    let names = opened.snapshot.tables().iter().map(|relation| relation.name.as_str());
    Err(match suggest(wanted, names) {
        Some(hint) => Error::failed(message).hint(hint),
        None => Error::failed(message),
    })
}

/// What a run would do, in words. Nothing is compared: that would be the extraction itself.
pub fn plan(table: &Table) -> String {
    format!("compare '{}' with the database", relation_of(table))
}

fn relation_of(table: &Table) -> &str {
    match &table.definition {
        Definition::Bronze { relation: Some(relation), .. } => relation,
        _ => "",
    }
}

/// Ends the work on a source's database; where it is wanted, takes the tables that have no contract first, and records
/// which tables are gone. The results are of tables that no contract declares.
pub async fn finish(run: &Run, pipeline: &str, source: &Source, with_rest: bool) -> Vec<(Table, Result<TableReport>)> {
    let SourceKind::Postgres(database) = &source.kind else { return Vec::new() };
    let mut results = Vec::new();
    if with_rest {
        match run.databases.get(run, pipeline, source, database).await {
            Ok(opened) => results = rest(run, pipeline, source, database, &opened).await,
            // Where a contract's table has told it, once is enough.
            Err(_) if with_contract(run, pipeline, source).next().is_some() => {}
            Err(error) => results.push((synthetic(pipeline, source, "*", "*"), Err(error))),
        }
    }
    run.databases.close(&format!("{pipeline}.{}", source.name)).await;
    results
}

async fn rest(
    run: &Run,
    pipeline: &str,
    source: &Source,
    database: &Database,
    opened: &Opened,
) -> Vec<(Table, Result<TableReport>)> {
    let mut results = Vec::new();
    let tables: Vec<Table> = without_contract(run, pipeline, source, database, &opened.snapshot).collect();
    for table in &tables {
        let result = match namesake(run, table, &tables) {
            Some(other) => Err(collision(table, &other)),
            None => ingest(run, table, source, database).await,
        };
        results.push((table.clone(), result));
    }
    if let Err(error) = record_dropped(run, opened).await {
        results.push((synthetic(pipeline, source, "*", "*"), Err(error)));
    }
    results
}

/// The contracts of a source's tables.
fn with_contract<'a>(run: &'a Run, pipeline: &'a str, source: &'a Source) -> impl Iterator<Item = Table> + 'a {
    let is_of = move |table: &&Table| {
        table.pipeline == pipeline
            && matches!(&table.definition, Definition::Bronze { source: read, .. } if *read == source.name)
    };
    run.project.tables.iter().filter(is_of).cloned()
}

/// The tables that the source takes and no contract names, as if one did.
fn without_contract<'a>(
    run: &'a Run,
    pipeline: &'a str,
    source: &'a Source,
    database: &'a Database,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = Table> + 'a {
    let declared: Vec<Table> = with_contract(run, pipeline, source).collect();
    let is_rest = move |relation: &&Relation| {
        database.takes(&relation.name) && !declared.iter().any(|table| relation_of(table) == relation.name)
    };
    let table = move |relation: &Relation| {
        synthetic(pipeline, source, &relation.name, &identifier(&format!("{}_{}", source.name, relation.name)))
    };
    snapshot.tables().iter().filter(is_rest).map(table)
}

fn synthetic(pipeline: &str, source: &Source, relation: &str, name: &str) -> Table {
    Table {
        subject: None,
        erased_with: None,
        shape: 0,
        name: TableName { stage: Stage::Bronze, name: name.to_owned() },
        pipeline: pipeline.to_owned(),
        description: format!("The table {relation} of the source {}: what changed in it, batch by batch.", source.name),
        columns: bronze_columns(BronzeKind::Rows),
        key: Vec::new(),
        statistics: vec!["_batch".to_owned(), "_ingested_at".to_owned()],
        sought: Vec::new(),
        expectations: Vec::new(),
        definition: Definition::Bronze {
            source: source.name.clone(),
            relation: Some(relation.to_owned()),
            payload: Fields::empty(),
        },
        fingerprint: 0,
    }
}

/// A text as a name that SQL takes without quotes.
fn identifier(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(letter).collect()
}

/// What else would be the table of this name.
fn namesake(run: &Run, table: &Table, others: &[Table]) -> Option<String> {
    let other = others.iter().find(|other| other.name == table.name && relation_of(other) != relation_of(table));
    let declared = || run.project.table(&table.name).map(|declared| format!("the contract of {}", declared.name));
    other.map(|other| format!("'{}'", relation_of(other))).or_else(declared)
}

fn collision(table: &Table, other: &str) -> Error {
    let relation = relation_of(table);
    Error::usage(format!("{}: '{relation}' and {other} would both be this table", table.name)).hint(format!(
        "write a contract of another name with relation = \"{relation}\", or leave the table out of 'tables'"
    ))
}

/// Brings the bronze table up to date with the database's.
async fn refresh(run: &Run, table: &Table, opened: &Opened, relation: &Relation) -> Result<TableReport> {
    let name = table.name.to_string();
    let held = run.lake.open(&name).await?;
    let known = opened.history.table(&relation.name);
    let shape = Arc::new(Shape::of(relation, held.as_ref().map(LakeTable::schema), known));
    let spec = with_record(TableSpec::of(table), &shape);
    let mut target = match held {
        Some(target) => target,
        None => run.lake.open_or_create(&spec).await?,
    };
    let batch = target.position(BATCH).await?.unwrap_or_default();
    let taken = take(run, &opened.snapshot, relation, &target, &spec, &shape, batch).await?;
    let events = shape.rows(run, &opened.name, relation);
    if taken.is_none() && events.is_empty() {
        return Ok(TableReport::unchanged(table));
    }
    let number = if taken.is_some() { batch + 1 } else { batch };
    let Taken { adds, rows } = taken.unwrap_or_default();
    let mut commit = Commit { adds, positions: BTreeMap::from([(BATCH.to_owned(), number)]), ..Commit::default() };
    if shape.is_wider {
        commit.metadata = target.metadata_change(&spec)?;
    }
    if !events.is_empty() {
        commit.followers.push(ops::follower(&run.lake, &ops::columns(), &events).await?);
    }
    run.commit(&mut target, commit).await?;
    Ok(TableReport::of_changes(table, rows, shape.told(relation)))
}

/// The columns of a bronze table and `record`, where the database's table has columns.
fn with_record(mut spec: TableSpec, shape: &Shape) -> TableSpec {
    spec.columns.extend(shape.column());
    spec
}

/// Records, once, that tables are no longer there.
async fn record_dropped(run: &Run, opened: &Opened) -> Result<()> {
    let rows = opened.history.dropped(run, &opened.name, opened.snapshot.tables());
    if rows.is_empty() {
        return Ok(());
    }
    let adds = ops::write(&run.lake, &ops::columns(), &rows).await?;
    let mut table = run.lake.open_or_create(&ops::columns()).await?;
    run.commit(&mut table, Commit { adds, ..Commit::default() }).await
}
