//! Rows that are put on disk for a while, in the engine's folder and within its limit. The files go when nobody needs them.
//!
//! The engine's own reader of such files looks at each text again, whether it is one, and collects blocks of bytes until they
//! are a batch: it takes four times as long.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use deltalake::datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::datafusion::execution::spill_file::{SpillFile, SpillWriter};
use futures::Stream;

use crate::error::{Error, Result};

/// Bytes that are collected of a file before they are written.
const BLOCK: usize = 64 << 10;

/// Rows that are being put on disk.
pub struct Spilling {
    file: Arc<dyn SpillFile>,
    writer: StreamWriter<BufWriter<Box<dyn SpillWriter>>>,
}

impl Spilling {
    /// A new file for rows with these columns.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(runtime: &RuntimeEnv, schema: &Schema) -> Result<Self> {
        let file = runtime.disk_manager.create_tmp_file("putting rows on disk")?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(BLOCK, file.open_writer()?), schema)?;
        Ok(Self { file, writer })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn append(&mut self, rows: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(rows)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn finish(mut self) -> Result<Spilled> {
        self.writer.finish()?;
        Ok(Spilled(self.file))
    }
}

/// Rows on disk.
#[derive(Clone)]
pub struct Spilled(Arc<dyn SpillFile>);

impl Spilled {
    /// The bytes that they take, on disk as in memory.
    pub fn bytes(&self) -> u64 {
        self.0.size().unwrap_or_default()
    }

    /// The rows, in the order in which they were added.
    pub fn read(self) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        futures::stream::try_unfold(None, move |reader: Option<Rows>| {
            let spilled = self.clone();
            async move {
                let next = move || {
                    let mut reader = reader.map_or_else(|| spilled.open(), Ok)?;
                    let rows = reader.next().transpose()?;
                    Ok::<_, Error>(rows.map(|rows| (rows, Some(reader))))
                };
                tokio::task::spawn_blocking(next).await?
            }
        })
    }

    fn open(&self) -> Result<Rows> {
        let path = self.0.path().ok_or_else(|| Error::failed("rows on disk have no path"))?;
        let reader = StreamReader::try_new(BufReader::new(File::open(path)?), None)?;
        // SAFETY: the rows were valid when this process wrote them, into a folder of its own.
        Ok(unsafe { reader.with_skip_validation(true) })
    }
}

type Rows = StreamReader<BufReader<File>>;

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;

    use super::*;
    use crate::engine::{Limits, session};

    fn rows(first: i64, count: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + count));
        let texts = (first..first + count).map(|n| (n % 3 > 0).then(|| "é".repeat(n as usize % 7)));
        let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
        let lists = (first..first + count).map(|n| (n % 5 > 0).then(|| (0..n % 4).map(Some)));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("t", texts, true), ("l", lists, true)])
            .unwrap()
    }

    #[tokio::test]
    async fn rows_come_back_as_they_were_and_leave_nothing() {
        let runtime = session(Limits::default()).unwrap().runtime_env();
        let batches = [rows(0, 3000), rows(3000, 1), rows(0, 0), rows(3001, 500).slice(100, 300)];
        let mut spilling = Spilling::create(&runtime, &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| spilling.append(batch).unwrap());
        let spilled = spilling.finish().unwrap();
        assert!(spilled.bytes() > 8 * 3300 && runtime.disk_manager.used_disk_space() == spilled.bytes());
        for _ in 0..2 {
            assert_eq!(spilled.clone().read().try_collect::<Vec<_>>().await.unwrap(), batches);
        }
        let path = spilled.0.path().unwrap().to_owned();
        drop(spilled);
        assert!(!path.exists() && runtime.disk_manager.used_disk_space() == 0);
    }
}
