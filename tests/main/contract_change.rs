//! A contract that changed: what depends on it is computed anew, and nothing else.

use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, project};

fn events() -> String {
    let event = |id: u32, body_part: &str, class: &str| {
        json!({"content": {"id": id, "body_part": body_part, "labels": [{"classification": class, "labelled_date": "2021-12-05",
            "labelling_method": "physician", "value": true}]}, "publication_timestamp": 10 + id})
    };
    json!([event(1, "chest", "covid"), event(2, "peito", "kovid"), event(3, "hand", "mass")]).to_string()
}

/// The tables that a run refreshed, with the cause.
fn refreshed(report: &Value) -> Vec<(String, String)> {
    let tables = report["tables"].as_array().unwrap().iter().filter(|table| !table["why"].is_null());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    tables.map(|table| (text(&table["table"]), text(&table["why"]))).collect()
}

fn delivered() -> Sandbox {
    let sandbox = Sandbox::with_own_project();
    sandbox.deliver("exam/a.json", events());
    sandbox.run();
    sandbox
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(table, why)| ((*table).to_owned(), (*why).to_owned())).collect()
}

#[test]
fn a_changed_reference_recomputes_what_reads_it() {
    let sandbox = delivered();
    let path = sandbox.project_file("reference/body_parts.csv");
    let text = std::fs::read_to_string(&path).unwrap() + "peito,CHEST\n";
    std::fs::write(path, text).unwrap();
    let report = sandbox.run();
    let why = refreshed(&report);
    assert!(why.contains(&("silver.exams".to_owned(), "contract-changed".to_owned())), "{why:?}");
    assert!(!why.iter().any(|(table, _)| table == "silver.reports"), "{why:?}");
    let expected =
        [("1", "CHEST"), ("2", "CHEST"), ("3", "HAND")].map(|(id, part)| json!({"exam_id": id, "body_part": part}));
    assert_same(&sandbox.columns("silver.exams", &["exam_id", "body_part"]), &expected, "silver.exams");
    // Once is enough.
    sandbox.assert_up_to_date();
}

#[test]
fn a_changed_reference_of_a_child_leaves_its_parent_alone() {
    let sandbox = delivered();
    let path = sandbox.project_file("reference/label_classes.csv");
    let text = std::fs::read_to_string(&path).unwrap() + "kovid,covid19,true\n";
    std::fs::write(path, text).unwrap();
    let report = sandbox.run();
    let expected = owned(&[
        ("silver.exam_labels", "contract-changed"),
        ("gold.exam_label_consensus", "new-input"),
        ("gold.exam_catalog", "new-input"),
        ("gold.label_activity_monthly", "new-input"),
        ("gold.label_completeness", "contract-changed"),
    ]);
    assert_eq!(refreshed(&report), expected);
    let classes = ["covid19", "covid19", "mass"].map(|class| json!({"classification": class}));
    assert_same(&sandbox.columns("silver.exam_labels", &["classification"]), &classes, "silver.exam_labels");
    assert_eq!(sandbox.count("gold.label_activity_monthly"), 2);
}

#[test]
fn a_new_column_is_there_and_old_versions_can_be_read() {
    let sandbox = delivered();
    let old = sandbox.table("silver.exams", None).version();
    let column =
        "[columns.shouted]\ntype = \"STRING\"\ncomment = \"The body part, louder.\"\n\n[expectations.body_part_known]";
    sandbox.edit_project_file("silver/exams.toml", "[expectations.body_part_known]", column);
    let more = "UPPER(e.content['body_part']) || '!' AS shouted,\n  e.publication_timestamp AS published_at";
    sandbox.edit_project_file("silver/exams.sql", "e.publication_timestamp AS published_at", more);
    sandbox.run();
    let expected = ["CHEST!", "HAND!", "PEITO!"].map(|text| json!({"shouted": text}));
    assert_same(&sandbox.columns("silver.exams", &["shouted"]), &expected, "silver.exams");
    let rows = sandbox.rows_at("silver.exams", Some(old));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.get("shouted").is_none()));
}

#[test]
fn a_changed_key_or_list_of_statistics_is_in_the_log() {
    let sandbox = delivered();
    sandbox.edit_project_file("silver/exams.toml", r#"["published_at", "label_count"]"#, r#"["published_at"]"#);
    sandbox.run();
    let table = sandbox.table("silver.exams", None);
    let metadata = table.delta().snapshot().unwrap().metadata().configuration().clone();
    assert_eq!(metadata["delta.dataSkippingStatsColumns"], "exam_id,published_at");
    for file in table.files().unwrap() {
        let statistics: Value = serde_json::from_str(file.add().stats.as_deref().unwrap()).unwrap();
        assert!(statistics["maxValues"].get("label_count").is_none(), "{statistics}");
        assert!(statistics["maxValues"].get("body_part").is_none(), "{statistics}");
    }
}

#[test]
fn a_type_that_the_payload_gets_reaches_what_was_there_before() {
    let sandbox = delivered();
    sandbox.edit_project_file("bronze/exam_events.toml", "dataset STRING,", "dataset STRING,\n    colour STRING,");
    sandbox.deliver(
        "exam/b.json",
        r#"{"content": {"id": 4, "colour": "red", "labels": []}, "publication_timestamp": 20}"#,
    );
    let report = sandbox.run();
    let of_exams = report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "silver.exams").unwrap();
    let expected = json!({"why": "contract-changed", "input": 4, "passed": 4, "written": 4});
    assert_eq!(project(of_exams, &["why", "input", "passed", "written"]), expected);
    assert!(sandbox.rows("silver.exams").iter().all(|row| row["_rescued"].is_null()));
}
