//! A run that is killed, wherever it stands: the next one ends with the rows of a run that nobody disturbed.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Sandbox, assert_same};

/// Exams that are generated, in so many files: each run takes one more of them.
const EXAMS: &str = "2000";
const PER_FILE: &str = "100";

/// A sandbox with generated files that wait beside its data folder.
fn with_waiting_files() -> Sandbox {
    let sandbox = Sandbox::new();
    let out = sandbox.path("waiting").display().to_string();
    sandbox.expect(0, &["generate", "--out", &out, "--exams", EXAMS, "--per-file", PER_FILE, "--defects", "0.05"]);
    sandbox
}

fn waiting(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for source in ["exam", "medical_report"] {
        let entries = fs::read_dir(sandbox.path("waiting").join(source)).unwrap();
        files.extend(entries.map(|entry| PathBuf::from(source).join(entry.unwrap().file_name())));
    }
    files.sort();
    files
}

fn deliver(sandbox: &Sandbox, file: &PathBuf) {
    fs::rename(sandbox.path("waiting").join(file), sandbox.path("data").join(file)).unwrap();
}

fn start(sandbox: &Sandbox) -> Child {
    sandbox.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Checks a lake after all that was done to it against one that took all files in one undisturbed run.
fn assert_undisturbed(sandbox: &Sandbox) {
    for file in waiting(sandbox) {
        deliver(sandbox, &file);
    }
    sandbox.run();
    let fresh = Sandbox::new();
    for source in ["exam", "medical_report"] {
        for entry in fs::read_dir(sandbox.path("data").join(source)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, fresh.path("data").join(source).join(path.file_name().unwrap())).unwrap();
        }
    }
    fresh.run();
    sandbox.assert_same_rows(&fresh, "after all that happened");
    for table in ["bronze.exam_events", "bronze.report_events"] {
        let rows = |of: &Sandbox| of.columns(table, &["payload", "payload_bytes", "_row"]);
        assert_same(&rows(sandbox), &rows(&fresh), table);
    }
    let name = |row: &Value| Value::from(row["uri"].as_str().unwrap().rsplit('/').next().unwrap());
    let files = |of: &Sandbox| of.rows("ops.files").iter().map(name).collect::<Vec<_>>();
    assert_same(&files(sandbox), &files(&fresh), "ops.files: each file once");
    assert_counted_once(sandbox);
    assert_released(sandbox);
    sandbox.assert_up_to_date();
}

/// Each bronze row was looked at by silver in exactly one run that counts.
fn assert_counted_once(sandbox: &Sandbox) {
    for (silver, bronze) in [("silver.exams", "bronze.exam_events"), ("silver.reports", "bronze.report_events")] {
        let checks = sandbox.rows("ops.expectations");
        let whole = checks.iter().filter(|check| check["table"] == silver && check["expectation"] == "*");
        let input: u64 = whole.map(|check| check["input"].as_u64().unwrap()).sum();
        assert_eq!(input, sandbox.count(bronze), "{silver}: input over all runs");
    }
}

/// The newest release is what is there: its readers miss nothing.
fn assert_released(sandbox: &Sandbox) {
    let releases = sandbox.rows("ops.releases");
    let newest = releases.iter().map(|row| row["release"].as_u64().unwrap()).max();
    for row in releases.iter().filter(|row| row["release"].as_u64() == newest) {
        let table = row["table"].as_str().unwrap();
        assert_eq!(row["version"], sandbox.table(table, None).version(), "the newest release and {table}");
    }
}

#[test]
fn killed_at_random_moments() {
    let sandbox = with_waiting_files();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut delays = Vec::new();
    for (turn, file) in waiting(&sandbox).iter().take(16).enumerate() {
        deliver(&sandbox, file);
        let spread = u64::from(seed.wrapping_mul(2_654_435_761).rotate_left(turn as u32) % 1200);
        delays.push(spread);
        let mut child = start(&sandbox);
        std::thread::sleep(Duration::from_millis(spread));
        interrupt(&mut child, turn);
    }
    eprintln!("killed after {delays:?} ms");
    assert_undisturbed(&sandbox);
}

/// Kills at once, or as Ctrl-C does.
fn interrupt(child: &mut Child, turn: usize) {
    if turn % 3 == 2 {
        let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    } else {
        let _ = child.kill();
    }
    child.wait().unwrap();
}

#[test]
fn killed_right_after_each_table_has_committed() {
    let sandbox = with_waiting_files();
    let mut files = waiting(&sandbox).into_iter();
    deliver(&sandbox, &files.next().unwrap());
    sandbox.run();
    let tables: Vec<String> = sandbox.block_on(sandbox.lake().tables()).unwrap();
    let mut caught = 0;
    for table in &tables {
        for file in files.by_ref().take(1) {
            deliver(&sandbox, &file);
        }
        caught += u32::from(kill_when_committed(&sandbox, table));
    }
    // A table may be passed by where a file brings nothing for it.
    assert!(caught as usize >= tables.len() / 2, "only {caught} of {} commits were met", tables.len());
    assert_undisturbed(&sandbox);
}

/// Starts a run and kills it as soon as the table has a new version; false when the run ended before.
fn kill_when_committed(sandbox: &Sandbox, table: &str) -> bool {
    let log = sandbox.path("lake").join(table.replace('.', "/")).join("_delta_log");
    let next = sandbox.table(table, None).version() + 1;
    let entry = log.join(format!("{next:020}.json"));
    let mut child = start(sandbox);
    let begun = Instant::now();
    let met = loop {
        if entry.exists() {
            break true;
        }
        if child.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_secs(60) {
            break false;
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    let _ = child.kill();
    child.wait().unwrap();
    met
}

#[test]
fn what_a_killed_run_left_unpublished_is_in_the_next_release() {
    let sandbox = with_waiting_files();
    let mut files = waiting(&sandbox).into_iter();
    deliver(&sandbox, &files.next().unwrap());
    sandbox.run();
    deliver(&sandbox, &files.next().unwrap());
    assert!(kill_when_committed(&sandbox, "gold.label_completeness"));
    sandbox.run_with(&["--stage", "silver"]);
    sandbox.run();
    assert_released(&sandbox);
    sandbox.assert_up_to_date();
}

#[test]
fn a_full_refresh_that_was_killed_is_made_good() {
    let sandbox = with_waiting_files();
    for file in waiting(&sandbox) {
        deliver(&sandbox, &file);
    }
    sandbox.run();
    for milliseconds in [300, 500, 700, 900] {
        let mut child =
            sandbox.command(&["run", "--full-refresh"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        sandbox.run();
    }
    let quarantined = sandbox.count("silver.quarantine");
    let fresh = Sandbox::new();
    crate::harness::copy_folder(&sandbox.path("data"), &fresh.path("data"));
    fresh.run();
    sandbox.assert_same_rows(&fresh, "after the refreshes");
    assert_eq!(quarantined, fresh.count("silver.quarantine"));
    assert_released(&sandbox);
    sandbox.assert_up_to_date();
}
