//! Erasure: nothing of an exam is left in any file of the lake, and all else is as it was.

use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::harness::Sandbox;

/// An identifier, and words of its report and labels, that no other number or text holds.
const ID: &str = "777123456";
const WORDS: [&str; 3] = [ID, "Pneumonectomia-xyz", "Labeller-of-the-erased"];

fn exam(id: i64, at: i64, by: &str) -> Value {
    let label = json!({"classification": "edema", "labelled_by": by, "labelled_date": "2021-03-04",
                       "labelling_method": "physician", "classification_type": "binary", "value": true});
    json!({"content": {"id": id, "source": ["hospital"], "dataset_type": "private", "dataset": "batch",
                       "body_part": "CHEST", "image_path": format!("gs://images/{id}.dcm"), "labels": [label]},
           "publication_timestamp": at})
}

fn report(id: i64, text: &str) -> Value {
    json!({"content": {"exam_id": id, "report_date": "2021-03-05", "reported_by": "B. Person", "text": text}})
}

/// A lake with several versions, of which some are pinned and some maintained; with the exam or without it.
fn lake(with: bool) -> Sandbox {
    lake_in(Sandbox::new(), with)
}

fn lake_in(sandbox: Sandbox, with: bool) -> Sandbox {
    let id: i64 = ID.parse().unwrap();
    let mine = |event: Value| if with { vec![event] } else { Vec::new() };
    let mut first = vec![exam(1, 100, "A. Person"), exam(2, 100, "A. Person")];
    first.extend(mine(exam(id, 100, WORDS[2])));
    sandbox.deliver("exam/1.json", Value::from(first).to_string());
    let mut reports = vec![report(1, "Sem alterações.")];
    reports.extend(mine(report(id, WORDS[1])));
    sandbox.deliver("medical_report/1.json", Value::from(reports).to_string());
    sandbox.run();
    sandbox.expect(0, &["release", "pin", "1"]);
    let mut second = vec![exam(2, 200, "A. Person"), exam(3, 100, "A. Person")];
    second.extend(mine(exam(id, 300, WORDS[2])));
    // The exam's time is no time: its record is in quarantine.
    second.extend(mine(exam(id, 1_700_000_000_000, WORDS[2])));
    sandbox.deliver("exam/2.json", Value::from(second).to_string());
    sandbox.run();
    sandbox
}

fn traces(sandbox: &Sandbox) -> Vec<PathBuf> {
    traces_below(&sandbox.path("lake"), &WORDS)
}

/// The files below a folder that have one of the words in their bytes or, of Parquet, in their values.
pub fn traces_below(folder: &Path, words: &[&str]) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    let has_trace =
        |bytes: &[u8]| words.iter().any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()));
    let is_found = |path: &PathBuf| has_trace(&std::fs::read(path).unwrap()) || values_have_trace(path, has_trace);
    files.filter(|path| path.is_file() && is_found(path)).collect()
}

fn values_have_trace(path: &Path, has_trace: impl Fn(&[u8]) -> bool + Copy) -> bool {
    if path.extension().is_none_or(|extension| extension != "parquet") {
        return false;
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap());
    let reader = reader.unwrap().build().unwrap();
    let mut reader = reader.map(Result::unwrap);
    reader.any(|batch| {
        let rows = medalha_rows(&batch);
        rows.iter().any(|row| has_trace(row.as_bytes()))
            || batch.columns().iter().filter(|column| *column.data_type() == DataType::Binary).any(|column| {
                let bytes = cast(column, &DataType::Binary).unwrap();
                bytes.as_binary::<i32>().iter().flatten().any(has_trace)
            })
    })
}

fn medalha_rows(batch: &arrow::array::RecordBatch) -> Vec<String> {
    crate::harness::to_json(std::slice::from_ref(batch)).iter().map(Value::to_string).collect()
}

fn erase(sandbox: &Sandbox) -> Value {
    sandbox.expect(0, &["erase", "--format", "json", "--exam", ID]).json()
}

