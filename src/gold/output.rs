//! The rows that a derived table's SQL gives, checked and written into files that no commit names yet.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use deltalake::datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::{Instrument, trace_span};

use crate::error::{Error, Result};
use crate::lake::{Add, Follower, LakeTable, TableSpec, TableWriter};
use crate::run::Run;
use crate::silver::quarantine::{Quarantine, Replace, SharedQuarantine};
use crate::transform::{Counts, Judge, Transform};

/// What was written.
pub struct Written {
    /// The files.
    pub adds: Vec<Add>,
    /// The rows, counted.
    pub counts: Counts,
    /// What was set aside, to be committed to the quarantine.
    pub set_aside: Option<Follower>,
    judge: Arc<Judge>,
}

impl Written {
    /// What was written, with what was written apart.
    pub fn and(mut self, other: Self) -> Self {
        self.adds.extend(other.adds);
        self.counts.add(&other.counts);
        self.set_aside = match (self.set_aside, other.set_aside) {
            (Some(mut mine), Some(theirs)) => {
                mine.adds.extend(theirs.adds);
                mine.removes.extend(theirs.removes);
                Some(mine)
            }
            (mine, theirs) => mine.or(theirs),
        };
        self
    }

    /// The same, if it may be committed.
    ///
    /// # Errors
    /// When an expectation of severity `fail` does not hold.
    pub fn judged(self) -> Result<Self> {
        self.judge.stop_on_failure(&self.counts)?;
        Ok(self)
    }
}

/// Runs the SQL in as many tasks as it has streams, each with a writer of its own. Rows that fail are set aside with the
/// values of the columns that rows are looked up by; `replace` says which rows of the quarantine they stand in for.
///
/// # Errors
/// When the SQL cannot be executed, or storage fails.
pub async fn write(
    run: &Run,
    transform: &Transform,
    target: &LakeTable,
    spec: &TableSpec,
    replace: &Replace,
) -> Result<Written> {
    let quarantine = Quarantine::open(&run.lake, &target.name, &run.id, run.started_micros()).await?;
    let quarantine = Arc::new(Mutex::new(quarantine));
    let mut tasks = JoinSet::new();
    for rows in transform.execute().await? {
        let writer = TableWriter::new(target, spec);
        let work = write_rows(rows, transform.judge(), writer, quarantine.clone(), spec.lookup.clone());
        tasks.spawn(work.instrument(trace_span!("sql")));
    }
    let (mut adds, mut counts) = (Vec::new(), Counts::default());
    // The first error ends the other tasks too.
    while let Some(ended) = tasks.join_next().await {
        let (of_task, counted) = ended??;
        adds.extend(of_task);
        counts.add(&counted);
    }
    let in_use = || Error::failed(format!("{}: the quarantine is still in use", target.name));
    let quarantine = Arc::into_inner(quarantine).ok_or_else(in_use)?.into_inner();
    let set_aside = quarantine.close(replace, None).await?.follower;
    Ok(Written { adds, counts, set_aside, judge: transform.judge() })
}

/// Judges and writes the rows of a stream.
async fn write_rows(
    mut rows: SendableRecordBatchStream,
    judge: Arc<Judge>,
    mut writer: TableWriter,
    quarantine: SharedQuarantine,
    key: Vec<String>,
) -> Result<(Vec<Add>, Counts)> {
    let mut counts = Counts::default();
    while let Some(batch) = rows.try_next().await? {
        let judged = judge.judge(&batch, &mut counts)?;
        writer.write(&judged.passed()?).await?;
        if let Some((failed, reasons)) = judged.failed {
            let keys = json_keys(&failed, &key)?;
            quarantine.lock().await.add_derived(json_rows(&failed)?, keys, &reasons).await?;
        }
    }
    Ok((writer.close().await?, counts))
}

/// The rows as JSON objects.
///
/// # Errors
/// When a column's type has no JSON form.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<String>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).lines().map(str::to_owned).collect())
}

/// Some columns of the rows as JSON objects: a key in the form that the quarantine knows.
///
/// # Errors
/// When a column's type has no JSON form.
pub fn json_keys(batch: &RecordBatch, key: &[String]) -> Result<Vec<String>> {
    let places: Vec<usize> = key.iter().filter_map(|name| batch.schema().index_of(name).ok()).collect();
    if places.is_empty() || batch.num_rows() == 0 {
        return Ok(vec![String::new(); batch.num_rows()]);
    }
    json_rows(&batch.project(&places)?)
}
