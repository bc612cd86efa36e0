//! The files of a source that the ledger ([`Ledger`], `ops.files`) has not seen, as one batch: their records, the batch's
//! number and the ledger's rows land in one commit.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};

use super::ledger::{Event, Ledger};
use super::read::{BatchInfo, Looked, Unread, read_files};
use crate::contract::{FileSource, Format, Source, Table};
use crate::error::{Error, Place, Result};
use crate::lake::{Commit, Follower, LakeTable, TableSpec};
use crate::ops::{self, FileRow};
use crate::original::hash::sha256;
use crate::original::person::PersonKey;
use crate::run::{BATCH, ProgressEvent, RESTORED, Run, TableReport};
use crate::source::{FileEntry, HashingReader, Place as SourcePlace, Shape};

/// Takes what is new of the table's source.
///
/// # Errors
/// When the source's folder is missing, a file cannot be read to its end, storage fails, or bronze and the ledger do not
/// know of the same batches; nothing is then taken.
pub async fn ingest(run: &Run, table: &Table, source: &Source, files: &FileSource) -> Result<TableReport> {
    let spec = TableSpec::of(table);
    let name = source_name(table, source);
    let held = run.lake.open(&spec.name).await?;
    if let Some(held) = &held {
        held.catch_up(&run.lake).await?;
    }
    let ledger_table = run.lake.open_or_create(&ops::files()).await?;
    let last = newest_batch(held.as_ref()).await?;
    let mut ledger = run.ledgers.of(&ledger_table, &name, last).await?;
    agree(run, &spec.name, held.as_ref(), &ledger).await?;
    let mut target = run.lake.open_or_create(&spec).await?;
    let unseen = unseen(run, source, files, &ledger).await?;
    let forgotten = ledger.forget(&ledger_table).await?;
    if unseen.is_empty() && forgotten.is_none() {
        return Ok(TableReport::unchanged(table));
    }
    let originals = files.format.is_original();
    let (mut looked, to_read) = classify(unseen, &mut ledger, originals, run.limits.threads).await?;
    let batch = BatchInfo { number: last + 1, ingested_at: run.started_micros() };
    let total = to_read.iter().map(|unread| unread.file.size).sum();
    (run.progress)(ProgressEvent::Reading { table: table.name.to_string(), bytes: total });
    let threads = run.limits.threads;
    let columns = run.payload_of(&table.name)?.0.iter().map(|field| field.name().clone()).collect();
    let person_key = person_key(run, source, files);
    let shape = Shape { format: files.format.clone(), columns, person_key };
    let (read, adds) = read_files(to_read, shape, &target, &spec, batch.clone(), threads, &run.progress).await?;
    looked.extend(read);
    // What could not be opened is tried at each run, and so is what bears no mark of change; told once is enough.
    looked.retain(|file| !matches!(file.event, Event::Unreadable | Event::Touched) || !ledger.has_seen(&file.file));
    // The newest look at a file is the one that counts, whatever the clock says meanwhile.
    let seen_at = run.started_micros().max(ledger.newest_seen_at + 1);
    let rows: Vec<FileRow> = looked.iter().map(|file| file_row(run, &name, &batch, seen_at, file)).collect();
    let report = TableReport::of_files(table, &rows);
    if rows.is_empty() && forgotten.is_none() {
        return Ok(report);
    }
    let mut follower = ops::follower(&run.lake, &ops::files(), &rows).await?;
    if let Some(forgotten) = forgotten {
        follower.adds.extend(forgotten.adds);
        follower.removes.extend(forgotten.removes);
    }
    if adds.is_empty() {
        return record_only(run, ledger_table, follower, report).await;
    }
    let positions = BTreeMap::from([(BATCH.to_owned(), batch.number)]);
    run.commit(&mut target, Commit { adds, positions, followers: vec![follower], ..Commit::default() }).await?;
    Ok(report)
}

/// The source's name in `ops.files`.
pub fn source_name(table: &Table, source: &Source) -> String {
    format!("{}.{}", table.pipeline, source.name)
}

