//! A small lake on disk, read as it is and as it was.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use serde::Serialize;

use super::*;
use crate::contract::Column;
use crate::error::Kind;
use crate::inspect;
use crate::lake::{Add, Commit, Durability, TableSpec, TableWriter};
use crate::ops::{self, ReleaseRow};
use crate::run::{Inputs, Options};

fn spec(name: &str) -> TableSpec {
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        required: true,
        comment: format!("the {name}"),
    };
    TableSpec {
        name: name.to_owned(),
        description: "Things.".to_owned(),
        columns: vec![column("id", DataType::Int64), column("kind", DataType::Utf8)],
        statistics: vec!["id".to_owned()],
        lookup: Vec::new(),
        sought: Vec::new(),
        rising: Vec::new(),
        change_feed: false,
    }
}

#[derive(Serialize)]
struct Thing {
    id: i64,
    kind: &'static str,
}

/// Commits rows to a table; gives its version.
async fn append<T: Serialize>(lake: &Lake, spec: &TableSpec, rows: &[T], run: &str) -> i64 {
    let mut table = lake.open_or_create(spec).await.unwrap();
    let mut writer = TableWriter::new(&table, spec);
    writer.write(&ops::batch(spec, rows).unwrap()).await.unwrap();
    let adds: Vec<Add> = writer.close().await.unwrap();
    let positions = BTreeMap::new();
    table.commit(lake, Commit { adds, positions, run: run.to_owned(), ..Commit::default() }).await.unwrap();
    i64::try_from(table.version()).unwrap()
}

/// `silver.things` in versions 1 and 2, published as releases 1 and 2 on two days; `silver.late` only in the second.
async fn lake(folder: &tempfile::TempDir) -> Lake {
    let lake = Lake::at(folder.path().to_str().unwrap(), Durability::None).unwrap();
    let things = spec("silver.things");
    let row = |release, table: &str, version, day: &str| ReleaseRow {
        contracts: None,
        release,
        run: format!("run-{release}"),
        table: table.to_owned(),
        version,
        published_at: day.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros(),
    };
    let first = append(&lake, &things, &[Thing { id: 1, kind: "a" }, Thing { id: 2, kind: "b" }], "run-1").await;
    let day = "2024-06-30T12:00:00Z";
    append(&lake, &ops::releases(), &[row(1, "silver.things", first, day)], "run-1").await;
    let second = append(&lake, &things, &[Thing { id: 3, kind: "b" }], "run-2").await;
    let late = append(&lake, &spec("silver.late"), &[Thing { id: 9, kind: "c" }], "run-2").await;
    let day = "2024-07-02T12:00:00Z";
    let rows = [row(2, "silver.things", second, day), row(2, "silver.late", late, day)];
    append(&lake, &ops::releases(), &rows, "run-2").await;
    lake
}

async fn reader(lake: &Lake, as_of: &[&str]) -> Result<Reader> {
    let as_of: Vec<AsOf> = as_of.iter().map(|text| text.parse().unwrap()).collect();
    Reader::as_of(lake.clone(), &as_of, Limits::default()).await
}

async fn ids(reader: &Reader, sql: &str) -> Result<Vec<i64>> {
    #[derive(serde::Deserialize)]
    struct Row {
        id: i64,
    }
    Ok(reader.select::<Row>(sql, &Values::default()).await?.into_iter().map(|row| row.id).collect())
}

const THINGS: &str = "SELECT id FROM silver.things ORDER BY id";

#[tokio::test]
async fn the_lake_is_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    for (as_of, expected) in [
        (vec![], vec![1, 2, 3]),
        (vec!["1"], vec![1, 2]),
        (vec!["release:2"], vec![1, 2, 3]),
        (vec!["2024-06-30"], vec![1, 2]),
        (vec!["2024-07-02T11:59:59Z"], vec![1, 2]),
        (vec!["2024-07-02T12:00:00Z"], vec![1, 2, 3]),
        (vec!["silver.things@0"], vec![]),
        (vec!["2", "silver.things@1"], vec![1, 2]),
    ] {
        let found = ids(&reader(&lake, &as_of).await.unwrap(), THINGS).await.unwrap();
        assert_eq!(found, expected, "{as_of:?}");
    }
}

#[tokio::test]
async fn a_point_that_was_never_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    for (as_of, expected) in [
        (vec!["7"], "--as-of: there is no release 7\n  hint: the newest is 2"),
        (vec!["2024-06-29"], "--as-of: no release was published by 2024-06-29T23:59:59Z"),
        (vec!["1", "2"], "--as-of: more than one release or time"),
        (vec!["silver.thing@1"], "unknown table 'silver.thing'\n  hint: did you mean 'silver.things'?"),
    ] {
        let error = reader(&lake, &as_of).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let error = ids(&reader(&lake, &["silver.things@9"]).await.unwrap(), THINGS).await.unwrap_err();
    assert_eq!(error.to_string(), "silver.things has no version 9\n  hint: the newest is 2");
}

#[tokio::test]
async fn a_table_that_the_release_does_not_have_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let sql = "SELECT id FROM silver.late";
    assert_eq!(ids(&reader(&lake, &[]).await.unwrap(), sql).await.unwrap(), [9]);
    let first = reader(&lake, &["1"]).await.unwrap();
    let error = ids(&first, sql).await.unwrap_err().to_string();
    assert!(error.starts_with("unknown table 'silver.late' in release 1"), "{error}");
    let listed: Vec<String> = inspect::catalog(&first).await.unwrap().into_iter().map(|table| table.table).collect();
    assert_eq!(listed, ["silver.things", "ops.releases"]);
}

