//! What is taken of a database's tables, and what counts as a change.

use serde_json::{Value, json};

use super::clinic::Clinic;
use super::cluster::shared;

#[test]
fn values_are_typed_by_the_database_and_nothing_of_them_is_lost() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE DOMAIN npi AS varchar(10); CREATE DOMAIN dose AS numeric(6,3);
         CREATE TYPE pair AS (a int, b text);
         CREATE TABLE t (id int8 PRIMARY KEY, small int2, whole int4, amount numeric(10,2), free numeric, f4 float4, f8 float8,
            yes bool, code char(3), name text, mood mood, npi npi, dose dose, uid uuid, j json, jb jsonb, day date, at timestamptz,
            local timestamp, clock time, span interval, raw bytea, tags text[], sizes int4[], pair pair, addr inet);
         INSERT INTO t VALUES (9007199254740993, -32768, 2147483647, 12.50, 123456789012345678901234567890.5, 1.1, 0.1,
            true, 'ab', E'q\"\\\\\\n\\u00e9', 'bad', '0123456789', 1.5, '6bcf1d5e-0000-4000-8000-000000000001', '{\"a\": [1,  2]}',
            '{\"b\":null}', '2020-02-29', '2020-02-29 12:30:00.123456+02', '2020-02-29 12:30:00', '23:59:59.5', '1 year 2 days',
            '\\x00ff10', '{a,NULL,\"b,c\"}', '{1,2}', '(1,x)', '10.0.0.1/8');
         INSERT INTO t (id, free, amount, f4, f8, day, at, local) VALUES
            (2, 'NaN', 'NaN', 'NaN', '-Infinity', 'infinity', '-infinity', '12345-01-01'),
            (3, 'Infinity', NULL, 3.4e38, 1e300, '0044-03-15 BC', '20000-01-01', 'infinity');",
    );
    clinic.run();
    let rows = clinic.rows("bronze.clinic_public_t");
    let of = |id: &str| rows.iter().find(|row| row["_key"] == format!("{{\"id\":{id}}}")).unwrap();
    let full = &of("9007199254740993");
    assert_eq!(
        full["record"],
        json!({"id": 9007199254740993_i64, "small": -32768, "whole": 2147483647, "amount": 12.50,
            "free": "123456789012345678901234567890.5", "f4": 1.1, "f8": 0.1, "yes": true, "code": "ab ", "name": "q\"\\\né",
            "mood": "bad", "npi": "0123456789", "dose": 1.5, "uid": "6bcf1d5e-0000-4000-8000-000000000001",
            "j": "{\"a\": [1,  2]}", "jb": "{\"b\": null}", "day": "2020-02-29", "at": "2020-02-29T10:30:00.123456Z",
            "local": "2020-02-29T12:30:00Z", "clock": "23:59:59.5", "span": "P1Y2D", "raw": "00ff10",
            "tags": ["a", null, "b,c"], "sizes": [1, 2], "pair": "{\"a\":1,\"b\":\"x\"}", "addr": "10.0.0.1/8"})
    );
    let payload = full["payload"].as_str().unwrap();
    for part in [
        "\"amount\":12.50",
        "\"id\":9007199254740993,",
        "\"f4\":1.1,",
        "\"raw\":\"\\\\x00ff10\"",
        "\"j\":{\"a\": [1,  2]}",
    ] {
        assert!(payload.contains(part), "{part} in {payload}");
    }
    let odd = &of("2");
    for column in ["amount", "f4", "f8", "day", "at", "local"] {
        assert_eq!(odd["record"][column], Value::Null, "{column}");
    }
    assert_eq!(odd["record"]["free"], "NaN");
    let payload: Value = serde_json::from_str(odd["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&payload["f8"], &payload["day"], &payload["at"]),
        (&json!("-Infinity"), &json!("infinity"), &json!("-infinity"))
    );
    let third: Value = serde_json::from_str(of("3")["payload"].as_str().unwrap()).unwrap();
    assert_eq!((&third["day"], &third["at"]), (&json!("0044-03-15 BC"), &json!("20000-01-01T00:00:00+00:00")));
    assert_eq!(of("3")["record"]["f8"], json!(1e300));
    let source = full["_source"].as_str().unwrap();
    let (port, database) = (clinic.cluster.port, &clinic.database);
    assert_eq!(source, format!("postgresql://127.0.0.1:{port}/{database}/public.t"));
    let types = clinic.query(
        "SELECT record.amount * 2 AS twice, record.day AS day FROM bronze.clinic_public_t WHERE record.small < 0",
    );
    assert_eq!(types, json!([{"twice": 25.00, "day": "2020-02-29"}]));
}