async fn newest_batch(held: Option<&LakeTable>) -> Result<i64> {
    match held {
        Some(held) => Ok(held.position(BATCH).await?.unwrap_or_default()),
        None => Ok(0),
    }
}

/// Bronze and the ledger are written in one commit: where one knows of a batch that the other does not, one of them was
/// deleted, whole or at its end. Going on would leave records out, or take them in twice.
async fn agree(run: &Run, name: &str, held: Option<&LakeTable>, ledger: &Ledger) -> Result<()> {
    let last = newest_batch(held).await?;
    let files = ops::files().name;
    if ledger.newest_batch > last && !run.full_refresh {
        return Err(Error::failed(format!(
            "{name}: {files} knows of batch {}, the table of {last}: the table, or the end of its log, was deleted",
            ledger.newest_batch
        ))
        .hint("put it back from a backup; or take the files of the lost batches in anew with `pipeline run --full-refresh`"));
    }
    let restored = match held {
        Some(held) => held.position(RESTORED).await?,
        None => None,
    };
    if ledger.newest_batch < last && restored.is_none() {
        return Err(Error::failed(format!(
            "{name}: the table knows of batch {last}, {files} of {}: the ledger, or the end of its log, was deleted",
            ledger.newest_batch
        ))
        .hint(format!(
            "put it back from a backup; or remove the folder of {name} too, and take all files in anew with \
             `pipeline run --full-refresh`"
        )));
    }
    Ok(())
}

/// What a run would take, in words; none when nothing is new.
///
/// # Errors
/// As [`ingest`].
pub async fn plan(run: &Run, table: &Table, source: &Source, files: &FileSource) -> Result<Option<String>> {
    let ledger = match run.lake.open(&ops::files().name).await? {
        Some(ledger) => {
            let held = run.lake.open(&table.name.to_string()).await?;
            run.ledgers.of(&ledger, &source_name(table, source), newest_batch(held.as_ref()).await?).await?
        }
        None => Ledger::default(),
    };
    let unseen = unseen(run, source, files, &ledger).await?;
    let bytes: u64 = unseen.iter().map(|file| file.size).sum();
    Ok((!unseen.is_empty()).then(|| format!("look at {} files of {bytes} bytes", unseen.len())))
}

/// The files of a source that were not yet read as they are now.
#[tracing::instrument(level = "trace", skip_all, name = "list")]
async fn unseen(run: &Run, source: &Source, files: &FileSource, ledger: &Ledger) -> Result<Vec<FileEntry>> {
    let name = format!("source '{}'", source.name);
    let path = files.path.resolve(&run.inputs.variables).at(&name)?;
    let place = SourcePlace::resolve(&run.inputs.data, &path).at(&name)?;
    let hint = format!("--data {} is where the source's folder '{}' is looked for", run.inputs.data, path);
    let (found, skipped) = place.list(files.optional).await.map_err(|error| error.at(&name).or_hint(&hint))?;
    for skipped in skipped {
        tracing::warn!("{}: left out: {}", skipped.path.display(), skipped.reason);
    }
    // A store has no folders: that of a source that never had a file may be a slip of the pen.
    if let SourcePlace::Store(url) = &place
        && found.is_empty()
        && ledger.is_empty()
        && !files.optional
    {
        return Err(Error::failed(format!("{url}: there is no object")).at(name).hint(hint));
    }
    Ok(found.into_iter().filter(|file| !ledger.has_read(file)).collect())
}

/// The key of the hash that stands for a patient; without it nothing does, which is said once a run.
fn person_key(run: &Run, source: &Source, files: &FileSource) -> Option<PersonKey> {
    let Format::Original(options) = &files.format else { return None };
    let name = options.person_key.as_ref()?;
    let key = run.inputs.variables.get(name);
    if key.is_none() {
        tracing::warn!("source '{}': {name} is not set, so that person_key is NULL", source.name);
    }
    key.map(|key| PersonKey::new(&key))
}

