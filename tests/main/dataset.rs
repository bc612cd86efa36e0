//! Training sets: the same bytes from the same release whatever happens meanwhile, and nobody in two splits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Outcome, Sandbox};

/// A project of scans: whose they are, where their picture is, what was found.
const PROJECT: [(&str, &str); 5] = [
    (
        "clinic/pipeline.toml",
        "name = \"clinic\"\ndescription = \"Scans.\"\n\n[sources.scans]\ndescription = \"Scans.\"\nkind = \"files\"\n\
         path = \"scans\"\nformat = \"json\"\n",
    ),
    (
        "clinic/bronze/scan_events.toml",
        "description = \"Scans as they came.\"\nsource = \"scans\"\n\
         payload = \"STRUCT<id STRING, patient STRING, picture STRING, found ARRAY<STRING>, grade INT, at BIGINT>\"\n",
    ),
    (
        "clinic/silver/scans.toml",
        r#"
description = "Scans."
strategy = "by_record"
key = ["scan_id"]
sequence = "at"

[columns.scan_id]
type = "STRING"
required = true
comment = "The scan."

[columns.patient]
type = "STRING"
comment = "Whose it is."

[columns.picture]
type = "STRING"
comment = "Where its picture is."

[columns.found]
type = "ARRAY<STRING>"
comment = "What was found."

[columns.grade]
type = "INT"
comment = "How sure."

[columns.at]
type = "BIGINT"
required = true
comment = "When."
"#,
    ),
    (
        "clinic/silver/scans.sql",
        "SELECT e.id AS scan_id, e.patient AS patient, e.picture AS picture, e.found AS found, e.grade AS grade,
  e.at AS at
FROM bronze.scan_events AS e",
    ),
    (
        "clinic/datasets/scans.toml",
        r#"
description = "Scans with what was found."
license = "https://creativecommons.org/licenses/by/4.0/"
table = "silver.scans"
id = "scan_id"
person = "patient"
original = "picture"
labels = ["found", "grade"]
salt = "${CLINIC_SALT}"
"#,
    ),
];

const SALT: &str = "a salt for tests only";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest of a picture";

fn clinic() -> Sandbox {
    let sandbox = Sandbox::with_files(&PROJECT);
    sandbox.deliver("pictures/a.png", PNG);
    sandbox.deliver("pictures/b.pdf", b"%PDF-1.7 the rest of a document");
    sandbox
}

/// Scans with these numbers: of each patient three, with one of two pictures.
fn scans(numbers: std::ops::Range<u32>) -> Vec<Value> {
    let scan = |n: u32| {
        let picture = if n.is_multiple_of(2) { "pictures/a.png" } else { "pictures/b.pdf" };
        let found: &[&str] = [&["nodule", "edema"][..], &["edema"], &[]][(n % 3) as usize];
        json!({"id": format!("1.2.{n}"), "patient": format!("Maria da Silva {}", n / 3), "picture": picture,
               "found": found, "grade": n % 5, "at": 1})
    };
    numbers.map(scan).collect()
}

fn deliver(sandbox: &Sandbox, name: &str, scans: &[Value]) {
    sandbox.deliver(&format!("scans/{name}.json"), Value::from(scans.to_vec()).to_string());
    sandbox.run();
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let mut command = sandbox.command(&[&["dataset"], args].concat());
    command.env("CLINIC_SALT", SALT).env("MEDALHA_SALT", SALT).arg("--into").arg(sandbox.path("datasets"));
    let outcome = Outcome::of(command.output().unwrap());
    assert!(!outcome.stderr.contains("panicked"), "{args:?}: {}", outcome.stderr);
    outcome
}

fn expect(sandbox: &Sandbox, code: i32, args: &[&str]) -> Outcome {
    let outcome = command(sandbox, args);
    assert_eq!(outcome.code, Some(code), "{args:?}\n{}\n{}", outcome.stdout, outcome.stderr);
    outcome
}

