//! Pins: releases that are to be kept whatever their age.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::number;
use crate::error::Result;
use crate::lake::{Commit, Lake, file_rows, signed};
use crate::ops::{self, PinRow};
use crate::query::{Reader, Values};

/// Why a release is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pinned {
    /// What for, as it was said each time.
    pub why: Vec<String>,
    /// Who pinned it last.
    pub by: String,
    /// When it was pinned last.
    pub at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Event {
    release: i64,
    action: String,
    why: Option<String>,
    by: String,
    at: DateTime<Utc>,
}

/// The releases that are pinned.
///
/// # Errors
/// When `ops.pins` cannot be read.
pub async fn pinned_releases(now: &Reader) -> Result<BTreeMap<i64, Pinned>> {
    if now.lake().open(&ops::pins().name).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = r#"SELECT release, action, why, "by", "at" FROM ops.pins ORDER BY event"#;
    let mut pinned: BTreeMap<i64, Pinned> = BTreeMap::new();
    for event in now.select::<Event>(sql, &Values::default()).await? {
        if event.action != PIN {
            pinned.remove(&event.release);
            continue;
        }
        let pin = pinned.entry(event.release).or_default();
        (pin.by, pin.at) = (event.by, event.at);
        pin.why.extend(event.why.filter(|why| !pin.why.contains(why)));
    }
    Ok(pinned)
}

const PIN: &str = "pin";
const UNPIN: &str = "unpin";

/// Pins the release that is read; `false` when it is pinned for that reason already, and nothing was written.
///
/// # Errors
/// When another process holds the lease, or the lake cannot be written.
pub async fn pin(release: &Reader, why: Option<&str>) -> Result<bool> {
    let known = pinned_releases(release).await?.remove(&number(release)?);
    let is_known = known.is_some_and(|known| why.is_none_or(|why| known.why.iter().any(|other| other == why)));
    if !is_known {
        release.lake().with_lease(async |lake| pin_leased(lake, release, why).await).await?;
    }
    Ok(!is_known)
}

/// What can no longer be read cannot be kept: looked at with the lease, so that maintenance does not take it away meanwhile.
async fn pin_leased(lake: &Lake, release: &Reader, why: Option<&str>) -> Result<()> {
    for (name, version) in release.versions().members() {
        let table = release.require_at(&name, version).await?;
        for file in table.files()? {
            file_rows(&table, &file).await.map_err(|error| {
                error
                    .at(format!("{name}@{version}: {}", file.path))
                    .hint("maintenance, or someone else, has taken it away: this release can no longer be kept")
            })?;
        }
    }
    append(lake, release, PIN, why).await
}

/// Takes the pins of the release that is read away; `false` when it had none.
///
/// # Errors
/// As [`pin`].
pub async fn unpin(release: &Reader) -> Result<bool> {
    let is_pinned = pinned_releases(release).await?.contains_key(&number(release)?);
    if is_pinned {
        release.lake().with_lease(async |lake| append(lake, release, UNPIN, None).await).await?;
    }
    Ok(is_pinned)
}

/// Appends an event. Under the lease, so that no maintenance that has read the pins before takes the files away.
async fn append(lake: &Lake, release: &Reader, action: &str, why: Option<&str>) -> Result<()> {
    let spec = ops::pins();
    let mut table = lake.open_or_create(&spec).await?;
    let row = PinRow {
        event: signed(table.version()) + 1,
        release: number(release)?,
        action: action.to_owned(),
        why: why.map(str::to_owned),
        by: user(),
        at: Utc::now().timestamp_micros(),
    };
    let adds = ops::write(lake, &spec, &[row]).await?;
    table.commit(lake, Commit { adds, ..Commit::default() }).await
}

/// The user of the system.
pub fn user() -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
