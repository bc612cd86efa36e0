//! Small increments of exams, with something of everything: new keys, keys that change, records that cannot be read.

use medalha::run::Options;
use serde_json::Value;

use crate::harness::{Sandbox, assert_same};

/// Delivers an increment: some exams, an older one with another body part, and a record that is no JSON.
pub fn deliver(sandbox: &Sandbox, number: u32, exams: u32) {
    let event = |id: u32, part: &str| {
        format!(
            r#"{{"content": {{"id": {id}, "body_part": "{part}", "labels": [{{"classification": "mass", "value": {}}}]}},
                "publication_timestamp": {}}}"#,
            id.is_multiple_of(2),
            1_700_000_000 + number
        )
    };
    let first = number * exams;
    let mut events: Vec<String> = (first..first + exams).map(|id| event(id, "CHEST")).collect();
    events.push(event(first / 2, "HAND"));
    events.push(format!(r#"{{"content": {{"id": {number}x}}}}"#));
    sandbox.deliver(&format!("exam/{number:05}.json"), format!("[{}]", events.join(",\n")));
}

/// Delivers increments of three exams, with a run after each.
pub fn increments(sandbox: &Sandbox, numbers: std::ops::Range<u32>) {
    for number in numbers {
        deliver(sandbox, number, 3);
        sandbox.run_in_process(&Options::default());
    }
}

/// A lake that took so many increments in one undisturbed run.
pub fn fresh(increments: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    (0..increments).for_each(|number| deliver(&sandbox, number, 3));
    sandbox.run_in_process(&Options::default());
    sandbox
}

/// The rows of all tables, but for the list of releases.
pub fn rows(sandbox: &Sandbox) -> Vec<(String, Vec<Value>)> {
    let names = sandbox.tables(&["bronze", "silver", "gold", "ops"]);
    let names = names.into_iter().filter(|name| name != "ops.releases");
    names.map(|name| (name.clone(), sandbox.rows(&name))).collect()
}

/// Checks that tables hold the rows that they held before.
pub fn assert_rows_are(sandbox: &Sandbox, before: &[(String, Vec<Value>)], what: &str) {
    for (table, before) in before {
        assert_same(&sandbox.rows(table), before, &format!("{what}: {table}"));
    }
}

/// Checks a lake against one that took the same increments undisturbed: all rows, each file once, nothing left to do.
pub fn assert_undisturbed(sandbox: &Sandbox, increments: u32, what: &str) {
    let fresh = fresh(increments);
    sandbox.assert_same_rows(&fresh, what);
    let records = |of: &Sandbox| of.columns("bronze.exam_events", &["payload", "payload_bytes", "_row"]);
    assert_same(&records(sandbox), &records(&fresh), &format!("{what}: bronze"));
    let name = |row: &Value| Value::from(row["uri"].as_str().unwrap().rsplit('/').next().unwrap());
    let files = |of: &Sandbox| of.rows("ops.files").iter().map(name).collect::<Vec<_>>();
    assert_same(&files(sandbox), &files(&fresh), &format!("{what}: each file once"));
    sandbox.assert_up_to_date();
    sandbox.expect(0, &["fsck", "--deep"]);
}
