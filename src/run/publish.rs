//! Releases: the versions of all tables that belong together, published in one commit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::contract::Files;
use crate::error::Result;
use crate::lake::{Commit, Lake, LakeTable, signed};
use crate::ops::{self, ReleaseRow};
use crate::replay::contracts;

/// The position under which `ops.releases` records its newest release.
const RELEASE: &str = "release";
/// The position under which it records when that was published, microseconds since the epoch.
const PUBLISHED_AT: &str = "published_at";

/// The versions that all tables of the lake have now, those of ops aside.
///
/// # Errors
/// When a table's log cannot be read.
pub async fn versions(lake: &Lake) -> Result<BTreeMap<String, i64>> {
    let mut versions = BTreeMap::new();
    for name in lake.tables().await?.into_iter().filter(|name| !name.starts_with("ops.")) {
        if let Some(table) = lake.open(&name).await? {
            versions.insert(name, signed(table.version()));
        }
    }
    Ok(versions)
}

/// Whether the newest release has these versions.
///
/// # Errors
/// When the log of `ops.releases` cannot be read.
pub async fn is_published(lake: &Lake, versions: &BTreeMap<String, i64>) -> Result<bool> {
    let Some(releases) = lake.open(&ops::releases().name).await? else { return Ok(versions.is_empty()) };
    for (table, version) in versions {
        if releases.position(table).await? != Some(*version) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Publishes versions as a release at a time, and gives its number; the commit records them as positions too, where they are found
/// without reading. Without contracts, those of the release before are its own: the rows are theirs still.
///
/// # Errors
/// When storage fails.
#[tracing::instrument(level = "trace", skip_all, name = "release", fields(table = "ops.releases"))]
pub async fn publish(
    lake: &Lake,
    run: &str,
    versions: BTreeMap<String, i64>,
    contracts: Option<&Files>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let spec = ops::releases();
    let mut releases = lake.open_or_create(&spec).await?;
    let release = newest(&releases).await? + 1;
    // Not when the run began: until now, readers could not see what it holds. Later than the release before, even if the
    // clock was set back: `--as-of` with a time asks for the newest release by then.
    let before = releases.position(PUBLISHED_AT).await?.unwrap_or(i64::MIN);
    let published_at = now.timestamp_micros().max(before.saturating_add(1));
    let contracts = match contracts {
        Some(files) => Some(contracts::store(lake, files, run, published_at).await?),
        None => contracts::newest(lake).await?,
    };
    let row = |(table, version): (&String, &i64)| ReleaseRow {
        release,
        run: run.to_owned(),
        table: table.clone(),
        version: *version,
        contracts: contracts.clone(),
        published_at,
    };
    let rows: Vec<ReleaseRow> = versions.iter().map(row).collect();
    let adds = ops::write(lake, &spec, &rows).await?;
    let mut positions = versions;
    positions.extend([(RELEASE.to_owned(), release), (PUBLISHED_AT.to_owned(), published_at)]);
    releases.commit(lake, Commit { adds, positions, run: run.to_owned(), ..Commit::default() }).await?;
    Ok(release)
}

/// The newest release; 0 when there is none.
async fn newest(releases: &LakeTable) -> Result<i64> {
    match releases.position(RELEASE).await? {
        Some(release) => Ok(release),
        // Written before the position was: each commit was a release, and making the table is the commit before the first.
        None => Ok(releases.version_position()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::engine::Limits;
    use crate::lake::Durability;
    use crate::query::{AsOf, Reader};

    #[tokio::test]
    async fn a_clock_that_was_set_back_does_not_hide_a_release() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().display().to_string(), Durability::None).unwrap();
        let noon = Utc::now();
        for (number, now) in [(1, noon), (2, noon - TimeDelta::hours(5)), (3, noon - TimeDelta::hours(4))] {
            let versions = BTreeMap::from([("silver.t".to_owned(), number)]);
            assert_eq!(publish(&lake, "r", versions, None, now).await.unwrap(), number);
        }
        let reader = Reader::new(lake, Limits::default());
        let by = async |time| reader.at_release(&AsOf::Time(time)).await.map(|reader| reader.versions().release());
        assert_eq!(by(noon + TimeDelta::seconds(1)).await.unwrap(), Some(3));
        assert_eq!(by(noon).await.unwrap(), Some(1));
        assert!(by(noon - TimeDelta::hours(1)).await.is_err(), "nothing was published then, whatever the clock said");
    }
}
