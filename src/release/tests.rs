//! A small lake with three releases.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use serde::Serialize;

use super::*;
use crate::contract::Column;
use crate::engine::Limits;
use crate::error::Kind;
use crate::lake::{Commit, Durability, Lake, TableSpec, TableWriter};
use crate::ops::{ReleaseRow, RunRow};

fn spec(name: &str) -> TableSpec {
    let id =
        Column { name: "id".to_owned(), data_type: DataType::Int64, required: true, comment: "What it is.".to_owned() };
    TableSpec {
        name: name.to_owned(),
        description: "Things.".to_owned(),
        columns: vec![id],
        statistics: Vec::new(),
        lookup: Vec::new(),
        sought: Vec::new(),
        rising: Vec::new(),
        change_feed: false,
    }
}

#[derive(Serialize)]
struct Thing {
    id: i64,
}

/// Commits rows, in the place of all that there are when `replace`; gives the version.
async fn commit<T: Serialize>(lake: &Lake, spec: &TableSpec, rows: &[T], replace: bool) -> i64 {
    let mut table = lake.open_or_create(spec).await.unwrap();
    let mut writer = TableWriter::new(&table, spec);
    writer.write(&ops::batch(spec, rows).unwrap()).await.unwrap();
    let removes = if replace { table.files().unwrap().iter().map(|file| file.remove()).collect() } else { Vec::new() };
    let adds = writer.close().await.unwrap();
    table.commit(lake, Commit { adds, removes, run: "r".to_owned(), ..Commit::default() }).await.unwrap();
    i64::try_from(table.version()).unwrap()
}

async fn things(lake: &Lake, ids: std::ops::Range<i64>, replace: bool) -> i64 {
    commit(lake, &spec("silver.things"), &ids.map(|id| Thing { id }).collect::<Vec<_>>(), replace).await
}

async fn publish(lake: &Lake, release: i64, versions: &[(&str, i64)]) {
    let day: DateTime<Utc> = format!("2024-06-0{release}T12:00:00Z").parse().unwrap();
    let row = |(table, version): &(&str, i64)| ReleaseRow {
        release,
        run: format!("run-{release}"),
        table: (*table).to_owned(),
        version: *version,
        contracts: None,
        published_at: day.timestamp_micros(),
    };
    commit(lake, &ops::releases(), &versions.iter().map(row).collect::<Vec<_>>(), false).await;
}

/// Three releases: `silver.things` has 2 rows, then 5, then 3 in their place; `silver.other` is in the second only.
async fn lake(folder: &tempfile::TempDir) -> Reader {
    let lake = Lake::at(folder.path().to_str().unwrap(), Durability::None).unwrap();
    publish(&lake, 1, &[("silver.things", things(&lake, 0..2, false).await)]).await;
    let second = things(&lake, 2..5, false).await;
    let other = commit(&lake, &spec("silver.other"), &[Thing { id: 1 }], false).await;
    publish(&lake, 2, &[("silver.things", second), ("silver.other", other)]).await;
    publish(&lake, 3, &[("silver.things", things(&lake, 7..10, true).await)]).await;
    Reader::new(lake, Limits::default())
}

