//! A table's versions, with the runs that committed them.

use std::collections::HashMap;

use deltalake::datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::lake::TableVersion;
use crate::ops;
use crate::query::{Reader, Values};

/// A version, with what the run that committed it did to the table.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryRow {
    /// What the commit says.
    #[serde(flatten)]
    pub version: TableVersion,
    /// Rows that were new in the table, as the run counted them: a file that is rewritten brings its old rows again, and
    /// those are not among them. None where no run recorded it.
    pub written: Option<u64>,
    /// Rows that went, as the run counted them.
    pub replaced: Option<u64>,
}

#[derive(Deserialize)]
struct RunCounts {
    run: String,
    version: u64,
    written: u64,
    replaced: u64,
}

/// The newest versions of a table, the newest first.
///
/// # Errors
/// Wrong use when there is no such table; else when a log cannot be read.
pub async fn history(reader: &Reader, name: &str, limit: usize) -> Result<Vec<HistoryRow>> {
    let versions = reader.require(name).await?.versions(limit).await?;
    let mut runs: HashMap<(String, u64), RunCounts> = HashMap::new();
    if reader.open(&ops::runs().name).await?.is_some() {
        let sql = r#"SELECT run, version, written, replaced FROM ops.runs
                     WHERE "table" = $table AND status = 'done' AND version IS NOT NULL"#;
        let values = Values::from([("table", ScalarValue::from(name))]);
        let counts: Vec<RunCounts> = reader.select(sql, &values).await?;
        runs = counts.into_iter().map(|counts| ((counts.run.clone(), counts.version), counts)).collect();
    }
    let with_run = |version: TableVersion| {
        let counts = version.run.as_ref().and_then(|run| runs.get(&(run.clone(), version.version)));
        HistoryRow {
            written: counts.map(|counts| counts.written),
            replaced: counts.map(|counts| counts.replaced),
            version,
        }
    };
    Ok(versions.into_iter().map(with_run).collect())
}
