//! Releases come out again from their bronze tables and their contracts.

use medalha::lake::Commit;
use serde_json::{Value, json};

use crate::harness::Sandbox;

/// What weighs labels.
const CONSENSUS: &str = "gold/exam_label_consensus.sql";

fn exam(id: i64, body_part: &str, at: i64, labels: &[(&str, bool)]) -> Value {
    let label = |(class, value): &(&str, bool)| {
        json!({"classification": class, "labelled_by": "A. Person", "labelled_date": "2021-03-04",
               "labelling_method": "physician", "classification_type": "binary", "value": value})
    };
    let labels: Vec<Value> = labels.iter().map(label).collect();
    json!({"content": {"id": id, "source": ["hospital"], "dataset_type": "private", "dataset": "batch",
                       "body_part": body_part, "image_path": format!("gs://images/{id}.dcm"), "labels": labels},
           "publication_timestamp": at})
}

/// Three releases: the second brings a later event and a broken one, the third other rules.
fn three_releases() -> Sandbox {
    let sandbox = Sandbox::with_own_project();
    let first = [exam(1, "CHEST", 100, &[("edema", true)]), exam(2, "HAND", 100, &[("mass", true), ("hernia", false)])];
    sandbox.deliver("exam/1.json", json!(first).to_string());
    sandbox.run();
    let second = [exam(1, "BREAST", 200, &[]), exam(2, "FOOT", 50, &[]), exam(3, "CHEST", 100, &[("edema", false)])];
    sandbox.deliver("exam/2.json", format!("{}\n{{\"content\": {{", json!(second)));
    sandbox.run();
    sandbox.edit_project_file(CONSENSUS, " 10", " 7");
    assert_eq!(sandbox.run()["release"], 3);
    sandbox
}

fn is_equal(sandbox: &Sandbox, release: &str) -> bool {
    let compared = sandbox.expect(0, &["replay", "--verify", release, "--format", "json"]).json();
    let tables = compared.as_array().unwrap();
    assert!(tables.iter().any(|table| table["table"] == "silver.quarantine"));
    assert!(tables.len() >= 6, "{compared}");
    tables.iter().all(|table| table["released"] == table["replayed"])
}

#[test]
fn every_release_comes_out_of_its_own_inputs_and_rules() {
    let sandbox = three_releases();
    let before = sandbox.listing();
    for release in ["1", "2", "3"] {
        assert!(is_equal(&sandbox, release), "release {release}");
    }
    sandbox.assert_files_are(&before, "a replay");
}

#[test]
fn a_replay_goes_to_a_lake_of_its_own() {
    let sandbox = three_releases();
    let into = sandbox.path("june").display().to_string();
    sandbox.expect(0, &["replay", "--as-of", "1", "--into", &into]);
    let ask = ["query", "SELECT exam_id, body_part FROM silver.exams ORDER BY exam_id", "--format", "json"];
    let asked = sandbox.expect(0, &[&ask[..], &["--as-of", "1"]].concat()).json();
    assert_eq!(asked[0]["body_part"], "CHEST");
    let again = sandbox.expect(2, &["replay", "--as-of", "1", "--into", &into]);
    assert!(again.stderr.contains("hint: give a new or an empty place"), "{}", again.stderr);
    sandbox.expect(2, &["replay", "--as-of", "9", "--into", &into]);
    std::fs::rename(sandbox.path("lake"), sandbox.path("now")).unwrap();
    std::fs::rename(into, sandbox.path("lake")).unwrap();
    assert_eq!(sandbox.expect(0, &ask).json(), asked);
}

#[test]
fn rows_that_do_not_come_out_are_told() {
    let sandbox = three_releases();
    // Somebody takes rows out of a table; the next release has it without them.
    let mut table = sandbox.table("gold.label_completeness", None);
    let removes = table.files().unwrap().iter().map(|file| file.remove()).collect();
    let commit = Commit { removes, run: "by hand".to_owned(), ..Commit::default() };
    sandbox.block_on(table.commit(&sandbox.lake(), commit)).unwrap();
    sandbox.deliver("exam/3.json", json!([exam(4, "CHEST", 100, &[])]).to_string());
    assert_eq!(sandbox.run()["release"], 4);
    let told = sandbox.expect(1, &["replay", "--verify", "4"]);
    assert!(told.stderr.contains("error: other rows come out: gold.label_completeness\n"), "{}", told.stderr);
    assert!(is_equal(&sandbox, "3"), "what came later does not change a release");
}

#[test]
fn a_run_as_of_a_release_goes_back_and_the_next_run_goes_on() {
    let sandbox = three_releases();
    let (now, then) = (sandbox.rows("silver.exams"), sandbox.rows_at("silver.exams", Some(1)));
    sandbox.run_with(&["--as-of", "1"]);
    assert_eq!(sandbox.rows("silver.exams"), then);
    assert_eq!(sandbox.rows("gold.label_completeness").len(), 2);
    sandbox.run();
    assert_eq!(sandbox.rows("silver.exams"), now);
    assert_eq!(sandbox.rows("gold.label_completeness").len(), 3);
    sandbox.assert_up_to_date();
}

#[test]
fn a_table_that_no_contract_declares_any_more_is_not_computed_and_not_held_against_a_release() {
    let sandbox = three_releases();
    for file in ["gold/label_activity_monthly.toml", "gold/label_activity_monthly.sql"] {
        std::fs::remove_file(sandbox.project_file(file)).unwrap();
    }
    let queries = sandbox.project_file("queries");
    std::fs::remove_dir_all(queries).unwrap();
    sandbox.deliver("exam/3.json", json!([exam(4, "CHEST", 100, &[])]).to_string());
    sandbox.run();
    let compared = sandbox.expect(0, &["replay", "--verify", "4", "--format", "json"]).json();
    let kept: Vec<&Value> = compared.as_array().unwrap().iter().filter(|table| table["outcome"] == "kept").collect();
    assert_eq!(kept.len(), 1, "{compared}");
    assert_eq!(kept[0]["table"], "gold.label_activity_monthly");
}
