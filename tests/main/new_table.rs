//! A new table is two files, and no Rust: one by record, one by key, one in gold.

use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, sorted};

fn add_tables(sandbox: &Sandbox) {
    sandbox.write_project_file(
        "silver/pictures.toml",
        r#"
description = "One row an exam with an image: where the image lies."
strategy = "by_record"
key = ["exam_id"]
sequence = "published_at"

[columns.exam_id]
type = "STRING"
required = true
comment = "The exam."

[columns.format]
type = "STRING"
comment = "The end of the image's name."

[columns.published_at]
type = "TIMESTAMP"
required = true
comment = "When the event was published."

[expectations.known_format]
condition = "format IN ('dcm', 'png')"
severity = "quarantine"
comment = "Other images cannot be shown."
"#,
    );
    sandbox.write_project_file(
        "silver/pictures.sql",
        "SELECT e.content['id'] AS exam_id, SPLIT_PART(e.content['image_path'], '.', 2) AS format,
  e.publication_timestamp AS published_at
FROM bronze.exam_events AS e
WHERE e.content['image_path'] IS NOT NULL",
    );
    sandbox.write_project_file(
        "silver/labelled.toml",
        r#"
description = "One row an exam: how many of its labels have a value."
strategy = "by_key"
key = ["exam_id"]
replace_by = ["exam_id"]

[columns.exam_id]
type = "STRING"
required = true
comment = "The exam."

[columns.labels]
type = "BIGINT"
required = true
comment = "Labels with a value."

[expectations.some]
condition = "labels > 0"
severity = "quarantine"
comment = "An exam whose labels all lack a value."
"#,
    );
    sandbox.write_project_file(
        "silver/labelled.sql",
        "SELECT exam_id, COUNT(value) AS labels FROM silver.exam_labels GROUP BY exam_id",
    );
    sandbox.write_project_file(
        "gold/formats.toml",
        r#"
description = "Images by format, and how many labels with a value they have."
strategy = "whole"
key = ["format"]

[columns.format]
type = "STRING"
required = true
comment = "The end of the image's name."

[columns.images]
type = "BIGINT"
required = true
comment = "Exams with such an image."

[columns.labels]
type = "BIGINT"
required = true
comment = "Their labels."
"#,
    );
    sandbox.write_project_file(
        "gold/formats.sql",
        "SELECT i.format, COUNT(*) AS images, COALESCE(SUM(l.labels), 0) AS labels
FROM silver.pictures AS i LEFT JOIN silver.labelled AS l ON i.exam_id = l.exam_id
GROUP BY i.format",
    );
}

/// An event; each label is a value or null.
fn event(id: u32, at: u32, image: Value, labels: &[Value]) -> Value {
    let labels: Vec<Value> = labels.iter().map(|value| json!({"classification": "mass", "value": value})).collect();
    json!({"content": {"id": id, "image_path": image, "labels": labels}, "publication_timestamp": at})
}

fn deliver(sandbox: &Sandbox, name: &str, events: &[Value]) {
    sandbox.deliver(name, Value::from(events.to_vec()).to_string());
}

fn assert_tables(sandbox: &Sandbox, images: &[Value], labelled: &[Value], formats: &[Value], what: &str) {
    let same = |table: &str, columns: &[&str], expected: &[Value]| {
        let expected = expected.iter().map(|row| {
            columns
                .iter()
                .map(|c| (*c).to_owned())
                .zip(row.as_array().unwrap().clone())
                .collect::<serde_json::Map<_, _>>()
        });
        let expected = sorted(expected.map(Value::Object).collect());
        assert_same(&sandbox.columns(table, columns), &expected, &format!("{what}: {table}"));
    };
    same("silver.pictures", &["exam_id", "format"], images);
    same("silver.labelled", &["exam_id", "labels"], labelled);
    same("gold.formats", &["format", "images", "labels"], formats);
}

