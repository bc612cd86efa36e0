//! Bronze: every record as it came, with where it came from; append-only.
//!
//! A run takes from a source what is new of it, as one batch. What is new, each kind of source tells in its own way.

use crate::contract::{Source, SourceKind, Table};
use crate::error::{Error, Result};
use crate::run::{Run, TableReport};

pub mod database;
pub mod files;
pub mod ledger;
pub mod read;

/// Takes what is new of the table's source.
///
/// # Errors
/// When the source cannot be read to its end, or storage fails; nothing is then taken.
pub async fn ingest(run: &Run, table: &Table) -> Result<TableReport> {
    let source = source_of(run, table)?;
    match &source.kind {
        SourceKind::Files(files) => files::ingest(run, table, source, files).await,
        SourceKind::Postgres(database) => database::ingest(run, table, source, database).await,
    }
}

/// What a run would take, in words; none when nothing is new.
///
/// # Errors
/// As [`ingest`].
pub async fn plan(run: &Run, table: &Table) -> Result<Option<String>> {
    let source = source_of(run, table)?;
    match &source.kind {
        SourceKind::Files(files) => files::plan(run, table, source, files).await,
        SourceKind::Postgres(_) => Ok(Some(database::plan(table))),
    }
}

fn source_of<'a>(run: &'a Run, table: &Table) -> Result<&'a Source> {
    run.project.source(table).ok_or_else(|| Error::failed(format!("{}: no source", table.name)))
}