/// Builds a dataset like `scans`: its manifest.
fn build(sandbox: &Sandbox, name: &str, args: &[&str]) -> Value {
    expect(sandbox, 0, &[&["build", name, "--like", "scans", "--format", "json"], args].concat()).json()
}

/// The files of a dataset with their bytes.
fn files(sandbox: &Sandbox, name: &str) -> BTreeMap<String, Vec<u8>> {
    let root = sandbox.path("datasets").join(name);
    let entries = walkdir::WalkDir::new(&root).into_iter().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    files.map(|entry| (name(entry.path()), fs::read(entry.path()).unwrap())).collect()
}

/// Without what only says the dataset's name.
fn content(sandbox: &Sandbox, name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(sandbox, name);
    files.retain(|path, _| path.starts_with("data/") || path.starts_with("shards/") || path.starts_with("plots/"));
    files
}

/// The members of all shards: name, content, and whether its header tells nothing of the machine.
fn members(sandbox: &Sandbox, name: &str) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    for (path, bytes) in files(sandbox, name) {
        if !path.ends_with(".tar") {
            continue;
        }
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 1));
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            members.push((entry.path().unwrap().display().to_string(), content));
        }
    }
    members
}

fn pinned(sandbox: &Sandbox) -> Vec<i64> {
    let releases = sandbox.expect(0, &["release", "list", "--format", "json"]).json();
    let pinned = releases.as_array().unwrap().iter().filter(|release| !release["pinned"].is_null());
    pinned.map(|release| release["release"].as_i64().unwrap()).collect()
}

#[test]
fn a_release_gives_the_same_bytes_whatever_the_threads_and_what_came_since() {
    let sandbox = clinic();
    deliver(&sandbox, "a", &scans(0..3000));
    let small = ["--copy", "--shard-size", "100KB", "--file-rows", "700"];
    let one = build(&sandbox, "scans", &[&small[..], &["--threads", "1"]].concat());
    let first = files(&sandbox, "scans");
    assert!(first.keys().filter(|path| path.starts_with("shards/train")).count() > 3, "{:?}", first.keys());
    assert_eq!(
        one["splits"].as_array().unwrap().iter().map(|split| split["rows"].as_u64().unwrap()).sum::<u64>(),
        3000
    );
    let four = build(&sandbox, "scans", &[&small[..], &["--threads", "4", "--replace"]].concat());
    assert_eq!(one["digest"], four["digest"]);
    assert_eq!(files(&sandbox, "scans"), first, "with four threads");

    // New scans, and old ones that say something else now.
    let mut later = scans(2990..3300);
    later.iter_mut().for_each(|scan| scan["at"] = json!(2));
    later[0]["found"] = json!(["mass"]);
    deliver(&sandbox, "b", &later);
    sandbox.expect(0, &["maintain", "--keep", "0s"]);
    let again = build(&sandbox, "scans", &[&small[..], &["--replace", "--as-of", "1"]].concat());
    assert_eq!(again["digest"], one["digest"]);
    assert_eq!(files(&sandbox, "scans"), first, "after new data and maintenance");
    assert_eq!(pinned(&sandbox), [1]);
    build(&sandbox, "later", &small);
    assert_eq!(pinned(&sandbox), [2, 1]);
    let found = expect(&sandbox, 0, &["diff", "scans", "later", "--format", "json"]).json();
    assert_eq!(found["came"]["count"], 300);
    assert_eq!((&found["went"]["count"], &found["splits"]["count"]), (&json!(0), &json!(0)), "nothing old moves");
    assert_eq!(found["labels"], json!({"count": 1, "ids": ["1.2.2990"]}));
    let back = expect(&sandbox, 0, &["diff", "later", "scans", "--format", "json", "--limit", "1"]).json();
    assert_eq!((&back["went"]["count"], back["went"]["ids"].as_array().unwrap().len()), (&json!(300), 1));
    for name in ["scans", "later"] {
        expect(&sandbox, 0, &["verify", name]);
    }
    let listed = expect(&sandbox, 0, &["list", "--format", "json"]).json();
    assert_eq!(listed[1]["digest"], one["digest"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "nothing else is left behind: {listed}");
}

#[test]
fn a_killed_build_goes_on_and_ends_with_the_same_bytes() {
    let sandbox = clinic();
    deliver(&sandbox, "a", &scans(0..6000));
    let args = ["--copy", "--shard-size", "64KB", "--threads", "2"];
    build(&sandbox, "undisturbed", &args);
    let expected = content(&sandbox, "undisturbed");
    let folder = sandbox.path("datasets/.disturbed.building");
    let mut kept = BTreeSet::new();
    for wanted in [2, 9] {
        let mut command = sandbox.command(&["dataset", "build", "disturbed", "--like", "scans"]);
        command.args(args).arg("--into").arg(sandbox.path("datasets")).env("CLINIC_SALT", SALT);
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while finished(&folder).len() < wanted {
            assert!(child.try_wait().unwrap().is_none(), "the build ended before it was killed");
            assert!(begun.elapsed() < Duration::from_secs(120), "no progress");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kept = finished(&folder);
        assert!(!sandbox.path("datasets/disturbed").exists(), "a dataset that is not finished has no name");
    }
    build(&sandbox, "disturbed", &args);
    let now = content(&sandbox, "disturbed");
    assert!(now == expected, "{:?} and {:?}", now.keys(), expected.keys());
    let again: BTreeSet<(String, SystemTime)> = shards(&sandbox.path("datasets/disturbed"));
    assert!(kept.len() >= 9 && kept.is_subset(&again), "finished shards are not written again");
    expect(&sandbox, 0, &["verify", "disturbed"]);
}

/// The finished shards below a folder that its record knows, with the time of their last change.
fn finished(folder: &Path) -> BTreeSet<(String, SystemTime)> {
    let Ok(text) = fs::read_to_string(folder.join("progress.json")) else { return BTreeSet::new() };
    shards(folder).into_iter().filter(|(name, _)| text.contains(name)).collect()
}

fn shards(folder: &Path) -> BTreeSet<(String, SystemTime)> {
    let Ok(entries) = fs::read_dir(folder.join("shards")) else { return BTreeSet::new() };
    let entries = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "tar"));
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().modified().unwrap()))
        .collect()
}