#[test]
fn a_new_table_is_two_files() {
    let sandbox = Sandbox::with_own_project();
    let given = [
        event(1, 10, json!("gs://b/1.dcm"), &[json!(true), json!(false)]),
        event(2, 10, json!("gs://b/2.png"), &[json!(null)]),
        event(3, 10, json!("gs://b/3.exe"), &[json!(true)]),
        event(4, 10, json!(null), &[]),
    ];
    deliver(&sandbox, "exam/a.json", &given);
    sandbox.run();
    let old = sandbox.versions();
    add_tables(&sandbox);
    sandbox.expect(0, &["check"]);
    let report = sandbox.run();
    let refreshed: Vec<&Value> = report["tables"].as_array().unwrap().iter().filter(|t| !t["why"].is_null()).collect();
    let refreshed: Vec<Value> = refreshed.iter().map(|table| json!([table["table"], table["why"]])).collect();
    let expected = ["gold.formats", "silver.labelled", "silver.pictures"].map(|name| json!([name, "first"]));
    assert_same(&sorted(refreshed), &sorted(expected.to_vec()), "only the new tables are computed");
    let now = sandbox.versions();
    let unchanged = old.iter().filter(|(name, _)| !name.starts_with("ops.") && *name != "silver.quarantine");
    for (name, version) in unchanged {
        assert_eq!(now[name], *version, "{name}");
    }
    assert_tables(
        &sandbox,
        &[json!(["1", "dcm"]), json!(["2", "png"])],
        &[json!(["1", 2]), json!(["3", 1])],
        &[json!(["dcm", 1, 2]), json!(["png", 1, 0])],
        "first",
    );
    let set_aside = |table: &str| {
        let rows = sandbox.columns("silver.quarantine", &["table", "reasons", "key"]);
        rows.into_iter().filter(|row| row["table"] == table).collect::<Vec<_>>()
    };
    let unknown = json!({"table": "silver.pictures", "reasons": ["known_format"], "key": null});
    assert_same(&set_aside("silver.pictures"), std::slice::from_ref(&unknown), "quarantine");
    let none = json!({"table": "silver.labelled", "reasons": ["some"], "key": r#"{"exam_id":"2"}"#});
    assert_same(&set_aside("silver.labelled"), &[none], "quarantine");

    // The new tables are kept up to date like all others: 1 changes its image, 2 gets a value, 4 comes late.
    let given = [
        event(1, 20, json!("gs://b/1.png"), &[json!(true)]),
        event(2, 20, json!("gs://b/2.png"), &[json!(true)]),
        event(4, 5, json!("gs://b/4.dcm"), &[json!(true)]),
    ];
    deliver(&sandbox, "exam/b.json", &given);
    sandbox.run();
    let images = [json!(["1", "png"]), json!(["2", "png"]), json!(["4", "dcm"])];
    let labelled = [json!(["1", 1]), json!(["2", 1]), json!(["3", 1])];
    let formats = [json!(["png", 2, 2]), json!(["dcm", 1, 0])];
    assert_tables(&sandbox, &images, &labelled, &formats, "after more events");
    assert_same(&set_aside("silver.pictures"), &[unknown], "what was set aside stays");
    assert_same(&set_aside("silver.labelled"), &[], "what passes now is no longer in quarantine");
    // A further run has nothing to do.
    sandbox.assert_up_to_date();
    sandbox.run_with(&["--full-refresh"]);
    assert_tables(&sandbox, &images, &labelled, &formats, "after a full refresh");
}

#[test]
fn columns_with_different_comments_can_be_united() {
    let sandbox = Sandbox::with_own_project();
    let contract = r#"
description = "Texts of exams, wherever they stand."
strategy = "by_key"
key = ["exam_id", "text"]
replace_by = ["exam_id"]

[columns.exam_id]
type = "STRING"
required = true
comment = "The exam."

[columns.text]
type = "STRING"
required = true
comment = "A text of it."
"#;
    sandbox.write_project_file("gold/texts.toml", contract);
    let sql = "SELECT exam_id, image_uri AS text FROM silver.exams WHERE image_uri IS NOT NULL\n\
               UNION ALL SELECT exam_id, classification FROM silver.exam_labels WHERE classification IS NOT NULL";
    sandbox.write_project_file("gold/texts.sql", sql);
    deliver(&sandbox, "exam/1.json", &[event(1, 10, json!("a.png"), &[json!(true)])]);
    sandbox.run();
    let texts = [json!({"exam_id": "1", "text": "mass"}), json!({"exam_id": "1", "text": "a.png"})];
    assert_same(&sandbox.rows("gold.texts"), &texts, "after the first run");
    deliver(&sandbox, "exam/2.json", &[event(1, 20, json!("a.png"), &[])]);
    sandbox.run();
    assert_same(&sandbox.rows("gold.texts"), &texts[1..], "after an increment");
    let asked = "SELECT exam_id FROM silver.exams UNION ALL SELECT labelled_by FROM silver.exam_labels";
    sandbox.expect(0, &["query", asked]);
}
