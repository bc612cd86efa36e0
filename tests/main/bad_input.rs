//! What becomes of bad input. Each folder in `tests/bad_input/` is a test:
//!
//! - `given/` is a data folder; where it holds folders named by numbers, each is what one more run finds, laid over what
//!   was there. Files that git would change or that are large are made in [`make`] instead.
//! - `expected.json` says what must come of it: `rows`, the number of rows of each table that has any; `files`, the rows
//!   of `ops.files` that tell something; `quarantine`, tables and reasons; `values`, of a table's rows the named columns.
//!
//! Whatever the case says, each run must leave every record byte for byte in bronze, count each row as passed or set
//! aside, and find nothing to do when it is repeated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use medalha::source::open;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{REPOSITORY, STAGES, Sandbox, assert_same, copy_folder, project, sorted};

/// What must come of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// What is wrong with the input, for whoever reads the case.
    #[serde(rename = "about")]
    _about: String,
    rows: BTreeMap<String, u64>,
    #[serde(default)]
    files: Vec<Value>,
    #[serde(default)]
    quarantine: Vec<Value>,
    #[serde(default)]
    values: BTreeMap<String, Vec<Value>>,
}

#[test]
fn every_case() {
    let folder = Path::new(REPOSITORY).join("tests/bad_input");
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let queue = Mutex::new(cases);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = { queue.lock().unwrap().pop() } {
                    let name = case.file_name().unwrap().to_str().unwrap().to_owned();
                    if std::panic::catch_unwind(|| check(&case)).is_err() {
                        eprintln!("-- that was the case {name}");
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    assert!(failed.is_empty(), "{} cases failed: {}", failed.len(), failed.join(", "));
}

fn check(case: &Path) {
    let text = fs::read_to_string(case.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap_or_else(|error| panic!("expected.json: {error}"));
    let sandbox = Sandbox::new();
    for (batch, delivery) in deliveries(case).iter().enumerate() {
        delivery.lay(&sandbox);
        let report = sandbox.run();
        assert_nothing_is_lost(&sandbox, report["run"].as_str().unwrap(), batch as i64 + 1);
        assert_all_are_counted(&sandbox, &report);
        sandbox.assert_up_to_date();
    }
    assert_expected(&sandbox, &expected);
}

/// What one run finds.
enum Delivery {
    Folder(PathBuf),
    Made(Vec<(OsString, Vec<u8>)>),
}

fn deliveries(case: &Path) -> Vec<Delivery> {
    let given = case.join("given");
    if !given.is_dir() {
        let name = case.file_name().unwrap().to_str().unwrap();
        let made = make(name);
        assert!(!made.is_empty(), "{name} has no folder 'given', and 'make' knows nothing of it");
        return made.into_iter().map(Delivery::Made).collect();
    }
    let mut numbered: Vec<(u32, PathBuf)> = fs::read_dir(&given)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path))
        })
        .collect();
    numbered.sort();
    if numbered.is_empty() {
        return vec![Delivery::Folder(given)];
    }
    numbered.into_iter().map(|(_, path)| Delivery::Folder(path)).collect()
}

impl Delivery {
    fn lay(&self, sandbox: &Sandbox) {
        let data = sandbox.path("data");
        match self {
            Delivery::Folder(folder) => copy_folder(folder, &data),
            Delivery::Made(files) => {
                for (name, content) in files {
                    fs::write(data.join(name), content).unwrap();
                }
            }
        }
    }
}

/// The bronze rows of the run's batch, put together, are the files that it read: between them stands nothing but what
/// separates records.
fn assert_nothing_is_lost(sandbox: &Sandbox, run: &str, batch: i64) {
    let files = sandbox.rows("ops.files");
    for table in ["bronze.exam_events", "bronze.report_events"] {
        let mut records: BTreeMap<String, BTreeMap<i64, Vec<u8>>> = BTreeMap::new();
        for row in sandbox.rows(table).iter().filter(|row| row["_batch"] == batch) {
            let of_file = records.entry(row["_source"].as_str().unwrap().to_owned()).or_default();
            let again = of_file.insert(row["_row"].as_i64().unwrap(), payload(row));
            assert!(again.is_none(), "{table}: two rows of one place: {}", row["_source"]);
        }
        for (uri, records) in &records {
            let path = url::Url::parse(uri).unwrap().to_file_path().unwrap();
            let of_file = |file: &&Value| file["run"] == run && file["uri"] == *uri;
            let file = files.iter().find(of_file).unwrap_or_else(|| panic!("ops.files does not know {uri}"));
            assert_eq!(file["records"], records.len(), "{uri}");
            assert_eq!(file["batch"], batch, "{uri}");
            let stored = fs::read(&path).unwrap();
            assert_eq!(file["content_hash"], blake3::hash(&stored).to_hex().to_string(), "{uri}");
            assert!(records.keys().copied().eq(0..records.len() as i64), "{uri}: positions have gaps");
            assert_covers(&unpacked(&stored), records.values(), uri);
        }
    }
}

