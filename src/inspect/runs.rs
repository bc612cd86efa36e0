//! The runs of a lake, a row a stage: whether it succeeded.

use chrono::{DateTime, Utc};
use deltalake::datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ops;
use crate::query::{Reader, Values};

/// What a run did to the tables of a stage. A stage at which it found nothing to do has no row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageRun {
    /// The run.
    pub run: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// `bronze`, `silver` or `gold`.
    pub stage: String,
    /// `done`; `failed` when a table did; `left out` when tables were left out because those of an earlier stage failed.
    pub outcome: String,
    /// Tables that it changed.
    pub done: u64,
    /// Tables that failed.
    pub failed: u64,
    /// Tables that were left out.
    pub left_out: u64,
    /// An error of a table that failed, without values from data.
    pub error: Option<String>,
}

/// The stages of the newest runs, the newest run first.
const STAGES: &str = "
  WITH runs AS (
    SELECT run, MIN(started_at) AS started_at, MAX(ended_at) AS ended_at FROM ops.runs
    GROUP BY run ORDER BY started_at DESC, run DESC LIMIT $limit
  )
  SELECT r.run, r.started_at, r.ended_at, t.stage,
    COUNT(*) FILTER (WHERE status = 'done') AS done,
    COUNT(*) FILTER (WHERE status = 'failed') AS failed,
    COUNT(*) FILTER (WHERE status = 'left out') AS left_out,
    CASE WHEN COUNT(*) FILTER (WHERE status = 'failed') > 0 THEN 'failed'
         WHEN COUNT(*) FILTER (WHERE status = 'left out') > 0 THEN 'left out' ELSE 'done' END AS outcome,
    MIN(t.error) FILTER (WHERE status = 'failed') AS error
  FROM runs AS r JOIN ops.runs AS t ON t.run = r.run
  GROUP BY r.run, r.started_at, r.ended_at, t.stage
  ORDER BY r.started_at DESC, r.run DESC,
    CASE t.stage WHEN 'bronze' THEN 0 WHEN 'silver' THEN 1 ELSE 2 END";

/// The stages of at most so many runs, the newest run first. Runs that found nothing to do are not among them.
///
/// # Errors
/// When there is no lake or its history cannot be read.
pub async fn runs(reader: &Reader, limit: usize) -> Result<Vec<StageRun>> {
    super::tables_of(reader).await?;
    if reader.open(&ops::runs().name).await?.is_none() {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    reader.select(STAGES, &Values::from([("limit", ScalarValue::from(limit))])).await
}
