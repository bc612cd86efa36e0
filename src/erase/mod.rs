//! Erases a person or an exam: its rows go from every table and every version, pinned releases included.
//!
//! Rows are taken out of the files themselves (`src/lake/redact.rs`); versions and releases stay, without them. Tables that
//! only count what others hold are then computed anew. What was done stands in `ops.erasures`, without the identifier.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::contract::Project;
use crate::error::{Error, Result};
use crate::lake::{Commit, Lake, LakeTable, Replacements, TableSpec};
use crate::ops::{self, ErasureRow};
use crate::query::{Reader, newest_release};
use crate::release::user;
use crate::replay::{Digest, digest};
use crate::run::{Options, Run};
use crate::silver::quarantine;

mod linked;
mod subject;

pub use subject::Subject;

/// The position under which `ops.erasures` records that an erasure was begun and not ended.
const UNFINISHED: &str = "unfinished";
/// What stands for all tables in the row of an erasure that begins.
const WHOLE: &str = "*";

/// What was erased of one table.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Erased {
    /// The table.
    pub table: String,
    /// Rows that its newest version lacks now.
    pub rows: u64,
    /// Files, of all versions, that held rows.
    pub files: u64,
    /// The rows of the newest version before.
    pub before: Digest,
    /// The rows of the newest version now.
    pub after: Digest,
}

/// What was done, for whoever asked for it. Says nothing of whom.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// The erasure.
    pub erasure: String,
    /// What was erased: `exam`.
    pub subject: String,
    /// BLAKE3 of the identifier, keyed by `salt`.
    pub subject_hash: String,
    /// Kept by nobody but the holder of the certificate.
    pub salt: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The user of the system who asked for it.
    pub by: String,
    /// An erasure before was killed, and ended with this one: what it had taken out already is not counted here.
    pub goes_on: bool,
    /// The releases up to this one lack rows now.
    pub redacted_up_to_release: Option<i64>,
    /// A row a table that held something.
    pub tables: Vec<Erased>,
    /// Tables that were computed anew, because they count what others hold.
    pub computed_anew: Vec<String>,
}

/// Erases a subject from the lake of a run.
///
/// # Errors
/// When the lease is held, a table is not of the project, or storage fails: then do it again, it starts anew.
pub async fn erase(mut run: Run, name: &str, value: &str) -> Result<Certificate> {
    let subject = Arc::new(Subject::of(&run.project, name, value)?);
    let lake = run.lake.clone();
    lake.with_lease(async |leased| {
        run.lake = leased.clone();
        erase_leased(&run, &subject, value).await
    })
    .await
}

async fn erase_leased(run: &Run, subject: &Arc<Subject>, value: &str) -> Result<Certificate> {
    let salt = uuid::Uuid::now_v7();
    let key = blake3::derive_key("medalha erasure", salt.as_bytes());
    let reader = Reader::new(run.lake.clone(), run.limits);
    let mut certificate = Certificate {
        erasure: run.id.clone(),
        subject: subject.name.clone(),
        subject_hash: blake3::keyed_hash(&key, value.as_bytes()).to_hex().to_string(),
        salt: salt.to_string(),
        at: Utc::now(),
        by: user(),
        goes_on: is_unfinished(&run.lake).await?,
        redacted_up_to_release: newest_release(&reader).await?.map(|release| release.release),
        tables: Vec::new(),
        computed_anew: Vec::new(),
    };
    certificate.tables = redact(run, subject, &certificate).await?;
    if !certificate.tables.is_empty() || certificate.goes_on {
        certificate.computed_anew = compute_anew(run.again(), subject).await?;
        record(run, &certificate, &certificate.tables, false).await?;
    }
    Ok(certificate)
}

