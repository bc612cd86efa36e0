//! A table that numbers keys: a number is given once and kept, whatever comes later and in whatever order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, project};

/// Two keys that would have the same number, were they not in one table.
const COLLIDING: [&str; 2] = ["k44314", "k47992"];

const CONTRACT: &str = r#"
description = "A number for each exam."
strategy = "surrogate"
key = ["identity"]
inherits = "previous"

[columns.number]
type = "INT"
surrogate = true
comment = "The number."

[columns.identity]
type = "STRING"
required = true
comment = "The exam."

[columns.previous]
type = "STRING"
comment = "The exam whose number it took over."

[expectations.short]
condition = "LENGTH(identity) < 10"
severity = "quarantine"
"#;

const SQL: &str = "SELECT DISTINCT NULLIF(exam_id, 'nobody') AS identity, dataset AS previous FROM silver.exams";

const NAMED: &str = r#"
description = "Exams with their numbers."
strategy = "by_key"
key = ["exam_id"]
replace_by = ["exam_id"]

[columns.exam_id]
type = "STRING"
required = true
comment = "The exam."

[columns.number]
type = "INT"
comment = "Its number."
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_own_project();
    sandbox.write_project_file("silver/numbers.toml", CONTRACT);
    sandbox.write_project_file("silver/numbers.sql", SQL);
    sandbox.write_project_file("gold/numbered.toml", NAMED);
    sandbox.write_project_file(
        "gold/numbered.sql",
        "SELECT e.exam_id, n.number FROM silver.exams AS e LEFT JOIN silver.numbers AS n ON e.exam_id = n.identity",
    );
    sandbox
}

/// Delivers exams, each with the one whose number it may take over, and runs.
fn run(sandbox: &Sandbox, file: &str, exams: &[(&str, Option<&str>)]) -> Value {
    let event = |(id, previous): &(&str, Option<&str>)| json!({"content": {"id": id, "dataset": previous, "labels": []}, "publication_timestamp": 10});
    let events: Vec<Value> = exams.iter().map(event).collect();
    sandbox.deliver(&format!("exam/{file}.json"), Value::from(events).to_string());
    sandbox.run()
}

fn numbers(sandbox: &Sandbox) -> BTreeMap<String, i64> {
    let rows = sandbox.rows("silver.numbers").into_iter();
    rows.map(|row| (row["identity"].as_str().unwrap().to_owned(), row["number"].as_i64().unwrap())).collect()
}

fn of_numbers(report: &Value, columns: &[&str]) -> Value {
    let tables = report["tables"].as_array().unwrap();
    project(tables.iter().find(|table| table["table"] == "silver.numbers").unwrap(), columns)
}

#[test]
fn numbers_do_not_depend_on_the_runs_and_are_kept() {
    let (one, other) = (sandbox(), sandbox());
    run(&one, "a", &[("1", None), ("2", None), ("3", None), ("4", None)]);
    run(&other, "a", &[("4", None), ("2", None)]);
    let report = run(&other, "b", &[("3", None), ("2", None), ("1", None)]);
    assert_eq!(
        of_numbers(&report, &["why", "passed", "written", "replaced"]),
        json!({"why": "new-input", "passed": 2, "written": 2, "replaced": 0})
    );
    assert_eq!(numbers(&one), numbers(&other));
    assert_eq!(numbers(&one).len(), 4);
    assert!(numbers(&one).values().all(|number| *number > 0));
    other.assert_up_to_date();
    let report = other.run_with(&["--full-refresh"]);
    assert_eq!(of_numbers(&report, &["passed", "written"]), json!({"passed": 4, "written": 0}));
    assert_eq!(numbers(&one), numbers(&other));
    // What reads the numbers knows them, those that came in the second run too.
    let numbered = other.rows("gold.numbered").into_iter();
    let known = |row: Value| (row["exam_id"].as_str().unwrap().to_owned(), row["number"].as_i64().unwrap());
    assert_eq!(numbered.map(known).collect::<BTreeMap<_, _>>(), numbers(&other));
}

