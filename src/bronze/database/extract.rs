//! A table's rows, streamed: those that changed go to writers, a few chunks at a time, and the others nowhere.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_128;

use super::super::read::BatchInfo;
use super::known::{Content, KnownRows};
use super::rows::{Builder, Change, Op};
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::lake::{Add, LakeTable, TableSpec, TableWriter};
use crate::run::Run;
use crate::source::postgres::{Relation, Snapshot};

/// Bytes, or rows, of changes after which a chunk is handed to a writer.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const CHUNK_ROWS: usize = 8192;
/// Chunks that wait for a writer.
const WAITING: usize = 2;

/// What of a table is new.
#[derive(Default)]
pub(super) struct Taken {
    /// Its data files.
    pub adds: Vec<Add>,
    /// Its rows.
    pub rows: u64,
}

/// Writes what changed in a table since batch `batch` into data files; none when nothing did.
///
/// # Errors
/// When the table cannot be read to its end, or storage fails: then nothing of it may be committed.
pub(super) async fn take(
    run: &Run,
    snapshot: &Snapshot,
    relation: &Relation,
    target: &LakeTable,
    spec: &TableSpec,
    shape: &Arc<Shape>,
    batch: i64,
) -> Result<Option<Taken>> {
    let is_whole = relation.key.is_none();
    if is_whole && Content::of_batch(target, batch).await? == content(snapshot, relation).await? {
        return Ok(None);
    }
    let builder = Builder {
        schema: spec.arrow_schema(),
        batch: BatchInfo { number: batch + 1, ingested_at: run.started_micros() },
        source: relation.uri.clone(),
        shape: shape.clone(),
    };
    let mut writers = Writers::start(target, spec, builder, run.limits.threads);
    let sent = if is_whole {
        send_all(snapshot, relation, &mut writers).await
    } else {
        send_changes(snapshot, relation, target, &mut writers).await
    };
    let rows = writers.sent;
    let written = writers.close().await;
    // A reader that failed may have failed because of a writer, whose error is then the one to tell.
    let adds = written?;
    sent?;
    Ok((is_whole || rows > 0).then_some(Taken { adds, rows }))
}

async fn content(snapshot: &Snapshot, relation: &Relation) -> Result<Content> {
    let mut content = Content::default();
    let mut rows = snapshot.read(relation).await?;
    while let Some(row) = rows.try_next().await? {
        content.add(xxh3_128(&row.payload));
    }
    Ok(content)
}

async fn send_all(snapshot: &Snapshot, relation: &Relation, writers: &mut Writers) -> Result<()> {
    let mut rows = snapshot.read(relation).await?;
    while let Some(row) = rows.try_next().await? {
        let hash = xxh3_128(&row.payload);
        writers.send(Change { op: Op::Replace, payload: row.payload, key: None, hash }).await?;
    }
    writers.flush().await
}

async fn send_changes(
    snapshot: &Snapshot,
    relation: &Relation,
    target: &LakeTable,
    writers: &mut Writers,
) -> Result<()> {
    let mut known = KnownRows::read(target).await?;
    let mut rows = snapshot.read(relation).await?;
    while let Some(row) = rows.try_next().await? {
        let hash = xxh3_128(&row.payload);
        if let Some(op) = known.meet(row.key.as_deref().unwrap_or_default(), hash) {
            writers.send(Change { op, payload: row.payload, key: row.key, hash }).await?;
        }
    }
    let mut gone = known.unmet();
    for file in target.files()? {
        if gone.is_empty() {
            break;
        }
        for key in gone.of_file(target, &file).await? {
            let key = Bytes::from(key);
            let hash = xxh3_128(&key);
            writers.send(Change { op: Op::Delete, payload: key.clone(), key: Some(key), hash }).await?;
        }
    }
    writers.flush().await
}

/// Changes of consecutive rows, with the place of the first.
type Chunk = (i64, Vec<Change>);

/// Tasks that turn chunks into data files.
struct Writers {
    sender: mpsc::Sender<Chunk>,
    tasks: Vec<JoinHandle<Result<Vec<Add>>>>,
    chunk: Vec<Change>,
    bytes: usize,
    sent: u64,
}

impl Writers {
    fn start(table: &LakeTable, spec: &TableSpec, builder: Builder, count: usize) -> Self {
        let (sender, receiver) = mpsc::channel::<Chunk>(WAITING);
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let builder = Arc::new(builder);
        let task = |_| {
            let (receiver, builder, mut writer) = (receiver.clone(), builder.clone(), TableWriter::new(table, spec));
            tokio::spawn(async move {
                loop {
                    let next = receiver.lock().await.recv().await;
                    let Some((first, chunk)) = next else { return writer.close().await };
                    writer.write(&builder.build(first, &chunk)?).await?;
                }
            })
        };
        let tasks = (0..count).map(task).collect();
        Self { sender, tasks, chunk: Vec::new(), bytes: 0, sent: 0 }
    }

    async fn send(&mut self, change: Change) -> Result<()> {
        self.bytes += change.size();
        self.chunk.push(change);
        if self.bytes >= CHUNK_BYTES || self.chunk.len() >= CHUNK_ROWS { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        let first = self.sent as i64;
        self.sent += chunk.len() as u64;
        self.sender.send((first, chunk)).await.map_err(|_| Error::failed("a writer ended early"))
    }

    async fn close(self) -> Result<Vec<Add>> {
        drop(self.sender);
        let mut adds = Vec::new();
        for ended in futures::future::join_all(self.tasks).await {
            adds.extend(ended??);
        }
        Ok(adds)
    }
}