#[test]
fn nothing_is_left_and_the_rest_is_as_if_it_had_never_come() {
    let sandbox = lake(true);
    assert!(traces(&sandbox).len() > 10, "the search finds what is there");
    let certificate = erase(&sandbox);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    let rows = |table: &str| {
        let tables = certificate["tables"].as_array().unwrap();
        tables.iter().find(|row| row["table"] == table).map(|row| row["rows"].as_u64().unwrap())
    };
    assert_eq!(
        (rows("bronze.exam_events"), rows("silver.exams"), rows("silver.quarantine")),
        (Some(3), Some(1), Some(1))
    );
    assert_eq!(rows("silver.reports"), Some(1));
    assert!(!certificate.to_string().contains(ID));
    assert_eq!(certificate["redacted_up_to_release"], 2);
    assert!(certificate["computed_anew"].as_array().unwrap().contains(&json!("gold.label_activity_monthly")));
    let without = lake(false);
    sandbox.assert_same_rows(&without, "now");
    for table in ["silver.exams", "silver.exam_labels", "silver.reports", "gold.exam_label_consensus"] {
        assert_eq!(sandbox.rows_at(table, Some(1)), without.rows_at(table, Some(1)), "{table} as it was");
    }
    sandbox.expect(0, &["query", "SELECT count(*) FROM silver.exams", "--as-of", "1"]);
    sandbox.expect(0, &["fsck", "--deep"]);
    sandbox.assert_up_to_date();
    let again = sandbox.expect(0, &["erase", "--exam", ID]);
    assert_eq!(again.stdout, "the lake holds nothing of this exam\n");
}

#[test]
fn checkpoints_and_compacted_files_are_searched_too() {
    let sandbox = lake(true);
    sandbox.expect(0, &["maintain", "--keep", "0s"]);
    erase(&sandbox);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    sandbox.assert_same_rows(&lake(false), "now");
    sandbox.expect(0, &["fsck", "--deep"]);
    sandbox.assert_up_to_date();
}

#[test]
fn a_batch_of_which_nothing_is_left_is_no_loss() {
    let sandbox = lake(false);
    sandbox.deliver("exam/3.json", json!([exam(ID.parse().unwrap(), 100, WORDS[2])]).to_string());
    sandbox.run();
    erase(&sandbox);
    sandbox.expect(0, &["fsck", "--deep"]);
    sandbox.assert_up_to_date();
}

#[test]
fn runs_go_on_after_an_erasure() {
    let sandbox = lake(true);
    erase(&sandbox);
    let without = lake(false);
    for sandbox in [&sandbox, &without] {
        sandbox.deliver("exam/3.json", json!([exam(1, 500, "C. Person"), exam(4, 100, "A. Person")]).to_string());
        sandbox.run();
    }
    sandbox.assert_same_rows(&without, "after another run");
    sandbox.expect(0, &["replay", "--verify", "4"]);
}

#[test]
fn what_contracts_do_not_mark_cannot_be_erased() {
    let sandbox = lake(false);
    let wrong = sandbox.expect(2, &["erase", "--exma", "5"]);
    assert!(
        wrong.stderr.contains("no contract has a subject 'exma'\n  hint: contracts know: exam"),
        "{}",
        wrong.stderr
    );
    let wrong = sandbox.expect(2, &["erase", "--exam"]);
    assert!(wrong.stderr.contains("hint: for example"), "{}", wrong.stderr);
}

#[test]
fn a_release_from_before_says_which_of_its_tables_count_what_was_erased() {
    let sandbox = lake(true);
    erase(&sandbox);
    for release in ["1", "2"] {
        let compared = sandbox.expect(0, &["replay", "--verify", release, "--format", "json"]).json();
        let with = |outcome: &str| -> Vec<&str> {
            let tables = compared.as_array().unwrap().iter().filter(|table| table["outcome"] == outcome);
            tables.map(|table| table["table"].as_str().unwrap()).collect()
        };
        assert_eq!(with("redacted"), ["gold.label_activity_monthly"], "{compared}");
        assert!(with("differs").is_empty() && with("equal").contains(&"silver.exams"), "{compared}");
    }
    let told = sandbox.expect(0, &["replay", "--verify", "1"]);
    assert!(told.stdout.contains("were erased since: gold.label_activity_monthly counted them"), "{}", told.stdout);
    let compared = sandbox.expect(0, &["replay", "--verify", "3", "--format", "json"]).json();
    assert!(compared.as_array().unwrap().iter().all(|table| table["outcome"] == "equal"), "{compared}");
    // What somebody else changed is told all the same.
    let mut table = sandbox.table("gold.label_completeness", None);
    let removes = table.files().unwrap().iter().map(|file| file.remove()).collect();
    let commit = medalha::lake::Commit { removes, run: "by hand".to_owned(), ..Default::default() };
    sandbox.block_on(table.commit(&sandbox.lake(), commit)).unwrap();
    sandbox.deliver("exam/3.json", json!([exam(4, 100, "A. Person")]).to_string());
    sandbox.run();
    let told = sandbox.expect(1, &["replay", "--verify", "4"]);
    assert!(told.stderr.contains("error: other rows come out: gold.label_completeness\n"), "{}", told.stderr);
}