#[test]
fn of_two_keys_that_would_share_a_number_the_first_keeps_it() {
    let [a, b] = COLLIDING;
    let alone = |key: &str| {
        let sandbox = sandbox();
        run(&sandbox, "a", &[(key, None)]);
        numbers(&sandbox)[key]
    };
    assert_eq!(alone(a), alone(b), "these keys are here because they collide");
    for [first, second] in [[a, b], [b, a]] {
        let sandbox = sandbox();
        run(&sandbox, "a", &[(first, None), ("1", None)]);
        run(&sandbox, "b", &[(second, None)]);
        let given = numbers(&sandbox);
        assert_eq!(given[first], alone(first));
        assert_ne!(given[second], given[first]);
        sandbox.run_with(&["--full-refresh"]);
        assert_eq!(numbers(&sandbox), given);
    }
}

#[test]
fn a_new_key_takes_over_the_number_of_the_one_before() {
    let sandbox = sandbox();
    run(&sandbox, "a", &[("old", None), ("unknown", Some("nowhere"))]);
    let old = numbers(&sandbox)["old"];
    run(&sandbox, "b", &[("new", Some("old")), ("other", None)]);
    run(&sandbox, "c", &[("newest", Some("new")), ("rival", Some("old"))]);
    let given = numbers(&sandbox);
    assert_eq!([given["new"], given["newest"]], [old, old]);
    assert_ne!(given["rival"], old, "a number goes on once");
    let expected = [
        ("old", None),
        ("unknown", None),
        ("new", Some("old")),
        ("other", None),
        ("newest", Some("new")),
        ("rival", None),
    ];
    let expected: Vec<Value> = expected.iter().map(|(key, from)| json!({"identity": key, "previous": from})).collect();
    assert_same(&sandbox.columns("silver.numbers", &["identity", "previous"]), &expected, "silver.numbers");
    // One run over all of it may let the rival take over instead, but not both.
    let whole = self::sandbox();
    run(&whole, "a", &[("old", None), ("new", Some("old")), ("newest", Some("new")), ("rival", Some("old"))]);
    let given = numbers(&whole);
    assert_eq!(given["old"], old);
    assert!((given["new"] == old) != (given["rival"] == old), "{given:?}");
    assert_eq!(given["newest"], given["new"]);
}