#[tokio::test]
async fn what_is_misspelled_gets_near_names() {
    let folder = tempfile::tempdir().unwrap();
    let now = reader(&lake(&folder).await, &[]).await.unwrap();
    for (sql, expected) in [
        ("SELECT id FROM things", "unknown table 'things'\n  hint: did you mean 'silver.things'?"),
        ("SELECT id FROM silver.tings", "unknown table 'silver.tings'\n  hint: did you mean 'silver.things'?"),
        ("SELECT idd FROM silver.things", "SQL, line 1, column 8: unknown column 'idd'\n  hint: did you mean 'id'?"),
        ("SELECT id\nFROM silver.things\nWHERE knd = 'a'", "SQL, line 3, column 7: unknown column 'knd'"),
        ("SELECT id FROM silver.things WHERE id = $id", "parameter 'id' is not given"),
        ("SELECT 1 AS id INTO silver.mine", "`query` only reads"),
        ("SELECT id FROM \"..\".things", "unknown table '...things'"),
    ] {
        let error = ids(&now, sql).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_value_has_the_type_of_what_it_is_compared_with() {
    let folder = tempfile::tempdir().unwrap();
    let now = reader(&lake(&folder).await, &[]).await.unwrap();
    let sql = "SELECT id FROM silver.things WHERE kind = $kind AND id > $id ORDER BY id LIMIT $n";
    let given = |id: &str| [("kind", "b"), ("id", id), ("n", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    #[derive(serde::Deserialize)]
    struct Row {
        id: i64,
    }
    let found: Vec<Row> = now.select(sql, &Values::of_sql(&given("1"))).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
    let error = now.select::<Row>(sql, &Values::of_sql(&given("x"))).await.err().unwrap();
    assert_eq!(error.to_string(), "parameter 'id': 'x' is not of the type BIGINT");
}

#[tokio::test]
async fn history_tells_rows_in_and_out_and_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let mut table = lake.open("silver.things").await.unwrap().unwrap();
    let oldest = table.files().unwrap().into_iter().find(|file| file.rows == Some(2)).unwrap();
    let commit = Commit { removes: vec![oldest.remove()], run: "run-3".to_owned(), ..Commit::default() };
    table.commit(&lake, commit).await.unwrap();
    let now = Reader::new(lake, Limits::default());
    // The file that the shown version removed was added by one that is not shown.
    for limit in [1, 10] {
        let rows = inspect::history(&now, "silver.things", limit).await.unwrap();
        assert_eq!(rows.len(), limit.min(4));
        let newest = &rows[0].version;
        assert_eq!((newest.version, newest.rows_added, newest.rows_removed), (3, Some(0), Some(2)));
        assert_eq!(newest.run.as_deref(), Some("run-3"));
    }
}

#[tokio::test]
async fn a_description_has_the_comments_and_counts_but_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let now = Reader::new(lake(&folder).await, Limits::default());
    let found = inspect::describe(&now, None, "silver.things", true).await.unwrap();
    assert_eq!((found.table.rows, found.files, found.table.description.as_str()), (Some(3), Some(2), "Things."));
    let columns = found.table.columns.iter();
    let columns = columns.map(|column| (column.data_type.as_str(), column.comment.as_str(), column.nulls));
    let columns: Vec<_> = columns.collect();
    assert_eq!(columns, [("BIGINT", "the id", Some(0)), ("STRING", "the kind", Some(0))]);
    assert_eq!(found.properties["delta.dataSkippingStatsColumns"], "id");
}

#[tokio::test]
async fn a_folder_without_tables_is_no_lake_and_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("none");
    let now = Reader::new(Lake::at(place.to_str().unwrap(), Durability::None).unwrap(), Limits::default());
    let project = || Err(Error::usage("no project"));
    let told = [
        ids(&now, THINGS).await.unwrap_err(),
        inspect::catalog(&now).await.unwrap_err(),
        inspect::status(now.lake(), Limits::default(), project(), Ok(Inputs::default()), &Options::default())
            .await
            .unwrap_err(),
        inspect::history(&now, "silver.things", 5).await.unwrap_err(),
    ];
    for error in told {
        assert_eq!(error.kind(), Kind::Failed);
        assert!(error.to_string().starts_with("there is no lake at "), "{error}");
    }
    assert!(!place.exists());
}

#[tokio::test]
async fn status_needs_no_project_and_no_lease() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let _held = lake.leased().await.unwrap();
    let status = inspect::status(
        &lake,
        Limits::default(),
        Err(Error::usage("no project")),
        Ok(Inputs::default()),
        &Options::default(),
    )
    .await
    .unwrap();
    let tables: Vec<_> = status.tables.iter().map(|table| (table.table.as_str(), table.rows, table.version)).collect();
    let expected =
        [("silver.late", Some(1), Some(1)), ("silver.things", Some(3), Some(2)), ("ops.releases", Some(3), Some(2))];
    assert_eq!(tables, expected);
    assert_eq!(status.unknown.as_deref(), Some("no project"));
    assert_eq!(status.release.map(|release| release.release), Some(2));
}
