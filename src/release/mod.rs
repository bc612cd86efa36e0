//! Releases by name: which there are, what is in one, which are to be kept, and what differs between two.
//!
//! A release is the rows of `ops.releases` with one number. That it is pinned stands in `ops.pins`: events that are only
//! ever appended. Whoever takes old files away must keep what [`pinned_versions`] names.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use deltalake::datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops;
use crate::query::{Reader, Values};

pub use diff::{TableChange, diff};
pub use pin::{Pinned, pin, pinned_releases, unpin, user};

mod diff;
mod pin;
#[cfg(test)]
mod tests;

/// A release in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Counts from 1.
    pub release: i64,
    /// The run that published it.
    pub run: String,
    /// When.
    pub published_at: DateTime<Utc>,
    /// How many tables it has.
    pub tables: u64,
    /// What it is kept for; none when it is not pinned.
    pub pinned: Option<Pinned>,
}

/// A table of a release.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// `<stage>.<name>`.
    pub table: String,
    /// Its version.
    pub version: u64,
    /// Its rows; none when the version can no longer be opened.
    pub rows: Option<u64>,
}

/// A release with its tables.
#[derive(Debug, Clone, Serialize)]
pub struct Details {
    /// What a list tells.
    #[serde(flatten)]
    pub summary: Summary,
    /// Sorted by name.
    pub members: Vec<Member>,
}

#[derive(Deserialize)]
struct Row {
    release: i64,
    run: String,
    published_at: DateTime<Utc>,
    tables: u64,
}

/// All releases, the newest first.
///
/// # Errors
/// When there is no lake or its log cannot be read.
pub async fn list(now: &Reader) -> Result<Vec<Summary>> {
    if now.lake().open(&ops::releases().name).await?.is_none() {
        return if now.tables().await?.is_empty() { Err(now.no_lake()) } else { Ok(Vec::new()) };
    }
    let sql = "SELECT release, MAX(run) AS run, MAX(published_at) AS published_at, COUNT(*) AS tables \
               FROM ops.releases GROUP BY release ORDER BY release DESC";
    let mut pins = pinned_releases(now).await?;
    let rows: Vec<Row> = now.select(sql, &Values::default()).await?;
    let summary = |row: Row| Summary {
        pinned: pins.remove(&row.release),
        release: row.release,
        run: row.run,
        published_at: row.published_at,
        tables: row.tables,
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// A release with its tables; `release` reads it.
///
/// # Errors
/// When a log cannot be read.
pub async fn show(now: &Reader, release: &Reader) -> Result<Details> {
    let number = number(release)?;
    let summary = list(now).await?.into_iter().find(|summary| summary.release == number);
    let summary = summary.ok_or_else(|| Error::failed(format!("release {number} is gone from ops.releases")))?;
    let mut members = Vec::new();
    for (table, version) in release.versions().members() {
        // A version that maintenance has taken away is no reason to hide the others.
        let rows = match release.open(&table).await {
            Ok(Some(table)) => Some(table.row_count()?),
            Ok(None) | Err(_) => None,
        };
        members.push(Member { table, version, rows });
    }
    Ok(Details { summary, members })
}

/// The number of the release that is read.
///
/// # Errors
/// When no release is read; a defect.
pub fn number(release: &Reader) -> Result<i64> {
    release.versions().release().ok_or_else(|| Error::failed("no release is read"))
}

/// The versions of each table that pinned releases consist of: the files of these must not go.
///
/// # Errors
/// When `ops.pins` or `ops.releases` cannot be read.
pub async fn pinned_versions(now: &Reader) -> Result<BTreeMap<String, BTreeSet<u64>>> {
    #[derive(Deserialize)]
    struct Version {
        table: String,
        version: u64,
    }
    let mut versions: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for release in pinned_releases(now).await?.into_keys() {
        let values = Values::from([("release", ScalarValue::Int64(Some(release)))]);
        let sql = r#"SELECT "table", version FROM ops.releases WHERE release = $release"#;
        for row in now.select::<Version>(sql, &values).await? {
            versions.entry(row.table).or_default().insert(row.version);
        }
    }
    Ok(versions)
}
