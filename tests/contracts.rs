//! Every folder of `tests/contracts/` is a tiny project and what `load` says of it, in `expected.txt`:
//! its problems, or one line a table when it compiles. A new folder is a new test.
//! `UPDATE_EXPECTED=1` writes the files; read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use medalha::contract::{Definition, KeyedInput, Project, Table, load};

#[test]
fn every_case_says_what_is_expected() {
    let cases = cases();
    assert!(cases.len() > 30, "only {} cases found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let said = match load(&case) {
            Ok(project) => summary(&project),
            Err(problems) => format!("{problems}\n"),
        };
        let expected = case.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("--- {}\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn a_fingerprint_changes_with_what_decides_the_rows_and_with_nothing_else() {
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/good");
    let before = load(&good).unwrap();
    let changed = |path: &str, from: &str, to: &str| -> Vec<String> {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&good, copy.path());
        let file = copy.path().join(path);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{path} does not hold {from}");
        fs::write(&file, text.replace(from, to)).unwrap();
        let after = load(copy.path()).unwrap();
        let pairs = before.tables.iter().zip(&after.tables);
        pairs.filter(|(a, b)| a.fingerprint != b.fingerprint).map(|(a, _)| a.name.to_string()).collect()
    };
    assert_eq!(changed("pipelines/exams/silver/items.sql", "trim(", "btrim("), ["silver.items"]);
    assert_eq!(
        changed("pipelines/exams/reference/kinds.csv", "big", "large"),
        ["silver.items", "silver.notes", "gold.kinds_seen"]
    );
    assert_eq!(
        changed("pipelines/exams/bronze/events.toml", "id STRING,", "id STRING, more INT,"),
        ["bronze.events", "silver.items"]
    );
    assert!(changed("pipelines/exams/queries/of_kind.sql", "LIMIT", "limit").is_empty());
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn summary(project: &Project) -> String {
    let tables = project.tables.iter().map(|table| format!("{} {}\n", table.name, how(table)));
    let queries = project.queries.iter().map(|query| {
        let params: Vec<&str> = query.params.iter().map(|param| param.name.as_str()).collect();
        format!("query {}({})\n", query.name, params.join(", "))
    });
    let datasets = project.datasets.iter().map(|dataset| {
        let splits = dataset.splits.to_string();
        format!("dataset {} by {}, {:?}, {splits}\n", dataset.name, dataset.id, dataset.rows)
    });
    tables.chain(queries).chain(datasets).collect()
}

fn keyed(inputs: &[KeyedInput]) -> String {
    let inputs = inputs.iter().map(|input| {
        let key: Vec<String> = input.key.iter().map(ToString::to_string).collect();
        format!("{}[{}]", input.table, key.join(", "))
    });
    inputs.collect::<Vec<_>>().join(" and ")
}

fn how(table: &Table) -> String {
    let how = match &table.definition {
        Definition::Bronze { source, .. } => format!("bronze of {source}"),
        Definition::ByRecord { input, .. } => format!("by_record of {input}"),
        Definition::ByKey { inputs, counts, .. } => {
            let counts = counts.as_ref().map_or_else(String::new, |counts| {
                format!(", {} added to for {}", counts.columns.join(" and "), keyed(&counts.inputs))
            });
            format!("by_key of {}{counts}", keyed(inputs))
        }
        Definition::Surrogate { inputs, number, inherits, .. } => {
            let inherits = inherits.as_ref().map_or_else(String::new, |column| format!(" inheriting by {column}"));
            format!("surrogate {number}{inherits} of {}", keyed(inputs))
        }
        Definition::Whole { inputs, .. } => {
            let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
            format!("whole of {}", inputs.join(" and "))
        }
    };
    let references = table.references();
    if references.is_empty() { how } else { format!("{how} with {}", references.join(", ")) }
}
