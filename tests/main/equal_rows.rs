//! Rows that are computed anew and come out as they are.

use serde_json::{Value, json};

use crate::harness::{Sandbox, project};

fn event(id: u32, part: &str, is_there: bool, at: u32) -> String {
    format!(
        r#"{{"content": {{"id": {id}, "body_part": "{part}", "labels": [
            {{"classification": "mass", "labelling_method": "physician", "value": {is_there}}},
            {{"classification": "nodule", "labelling_method": "physician", "value": true}}
        ]}}, "publication_timestamp": {at}}}"#
    )
}

fn of_table(report: &Value, name: &str) -> Value {
    let tables = report["tables"].as_array().unwrap();
    let table = tables.iter().find(|table| table["table"] == name).unwrap();
    project(table, &["why", "written", "replaced"])
}

fn files(sandbox: &Sandbox, table: &str) -> Vec<String> {
    let mut files: Vec<_> = sandbox.table(table, None).files().unwrap().into_iter().map(|file| file.path).collect();
    files.sort();
    files
}

#[test]
fn rows_that_come_out_as_they_are_stay_in_their_files() {
    let sandbox = Sandbox::new();
    let events: Vec<String> = (1..=20).map(|id| event(id, "CHEST", true, 1_700_000_000)).collect();
    sandbox.deliver("exam/first.json", format!("[{}]", events.join(",")));
    sandbox.run();
    let (labels, consensus) = (files(&sandbox, "silver.exam_labels"), files(&sandbox, "gold.exam_label_consensus"));

    // Another body part, the same labels.
    sandbox.deliver("exam/second.json", event(3, "HAND", true, 1_700_000_001));
    let report = sandbox.run();
    assert_eq!(of_table(&report, "silver.exams"), json!({"why": "new-input", "written": 1, "replaced": 1}));
    assert_eq!(of_table(&report, "silver.exam_labels"), json!({"why": "new-input", "written": 0, "replaced": 0}));
    assert_eq!(files(&sandbox, "silver.exam_labels"), labels);
    assert_eq!(files(&sandbox, "gold.exam_label_consensus"), consensus);

    // One of its two labels is another.
    sandbox.deliver("exam/third.json", event(3, "HAND", false, 1_700_000_002));
    let report = sandbox.run();
    assert_eq!(of_table(&report, "silver.exam_labels"), json!({"why": "new-input", "written": 1, "replaced": 1}));
    let catalog = of_table(&report, "gold.exam_catalog");
    assert_eq!(catalog, json!({"why": "new-input", "written": 1, "replaced": 1}));

    let fresh = Sandbox::new();
    let files = ["first", "second", "third"].map(|name| format!("exam/{name}.json"));
    for file in files {
        fresh.deliver(&file, std::fs::read(sandbox.path(&format!("data/{file}"))).unwrap());
    }
    fresh.run();
    sandbox.assert_same_rows(&fresh, "after three runs");
    sandbox.assert_up_to_date();
    sandbox.expect(0, &["fsck", "--deep"]);
}