#[test]
fn originals_that_cannot_be_copied_keep_their_row() {
    let sandbox = clinic();
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICMMaria da Silva");
    sandbox.deliver("pictures/c.dcm", &dicom);
    sandbox.deliver("pictures/no_preamble.png", b"\x08\0\x05\0CS\n\0Maria da Silva");
    sandbox.deliver("pictures/empty.png", b"");
    let absolute = url::Url::from_file_path(sandbox.path("data/pictures/a.png")).unwrap().to_string();
    let pictures = [
        (json!("pictures/a.png"), "copied"),
        (json!(absolute), "copied"),
        (json!("pictures/c.dcm"), "refused"),
        (json!("pictures/no_preamble.png"), "refused"),
        (json!("pictures/empty.png"), "refused"),
        (json!("pictures"), "unreadable"),
        (json!("pictures/gone.png"), "missing"),
        (json!("pictures/a.png/x"), "missing"),
        (json!(null), "none"),
        (json!(" "), "none"),
    ];
    let mut given = scans(0..pictures.len() as u32);
    for (scan, (picture, _)) in given.iter_mut().zip(&pictures) {
        scan["picture"] = picture.clone();
    }
    deliver(&sandbox, "a", &given);
    let manifest = build(&sandbox, "scans", &["--copy", "--split", "all=1"]);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    pictures.iter().for_each(|(_, status)| *expected.entry((*status).to_owned()).or_default() += 1);
    assert_eq!(manifest["splits"][0]["originals"], serde_json::to_value(expected).unwrap());
    let members = members(&sandbox, "scans");
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    let mut wanted: Vec<String> = (0..10).map(|n| format!("1=2E2=2E{n}.json")).collect();
    wanted.extend([0, 1].map(|n| format!("1=2E2=2E{n}.png")));
    assert_eq!(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), wanted.into_iter().collect());
    assert_eq!(members[0].1, PNG);
    let row: Value = serde_json::from_slice(&members[1].1).unwrap();
    assert_eq!((&row["scan_id"], &row["found"]), (&json!("1.2.0"), &json!(["nodule", "edema"])));
    let readme = fs::read_to_string(sandbox.path("datasets/scans/README.md")).unwrap();
    assert!(readme.contains("| `refused` | 3 |") && readme.contains("| `missing` | 2 |"), "{readme}");
}