fn payload(row: &Value) -> Vec<u8> {
    match (&row["payload"], &row["payload_bytes"]) {
        (Value::String(text), Value::Null) => text.as_bytes().to_vec(),
        (Value::Null, Value::String(hex)) => {
            let digits = hex.as_bytes().as_chunks::<2>().0;
            digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
        }
        _ => panic!("a bronze row has either a payload or the bytes of one"),
    }
}

/// The bytes of a file as they are before compression.
fn unpacked(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut reader = open(stored).unwrap();
    // Damaged data ends the reading; what came before it counts.
    let _ = std::io::Read::read_to_end(&mut reader, &mut plain);
    plain
}

fn assert_covers<'a>(content: &[u8], records: impl Iterator<Item = &'a Vec<u8>>, uri: &str) {
    let separates = |bytes: &[u8]| {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        bytes.iter().all(|byte| b" \t\r\n,[]".contains(byte))
    };
    let mut rest = content;
    for (row, record) in records.enumerate() {
        let at = memchr::memmem::find(rest, record);
        let at = at.unwrap_or_else(|| panic!("{uri}: record {row} is not in the file, or not in its place"));
        assert!(separates(&rest[..at]), "{uri}: bytes are lost before record {row}");
        rest = &rest[at + record.len()..];
    }
    assert!(separates(rest), "{uri}: bytes are lost at the end");
}

/// `input = passed + quarantined`, in the run's report, in `ops.expectations` and by counting rows.
fn assert_all_are_counted(sandbox: &Sandbox, report: &Value) {
    let run = report["run"].as_str().unwrap();
    let quarantine = sandbox.rows("silver.quarantine");
    let checks = sandbox.rows("ops.expectations");
    for table in report["tables"].as_array().unwrap() {
        let name = table["table"].as_str().unwrap();
        let count = |column: &str| table[column].as_u64().unwrap();
        assert_eq!(count("input"), count("passed") + count("quarantined"), "{table}");
        if table["why"].is_null() || name.starts_with("bronze.") {
            continue;
        }
        let whole: Vec<&Value> = checks
            .iter()
            .filter(|check| check["run"] == run && check["table"] == name && check["expectation"] == "*")
            .collect();
        let [whole] = whole[..] else { panic!("{name}: {} rows in ops.expectations", whole.len()) };
        let expected = json!({"input": table["input"], "passed": table["passed"], "failed": table["quarantined"]});
        assert_eq!(project(whole, &["input", "passed", "failed"]), expected, "{name}");
    }
    for (silver, bronze) in [("silver.exams", "bronze.exam_events"), ("silver.reports", "bronze.report_events")] {
        let of_table = |check: &&Value| check["table"] == silver && check["expectation"] == "*";
        let input: i64 = checks.iter().filter(of_table).map(|check| check["input"].as_i64().unwrap()).sum();
        let failed: i64 = checks.iter().filter(of_table).map(|check| check["failed"].as_i64().unwrap()).sum();
        assert_eq!(input, sandbox.count(bronze) as i64, "{silver} must have looked at every row of {bronze}");
        let set_aside: Vec<&Value> = quarantine.iter().filter(|row| row["table"] == silver).collect();
        assert_eq!(failed, set_aside.len() as i64, "{silver}");
        let delivered = if set_aside.is_empty() { Vec::new() } else { sandbox.rows(bronze) };
        for row in set_aside {
            let place = ["_source", "_row", "_batch", "payload", "payload_bytes"];
            let came = delivered.iter().any(|came| project(came, &place) == project(row, &place));
            assert!(came, "the quarantine holds a row that is not as it came: {}", row["_source"]);
        }
    }
}

