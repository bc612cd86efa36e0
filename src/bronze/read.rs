//! Files to record batches to data files: several files at once, several writers, and never more in memory than a few
//! batches a task.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Array, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use super::ledger::Event;
use crate::contract::{Format, OriginalOptions};
use crate::error::{Error, Place, Result};
use crate::lake::{Add, LakeTable, TableSpec, TableWriter};
use crate::original::person::PersonKey;
use crate::run::{Progress, ProgressEvent};
use crate::source::{Contents, FileEntry, Opened, Original, ReadError, Record, Shape, Summary, describe, read_records};

/// Bytes of payload, or records, after which a batch is handed to a writer.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const BATCH_RECORDS: usize = 8192;
/// Batches that wait for a writer.
const WAITING: usize = 2;

/// A file that is to be read.
pub struct Unread {
    /// The file.
    pub file: FileEntry,
    /// What it is to the ledger.
    pub event: Event,
    /// It was seen as it is now, and could not be opened.
    pub was_refused: bool,
}

/// A file that was looked at.
pub struct Looked {
    /// The file.
    pub file: FileEntry,
    /// What it is to the ledger.
    pub event: Event,
    /// What it holds; none when it was not read.
    pub contents: Option<Contents>,
    /// Its content's hash, where it is known without reading its records.
    pub hash: Option<String>,
    /// Why it could not be opened, or what is wrong with an original.
    pub problem: Option<String>,
    /// A record says that it could not be opened.
    pub is_told: bool,
}

impl Looked {
    /// A file that brings no records.
    pub fn only(file: FileEntry, event: Event, hash: Option<String>) -> Self {
        Self { file, event, contents: None, hash, problem: None, is_told: false }
    }

    /// Records that it brought.
    pub fn records(&self) -> u64 {
        self.contents.as_ref().map_or(u64::from(self.is_told), |contents| contents.summary.records)
    }
}

/// What every record of a batch shares.
#[derive(Clone)]
pub struct BatchInfo {
    /// Its number.
    pub number: i64,
    /// Microseconds since the epoch.
    pub ingested_at: i64,
}

/// Reads files into data files of a bronze table. A file that is gone by now is left out.
///
/// # Errors
/// When a file cannot be read to its end, or storage fails: then nothing of the batch may be committed.
#[tracing::instrument(level = "trace", skip_all, name = "read")]
pub async fn read_files(
    files: Vec<Unread>,
    shape: Shape,
    table: &LakeTable,
    spec: &TableSpec,
    batch: BatchInfo,
    threads: usize,
    progress: &Progress,
) -> Result<(Vec<Looked>, Vec<Add>)> {
    let (sender, receiver) = mpsc::channel::<RecordBatch>(WAITING);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let queue = Arc::new(Mutex::new(VecDeque::from(files)));
    let shape = Arc::new(shape);
    let schema = spec.arrow_schema();
    let readers: Vec<_> = (0..threads)
        .map(|_| {
            let (queue, shape, sender, progress) = (queue.clone(), shape.clone(), sender.clone(), progress.clone());
            let builder = Builder::new(schema.clone(), batch.clone());
            tokio::task::spawn_blocking(move || read_queue(&queue, &shape, builder, &sender, &progress))
        })
        .collect();
    drop(sender);
    let writers: Vec<_> = (0..threads)
        .map(|_| {
            let (receiver, mut writer) = (receiver.clone(), TableWriter::new(table, spec));
            tokio::spawn(async move {
                loop {
                    let next = receiver.lock().await.recv().await;
                    let Some(batch) = next else { return writer.close().await };
                    writer.write(&batch).await?;
                }
            })
        })
        .collect();
    drop(receiver);
    let (mut looked, mut adds) = (Vec::new(), Vec::new());
    let written = futures::future::join_all(writers).await;
    let read = futures::future::join_all(readers).await;
    // A writer that failed makes the readers fail too: its error is the one to tell.
    for ended in written {
        adds.extend(ended??);
    }
    for ended in read {
        looked.extend(ended??);
    }
    looked.sort_by(|a: &Looked, b: &Looked| a.file.uri.cmp(&b.file.uri));
    Ok((looked, adds))
}

fn read_queue(
    queue: &Mutex<VecDeque<Unread>>,
    shape: &Shape,
    mut builder: Builder,
    sender: &mpsc::Sender<RecordBatch>,
    progress: &Progress,
) -> Result<Vec<Looked>> {
    let mut looked = Vec::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(unread) = next() {
        looked.extend(match &shape.format {
            Format::Original(options) => {
                let looked = describe_file(unread, options, shape.person_key.as_ref(), &mut builder, progress)?;
                if builder.is_full() {
                    builder.send(sender)?;
                }
                looked
            }
            _ => read_file(unread, shape, &mut builder, sender, progress)?,
        });
    }
    builder.send(sender)?;
    Ok(looked)
}

/// Adds the record of an original.
#[tracing::instrument(level = "trace", skip_all, name = "describe")]
fn describe_file(
    Unread { file, event, was_refused }: Unread,
    options: &OriginalOptions,
    person_key: Option<&PersonKey>,
    builder: &mut Builder,
    progress: &Progress,
) -> Result<Option<Looked>> {
    let opened = file.open().at(&file.uri)?;
    let original = describe(&file, opened, options, person_key, event == Event::Changed).at(&file.uri)?;
    let Some(original) = original else { return Ok(None) };
    progress(ProgressEvent::Read { bytes: original.size });
    let is_open = original.sha256.is_some();
    if is_open || !was_refused {
        builder.add_original(&file, &original);
    }
    let summary = Summary { records: 1, bytes: original.size, ..Summary::default() };
    let contents = original.sha256.map(|content_hash| Contents { summary, content_hash, bytes: original.size });
    let event = if is_open { event } else { Event::Unreadable };
    let is_told = !is_open && !was_refused;
    Ok(Some(Looked { file, event, contents, hash: None, problem: original.reason, is_told }))
}

