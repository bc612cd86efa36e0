//! A dataset that the program would not write: whoever checks one must not trust who made it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::digest::{self, FileHash};
use super::manifest::{FILE, Manifest};
use super::part::{Originals, PartWriter};
use super::recipe::Recipe;
use super::verify;

fn recipe() -> Recipe {
    let text = r#"{"format": 1, "name": "d", "description": "", "license": null, "release": 1,
        "published_at": "2024-06-01T00:00:00Z", "tables": {}, "references": {}, "sql": "", "params": {}, "id": "id",
        "person": "patient", "original": null, "labels": [], "splits": [{"name": "train", "share": 0.5},
        {"name": "test", "share": 0.5}], "salt_check": "", "copy": false, "shard_bytes": 1, "file_rows": 1}"#;
    serde_json::from_str(text).unwrap()
}

/// Writes a split with rows of an id and a person.
fn write(folder: &Path, split: &str, rows: &[(&str, &str)]) -> Vec<FileHash> {
    let column = |of: fn(&(&str, &str)) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let columns = [("id", column(|row| row.0.to_owned())), ("person", column(|row| row.1.to_owned()))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut part = PartWriter::new(folder, split, 0, &batch.schema(), Originals::None).unwrap();
    part.write(&batch, &[]).unwrap();
    part.finish().unwrap().files
}

fn problems(train: &[(&str, &str)], test: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let files = [write(folder.path(), "train", train), write(folder.path(), "test", test)].concat();
    let splits = [("train", train.len()), ("test", test.len())].map(|(name, rows)| super::SplitCounts {
        name: name.to_owned(),
        rows: rows as u64,
        labels: BTreeMap::new(),
        ..Default::default()
    });
    let manifest = Manifest { digest: digest::of_files(&files), recipe: recipe(), splits: splits.to_vec(), files };
    fs::write(folder.path().join(FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
    verify(folder.path()).unwrap().problems
}

#[test]
fn a_person_in_two_splits_is_found() {
    assert!(problems(&[("1", "a"), ("2", "a")], &[("3", "b")]).is_empty());
    let found = problems(&[("1", "a"), ("2", "a")], &[("3", "a"), ("4", "b")]);
    assert_eq!(found, ["1 rows are of persons who are in another split too"]);
}

#[test]
fn an_id_that_comes_twice_is_found() {
    assert_eq!(problems(&[("1", "a"), ("1", "a")], &[("1", "b")]), ["2 rows have the id of another row"]);
}
