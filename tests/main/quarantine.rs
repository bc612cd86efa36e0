//! The quarantine as a loop: rows are set aside, rules are mended, and the rows concerned run again, once.

use serde_json::{Value, json};

use crate::harness::Sandbox;

const EXAMS: &str = "silver/exams.toml";

fn exam(id: Value, at: i64) -> Value {
    json!({"content": {"id": id, "source": ["hospital"], "dataset_type": "private", "dataset": "batch",
                       "body_part": "CHEST", "image_path": "gs://images/x.dcm", "labels": []},
           "publication_timestamp": at})
}

/// Three exams pass, two have a dataset that a rule forbids, one has no id.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_own_project();
    rule(&sandbox, "dataset = 'batch'");
    let mut events: Vec<Value> = (1..=5).map(|id| exam(json!(id), 100)).collect();
    events[3]["content"]["dataset"] = json!("later");
    events[4]["content"]["dataset"] = json!("never");
    events.push(exam(Value::Null, 100));
    sandbox.deliver("exam/1.json", Value::from(events).to_string());
    sandbox.run();
    assert_eq!(sandbox.count("silver.exams"), 3);
    sandbox
}

/// Puts the rule `known_dataset` in place of the one before it.
fn rule(sandbox: &Sandbox, condition: &str) {
    let text = std::fs::read_to_string(sandbox.project_file(EXAMS)).unwrap();
    let text = text.split("\n[expectations.known_dataset]").next().unwrap();
    let rule = format!("\n[expectations.known_dataset]\ncondition = \"{condition}\"\nseverity = \"quarantine\"\n");
    sandbox.write_project_file(EXAMS, &(text.to_owned() + &rule));
}

fn retry(sandbox: &Sandbox) -> Value {
    let report = sandbox.expect(0, &["quarantine", "retry", "--format", "json"]).json();
    let of_exams = |table: &&Value| table["table"] == "silver.exams";
    report["tables"].as_array().unwrap().iter().find(of_exams).unwrap().clone()
}

/// A fresh lake with the same data and rules.
fn fresh(sandbox: &Sandbox) -> Sandbox {
    let fresh = Sandbox::with_own_project();
    fresh.write_project_file(EXAMS, &std::fs::read_to_string(sandbox.project_file(EXAMS)).unwrap());
    std::fs::copy(sandbox.path("data/exam/1.json"), fresh.path("data/exam/1.json")).unwrap();
    fresh.run();
    fresh
}

#[test]
fn the_list_groups_by_rule_and_shows_where_one_stands() {
    let sandbox = sandbox();
    let list = sandbox.expect(0, &["quarantine", "list", "--format", "json"]).json();
    let rules: Vec<_> = list.as_array().unwrap().iter().map(|g| (&g["rule"], &g["rows"], &g["row"])).collect();
    assert_eq!(rules[0], (&json!("known_dataset"), &json!(2), &json!(3)));
    assert_eq!(rules[1], (&json!("exam_id_required"), &json!(1), &json!(5)));
    let shown = ["quarantine", "show", "silver.exams", "--rule", "known_dataset", "--format", "json"];
    let shown = sandbox.expect(0, &shown).json();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert!(shown[0]["payload"].as_str().unwrap().contains("later"));
}

#[test]
fn mended_rules_take_the_rows_concerned_in_once() {
    let sandbox = sandbox();
    rule(&sandbox, "dataset <> 'never'");
    let report = retry(&sandbox);
    assert_eq!((&report["why"], &report["input"], &report["passed"]), (&json!("retry"), &json!(3), &json!(1)));
    let rows = sandbox.rows("silver.quarantine");
    let released: Vec<&Value> = rows.iter().filter(|row| row["status"] == "released").collect();
    assert_eq!(released.len(), 1, "{rows:?}");
    assert_eq!((&released[0]["_row"], &released[0]["_batch"]), (&json!(3), &json!(1)));
    assert!(released[0]["released_by"].is_string());
    let version = sandbox.table("silver.exams", None).version();
    assert_eq!(retry(&sandbox)["status"], "unchanged", "a second time");
    sandbox.run();
    assert_eq!(sandbox.table("silver.exams", None).version(), version, "nothing is computed anew");
    sandbox.assert_up_to_date();
    sandbox.assert_same_rows(&fresh(&sandbox), "the same as computed anew");
    sandbox.expect(0, &["replay", "--verify", "3"]);
}

#[test]
fn rules_that_rows_of_the_table_break_are_applied_to_all() {
    let sandbox = sandbox();
    rule(&sandbox, "dataset = 'later'");
    assert_eq!(retry(&sandbox)["why"], "contract-changed");
    assert_eq!(sandbox.columns("silver.exams", &["exam_id"]), [json!({"exam_id": "4"})]);
    sandbox.run();
    sandbox.assert_same_rows(&fresh(&sandbox), "the same as computed anew");
}

#[test]
fn where_the_sql_changed_all_rows_are_computed_and_those_taken_in_are_told() {
    let sandbox = sandbox();
    rule(&sandbox, "dataset <> 'never'");
    sandbox.edit_project_file("silver/exams.sql", "SELECT", "SELECT -- \n ");
    assert_eq!(retry(&sandbox)["why"], "contract-changed");
    assert_eq!(sandbox.count("silver.exams"), 4);
    let released = sandbox.rows("silver.quarantine").iter().filter(|row| row["status"] == "released").count();
    assert_eq!(released, 1);
    sandbox.run_with(&["--full-refresh"]);
    let after = sandbox.rows("silver.quarantine").iter().filter(|row| row["status"] == "released").count();
    assert_eq!(after, 1, "the link stays");
}

#[test]
fn a_file_that_came_half_and_then_whole_is_told() {
    let sandbox = Sandbox::with_own_project();
    let whole = Value::from(vec![exam(json!(1), 100), exam(json!(2), 100)]).to_string();
    sandbox.deliver("exam/1.json", &whole[..whole.len() - 20]);
    sandbox.deliver("exam/2.json", "{\"content\": {");
    sandbox.run();
    let list = || sandbox.expect(0, &["quarantine", "list", "--format", "json"]).json();
    let of = |list: &Value, what: &str| list.as_array().unwrap().iter().map(|g| g[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((of(&list(), "rows"), of(&list(), "of_changed_files")), (2, 0));
    sandbox.deliver("exam/1.json", &whole);
    sandbox.run();
    assert_eq!(sandbox.count("silver.exams"), 2);
    assert_eq!((of(&list(), "rows"), of(&list(), "of_changed_files")), (2, 1), "the other file is as it was");
    let shown = sandbox.expect(0, &["quarantine", "show", "--format", "json"]).json();
    let changed = shown.as_array().unwrap().iter().filter(|row| row["file_changed"] == true).count();
    assert_eq!(changed, 1, "{shown}");
}