async fn at(now: &Reader, release: &str) -> Reader {
    now.at_release(&release.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn releases_are_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let now = lake(&folder).await;
    let all: Vec<(i64, u64, bool)> =
        list(&now).await.unwrap().into_iter().map(|r| (r.release, r.tables, r.pinned.is_some())).collect();
    assert_eq!(all, [(3, 1, false), (2, 2, false), (1, 1, false)]);
    let second = show(&now, &at(&now, "2024-06-02").await).await.unwrap();
    let members: Vec<(String, Option<u64>)> = second.members.into_iter().map(|m| (m.table, m.rows)).collect();
    assert_eq!(members, [("silver.other".to_owned(), Some(1)), ("silver.things".to_owned(), Some(5))]);
    assert_eq!(second.summary.run, "run-2");
}

#[tokio::test]
async fn what_is_pinned_is_told_until_it_is_unpinned() {
    let folder = tempfile::tempdir().unwrap();
    let now = lake(&folder).await;
    assert!(pinned_versions(&now).await.unwrap().is_empty());
    assert!(pin(&at(&now, "1").await, Some("a paper")).await.unwrap());
    assert!(pin(&at(&now, "1").await, Some("a dataset")).await.unwrap());
    assert!(pin(&at(&now, "2").await, None).await.unwrap());
    for (release, why) in [("1", Some("a paper")), ("1", None), ("2", None)] {
        assert!(!pin(&at(&now, release).await, why).await.unwrap(), "{release} is pinned for that already");
    }
    let pinned = pinned_releases(&now).await.unwrap();
    assert_eq!(pinned[&1].why, ["a paper", "a dataset"]);
    let expected = BTreeMap::from([
        ("silver.other".to_owned(), BTreeSet::from([1])),
        ("silver.things".to_owned(), BTreeSet::from([1, 2])),
    ]);
    assert_eq!(pinned_versions(&now).await.unwrap(), expected);
    assert!(unpin(&at(&now, "2").await).await.unwrap());
    assert!(!unpin(&at(&now, "3").await).await.unwrap());
    let expected = BTreeMap::from([("silver.things".to_owned(), BTreeSet::from([1]))]);
    assert_eq!(pinned_versions(&now).await.unwrap(), expected);
    assert!(pin(&at(&now, "2").await, Some("again")).await.unwrap());
    assert_eq!(pinned_releases(&now).await.unwrap()[&2].why, ["again"], "what it was kept for before is over");
}

#[tokio::test]
async fn a_pin_waits_for_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let now = lake(&folder).await;
    let _run = now.lake().leased().await.unwrap();
    assert_eq!(pin(&at(&now, "1").await, None).await.unwrap_err().kind(), Kind::Lease);
    assert!(pinned_releases(&now).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_difference_counts_rows_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let now = lake(&folder).await;
    let change = |table: &str, versions, rows: (Option<u64>, Option<u64>), moved: (Option<u64>, Option<u64>)| {
        let (from, to): (Option<u64>, Option<u64>) = versions;
        let ((rows_from, rows_to), (added, removed)) = (rows, moved);
        TableChange { table: table.to_owned(), from, to, rows_from, rows_to, added, removed }
    };
    let between = async |a: &str, b: &str| diff(&at(&now, a).await, &at(&now, b).await).await.unwrap();
    let other = change("silver.other", (None, Some(1)), (None, Some(1)), (Some(1), Some(0)));
    let grown = change("silver.things", (Some(1), Some(2)), (Some(2), Some(5)), (Some(3), Some(0)));
    assert_eq!(between("1", "2").await, [other.clone(), grown]);
    let shrunk = change("silver.things", (Some(2), Some(1)), (Some(5), Some(2)), (Some(0), Some(3)));
    assert_eq!(between("2", "1").await[1], shrunk);
    assert!(between("2", "2").await.is_empty());
    // Files were replaced, and no run has counted what of their rows is new.
    let unknown = change("silver.things", (Some(2), Some(3)), (Some(5), Some(3)), (None, None));
    assert_eq!(between("2", "3").await[1], unknown);
    let counted = RunRow {
        run: "r".to_owned(),
        table: "silver.things".to_owned(),
        stage: "silver".to_owned(),
        status: "done".to_owned(),
        cause: None,
        input: 0,
        passed: 0,
        quarantined: 0,
        written: 2,
        replaced: 4,
        version: Some(3),
        error: None,
        started_at: 0,
        ended_at: 0,
    };
    commit(now.lake(), &ops::runs(), &[counted], false).await;
    let known = change("silver.things", (Some(1), Some(3)), (Some(2), Some(3)), (Some(5), Some(4)));
    assert_eq!(between("1", "3").await, [known]);
}

#[tokio::test]
async fn what_is_no_release_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let now = lake(&folder).await;
    for (text, expected) in [
        ("9", "there is no release 9\n  hint: the newest is 3"),
        ("silver.things@1", "'silver.things@1' is a table's version, not a release"),
        ("2024-05-31", "no release was published by 2024-05-31T23:59:59Z"),
    ] {
        let error = now.at_release(&text.parse().unwrap()).await.unwrap_err();
        assert!(error.kind() == Kind::Usage && error.to_string().starts_with(expected), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let lake = Lake::at(empty.path().to_str().unwrap(), Durability::None).unwrap();
    assert!(list(&Reader::new(lake, Limits::default())).await.is_err());
}