#[test]
fn keys_that_fail_are_set_aside_and_get_no_number() {
    let sandbox = sandbox();
    let report = run(&sandbox, "a", &[("1", None), ("much too long", None), ("nobody", None)]);
    let counts = json!({"input": 3, "passed": 1, "quarantined": 2, "written": 1});
    assert_eq!(of_numbers(&report, &["input", "passed", "quarantined", "written"]), counts);
    let reasons = |sandbox: &Sandbox| {
        let rows = sandbox.columns("silver.quarantine", &["table", "reasons"]).into_iter();
        rows.filter(|row| row["table"] == "silver.numbers").map(|row| row["reasons"].to_string()).collect::<Vec<_>>()
    };
    let expected = [r#"["identity_required","short"]"#, r#"["short"]"#];
    assert_eq!(reasons(&sandbox), expected);
    // Setting aside is of a key: the next run, over other keys, leaves it, and so does one over all.
    run(&sandbox, "b", &[("2", None)]);
    assert_eq!(reasons(&sandbox), expected);
    sandbox.run_with(&["--full-refresh"]);
    assert_eq!(reasons(&sandbox), expected);
    let failed = sandbox.columns("ops.expectations", &["table", "expectation", "failed"]);
    assert!(failed.contains(&json!({"table": "silver.numbers", "expectation": "short", "failed": 2})), "{failed:?}");
}

#[test]
fn numbers_outlive_a_change_of_the_contract_but_not_another_key() {
    let sandbox = sandbox();
    run(&sandbox, "a", &[("1", None), ("2", None)]);
    let given = numbers(&sandbox);
    sandbox.edit_project_file("silver/numbers.sql", "FROM silver.exams", "FROM silver.exams WHERE exam_id <> '1'");
    sandbox.edit_project_file("silver/numbers.toml", "A number for each exam.", "Numbers of exams.");
    let report = sandbox.run();
    assert_eq!(of_numbers(&report, &["why", "written"]), json!({"why": "contract-changed", "written": 0}));
    assert_eq!(numbers(&sandbox), given);
    let described = sandbox.table("silver.numbers", None);
    assert_eq!(described.delta().snapshot().unwrap().metadata().description(), Some("Numbers of exams."));
    // The column that says where a number comes from may go and come.
    sandbox.edit_project_file("silver/numbers.toml", "inherits = \"previous\"", "");
    sandbox.edit_project_file(
        "silver/numbers.toml",
        "[columns.previous]\ntype = \"STRING\"\ncomment = \"The exam whose number it took over.\"",
        "",
    );
    sandbox.edit_project_file("silver/numbers.sql", ", dataset AS previous", "");
    run(&sandbox, "b", &[("3", None)]);
    sandbox.write_project_file("silver/numbers.toml", CONTRACT);
    sandbox.write_project_file("silver/numbers.sql", SQL);
    run(&sandbox, "c", &[("4", Some("3"))]);
    run(&sandbox, "d", &[("5", Some("4")), ("6", Some("4"))]);
    let now = numbers(&sandbox);
    assert!(given.iter().all(|(key, number)| now[key] == *number));
    assert_eq!(now["4"], now["3"]);
    assert_ne!(now["5"], now["6"]);
    let before = sandbox.table("silver.numbers", None).version();
    sandbox.write_project_file("silver/numbers.toml", &CONTRACT.replace("\"INT\"", "\"BIGINT\""));
    sandbox.edit_project_file("gold/numbered.toml", "\"INT\"", "\"BIGINT\"");
    let outcome = sandbox.expect(1, &["run"]);
    assert!(
        outcome.stderr.contains("silver.numbers: its key or number has another name or type"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("numbers are kept for ever"), "{}", outcome.stderr);
    assert_eq!(sandbox.table("silver.numbers", None).version(), before);
}

#[test]
fn a_dry_run_tells_how_many_keys_changed() {
    let sandbox = sandbox();
    run(&sandbox, "a", &[("1", None), ("2", None)]);
    sandbox.deliver("exam/b.json", r#"{"content": {"id": "3", "labels": []}, "publication_timestamp": 20}"#);
    sandbox.run_with(&["--stage", "bronze"]);
    sandbox.run_with(&["--select", "silver.exams"]);
    let plan = sandbox.expect(0, &["run", "--dry-run"]).stdout;
    let line = plan.lines().find(|line| line.contains("silver.numbers")).unwrap();
    assert!(line.contains("refresh 1 keys: new input in silver.exams"), "{plan}");
}

#[test]
fn a_release_with_numbers_comes_out_again_but_for_them() {
    let sandbox = sandbox();
    run(&sandbox, "a", &[("1", None), ("2", None), ("nobody", None)]);
    run(&sandbox, "b", &[("2", None), ("3", Some("1"))]);
    for release in ["1", "2"] {
        let compared = sandbox.expect(0, &["replay", "--verify", release, "--format", "json"]).json();
        let tables = compared.as_array().unwrap();
        let outcome = |name: &str| &tables.iter().find(|table| table["table"] == name).unwrap()["outcome"];
        assert_eq!((outcome("silver.numbers"), outcome("gold.numbered")), (&json!("kept"), &json!("equal")));
        assert!(tables.iter().all(|table| table["outcome"] != "differs"), "{compared}");
    }
}
