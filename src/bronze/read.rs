//! Files to record batches to data files: several files at once, several writers, and never more in memory than a few
//! batches a task.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Array, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use super::ledger::Event;
use crate::error::{Error, Place, Result};
use crate::lake::{Add, LakeTable, TableSpec, TableWriter};
use crate::run::{Progress, ProgressEvent};
use crate::source::{Contents, FileEntry, Opened, ReadError, Record, Shape, read_records};

/// Bytes of payload, or records, after which a batch is handed to a writer.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const BATCH_RECORDS: usize = 8192;
/// Batches that wait for a writer.
const WAITING: usize = 2;

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
    /// Why it could not be opened.
    pub problem: Option<String>,
}

impl Looked {
    /// A file that brings no records.
    pub fn only(file: FileEntry, event: Event, hash: Option<String>) -> Self {
        Self { file, event, contents: None, hash, problem: None }
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
pub async fn read_files(
    files: Vec<(FileEntry, Event)>,
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
    queue: &Mutex<VecDeque<(FileEntry, Event)>>,
    shape: &Shape,
    mut builder: Builder,
    sender: &mpsc::Sender<RecordBatch>,
    progress: &Progress,
) -> Result<Vec<Looked>> {
    let mut looked = Vec::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some((file, event)) = next() {
        looked.extend(read_file(file, event, shape, &mut builder, sender, progress)?);
    }
    builder.send(sender)?;
    Ok(looked)
}

fn read_file(
    file: FileEntry,
    event: Event,
    shape: &Shape,
    builder: &mut Builder,
    sender: &mpsc::Sender<RecordBatch>,
    progress: &Progress,
) -> Result<Option<Looked>> {
    let reader = match file.open().at(&file.uri)? {
        Opened::Reader(reader) => reader,
        Opened::Gone => return Ok(None),
        Opened::Refused(why) => {
            let problem = Some(format!("cannot be opened: {why}"));
            return Ok(Some(Looked { file, event: Event::Unreadable, contents: None, hash: None, problem }));
        }
    };
    let mut row = 0;
    let contents = read_records(Watched { reader, progress }, shape, |record| {
        builder.add(&file.uri, row, &record);
        row += 1;
        if builder.is_full() { builder.send(sender) } else { Ok(()) }
    });
    match contents {
        Ok(contents) => Ok(Some(Looked { file, event, contents: Some(contents), hash: None, problem: None })),
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
        let count = self.reader.read(into)?;
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
    bytes: usize,
    rows: usize,
}

impl Builder {
    fn new(schema: SchemaRef, batch: BatchInfo) -> Self {
        Self {
            schema,
            batch,
            payload: StringBuilder::new(),
            payload_bytes: BinaryBuilder::new(),
            payload_fault: StringBuilder::new(),
            source: StringBuilder::new(),
            row: Int64Builder::new(),
            bytes: 0,
            rows: 0,
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

    fn send(&mut self, sender: &mpsc::Sender<RecordBatch>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let at = TimestampMicrosecondArray::from(vec![self.batch.ingested_at; self.rows]).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.payload.finish()),
            Arc::new(self.payload_bytes.finish()),
            Arc::new(self.payload_fault.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.row.finish()),
            Arc::new(Int64Array::from(vec![self.batch.number; self.rows])),
            Arc::new(at),
        ];
        (self.bytes, self.rows) = (0, 0);
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        sender.blocking_send(batch).map_err(|_| Error::failed("a writer ended early"))
    }
}