/// Takes the subject's rows out of all tables.
async fn redact(run: &Run, subject: &Arc<Subject>, certificate: &Certificate) -> Result<Vec<Erased>> {
    let names = run.lake.tables().await?;
    for name in &names {
        if let Some(table) = run.lake.open(name).await? {
            table.catch_up(&run.lake).await?;
        }
    }
    for name in &names {
        if let Some(table) = run.lake.open(name).await? {
            table.delete_orphans(&run.lake).await?;
        }
    }
    let found = Arc::new(subject.find(run).await?);
    let (mut erased, mut tables, mut replaced) = (Vec::new(), Vec::new(), Replacements::new());
    for name in names.iter().filter(|name| !name.starts_with("ops.") || **name == ops::files().name) {
        let Some(table) = run.lake.open(name).await? else { continue };
        let redaction = subject.redaction(name, &found);
        let new = table.write_redacted(&spec(&run.project, &table)?, &*redaction).await?;
        if !new.is_empty() {
            let before = digest(&table).await?;
            erased.push(Erased { table: name.clone(), rows: 0, files: new.len() as u64, before, after: before });
            tables.push((table, new.clone()));
            replaced.extend(new);
        }
    }
    if erased.is_empty() {
        return Ok(erased);
    }
    // From here on rows go: whoever comes after a process that was killed must know that there is something to end.
    let whole = Erased { table: WHOLE.to_owned(), rows: 0, files: replaced.len() as u64, ..Erased::default() };
    record(run, certificate, &[whole], true).await?;
    // Commits carry files of other tables, so every log may name any of them.
    for name in finders_last(names, &run.project, subject) {
        if let Some(table) = run.lake.open(&name).await? {
            table.rename_in_log(&run.lake, &replaced).await?;
        }
    }
    for (table, old) in tables {
        table.delete_replaced(&run.lake, &old).await?;
    }
    for erased in &mut erased {
        let table = run.lake.open(&erased.table).await?;
        let table = table.ok_or_else(|| Error::failed(format!("{}: the table is gone", erased.table)))?;
        erased.after = digest(&table).await?;
        erased.rows = erased.before.rows - erased.after.rows;
    }
    Ok(erased)
}

/// Tables in such an order that one by which rows of others are found comes after these: bronze, and behind it those that name
/// rows of others. So who is killed finds them again.
fn finders_last(mut names: Vec<String>, project: &Project, subject: &Subject) -> Vec<String> {
    let naming: Vec<String> = linked::naming(project, subject).iter().map(|(_, by)| by.to_string()).collect();
    names.sort_by_key(|name| (naming.contains(name), name.starts_with("bronze.")));
    names
}

/// Whether an erasure was begun and not ended: rows may be gone that tables still count.
///
/// # Errors
/// When the log of `ops.erasures` cannot be read.
pub async fn is_unfinished(lake: &Lake) -> Result<bool> {
    match lake.open(&ops::erasures().name).await? {
        Some(erasures) => Ok(erasures.position(UNFINISHED).await?.is_some_and(|unfinished| unfinished != 0)),
        None => Ok(false),
    }
}

fn spec(project: &Project, table: &LakeTable) -> Result<TableSpec> {
    if let Some(own) = ops::all().into_iter().chain([quarantine::spec()]).find(|spec| spec.name == table.name) {
        return Ok(own);
    }
    let known = project.tables.iter().find(|known| known.name.to_string() == table.name);
    Ok(known.map_or_else(|| TableSpec::as_stored(table), TableSpec::of))
}

/// Computes tables anew that count the subject's rows.
async fn compute_anew(run: Run, subject: &Subject) -> Result<Vec<String>> {
    let select: Vec<String> = subject.counted_in(&run.project).iter().map(ToString::to_string).collect();
    if select.is_empty() {
        return Ok(select);
    }
    let options = Options { select: select.clone(), full_refresh: true, ..Options::default() };
    let report = run.execute_under_lease(&options).await?;
    report.errors.into_iter().next().map_or(Ok(select), Err)
}

async fn record(run: &Run, certificate: &Certificate, tables: &[Erased], unfinished: bool) -> Result<()> {
    let row = |erased: &Erased| ErasureRow {
        erasure: certificate.erasure.clone(),
        subject: certificate.subject.clone(),
        subject_hash: certificate.subject_hash.clone(),
        table: erased.table.clone(),
        rows: crate::lake::signed(erased.rows),
        files: crate::lake::signed(erased.files),
        digest_before: erased.before.to_string(),
        digest_after: erased.after.to_string(),
        last_release: certificate.redacted_up_to_release,
        by: certificate.by.clone(),
        at: certificate.at.timestamp_micros(),
    };
    let rows: Vec<ErasureRow> = tables.iter().map(row).collect();
    let adds = if rows.is_empty() { Vec::new() } else { ops::write(&run.lake, &ops::erasures(), &rows).await? };
    let mut table = run.lake.open_or_create(&ops::erasures()).await?;
    // `fsck` asks for these: a batch of which nothing is left is then no loss.
    let mut positions: BTreeMap<String, i64> = tables.iter().map(|erased| (erased.table.clone(), 1)).collect();
    positions.insert(UNFINISHED.to_owned(), unfinished.into());
    table.commit(&run.lake, Commit { adds, positions, run: run.id.clone(), ..Commit::default() }).await
}