#[test]
fn whose_a_row_is_is_not_in_the_dataset() {
    let sandbox = clinic();
    let mut given = scans(0..60);
    given[59]["patient"] = json!(null);
    deliver(&sandbox, "a", &given);
    build(&sandbox, "scans", &["--copy", "--split", "all=1"]);
    for (path, bytes) in files(&sandbox, "scans") {
        let found = bytes.windows(5).any(|window| window == b"Maria");
        assert!(!found, "{path}");
    }
    let rows = parquet(&sandbox.path("datasets/scans/data/all-00000.parquet"));
    assert!(!rows.iter().any(|row| row.to_string().contains("Maria")), "nor in a column that is compressed");
    let persons: BTreeSet<&str> = rows.iter().filter_map(|row| row["person"].as_str()).collect();
    assert_eq!((rows.len(), persons.len()), (60, 20));
    assert_eq!(rows.iter().filter(|row| row.get("person").is_none_or(Value::is_null)).count(), 1);
}

fn parquet(path: &Path) -> Vec<Value> {
    use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn verify_finds_what_was_changed_taken_away_or_added() {
    let sandbox = clinic();
    deliver(&sandbox, "a", &scans(0..60));
    build(&sandbox, "scans", &[]);
    expect(&sandbox, 0, &["verify", "scans"]);
    let place = |name: &str| -> PathBuf { sandbox.path("datasets/scans").join(name) };
    let mut bytes = fs::read(place("data/train-00000.parquet")).unwrap();
    bytes[20] ^= 1;
    fs::write(place("data/train-00000.parquet"), bytes).unwrap();
    fs::remove_file(place("plots/splits.svg")).unwrap();
    fs::write(place("data/more.parquet"), "x").unwrap();
    let outcome = expect(&sandbox, 1, &["verify", "scans", "--format", "json"]);
    let problems = outcome.json()["problems"].clone();
    let expected = json!([
        "data/train-00000.parquet: its content is not what was written",
        "plots/splits.svg: the file is missing",
        "data/more.parquet: the file is not part of the dataset",
    ]);
    assert_eq!(problems, expected);
    assert!(outcome.stderr.contains("error: dataset scans: 3 problems\n  hint: "), "{}", outcome.stderr);
    // What a build of something else has left behind is no part of this one.
    let stale = sandbox.path("datasets/.scans.building/data/train-00009.parquet");
    fs::create_dir_all(stale.parent().unwrap()).unwrap();
    fs::write(stale, "x").unwrap();
    build(&sandbox, "scans", &["--replace"]);
    expect(&sandbox, 0, &["verify", "scans"]);
}

#[test]
fn what_could_not_be_built_again_is_refused() {
    let sandbox = clinic();
    let refused = |args: &[&str], expected: &str| {
        let outcome = expect(&sandbox, 2, &[&["build", "mine"], args].concat());
        assert!(outcome.stderr.contains(expected), "{args:?}: {}", outcome.stderr);
    };
    let outcome = expect(&sandbox, 1, &["build", "scans"]);
    assert!(outcome.stderr.contains("there is no lake"), "{}", outcome.stderr);
    let mut twice = scans(0..30);
    twice[7]["grade"] = json!(null);
    deliver(&sandbox, "a", &twice);
    let sql = |sql: &'static str| ["--query", sql, "--id", "scan_id"];
    refused(&[], "the project has no dataset 'mine'");
    refused(&["--query", "SELECT scan_id FROM silver.scans"], "which column tells one row from another?");
    refused(&sql("SELECT scan_id, now() AS t FROM silver.scans"), "'now' gives another answer in a replay");
    refused(&sql("SELECT scan_id FROM silver.scans LIMIT 3"), "LIMIT without ORDER BY");
    refused(&sql("SELECT run AS scan_id FROM ops.runs"), "ops.runs is no part of a release");
    let sums = "SELECT scan_id, AVG(CAST(grade AS DOUBLE)) AS g FROM silver.scans GROUP BY scan_id";
    refused(&sql(sums), "the last bits of 'avg' of DOUBLE depend on the number of threads");
    refused(&sql("SELECT scan FROM silver.scans"), "unknown column 'scan'");
    refused(&sql("SELECT patient AS scan_id FROM silver.scans"), "two rows have the same 'scan_id'");
    refused(&["--table", "silver.scans", "--id", "grade"], "a row has no 'grade'");
    refused(&["--table", "silver.scans", "--id", "found"], "'found' is ARRAY<STRING>, not a STRING or a whole number");
    refused(&["--table", "silver.scan", "--id", "scan_id"], "did you mean 'silver.scans'?");
    refused(&["--like", "scans", "--as-of", "9"], "there is no release 9");
    refused(&["--like", "scans", "--as-of", "silver.scans@1"], "a table's version, not a release");
    refused(&["--like", "scans", "--split", "a=0.5,b=0.4"], "the shares add up to 0.9");
    refused(&["--like", "scans", "--filter", "grad > 1"], "did you mean 'grade'?");
    let mut unsalted = sandbox.command(&["dataset", "build", "scans"]);
    let outcome = Outcome::of(unsalted.env_remove("CLINIC_SALT").output().unwrap());
    assert!(outcome.code == Some(2) && outcome.stderr.contains("CLINIC_SALT has no value"), "{}", outcome.stderr);
    let short = Outcome::of(unsalted.env("CLINIC_SALT", "short").output().unwrap());
    assert!(short.code == Some(2) && short.stderr.contains("the salt is shorter than"), "{}", short.stderr);
    assert_eq!(pinned(&sandbox), [1], "of the builds that began");
    expect(&sandbox, 0, &["build", "scans"]);
    assert!(expect(&sandbox, 0, &["build", "scans"]).stdout.contains("built before from release 1"));
    let outcome = expect(&sandbox, 2, &["build", "scans", "--filter", "grade > 1"]);
    assert!(outcome.stderr.contains("there is another dataset of this name"), "{}", outcome.stderr);
    expect(&sandbox, 2, &["verify", "nothing"]);
}

#[test]
fn a_condition_and_a_query_choose_the_rows() {
    let sandbox = clinic();
    deliver(&sandbox, "a", &scans(0..60));
    let rows = |manifest: &Value| -> u64 {
        manifest["splits"].as_array().unwrap().iter().map(|split| split["rows"].as_u64().unwrap()).sum()
    };
    let some = build(&sandbox, "some", &["--filter", "array_has(found, 'nodule') -- only these"]);
    assert_eq!(rows(&some), 20);
    let sql = "SELECT scan_id, found FROM silver.scans WHERE grade > $least";
    let args = ["build", "asked", "--query", sql, "--param", "least=3", "--id", "scan_id", "--format", "json"];
    let asked = expect(&sandbox, 0, &args).json();
    assert_eq!((rows(&asked), &asked["recipe"]["params"]), (12, &json!({"least": "3"})));
    let none = build(&sandbox, "none", &["--filter", "grade > 99", "--copy"]);
    assert_eq!(rows(&none), 0);
    expect(&sandbox, 0, &["verify", "none"]);
}