fn assert_expected(sandbox: &Sandbox, expected: &Expected) {
    let counted = sandbox.tables(&STAGES).into_iter().map(|name| {
        let rows = sandbox.count(&name);
        (name, rows)
    });
    let counted: BTreeMap<String, u64> = counted.filter(|(_, rows)| *rows > 0).collect();
    assert_eq!(counted, expected.rows, "rows of tables (left: found, right: expected)");
    let tells = |row: &&Value| row["event"] != "new" || !row["reason"].is_null();
    let shown = |row: &Value| {
        let name = row["uri"].as_str().unwrap().strip_prefix(&sandbox.data_uri()).unwrap().to_owned();
        json!({"file": name, "event": row["event"], "records": row["records"], "reason": row["reason"]})
    };
    let files = sandbox.rows("ops.files").iter().filter(tells).map(shown).collect();
    assert_same(&sorted(files), &sorted(expected.files.clone()), "ops.files");
    let set_aside = sandbox.columns("silver.quarantine", &["table", "reasons"]);
    assert_same(&set_aside, &sorted(expected.quarantine.clone()), "silver.quarantine");
    for (table, rows) in &expected.values {
        let columns: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
        let wanted = rows.iter().map(|row| with_data_folder(sandbox, row)).collect();
        assert_same(&sandbox.columns(table, &columns), &sorted(wanted), table);
    }
}

/// `$DATA/` in an expected text stands for the URI of the data folder.
fn with_data_folder(sandbox: &Sandbox, row: &Value) -> Value {
    let text = row.to_string().replace("$DATA/", &sandbox.data_uri());
    serde_json::from_str(&text).unwrap()
}

/// An exam event that is as it should be, with one label.
fn exam(id: u32) -> String {
    let label = r#"{"classification": "edema", "labelled_by": "Lívia Rezende", "labelled_date": "2021-03-11", "labelling_method": "physician", "classification_type": "binary", "value": true}"#;
    format!(
        r#"{{"content": {{"id": {id}, "source": ["hospital ABC"], "dataset_type": "private", "dataset": "batch", "body_part": "CHEST", "image_path": "gs://sample-bucket/xray/{id}.dcm", "labels": [{label}]}}, "publication_timestamp": 1641900000.5}}"#
    )
}

fn report(text: &str) -> String {
    format!(
        r#"{{"content": {{"exam_id": 1, "report_date": "2021-03-11", "reported_by": "Lívia Rezende", "text": "{text}"}}}}"#
    )
}

/// The files of the cases that have no folder `given`, a list for each run.
fn make(case: &str) -> Vec<Vec<(OsString, Vec<u8>)>> {
    let one = |name: &str, content: Vec<u8>| vec![vec![(OsString::from(name), content)]];
    let latin_1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    match case {
        "not_utf8" => {
            let broken = latin_1(&exam(2));
            one("exam/latin-1.json", [b"[", exam(1).as_bytes(), b",\n", &broken, b"]"].concat())
        }
        "binary" => {
            let bytes = (0..4096_u32).map(|at| (at * 131 % 256) as u8).collect();
            one("exam/image.json", bytes)
        }
        "utf16" => {
            let text = format!("\u{feff}[{}]", exam(1));
            one("exam/utf-16.json", text.encode_utf16().flat_map(u16::to_le_bytes).collect())
        }
        "byte_order_mark" => one("exam/mark.json", format!("\u{feff}[{}]", exam(1)).into_bytes()),
        "line_breaks_of_windows" => one("exam/lines.json", format!("{}\r\n{}\r\n", exam(1), exam(2)).into_bytes()),
        "damaged_gzip" => {
            let lines: String = (0..2000).map(|id| exam(id) + "\n").collect();
            let mut packed = gzip(lines.as_bytes());
            packed.truncate(packed.len() / 2);
            one("exam/damaged.json.gz", packed)
        }
        "record_of_50_mb" => {
            let large = report(&"ácido ".repeat(50 * 1024 * 1024 / 7));
            let other = report("short");
            one("medical_report/large.json", format!("[{other},\n{large}]").into_bytes())
        }
        "nesting_of_10000_levels" => {
            let deep = format!(r#"{{"content": {{"id": 2, "labels": {}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
            one("exam/deep.json", format!("[{},\n{deep},\n{}]", exam(1), exam(3)).into_bytes())
        }
        "file_names" => {
            let mut files = Vec::new();
            let names =
                ["with space.json", "é ã ü.json", "literal%2Fslash.json", "a#b?c&d=e.json", "100%.json", "'\"\\.json"];
            for (id, name) in names.iter().enumerate() {
                files.push((OsString::from(format!("exam/{name}")), exam(id as u32).into_bytes()));
            }
            #[cfg(unix)]
            {
                let name = std::os::unix::ffi::OsStringExt::from_vec(b"exam/latin-\xe9.json".to_vec());
                files.push((name, exam(names.len() as u32).into_bytes()));
            }
            vec![files]
        }
        "file_half_written" => {
            let whole = format!("[{},\n{},\n{}]\n", exam(1), exam(2), exam(3));
            let half = whole.as_bytes()[..whole.len() / 2].to_vec();
            let file = |content| vec![(OsString::from("exam/growing.json"), content)];
            vec![file(half), file(whole.into_bytes())]
        }
        _ => Vec::new(),
    }
}
