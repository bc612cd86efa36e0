//! How files are taken in: in whatever form they come, exactly once, and in bounded memory.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, project, sorted};

fn exam(id: u32) -> String {
    format!(r#"{{"content": {{"id": {id}, "body_part": "CHEST", "labels": []}}, "publication_timestamp": {}}}"#, 1e9)
}

fn array(ids: std::ops::Range<u32>) -> String {
    format!("[{}]", ids.map(exam).collect::<Vec<_>>().join(",\n"))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

fn ids(sandbox: &Sandbox) -> Vec<u32> {
    let rows = sandbox.rows("silver.exams");
    let mut ids: Vec<u32> = rows.iter().map(|row| row["exam_id"].as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// What `ops.files` says of each file, without the folder, sorted.
fn ledger(sandbox: &Sandbox) -> Vec<Value> {
    let row = |row: &Value| {
        let name = row["uri"].as_str().unwrap().rsplit('/').next().unwrap();
        json!([name, row["event"], row["records"]])
    };
    sorted(sandbox.rows("ops.files").iter().map(row).collect())
}

#[test]
fn every_form_in_any_depth() {
    let sandbox = Sandbox::new();
    let pretty: Value = serde_json::from_str(&exam(40)).unwrap();
    for (name, content) in [
        ("exam/array.json", array(0..3).into_bytes()),
        ("exam/a/lines.ndjson", (10..13).map(|id| exam(id) + "\n").collect::<String>().into_bytes()),
        ("exam/a/b/c/d/packed.json.gz", gzip(&array(20..23))),
        ("exam/a/lines.json.zst", zstd(&(30..33).map(|id| exam(id) + "\n").collect::<String>())),
        ("exam/a/b/object", serde_json::to_string_pretty(&pretty).unwrap().into_bytes()),
        ("exam/two-parts.gz", [gzip(&array(50..52)), gzip(&array(52..53))].concat()),
        ("exam/the-name-lies.gz", array(60..63).into_bytes()),
        ("exam/.hidden/no.json", array(70..71).into_bytes()),
        ("exam/_temporary/no.json", array(71..72).into_bytes()),
        ("exam/still-written.json.tmp", array(72..73).into_bytes()),
    ] {
        sandbox.deliver(name, content);
    }
    sandbox.run();
    let expected: Vec<u32> = [0..3, 10..13, 20..23, 30..33, 40..41, 50..53, 60..63].into_iter().flatten().collect();
    assert_eq!(ids(&sandbox), expected);
    assert!(sandbox.rows("ops.files").iter().all(|file| file["reason"].is_null()));
}

#[test]
fn the_same_content_under_another_name_brings_nothing() {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", array(0..3));
    sandbox.deliver("exam/sub/b.json", array(0..3));
    sandbox.run();
    assert_eq!(sandbox.count("bronze.exam_events"), 3);
    sandbox.deliver("exam/c.json", array(0..3));
    fs::rename(sandbox.path("data/exam/a.json"), sandbox.path("data/exam/renamed.json")).unwrap();
    assert_eq!(sandbox.run()["release"], Value::Null, "no table but the ledger has anything new");
    assert_eq!(sandbox.count("bronze.exam_events"), 3);
    let expected = [
        json!(["a.json", "new", 3]),
        json!(["b.json", "duplicate", 0]),
        json!(["c.json", "duplicate", 0]),
        json!(["renamed.json", "duplicate", 0]),
    ];
    assert_same(&ledger(&sandbox), &expected, "ops.files");
}

#[test]
fn a_touched_file_brings_nothing_and_a_changed_one_is_taken_again() {
    let sandbox = Sandbox::new();
    let path = sandbox.deliver("exam/a.json", array(0..3));
    sandbox.run();
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    sandbox.run();
    assert_eq!(sandbox.count("bronze.exam_events"), 3);
    // What was touched is known by its new time.
    sandbox.assert_up_to_date();
    sandbox.deliver("exam/a.json", array(0..4));
    sandbox.run();
    assert_eq!((sandbox.count("bronze.exam_events"), ids(&sandbox)), (7, vec![0, 1, 2, 3]));
    sandbox.deliver("exam/a.json", array(0..3));
    sandbox.run();
    assert_eq!(sandbox.count("bronze.exam_events"), 7, "a content that was there before is known");
    let expected = [
        json!(["a.json", "changed", 4]),
        json!(["a.json", "duplicate", 0]),
        json!(["a.json", "new", 3]),
        json!(["a.json", "touched", 0]),
    ];
    assert_same(&ledger(&sandbox), &expected, "ops.files");
}

#[test]
fn a_file_that_cannot_be_opened_is_told_once_and_taken_when_it_can() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let path = sandbox.deliver("exam/locked.json", array(0..2));
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    if File::open(&path).is_ok() {
        return; // The superuser opens everything.
    }
    sandbox.run();
    sandbox.assert_up_to_date();
    set(0o644);
    sandbox.run();
    assert_same(
        &ledger(&sandbox),
        &[json!(["locked.json", "new", 2]), json!(["locked.json", "unreadable", 0])],
        "ops.files",
    );
}

#[test]
fn bronze_rows_say_where_they_came_from() {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", array(0..2));
    let first = sandbox.run();
    sandbox.deliver("exam/b.json", array(5..7));
    let second = sandbox.run();
    let columns = ["payload", "payload_bytes", "_source", "_row", "_batch"];
    let row = |id: u32, file: &str, row: u32, batch: u32| {
        let uri = sandbox.data_uri() + file;
        json!({"payload": exam(id), "payload_bytes": null, "_source": uri, "_row": row, "_batch": batch})
    };
    let expected = [
        row(0, "exam/a.json", 0, 1),
        row(1, "exam/a.json", 1, 1),
        row(5, "exam/b.json", 0, 2),
        row(6, "exam/b.json", 1, 2),
    ];
    assert_same(&sandbox.columns("bronze.exam_events", &columns), &sorted(expected.to_vec()), "bronze.exam_events");
    assert_ne!(first["run"], second["run"]);
    for file in sandbox.rows("ops.files") {
        let run = if file["batch"] == 1 { &first } else { &second };
        let same_time = |row: &&Value| row["_batch"] == file["batch"];
        let row = sandbox.rows("bronze.exam_events").into_iter().find(|row| same_time(&row)).unwrap();
        assert_eq!((&file["run"], &file["seen_at"]), (&run["run"], &row["_ingested_at"]));
        assert_eq!(project(&file, &["source", "records"]), json!({"source": "imaging.exam", "records": 2}));
    }
}

/// Bytes of the array; the debug build reads some 15 MB a second.
const LARGE: usize = 240 << 20;
/// Bytes that the program may hold at most. With the array in memory it would be its bytes more than for a small file,
/// for which it is some 150 MB for the program, the engine and the files that are being written.
const ALLOWED: usize = 400 << 20;

#[test]
fn an_array_file_needs_no_memory_of_its_size() {
    let sandbox = Sandbox::new();
    let path = sandbox.deliver("exam/large.json", "");
    let mut file = BufWriter::new(File::create(path).unwrap());
    let text: String = (0..100_000).map(|at| format!("finding {} of {at} ", at * 7919 % 1013)).collect();
    let (mut written, mut records) = (0, 0);
    while written < LARGE {
        let separator = if records == 0 { "[" } else { ",\n" };
        let part = &text[records * 7919 % (text.len() - 8000)..][..8000];
        let record = format!(r#"{separator}{{"content": {{"id": {records}, "dataset": "{part}"}}}}"#);
        file.write_all(record.as_bytes()).unwrap();
        (written, records) = (written + record.len(), records + 1);
    }
    file.write_all(b"]").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
    let peak = peak_memory(&sandbox, &["run", "--select", "bronze.exam_events"]);
    assert_eq!(sandbox.count("bronze.exam_events"), records as u64);
    assert!(peak < ALLOWED, "{} MB for an array of {} MB", peak >> 20, LARGE >> 20);
}

/// Runs the program to its end, which must be good; the most bytes that it held.
fn peak_memory(sandbox: &Sandbox, args: &[&str]) -> usize {
    let mut child =
        sandbox.command(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The system keeps the highest mark itself: the last look before the end is as good as all.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        peak = mark.map_or(peak, |kilobytes| kilobytes << 10);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
