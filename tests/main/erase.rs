//! Erasure: nothing of an exam is left in any file of the lake, and all else is as it was.

use std::path::PathBuf;

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
    let sandbox = Sandbox::new();
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

/// The files below the lake that have one of the words in their bytes or, of Parquet, in their values.
fn traces(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = sandbox.listing().into_keys();
    files.filter(|path| has_trace(&std::fs::read(path).unwrap()) || values_have_trace(path)).collect()
}

fn has_trace(bytes: &[u8]) -> bool {
    WORDS.iter().any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
}

fn values_have_trace(path: &PathBuf) -> bool {
    if path.extension().is_none_or(|extension| extension != "parquet") {
        return false;
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
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