/// Tells files apart by their content, where their size leaves a doubt; gives those that bring no records, and those
/// that are to be read. Of originals every file is a record, whatever has the same content: only one whose content was
/// known under its own name may be as it was.
#[tracing::instrument(level = "trace", skip_all)]
async fn classify(
    unseen: Vec<FileEntry>,
    ledger: &mut Ledger,
    originals: bool,
    threads: usize,
) -> Result<(Vec<Looked>, Vec<Unread>)> {
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for file in &unseen {
        *sizes.entry(file.size).or_default() += 1;
    }
    let is_doubtful = |file: &FileEntry| match originals {
        true => ledger.knows(file),
        false => ledger.knows_size(file.size) || sizes[&file.size] > 1,
    };
    let doubtful: Vec<bool> = unseen.iter().map(is_doubtful).collect();
    let hashes = unseen.iter().zip(&doubtful).map(|(file, doubtful)| {
        let file = doubtful.then(|| file.clone());
        async move {
            match file {
                Some(file) => tokio::task::spawn_blocking(move || content_hash(&file, originals)).await?,
                None => Ok(None),
            }
        }
    });
    let hashes: Vec<Option<String>> =
        futures::stream::iter(hashes.collect::<Vec<_>>()).buffered(threads).try_collect().await?;
    let (mut looked, mut to_read) = (Vec::new(), Vec::new());
    for (file, hash) in unseen.into_iter().zip(hashes) {
        let event = match ledger.classify(&file, hash.as_deref()) {
            Event::Duplicate if originals => Event::Changed,
            event => event,
        };
        if event.brings_records() {
            let was_refused = ledger.has_seen(&file);
            to_read.push(Unread { file, event, was_refused });
        } else {
            looked.push(Looked::only(file, event, hash));
        }
    }
    Ok((looked, to_read))
}

/// The hash of a file's bytes; none when it cannot be opened, which reading it will tell.
#[tracing::instrument(level = "trace", skip_all, name = "hash")]
fn content_hash(file: &FileEntry, original: bool) -> Result<Option<String>> {
    let Some(reader) = file.open().at(&file.uri)?.reader() else { return Ok(None) };
    let (hash, _) = if original { sha256(reader) } else { HashingReader::new(reader).finish() }.at(&file.uri)?;
    Ok(Some(hash))
}

/// Commits what the ledger learns where no records came.
async fn record_only(run: &Run, mut ledger: LakeTable, rows: Follower, report: TableReport) -> Result<TableReport> {
    run.commit(&mut ledger, Commit { adds: rows.adds, removes: rows.removes, ..Commit::default() }).await?;
    Ok(report)
}

fn file_row(run: &Run, source: &str, batch: &BatchInfo, seen_at: i64, looked: &Looked) -> FileRow {
    let records = looked.records();
    let hash = looked.contents.as_ref().map(|contents| contents.content_hash.clone()).or_else(|| looked.hash.clone());
    FileRow {
        run: run.id.clone(),
        source: source.to_owned(),
        batch: (records > 0).then_some(batch.number),
        uri: looked.file.uri.clone(),
        size: i64::try_from(looked.file.size).unwrap_or(i64::MAX),
        modified_at: looked.file.modified_us,
        e_tag: looked.file.e_tag.clone(),
        content_hash: hash,
        event: looked.event.as_str().to_owned(),
        records: i64::try_from(records).unwrap_or(i64::MAX),
        reason: reason(looked),
        seen_at,
    }
}

/// What is wrong with a file, in one line.
fn reason(looked: &Looked) -> Option<String> {
    let summary = match (&looked.problem, &looked.contents) {
        (None, Some(contents)) => &contents.summary,
        (problem, _) => return problem.clone(),
    };
    let more = summary.fault_count.saturating_sub(summary.faults.len() as u64);
    let faults = summary.faults.iter().map(ToString::to_string);
    let mut parts: Vec<String> = summary.header.iter().cloned().chain(faults).collect();
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
