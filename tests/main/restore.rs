//! `pipeline restore`: tables are as they were, and the next run makes them what they would be.

use serde_json::Value;

use crate::harness::{Sandbox, assert_same};
use crate::increments::{assert_undisturbed, increments};

/// The rows of a release's tables, by the versions that it names.
fn release(sandbox: &Sandbox, number: u64) -> Vec<(String, u64, Vec<Value>)> {
    let members = sandbox.rows("ops.releases").into_iter().filter(|row| row["release"] == number);
    let member = |row: Value| {
        let (table, version) = (row["table"].as_str().unwrap().to_owned(), row["version"].as_u64().unwrap());
        let rows = sandbox.rows_at(&table, Some(version));
        (table, version, rows)
    };
    members.map(member).collect()
}

#[test]
fn each_table_alone() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..4);
    let then = release(&sandbox, 2);
    for (table, version, rows) in &then {
        if table == "silver.quarantine" || sandbox.table(table, None).version() == *version {
            continue;
        }
        sandbox.expect(0, &["restore", table, "--to", &version.to_string()]);
        assert_same(&sandbox.rows(table), rows, &format!("{table} is as it was"));
        sandbox.run();
        assert_undisturbed(&sandbox, 4, &format!("after {table} was restored"));
    }
}

#[test]
fn bronze_again_and_again() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..3);
    let version = sandbox.table("bronze.exam_events", None).version();
    let before = version.to_string();
    increments(&sandbox, 3..5);
    for turn in 0..2 {
        sandbox.expect(0, &["restore", "bronze.exam_events", "--to", &before]);
        // Bronze alone comes further than silver had seen it: its batches must not be taken for those that went.
        sandbox.run_with(&["--stage", "bronze"]);
        sandbox.run();
        assert_undisturbed(&sandbox, 5, &format!("turn {turn}"));
    }
    // The batches that were taken out cannot come back: their files were taken in again under other numbers.
    let outcome = sandbox.expect(2, &["restore", "bronze.exam_events", "--to", &(version + 1).to_string()]);
    assert!(outcome.stderr.contains("were taken out since"), "{}", outcome.stderr);
    // A file that was delivered meanwhile is taken in as ever.
    increments(&sandbox, 5..6);
    assert_undisturbed(&sandbox, 6, "one more");
}

#[test]
fn a_whole_release() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..4);
    let then = release(&sandbox, 2);
    let report = sandbox.expect(0, &["restore", "--release", "2", "--format", "json"]).json();
    assert_eq!(report["release"], 5, "{report}");
    for (table, _, rows) in &then {
        assert_same(&sandbox.rows(table), rows, table);
    }
    sandbox.expect(0, &["fsck", "--deep"]);
    let report = sandbox.run();
    let of = |name: &str| report["tables"].as_array().unwrap().iter().find(|row| row["table"] == name).unwrap().clone();
    assert_eq!(of("silver.exams")["why"], "new-input", "it goes on from there: {report}");
    assert_undisturbed(&sandbox, 4, "after the release was restored");
    sandbox.expect(0, &["restore", "--release", "2"]);
    sandbox.expect(0, &["maintain", "--keep", "0s"]);
    sandbox.run();
    assert_undisturbed(&sandbox, 4, "restored, maintained and run");
}

#[test]
fn what_cannot_be_restored() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..2);
    let before = sandbox.listing();
    for (args, fact) in [
        (&["ops.files", "--to", "1"][..], "history stays"),
        (&["silver.quarantine", "--to", "1"], "other tables"),
        (&["silver.exams", "--to", "99"], "no version 99"),
        (&["silver.exam", "--to", "1"], "silver.exams"),
        (&["--release", "9"], "no release 9"),
        (&["silver.exams"], "--to"),
    ] {
        let outcome = sandbox.expect(2, &[&["restore"], args].concat());
        assert!(outcome.stderr.contains(fact), "{args:?}: {}", outcome.stderr);
    }
    sandbox.assert_files_are(&before, "a restore that was refused");
}
