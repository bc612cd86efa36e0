//! From a database to silver: a row that goes from the database goes from the table.

use serde_json::{Value, json};

use super::clinic::Clinic;
use super::cluster::shared;

const BRONZE: &str = "description = \"d\"\nsource = \"clinic\"\nrelation = \"public.provider\"\n\
    payload = \"STRUCT<id INT, name STRING, fee DECIMAL(6,2)>\"\n";

const SILVER: &str = r#"
description = "d"
strategy = "by_record"
key = ["id"]
sequence = "_batch"
delete_when = "_op = 'delete'"
[columns.id]
type = "INT"
required = true
comment = "c"
[columns.name]
type = "STRING"
required = true
comment = "c"
[columns.fee]
type = "DECIMAL(6,2)"
comment = "c"
"#;

const GOLD: &str = "description = \"d\"\nstrategy = \"by_key\"\nkey = [\"name\"]\nreplace_by = [\"name\"]\n\
    [columns.name]\ntype = \"STRING\"\nrequired = true\ncomment = \"c\"\n[columns.n]\ntype = \"BIGINT\"\ncomment = \"c\"\n";

fn clinic() -> Clinic<'static> {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE provider (id int PRIMARY KEY, name text, fee numeric(6,2), more json);
         INSERT INTO provider SELECT i, 'n' || i % 3, i FROM generate_series(1, 9) i",
    );
    clinic.write("bronze/provider.toml", BRONZE);
    clinic.write("silver/providers.toml", SILVER);
    clinic.write("silver/providers.sql", "SELECT id, name, fee FROM bronze.provider");
    clinic.write("gold/names.toml", GOLD);
    clinic.write("gold/names.sql", "SELECT name, COUNT(*) AS n FROM silver.providers GROUP BY name");
    clinic
}

fn held(clinic: &Clinic<'_>) -> (Value, Value) {
    (
        clinic.query("SELECT id, name, fee, _batch FROM silver.providers ORDER BY id"),
        clinic.query("SELECT name, n FROM gold.names ORDER BY name"),
    )
}

#[test]
fn increments_with_deletions_equal_a_full_refresh() {
    let clinic = clinic();
    let steps = [
        "DELETE FROM provider WHERE id IN (1, 2)",
        "INSERT INTO provider VALUES (1, 'back', 1); DELETE FROM provider WHERE id = 3; UPDATE provider SET name = 'n0' WHERE id = 4",
        "UPDATE provider SET name = NULL WHERE id = 5; DELETE FROM provider WHERE id = 1",
        "UPDATE provider SET id = 90 WHERE id = 9; INSERT INTO provider VALUES (9, 'nine', 9.99)",
    ];
    clinic.run();
    for step in steps {
        clinic.sql(step);
        clinic.run();
        let increments = held(&clinic);
        let outcome = clinic.pipeline(&["run", "--full-refresh"]);
        assert_eq!(outcome.code, 0, "{}", outcome.text);
        assert_eq!(held(&clinic), increments, "after {step}");
    }
    let (rows, names) = held(&clinic);
    let ids: Vec<i64> = rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    // The row of 5 that has no name is set aside; the one before it stays.
    assert_eq!(ids, [4, 5, 6, 7, 8, 9, 90]);
    assert_eq!(rows[5], json!({"id": 9, "name": "nine", "fee": 9.99, "_batch": 5}));
    assert_eq!(
        names,
        json!([{"name": "n0", "n": 3}, {"name": "n1", "n": 1}, {"name": "n2", "n": 2}, {"name": "nine", "n": 1}])
    );
    let counts = clinic.query("SELECT input = passed + failed AS right FROM ops.expectations WHERE expectation = '*'");
    assert!(counts.as_array().unwrap().iter().all(|row| row["right"] == true), "{counts}");
}

#[test]
fn a_deletion_is_one_in_the_change_data_feed() {
    let clinic = clinic();
    clinic.run();
    clinic.sql("DELETE FROM provider WHERE id = 1; UPDATE provider SET name = 'u' WHERE id = 2; INSERT INTO provider VALUES (10, 'i', 1)");
    clinic.run();
    let folder = clinic.path("lake/silver/providers/_change_data");
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        let reader = deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let column = batch.column_by_name("_change_type").unwrap();
            kinds.extend(arrow::array::AsArray::as_string::<i32>(column).iter().flatten().map(str::to_owned));
        }
    }
    kinds.sort();
    assert_eq!(kinds, ["delete", "insert", "update_postimage", "update_preimage"]);
}

#[test]
fn only_a_sequence_that_grows_goes_with_deletions() {
    let clinic = clinic();
    for (from, to, told) in [
        ("sequence = \"_batch\"", "sequence = \"fee\"", "'delete_when' needs sequence = \"_batch\""),
        ("sequence = \"_batch\"", "", "'delete_when' needs sequence = \"_batch\""),
        ("_op = 'delete'", "_opp = 'delete'", "unknown column '_opp'"),
        ("_op = 'delete'", "_op", "not BOOLEAN"),
    ] {
        clinic.write("silver/providers.toml", &SILVER.replace(from, to));
        let outcome = clinic.pipeline(&["check"]);
        assert!(outcome.code == 2 && outcome.text.contains(told), "{to}: {}", outcome.text);
    }
}

#[test]
fn given_rows_stand_for_the_database() {
    let clinic = clinic();
    let given =
        |step: u32, rows: &str| clinic.write(&format!("tests/c/given/{step}/clinic/public.provider.json"), rows);
    given(1, r#"[{"id": 1, "name": "a", "fee": 1.50}, {"id": 2, "name": "b"}]"#);
    given(2, r#"[{"id": 2, "name": "b"}, {"id": 3, "name": "c"}]"#);
    std::fs::create_dir_all(clinic.path("pipelines/p/tests/c/given/3")).unwrap();
    given(4, "[]");
    given(5, r#"[{"id": 3, "name": "d"}]"#);
    clinic.write("tests/c/expect/bronze.provider.csv", "_batch,_op,_key\n1,insert,\"{\"\"id\"\":1}\"\n1,insert,\"{\"\"id\"\":2}\"\n2,delete,\"{\"\"id\"\":1}\"\n2,insert,\"{\"\"id\"\":3}\"\n3,delete,\"{\"\"id\"\":2}\"\n3,delete,\"{\"\"id\"\":3}\"\n4,insert,\"{\"\"id\"\":3}\"\n");
    clinic.write("tests/c/expect/silver.providers.csv", "id,name\n3,d\n");
    let outcome = clinic.pipeline(&["test"]);
    assert_eq!(outcome.code, 0, "{}", outcome.text);
}