#[test]
fn ten_changed_rows_are_found_as_ten_and_an_unchanged_table_adds_no_file() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 20000) i;
         CREATE TABLE still (id int PRIMARY KEY); INSERT INTO still VALUES (1)",
    );
    clinic.run();
    let files = clinic.files();
    let second = clinic.run();
    assert_eq!(clinic.files(), files, "{}", second.text);
    clinic.sql(
        "UPDATE t SET name = 'new' WHERE id IN (5, 10000, 20000); UPDATE t SET name = name WHERE id < 100;
         DELETE FROM t WHERE id BETWEEN 100 AND 102; INSERT INTO t SELECT i, 'x' FROM generate_series(20001, 20004) i",
    );
    let still = clinic.table("bronze.clinic_public_still").version();
    clinic.run();
    assert_eq!(clinic.table("bronze.clinic_public_still").version(), still);
    let new: Vec<String> =
        clinic.changes("bronze.clinic_public_t").into_iter().filter(|row| row.starts_with("2 ")).collect();
    assert_eq!(
        new,
        [
            r#"2 delete {"id":100}"#,
            r#"2 delete {"id":101}"#,
            r#"2 delete {"id":102}"#,
            r#"2 insert {"id":20001,"name":"x"}"#,
            r#"2 insert {"id":20002,"name":"x"}"#,
            r#"2 insert {"id":20003,"name":"x"}"#,
            r#"2 insert {"id":20004,"name":"x"}"#,
            r#"2 update {"id":10000,"name":"new"}"#,
            r#"2 update {"id":20000,"name":"new"}"#,
            r#"2 update {"id":5,"name":"new"}"#,
        ]
    );
    clinic.sql("INSERT INTO t VALUES (101, 'n101'); UPDATE t SET name = 'n5' WHERE id = 5");
    clinic.run();
    let third: Vec<String> =
        clinic.changes("bronze.clinic_public_t").into_iter().filter(|row| row.starts_with("3 ")).collect();
    assert_eq!(third, [r#"3 insert {"id":101,"name":"n101"}"#, r#"3 update {"id":5,"name":"n5"}"#]);
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files);
}

