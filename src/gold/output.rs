//! The rows that a derived table's SQL gives, checked and written into files that no commit names yet.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use futures::TryStreamExt;
use tokio::sync::Mutex;
use tracing::{Instrument, trace_span};

use crate::error::{Error, Result};
use crate::lake::{Add, LakeTable, TableSpec, TableWriter};
use crate::silver::quarantine::Quarantine;
use crate::transform::{Counts, Transform};

/// What was written.
pub struct Output {
    /// The files.
    pub adds: Vec<Add>,
    /// The rows, counted.
    pub counts: Counts,
}

/// Runs the SQL in as many tasks as it has streams, each with a writer of its own. Rows that fail are set aside with the
/// values of the columns `key`.
///
/// # Errors
/// When an expectation of severity `fail` does not hold, or storage fails.
pub async fn write(
    transform: &Transform,
    target: &LakeTable,
    spec: &TableSpec,
    key: &[String],
    quarantine: &Arc<Mutex<Quarantine>>,
) -> Result<Output> {
    let tasks = transform.execute().await?.into_iter().map(|mut rows| {
        let (judge, quarantine) = (transform.judge(), quarantine.clone());
        let (mut writer, key) = (TableWriter::new(target, spec), key.to_vec());
        let work = async move {
            let mut counts = Counts::default();
            while let Some(batch) = rows.try_next().await? {
                let judged = judge.judge(&batch, &mut counts)?;
                writer.write(&judged.passed).await?;
                if let Some((failed, reasons)) = judged.failed {
                    let keys = json_keys(&failed, &key)?;
                    quarantine.lock().await.add_derived(json_rows(&failed)?, keys, &reasons).await?;
                }
            }
            Ok::<_, Error>((writer.close().await?, counts))
        };
        tokio::spawn(work.instrument(trace_span!("sql")))
    });
    let mut output = Output { adds: Vec::new(), counts: Counts::default() };
    for ended in futures::future::join_all(tasks).await {
        let (adds, counts) = ended??;
        output.adds.extend(adds);
        output.counts.add(&counts);
    }
    transform.judge().stop_on_failure(&output.counts)?;
    Ok(output)
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
