//! Erases a person or an exam: its rows go from every table and every version, pinned releases included.
//!
//! Rows are taken out of the files themselves (`src/lake/redact.rs`); versions and releases stay, without them. Tables that
//! only count what others hold are then computed anew. What was done stands in `ops.erasures`, without the identifier.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::contract::{Project, TableName};
use crate::error::{Error, Result};
use crate::lake::{Commit, Lake, LakeTable, Redo, TableSpec};
use crate::ops::{self, ErasureRow};
use crate::query::{Reader, newest_release};
use crate::release::user;
use crate::replay::{Digest, digest};
use crate::run::{Options, Run};
use crate::silver::quarantine;

mod linked;
mod subject;

pub use subject::Subject;

/// What stands for all tables in the row of an erasure that was killed, and ended by another.
const BEFORE: &str = "*";

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
    let pending = Redo::pending(&run.lake).await?;
    let reader = Reader::new(run.lake.clone(), run.limits);
    let mut certificate = Certificate {
        erasure: run.id.clone(),
        subject: subject.name.clone(),
        subject_hash: blake3::keyed_hash(&key, value.as_bytes()).to_hex().to_string(),
        salt: salt.to_string(),
        at: Utc::now(),
        by: user(),
        goes_on: pending.is_some(),
        redacted_up_to_release: newest_release(&reader).await?.map(|release| release.release),
        tables: Vec::new(),
        computed_anew: Vec::new(),
    };
    certificate.tables = redact(run, subject).await?;
    if !certificate.tables.is_empty() || certificate.goes_on {
        let begun = pending.map(|pending| pending.subject).into_iter().chain([subject.name.clone()]);
        certificate.computed_anew = compute_anew(run.again(), begun).await?;
        record(run, &certificate).await?;
        Redo::end(&run.lake).await?;
    }
    Ok(certificate)
}

/// Takes the subject's rows out of all tables.
async fn redact(run: &Run, subject: &Arc<Subject>) -> Result<Vec<Erased>> {
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
    let mut redo = Redo::of(&subject.name);
    let mut erased = Vec::new();
    for name in names.iter().filter(|name| !name.starts_with("ops.") || **name == ops::files().name) {
        let Some(table) = run.lake.open(name).await? else { continue };
        let redaction = subject.redaction(name, &found);
        let new = table.write_redacted(&spec(&run.project, &table)?, &*redaction).await?;
        if !new.is_empty() {
            let before = digest(&table).await?;
            erased.push(Erased { table: name.clone(), rows: 0, files: new.len() as u64, before, after: before });
            redo.tables.insert(name.clone(), new);
        }
    }
    if erased.is_empty() {
        return Ok(erased);
    }
    redo.begin(&run.lake).await?;
    for erased in &mut erased {
        let table = run.lake.open(&erased.table).await?;
        let table = table.ok_or_else(|| Error::failed(format!("{}: the table is gone", erased.table)))?;
        erased.after = digest(&table).await?;
        erased.rows = erased.before.rows - erased.after.rows;
    }
    Ok(erased)
}

/// Whether an erasure was begun and not ended: rows may be gone that tables still count.
///
/// # Errors
/// When the lake cannot be read.
pub async fn is_unfinished(lake: &Lake) -> Result<bool> {
    Ok(Redo::pending(lake).await?.is_some())
}

fn spec(project: &Project, table: &LakeTable) -> Result<TableSpec> {
    if let Some(own) = ops::all().into_iter().chain([quarantine::spec()]).find(|spec| spec.name == table.name) {
        return Ok(own);
    }
    let known = project.tables.iter().find(|known| known.name.to_string() == table.name);
    Ok(known.map_or_else(|| TableSpec::as_stored(table), TableSpec::of))
}

/// Computes tables anew that count rows of some subjects.
async fn compute_anew(run: Run, subjects: impl Iterator<Item = String>) -> Result<Vec<String>> {
    let mut counted: BTreeSet<TableName> = BTreeSet::new();
    for subject in subjects {
        counted.extend(Subject::of(&run.project, &subject, "")?.counted_in(&run.project));
    }
    let select: Vec<String> = counted.iter().map(ToString::to_string).collect();
    if select.is_empty() {
        return Ok(select);
    }
    let options = Options { select: select.clone(), full_refresh: true, ..Options::default() };
    let report = run.execute_under_lease(&options).await?;
    report.errors.into_iter().next().map_or(Ok(select), Err)
}

async fn record(run: &Run, certificate: &Certificate) -> Result<()> {
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
    let before = Erased { table: BEFORE.to_owned(), ..Erased::default() };
    let rows = certificate.tables.iter().chain(certificate.goes_on.then_some(&before)).map(row).collect::<Vec<_>>();
    let adds = ops::write(&run.lake, &ops::erasures(), &rows).await?;
    let mut table = run.lake.open_or_create(&ops::erasures()).await?;
    // `fsck` asks for these: a batch of which nothing is left is then no loss. Of an erasure that was killed it is not known.
    let erased = certificate.tables.iter().map(|erased| erased.table.clone());
    let bronze = run.project.tables.iter().map(|table| table.name.to_string());
    let bronze = bronze.filter(|name| certificate.goes_on && name.starts_with("bronze."));
    let positions = erased.chain(bronze).map(|table| (table, 1)).collect();
    table.commit(&run.lake, Commit { adds, positions, run: run.id.clone(), ..Commit::default() }).await
}
