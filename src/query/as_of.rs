//! `--as-of`: which version of each table is read.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use deltalake::datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use super::{Reader, Values};
use crate::error::{Error, Place, Result};
use crate::ops;

/// A point in the lake's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// All tables as in a release; counts from 1.
    Release(i64),
    /// One table at a version.
    Version {
        /// Its name, such as `silver.exams`.
        table: String,
        /// Counts from 0.
        version: u64,
    },
    /// All tables as in the newest release that was published by then.
    Time(DateTime<Utc>),
}

/// A text that is no point in the lake's history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a release (3 or release:3), a table's version (silver.exams@12) or a time (2024-06-30, \
     2024-06-30T12:00:00Z)"
)]
pub struct BadAsOf(String);

impl FromStr for AsOf {
    type Err = BadAsOf;

    /// A date means the end of its day: what was published on it counts.
    fn from_str(text: &str) -> Result<Self, BadAsOf> {
        let bad = || BadAsOf(text.to_owned());
        if let Some((table, version)) = text.split_once('@') {
            let version = version.parse().map_err(|_| bad())?;
            return Ok(Self::Version { table: table.to_owned(), version });
        }
        if let Ok(release) = text.strip_prefix("release:").unwrap_or(text).parse() {
            return Ok(Self::Release(release));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Time(time.to_utc()));
        }
        let day = NaiveDate::from_str(text).map_err(|_| bad())?;
        let next = day.checked_add_days(Days::new(1)).ok_or_else(bad)?;
        Ok(Self::Time(next.and_time(NaiveTime::MIN).and_utc() - TimeDelta::microseconds(1)))
    }
}

/// A release, as `ops.releases` tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Release {
    /// Counts from 1.
    pub release: i64,
    /// The run that published it.
    pub run: String,
    /// When.
    pub published_at: DateTime<Utc>,
}

/// Which version of each table is read: the newest where nothing else is said.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    release: Option<(i64, BTreeMap<String, u64>)>,
    single: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Member {
    table: String,
    version: u64,
}

impl Versions {
    pub(super) async fn resolve(now: &Reader, as_of: &[AsOf]) -> Result<Self> {
        let mut versions = Self::default();
        for point in as_of {
            match point {
                AsOf::Version { table, version } => {
                    now.require(table).await?;
                    versions.single.insert(table.clone(), *version);
                }
                AsOf::Release(_) | AsOf::Time(_) if versions.release.is_some() => {
                    return Err(Error::usage("--as-of: more than one release or time")
                        .hint("give one, and any number of single tables such as silver.exams@12"));
                }
                AsOf::Release(release) => {
                    versions.release = Self::of_release(now, *release).await.at("--as-of")?.release
                }
                AsOf::Time(time) => versions.release = Self::of_time(now, *time).await.at("--as-of")?.release,
            }
        }
        Ok(versions)
    }

    /// Those of a release.
    pub(super) async fn of_release(now: &Reader, release: i64) -> Result<Self> {
        Ok(Self { release: Some((release, members(now, release).await?)), single: BTreeMap::new() })
    }

    /// Those of the newest release that was published by then.
    pub(super) async fn of_time(now: &Reader, time: DateTime<Utc>) -> Result<Self> {
        Self::of_release(now, newest_by(now, time).await?).await
    }

    /// The release that is read, if it is one.
    pub fn release(&self) -> Option<i64> {
        self.release.as_ref().map(|(release, _)| *release)
    }

    /// The tables that are read at a version that was given, by a release or singly.
    pub fn members(&self) -> BTreeMap<String, u64> {
        let mut members = self.release.as_ref().map(|(_, members)| members.clone()).unwrap_or_default();
        members.extend(self.single.clone());
        members
    }

    /// Whether the table is there: a release has the tables that it names, and the lake's history is always there.
    pub(super) fn has(&self, table: &str) -> bool {
        match &self.release {
            Some((_, members)) => {
                members.contains_key(table) || self.single.contains_key(table) || table.starts_with("ops.")
            }
            None => true,
        }
    }

    /// The version of a table that is read; `None` is the newest.
    pub(super) fn of(&self, table: &str) -> Option<u64> {
        let of_release = || self.release.as_ref().and_then(|(_, members)| members.get(table));
        self.single.get(table).or_else(of_release).copied()
    }
}

/// The newest release.
///
/// # Errors
/// When `ops.releases` cannot be read.
pub async fn newest(now: &Reader) -> Result<Option<Release>> {
    let sql = "SELECT DISTINCT release, run, published_at FROM ops.releases ORDER BY release DESC LIMIT 1";
    if now.lake().open(&ops::releases().name).await?.is_none() {
        return Ok(None);
    }
    Ok(now.select(sql, &Values::default()).await?.pop())
}

async fn members(now: &Reader, release: i64) -> Result<BTreeMap<String, u64>> {
    let newest = newest(now).await?.ok_or_else(no_release)?;
    let values = Values::from([("release", ScalarValue::Int64(Some(release)))]);
    let sql = r#"SELECT "table", version FROM ops.releases WHERE release = $release"#;
    let members: Vec<Member> = now.select(sql, &values).await?;
    if members.is_empty() {
        return Err(
            Error::usage(format!("there is no release {release}")).hint(format!("the newest is {}", newest.release))
        );
    }
    Ok(members.into_iter().map(|member| (member.table, member.version)).collect())
}

async fn newest_by(now: &Reader, time: DateTime<Utc>) -> Result<i64> {
    newest(now).await?.ok_or_else(no_release)?;
    let values =
        Values::from([("time", ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into())))]);
    let sql = "SELECT DISTINCT release, run, published_at FROM ops.releases WHERE published_at <= $time \
               ORDER BY release DESC LIMIT 1";
    let found: Vec<Release> = now.select(sql, &values).await?;
    let first = "SELECT DISTINCT release, run, published_at FROM ops.releases ORDER BY release LIMIT 1";
    match found.first() {
        Some(release) => Ok(release.release),
        None => {
            let text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            let first: Vec<Release> = now.select(first, &Values::default()).await?;
            let error = Error::usage(format!("no release was published by {text}"));
            Err(match first.first() {
                Some(first) => error.hint(format!("the first was published at {}", first.published_at)),
                None => error,
            })
        }
    }
}

fn no_release() -> Error {
    Error::usage("the lake has no release yet").hint("a run that succeeds publishes one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_versions_and_times_are_told_apart() {
        assert_eq!("3".parse(), Ok(AsOf::Release(3)));
        assert_eq!("release:3".parse(), Ok(AsOf::Release(3)));
        assert_eq!("silver.exams@12".parse(), Ok(AsOf::Version { table: "silver.exams".to_owned(), version: 12 }));
        let noon: DateTime<Utc> = "2024-06-30T12:00:00Z".parse().unwrap();
        assert_eq!("2024-06-30T09:00:00-03:00".parse(), Ok(AsOf::Time(noon)));
        for wrong in ["", "yesterday", "silver.exams@", "silver.exams@-1", "2024-02-30", "release:x"] {
            assert!(wrong.parse::<AsOf>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_the_end_of_its_day() {
        let Ok(AsOf::Time(time)) = "2024-06-30".parse() else { panic!("not a time") };
        assert_eq!(time.to_string(), "2024-06-30 23:59:59.999999 UTC");
    }
}
