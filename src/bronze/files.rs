//! The files of a source that the ledger ([`Ledger`], `ops.files`) has not seen, as one batch: their records, the batch's
//! number and the ledger's rows land in one commit.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};

use super::ledger::{Event, Ledger};
use super::read::{BatchInfo, Looked, read_files};
use crate::contract::{FileSource, Source, Table};
use crate::error::{Error, Place, Result};
use crate::lake::{Commit, LakeTable, TableSpec};
use crate::ops::{self, FileRow};
use crate::run::{BATCH, ProgressEvent, Run, TableReport};
use crate::source::{FileEntry, HashingReader, Opened, Place as SourcePlace, Shape};

/// Takes what is new of the table's source.
///
/// # Errors
/// When the source's folder is missing, a file cannot be read to its end, or storage fails; nothing is then taken.
pub async fn ingest(run: &Run, table: &Table, source: &Source, files: &FileSource) -> Result<TableReport> {
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    let ledger_table = run.lake.open_or_create(&ops::files()).await?;
    let name = format!("{}.{}", table.pipeline, source.name);
    let mut ledger = Ledger::read(&ledger_table, &name).await?;
    let unseen = unseen(run, source, files, &ledger).await?;
    if unseen.is_empty() {
        return Ok(TableReport::unchanged(table));
    }
    let (mut looked, to_read) = classify(unseen, &mut ledger, run.limits.threads).await?;
    let batch =
        BatchInfo { number: target.position(BATCH).await?.unwrap_or_default() + 1, ingested_at: run.started_micros() };
    let total = to_read.iter().map(|(file, _)| file.size).sum();
    (run.progress)(ProgressEvent::Reading { table: table.name.to_string(), bytes: total });
    let threads = run.limits.threads;
    let columns = run.payload_of(&table.name)?.0.iter().map(|field| field.name().clone()).collect();
    let shape = Shape { format: files.format.clone(), columns };
    let (read, adds) = read_files(to_read, shape, &target, &spec, batch.clone(), threads, &run.progress).await?;
    looked.extend(read);
    // What could not be opened is tried at each run, and so is what bears no mark of change; told once is enough.
    looked.retain(|file| !matches!(file.event, Event::Unreadable | Event::Touched) || !ledger.has_seen(&file.file));
    let rows: Vec<FileRow> = looked.iter().map(|file| file_row(run, &name, &batch, file)).collect();
    let report = TableReport::of_files(table, &rows);
    if rows.is_empty() {
        return Ok(report);
    }
    if adds.is_empty() {
        return record_only(run, ledger_table, &rows, report).await;
    }
    let commit = Commit {
        adds,
        positions: BTreeMap::from([(BATCH.to_owned(), batch.number)]),
        followers: vec![ops::follower(&run.lake, &ops::files(), &rows).await?],
        ..Commit::default()
    };
    run.commit(&mut target, commit).await?;
    Ok(report)
}

/// What a run would take, in words; none when nothing is new.
///
/// # Errors
/// As [`ingest`].
pub async fn plan(run: &Run, table: &Table, source: &Source, files: &FileSource) -> Result<Option<String>> {
    let ledger = match run.lake.open(&ops::files().name).await? {
        Some(ledger) => Ledger::read(&ledger, &format!("{}.{}", table.pipeline, source.name)).await?,
        None => Ledger::default(),
    };
    let unseen = unseen(run, source, files, &ledger).await?;
    let bytes: u64 = unseen.iter().map(|file| file.size).sum();
    Ok((!unseen.is_empty()).then(|| format!("look at {} files of {bytes} bytes", unseen.len())))
}

/// The files of a source that were not yet read as they are now.
async fn unseen(run: &Run, source: &Source, files: &FileSource, ledger: &Ledger) -> Result<Vec<FileEntry>> {
    let name = format!("source '{}'", source.name);
    let path = files.path.resolve(&run.inputs.variables).at(&name)?;
    let place = SourcePlace::resolve(&run.inputs.data, &path).at(&name)?;
    let hint = format!("--data {} is where the source's folder '{}' is looked for", run.inputs.data, path);
    let (found, skipped) = place.list().await.map_err(|error| error.at(&name).or_hint(&hint))?;
    for skipped in skipped {
        tracing::warn!("{}: left out: {}", skipped.path.display(), skipped.reason);
    }
    // A store has no folders: that of a source that never had a file may be a slip of the pen.
    if let SourcePlace::Store(url) = &place
        && found.is_empty()
        && ledger.is_empty()
    {
        return Err(Error::failed(format!("{url}: there is no object")).at(name).hint(hint));
    }
    Ok(found.into_iter().filter(|file| !ledger.has_read(file)).collect())
}

/// Tells files apart by their content, where their size leaves a doubt; gives those that bring no records, and those
/// that are to be read.
async fn classify(
    unseen: Vec<FileEntry>,
    ledger: &mut Ledger,
    threads: usize,
) -> Result<(Vec<Looked>, Vec<(FileEntry, Event)>)> {
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    for file in &unseen {
        *sizes.entry(file.size).or_default() += 1;
    }
    let doubtful: Vec<bool> = unseen.iter().map(|file| ledger.knows_size(file.size) || sizes[&file.size] > 1).collect();
    let hashes = unseen.iter().zip(&doubtful).map(|(file, doubtful)| {
        let file = doubtful.then(|| file.clone());
        async move {
            match file {
                Some(file) => tokio::task::spawn_blocking(move || content_hash(&file)).await?,
                None => Ok(None),
            }
        }
    });
    let hashes: Vec<Option<String>> =
        futures::stream::iter(hashes.collect::<Vec<_>>()).buffered(threads).try_collect().await?;
    let (mut looked, mut to_read) = (Vec::new(), Vec::new());
    for (file, hash) in unseen.into_iter().zip(hashes) {
        let event = ledger.classify(&file, hash.as_deref());
        if event.brings_records() {
            to_read.push((file, event));
        } else {
            looked.push(Looked::only(file, event, hash));
        }
    }
    Ok((looked, to_read))
}

/// The hash of a file's bytes; none when it cannot be opened, which reading it will tell.
fn content_hash(file: &FileEntry) -> Result<Option<String>> {
    let Opened::Reader(reader) = file.open().at(&file.uri)? else { return Ok(None) };
    let (hash, _) = HashingReader::new(reader).finish().at(&file.uri)?;
    Ok(Some(hash))
}

/// Commits ledger rows of files that brought no records.
async fn record_only(run: &Run, mut ledger: LakeTable, rows: &[FileRow], report: TableReport) -> Result<TableReport> {
    let adds = ops::write(&run.lake, &ops::files(), rows).await?;
    run.commit(&mut ledger, Commit { adds, ..Commit::default() }).await?;
    Ok(report)
}

fn file_row(run: &Run, source: &str, batch: &BatchInfo, looked: &Looked) -> FileRow {
    let records = looked.contents.as_ref().map_or(0, |contents| contents.summary.records);
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
        seen_at: run.started_micros(),
    }
}

/// What is wrong with a file, in one line.
fn reason(looked: &Looked) -> Option<String> {
    let summary = &match &looked.contents {
        None => return looked.problem.clone(),
        Some(contents) => contents,
    }
    .summary;
    let more = summary.fault_count.saturating_sub(summary.faults.len() as u64);
    let faults = summary.faults.iter().map(ToString::to_string);
    let mut parts: Vec<String> = summary.header.iter().cloned().chain(faults).collect();
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