#[tracing::instrument(level = "trace", skip_all, name = "split")]
fn read_file(
    Unread { file, event, .. }: Unread,
    shape: &Shape,
    builder: &mut Builder,
    sender: &mpsc::Sender<RecordBatch>,
    progress: &Progress,
) -> Result<Option<Looked>> {
    let opened = file.open().at(&file.uri)?;
    if let Opened::Refused(why) = &opened {
        let problem = Some(format!("cannot be opened: {why}"));
        return Ok(Some(Looked { problem, ..Looked::only(file, Event::Unreadable, None) }));
    }
    let Some(reader) = opened.reader() else { return Ok(None) };
    let mut row = 0;
    let contents = read_records(Watched { reader, progress }, shape, |record| {
        builder.add(&file.uri, row, &record);
        row += 1;
        if builder.is_full() { builder.send(sender) } else { Ok(()) }
    });
    match contents {
        Ok(contents) => Ok(Some(Looked { contents: Some(contents), ..Looked::only(file, event, None) })),
        Err(ReadError::Record(error)) => Err(error),
        Err(error @ ReadError::Read(_)) => Err(Error::failed(error.to_string())).at(&file.uri),
    }
}

/// A file that tells how far it was read.
struct Watched<'a> {
    reader: Box<dyn Read + Send>,
    progress: &'a Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = tracing::trace_span!("read_block").in_scope(|| self.reader.read(into))?;
        (self.progress)(ProgressEvent::Read { bytes: count as u64 });
        Ok(count)
    }
}

/// Builds batches of bronze rows.
struct Builder {
    schema: SchemaRef,
    batch: BatchInfo,
    payload: StringBuilder,
    payload_bytes: BinaryBuilder,
    payload_fault: StringBuilder,
    source: StringBuilder,
    row: Int64Builder,
    originals: Option<Originals>,
    bytes: usize,
    rows: usize,
}

impl Builder {
    fn new(schema: SchemaRef, batch: BatchInfo) -> Self {
        let originals = schema.column_with_name(SHA256).is_some().then(Originals::default);
        Self {
            schema,
            batch,
            payload: StringBuilder::new(),
            payload_bytes: BinaryBuilder::new(),
            payload_fault: StringBuilder::new(),
            source: StringBuilder::new(),
            row: Int64Builder::new(),
            originals,
            bytes: 0,
            rows: 0,
        }
    }

    /// Adds the record of a file and the columns that originals have besides.
    fn add_original(&mut self, file: &FileEntry, original: &Original) {
        self.add(&file.uri, 0, &Record { payload: Some(&original.payload), bytes: None, fault: None });
        if let Some(originals) = &mut self.originals {
            originals.add(file, original);
        }
    }

    fn add(&mut self, source: &str, row: i64, record: &Record<'_>) {
        self.payload.append_option(record.payload);
        self.payload_bytes.append_option(record.bytes);
        self.payload_fault.append_option(record.fault.map(|fault| fault.reason()));
        self.source.append_value(source);
        self.row.append_value(row);
        self.bytes += record.payload.map_or(0, str::len) + record.bytes.map_or(0, <[u8]>::len);
        self.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.rows >= BATCH_RECORDS
    }

    #[tracing::instrument(level = "trace", skip_all, name = "hand_over")]
    fn send(&mut self, sender: &mpsc::Sender<RecordBatch>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let at = TimestampMicrosecondArray::from(vec![self.batch.ingested_at; self.rows]).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.payload.finish()),
            Arc::new(self.payload_bytes.finish()),
            Arc::new(self.payload_fault.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.row.finish()),
            Arc::new(Int64Array::from(vec![self.batch.number; self.rows])),
            Arc::new(at),
        ];
        columns.extend(self.originals.iter_mut().flat_map(Originals::finish));
        // The next batch will be as large: growing step by step would copy it.
        self.payload = StringBuilder::with_capacity(self.rows, self.bytes);
        (self.bytes, self.rows) = (0, 0);
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        sender.blocking_send(batch).map_err(|_| Error::failed("a writer ended early"))
    }
}

/// The column that only bronze tables of originals have.
const SHA256: &str = "sha256";

/// The columns that originals have besides the system's.
#[derive(Default)]
struct Originals {
    uri: StringBuilder,
    size: Int64Builder,
    modified_at: TimestampMicrosecondBuilder,
    sha256: StringBuilder,
    media_type: StringBuilder,
}

impl Originals {
    fn add(&mut self, file: &FileEntry, original: &Original) {
        self.uri.append_value(&file.uri);
        self.size.append_value(i64::try_from(original.size).unwrap_or(i64::MAX));
        self.modified_at.append_option((file.modified_us != 0).then_some(file.modified_us));
        self.sha256.append_option(original.sha256.as_deref());
        self.media_type.append_option(original.media_type);
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.uri.finish()),
            Arc::new(self.size.finish()),
            Arc::new(self.modified_at.finish().with_timezone("UTC")),
            Arc::new(self.sha256.finish()),
            Arc::new(self.media_type.finish()),
        ]
    }
}