#[test]
fn a_table_without_a_key_is_taken_whole_when_its_content_changed() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE t (a int UNIQUE, b text); INSERT INTO t VALUES (1, 'x'), (NULL, 'y'), (NULL, 'y')",
    );
    clinic.run();
    let first = [r#"1 replace {"a":1,"b":"x"}"#, r#"1 replace {"a":null,"b":"y"}"#, r#"1 replace {"a":null,"b":"y"}"#];
    assert_eq!(clinic.changes("bronze.clinic_public_t"), first);
    let files = clinic.files();
    // The same rows in another order and other places.
    clinic.sql(
        "CREATE TABLE u AS SELECT * FROM t; DELETE FROM t; INSERT INTO t SELECT * FROM u ORDER BY b DESC; DROP TABLE u",
    );
    clinic.run();
    assert_eq!(clinic.files(), files);
    clinic.sql("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE b = 'y')");
    clinic.run();
    assert_eq!(
        clinic.changes("bronze.clinic_public_t")[3..],
        [r#"2 replace {"a":1,"b":"x"}"#, r#"2 replace {"a":null,"b":"y"}"#]
    );
    clinic.sql("DELETE FROM t");
    clinic.run();
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files, "an emptied table is told once");
    clinic.sql("INSERT INTO t VALUES (1, 'x'), (NULL, 'y')");
    clinic.run();
    assert_eq!(
        clinic.changes("bronze.clinic_public_t")[5..],
        [r#"4 replace {"a":1,"b":"x"}"#, r#"4 replace {"a":null,"b":"y"}"#]
    );
}

#[test]
fn keys_are_primary_or_the_smallest_unique_index_without_null() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE a (x int, y int NOT NULL, z int NOT NULL, UNIQUE (x), UNIQUE (y, z), PRIMARY KEY (z, y));
         CREATE TABLE b (x int NOT NULL, y int NOT NULL, z int UNIQUE);
         CREATE UNIQUE INDEX ON b (x, y); CREATE UNIQUE INDEX ON b (y) INCLUDE (x); CREATE UNIQUE INDEX ON b (x) WHERE x > 1;
         CREATE TABLE p (id int PRIMARY KEY, t text) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (extra int) INHERITS (parent);
         CREATE VIEW v AS SELECT * FROM a;
         INSERT INTO a VALUES (1, 2, 3); INSERT INTO b VALUES (1, 2, 3); INSERT INTO p VALUES (1, 'x'), (11, 'y');
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)",
    );
    clinic.run();
    assert_eq!(clinic.column("bronze.clinic_public_a", "_key"), [r#"{"z":3,"y":2}"#]);
    assert_eq!(clinic.column("bronze.clinic_public_b", "_key"), [r#"{"y":2}"#]);
    assert_eq!(clinic.column("bronze.clinic_public_p", "_key"), [r#"{"id":11}"#, r#"{"id":1}"#]);
    assert_eq!(clinic.column("bronze.clinic_public_parent", "_key"), [r#"{"id":1}"#]);
    assert_eq!(clinic.column("bronze.clinic_public_child", "_op"), ["replace"]);
    for name in ["p1", "p2", "v"] {
        assert!(!clinic.path(&format!("lake/bronze/clinic_public_{name}")).exists(), "{name}");
    }
}

#[test]
fn names_that_need_quoting() {
    let clinic = Clinic::new(
        shared(),
        r#"CREATE SCHEMA "Billing ""EU"""; GRANT USAGE ON SCHEMA "Billing ""EU""" TO reader;
           CREATE TABLE "Billing ""EU"""."Order; DROP" ("Select" int PRIMARY KEY, "a b" text, "A B" text, "r" int, "k" int, "é'x" text);
           INSERT INTO "Billing ""EU"""."Order; DROP" VALUES (1, 'x', 'y', 7, 8, 'z')"#,
    );
    clinic.run();
    let table = "bronze.clinic_billing__eu__order__drop";
    assert_eq!(
        clinic.column(table, "record"),
        [json!({"Select": 1, "a_b": "x", "A_B_2": "y", "r": 7, "k": 8, "é'x": "z"})]
    );
    assert_eq!(clinic.column(table, "_key"), [r#"{"Select":1}"#]);
    assert_eq!(clinic.column(table, "payload"), [r#"{"Select":1,"a b":"x","A B":"y","r":7,"k":8,"é'x":"z"}"#]);
    clinic.sql(r#"DELETE FROM "Billing ""EU"""."Order; DROP""#);
    clinic.run();
    assert_eq!(clinic.changes(table)[1], r#"2 delete {"Select":1}"#);
}

#[test]
fn names_that_meet_are_an_error_that_names_both() {
    let clinic =
        Clinic::new(shared(), r#"CREATE TABLE "a b" (x int); CREATE TABLE a_b (x int); CREATE TABLE c (x int)"#);
    let text = clinic.fails();
    assert!(text.contains("'public.a b' and 'public.a_b' would both be this table"), "{text}");
    assert_eq!(clinic.table("bronze.clinic_public_c").row_count().unwrap(), 0, "the others are taken");
}

#[test]
fn five_hundred_columns_a_row_of_twenty_megabytes_and_empty_tables() {
    let columns: Vec<String> = (0..500).map(|n| format!("c{n} int DEFAULT {n}")).collect();
    let clinic = Clinic::new(
        shared(),
        &format!(
            "CREATE TABLE wide (id int PRIMARY KEY, {}); INSERT INTO wide (id) VALUES (1), (2);
             CREATE TABLE big (id int PRIMARY KEY, body text); INSERT INTO big VALUES (1, repeat('0123456789', 2000000)), (2, 'x');
             CREATE TABLE empty (id int PRIMARY KEY, name text); CREATE TABLE no_columns (); CREATE TABLE no_key_empty (a int)",
            columns.join(", ")
        ),
    );
    clinic.run();
    let wide = &clinic.column("bronze.clinic_public_wide", "record")[0];
    assert_eq!((wide.as_object().unwrap().len(), &wide["c499"]), (501, &json!(499)));
    let lengths = clinic.query(
        "SELECT length(record.body) AS n, octet_length(payload) AS p FROM bronze.clinic_public_big ORDER BY n DESC",
    );
    assert_eq!(lengths, json!([{"n": 20_000_000, "p": 20_000_018}, {"n": 1, "p": 19}]));
    for name in ["empty", "no_columns", "no_key_empty"] {
        assert_eq!(clinic.table(&format!("bronze.clinic_public_{name}")).row_count().unwrap(), 0, "{name}");
    }
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files);
    clinic.sql("INSERT INTO empty VALUES (1, 'x')");
    clinic.run();
    assert_eq!(clinic.changes("bronze.clinic_public_empty"), [r#"1 insert {"id":1,"name":"x"}"#]);
}

#[test]
fn columns_that_appear_go_and_change_are_events() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y'); CREATE TABLE gone (id int)",
    );
    clinic.run();
    clinic.sql("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ALTER a TYPE text USING 'n' || a; ALTER TABLE t ADD c numeric(5,1) DEFAULT 1.5; DROP TABLE gone");
    clinic.run();
    let events = |at_least: usize| -> Vec<String> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let told = ["table", "column", "event", "type_before", "type_after"];
        let event = |row: &Value| told.map(|name| text(row, name)).join(" ");
        let mut events: Vec<String> = clinic.rows("ops.columns").iter().map(event).collect();
        events.sort();
        assert!(events.len() >= at_least, "{events:?}");
        events
    };
    assert_eq!(
        events(0),
        [
            "public.gone * gone table -",
            "public.gone id appeared - integer",
            "public.t a appeared - integer",
            "public.t a changed integer text",
            "public.t b appeared - text",
            "public.t b gone text -",
            "public.t c appeared - numeric(5,1)",
            "public.t id appeared - integer",
        ]
    );
    let records = clinic.query("SELECT _batch, record FROM bronze.clinic_public_t WHERE record.id = 1 ORDER BY _batch");
    assert_eq!(records[1]["record"], json!({"id": 1, "a": null, "b": null, "c": 1.5}), "{records}");
    assert_eq!(records[0]["record"], json!({"id": 1, "a": 10, "b": "x", "c": null}));
    let typed = clinic.query(
        "SELECT record.a AS a, record.c AS c, payload FROM bronze.clinic_public_t WHERE _batch = 2 ORDER BY record.id",
    );
    assert_eq!(typed[0]["payload"], r#"{"id":1,"a":"n10","c":1.5}"#);
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files, "events are recorded once");
    clinic.sql("CREATE TABLE gone (id int); DELETE FROM t; ALTER TABLE t ADD b text");
    clinic.run();
    let all = events(10).join("\n");
    assert!(
        all.contains("public.gone * appeared - table") && all.matches("public.t b appeared - text").count() == 2,
        "{all}"
    );
    clinic.sql("ALTER TABLE t ADD d int");
    clinic.run();
    assert!(events(11).join("\n").contains("public.t d appeared - integer"), "without a changed row");
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files);
}

#[test]
fn patterns_choose_tables_and_contracts_name_them() {
    let clinic = Clinic::new(
        shared(),
        "CREATE SCHEMA billing; GRANT USAGE ON SCHEMA billing TO reader; CREATE TABLE billing.invoice (id int PRIMARY KEY);
         CREATE TABLE billing.log (id int); CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)",
    );
    clinic.source("", r#"tables = ["public.*", "billing.inv*"]"#);
    let contract = |relation: &str| {
        let text = format!(
            "description = \"d\"\nsource = \"clinic\"\nrelation = \"{relation}\"\npayload = \"STRUCT<id INT>\"\n"
        );
        clinic.write("bronze/as.toml", &text);
    };
    contract("billing.log");
    let refused = clinic.pipeline(&["check"]);
    assert!(refused.code == 2 && refused.text.contains("is none of the source's tables"), "{}", refused.text);
    contract("public.a");
    let outcome = clinic.run();
    let tables: Vec<String> = std::fs::read_dir(clinic.path("lake/bronze"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (name, is_there) in [
        ("as", true),
        ("clinic_public_a", false),
        ("clinic_public_b", true),
        ("clinic_billing_invoice", true),
        ("clinic_billing_log", false),
    ] {
        assert_eq!(tables.iter().any(|table| table == name), is_there, "{name}: {tables:?} {}", outcome.text);
    }
    contract("public.c");
    clinic.run();
    std::fs::remove_dir_all(clinic.path("lake/bronze/as")).unwrap();
    assert!(clinic.fails().contains("the database has no table 'public.c'"));
    contract("public.a");
    let planned = clinic.pipeline(&["run", "--dry-run"]);
    assert!(planned.text.contains("compare 'public.a' with the database"), "{}", planned.text);
}
