//! One task's rows on their way into new data files: they enter the contest at once, and wait before they are written, so
//! that those that lose meanwhile never are.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::Upsert;
use crate::error::Result;
use crate::lake::{DataFile, FileWriter, hash_keys};
use crate::silver::contest::{Place, Rank};

/// Bytes of rows that wait in memory before they are written: small runs decide everything before they write.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Rows of this run that belong into one data file.
pub(super) struct Segment {
    number: u32,
    rows: u32,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Places of rows that had lost before they were written, or do not count.
    left_out: Vec<u32>,
    writer: Option<FileWriter>,
}

impl Segment {
    pub fn new(number: u32) -> Self {
        Self { number, rows: 0, waiting: Vec::new(), waiting_bytes: 0, left_out: Vec::new(), writer: None }
    }
}

/// Rows that wait to be written.
struct Waiting {
    /// The first one's number in its segment.
    first: u32,
    rows: RecordBatch,
    /// Which of them count; `None` where all do.
    count: Option<BooleanArray>,
}

impl Waiting {
    /// Which rows count and are not among the losers, places in the segment, ascending.
    fn keep(&self, losers: &[u32]) -> BooleanArray {
        let rows = self.rows.num_rows();
        let mut keep: Vec<bool> = match &self.count {
            None => vec![true; rows],
            Some(count) => count.iter().map(|counts| counts == Some(true)).collect(),
        };
        let end = self.first + rows as u32;
        let from = losers.partition_point(|loser| *loser < self.first);
        for loser in losers[from..].iter().take_while(|loser| **loser < end) {
            keep[(loser - self.first) as usize] = false;
        }
        BooleanArray::from(keep)
    }
}

/// One task's way of bringing rows.
pub struct Entrant {
    upsert: Arc<Upsert>,
    segment: Segment,
    done: Vec<Written>,
}

/// A data file of this run, and which of the segment's rows it lacks.
pub(super) struct Written {
    pub number: u32,
    pub left_out: Vec<u32>,
    pub file: Option<DataFile>,
}

impl Entrant {
    pub(super) fn new(upsert: Arc<Upsert>) -> Self {
        let segment = upsert.next_segment();
        Self { upsert, segment, done: Vec::new() }
    }

    /// Brings rows with the table's columns, of which only those count for which `count` holds; all where it is `None`.
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, name = "upsert")]
    pub async fn bring(&mut self, rows: RecordBatch, count: Option<BooleanArray>) -> Result<()> {
        let first = self.segment.rows;
        self.enter(&rows, count.as_ref())?;
        self.segment.rows += rows.num_rows() as u32;
        let bytes = rows.get_array_memory_size();
        self.segment.waiting.push(Waiting { first, rows, count });
        self.segment.waiting_bytes += bytes;
        if self.segment.waiting_bytes >= BUFFER_BYTES {
            // The last batch waits on, unless it is large: records of a key often come one after the other, and a join hands
            // a batch on in another order.
            let waits_on = bytes < BUFFER_BYTES;
            self.flush(usize::from(waits_on)).await?;
            self.segment.waiting_bytes = if waits_on { bytes } else { 0 };
            if self.segment.writer.as_ref().is_some_and(FileWriter::is_full) {
                self.end_segment().await?;
            }
        }
        Ok(())
    }

    fn enter(&self, rows: &RecordBatch, count: Option<&BooleanArray>) -> Result<()> {
        let narrow = self.upsert.what_decides(rows)?;
        let (narrow, places): (_, Vec<u32>) = match count {
            None => (narrow, (0..rows.num_rows() as u32).collect()),
            Some(count) => (filter_record_batch(&narrow, count)?, count.values().set_indices_u32().collect()),
        };
        let keys = self.upsert.key_columns(&narrow);
        let (hashes, ranks) = (hash_keys(&keys)?, self.upsert.ranks(&narrow)?);
        let Segment { number, rows: first, .. } = self.segment;
        self.upsert.with_state(|state| {
            for ((key, rank), row) in hashes.iter().zip(ranks).zip(places) {
                state.contest.enter(*key, rank, Place { file: number, row: first + row });
            }
            state.keys.add_hashed(std::iter::empty(), &keys);
        });
        Ok(())
    }

    /// Brings deletions: rows with the table's columns, of which only the key and the sequence count.
    ///
    /// # Errors
    /// When a column's type has no row format.
    pub fn delete(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = self.upsert.key_columns(batch);
        let hashes = hash_keys(&keys)?;
        let ranks = self.upsert.ranks(batch)?;
        self.upsert.with_state(|state| {
            for (key, rank) in hashes.iter().zip(ranks) {
                state.contest.enter(*key, Rank::of_deletion(rank.sequence), Place::NOWHERE);
            }
            state.keys.add_hashed(std::iter::empty(), &keys);
        });
        Ok(())
    }

    /// Writes the rows that wait and have not lost, but those of the last so many batches.
    #[tracing::instrument(level = "trace", skip_all, name = "write")]
    async fn flush(&mut self, but: usize) -> Result<()> {
        let losers = self.upsert.with_state(|state| state.contest.losers(self.segment.number));
        let writer = match &mut self.segment.writer {
            Some(writer) => writer,
            None => self.segment.writer.insert(FileWriter::new(&self.upsert.table, &self.upsert.spec)?),
        };
        let written = self.segment.waiting.len().saturating_sub(but);
        for waiting in self.segment.waiting.drain(..written) {
            let keep = waiting.keep(&losers);
            let lost = keep.iter().enumerate().filter(|(_, keep)| *keep != Some(true));
            self.segment.left_out.extend(lost.map(|(row, _)| waiting.first + row as u32));
            writer.write_where(&waiting.rows, &keep).await?;
        }
        Ok(())
    }

    async fn end_segment(&mut self) -> Result<()> {
        self.flush(0).await?;
        let next = self.upsert.next_segment();
        let segment = std::mem::replace(&mut self.segment, next);
        let add = match segment.writer {
            Some(writer) => writer.close().await?,
            None => None,
        };
        let file = add.map(DataFile::of);
        self.done.push(Written { number: segment.number, left_out: segment.left_out, file });
        Ok(())
    }

    pub(super) async fn close(mut self) -> Result<Vec<Written>> {
        self.end_segment().await?;
        Ok(self.done)
    }
}