#[test]
fn what_killed_runs_left_goes_too() {
    let sandbox = lake(true);
    for name in ["silver.exams", "bronze.exam_events"] {
        let folder = sandbox.path("lake").join(name.replace('.', "/"));
        let file = folder.join(&sandbox.table(name, Some(1)).files().unwrap()[0].path);
        std::fs::copy(&file, folder.join("part-00000-never-committed.parquet")).unwrap();
        std::fs::write(folder.join("part-00001.parquet#4711"), WORDS[1]).unwrap();
    }
    erase(&sandbox);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    sandbox.assert_same_rows(&lake(false), "now");
}

#[test]
fn a_file_that_had_nothing_else_is_known_without_its_name() {
    let sandbox = lake(true);
    sandbox.deliver(&format!("report_documents/{ID}.txt"), WORDS[1]);
    sandbox.deliver("report_documents/5.txt", "Nada de novo.");
    sandbox.run();
    assert_eq!(sandbox.count("silver.report_documents"), 2);
    erase(&sandbox);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    assert_eq!(sandbox.count("silver.report_documents"), 1);
    sandbox.assert_up_to_date();
    sandbox.expect(0, &["fsck", "--deep"]);
    sandbox.deliver(&format!("report_documents/{ID}.txt"), "delivered anew, so it is there anew");
    sandbox.run();
    assert_eq!(sandbox.count("silver.report_documents"), 2);
}

#[test]
fn a_number_that_is_an_identifier_and_something_else_too() {
    let sandbox = Sandbox::new();
    // Of exam 7 one event is set aside; its label is of the third day, and it has nothing to do with exam 3.
    let mut set_aside = exam(7, 1_700_000_000_000, "Dr. 3");
    set_aside["content"]["labels"][0]["labelled_date"] = json!("2021-03-03");
    let events = json!([exam(3, 100, "A. Person"), exam(7, 100, "A. Person"), set_aside]);
    sandbox.deliver("exam/1.json", format!("{events}\n{{\"content\": {{\"id\": 3, "));
    sandbox.run();
    assert_eq!(sandbox.count("silver.quarantine"), 2);
    sandbox.expect(0, &["erase", "--exam", "3"]);
    let left = sandbox.rows("silver.quarantine");
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0]["payload"].as_str().unwrap().contains("Dr. 3"));
    assert_eq!((sandbox.count("bronze.exam_events"), sandbox.count("silver.exams")), (2, 1));
}

#[test]
fn an_erasure_that_was_killed_is_told_of_and_ended_by_the_next() {
    let sandbox = lake_in(Sandbox::with_own_project(), true);
    // It is killed while it computes anew what counts rows: by a failure, which leaves the same behind.
    let sql = sandbox.project_file("gold/label_activity_monthly.sql");
    let right = std::fs::read_to_string(&sql).unwrap();
    sandbox.edit_project_file(
        "gold/label_activity_monthly.sql",
        "COUNT(DISTINCT exam_id)",
        "COUNT(DISTINCT exam_id) / 0",
    );
    sandbox.expect(1, &["erase", "--exam", ID]);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    std::fs::write(&sql, right).unwrap();
    let told = sandbox.expect(1, &["fsck"]);
    assert!(told.stdout.contains("an erasure was begun and not ended"), "{}", told.stdout);
    let certificate = erase(&sandbox);
    assert_eq!(certificate["goes_on"], true);
    sandbox.assert_same_rows(&lake(false), "now");
    sandbox.expect(0, &["fsck", "--deep"]);
}

#[test]
fn an_image_goes_with_the_exam_that_names_it() {
    let sandbox = lake(true);
    for name in [ID, "2"] {
        sandbox.deliver(&format!("images/{name}.dcm"), format!("no picture of {name}"));
    }
    sandbox.run();
    assert_eq!((sandbox.count("silver.image_files"), sandbox.count("silver.image_keys")), (2, 2));
    erase(&sandbox);
    assert_eq!(traces(&sandbox), Vec::<PathBuf>::new());
    for table in ["bronze.image_files", "silver.image_files", "silver.image_keys"] {
        assert_eq!(sandbox.count(table), 1, "{table}");
    }
    sandbox.assert_up_to_date();
    sandbox.expect(0, &["fsck", "--deep"]);
}
