//! What others do to a lake, and what a machine does: a clear error that says what to do, and nothing made worse.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add};
use deltalake::protocol::{DeltaOperation, SaveMode};
use serde_json::Value;

use crate::harness::{Outcome, Sandbox};
use crate::increments::{assert_rows_are, assert_undisturbed, deliver, increments, rows};

fn lake_with(increment_count: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..increment_count);
    sandbox
}

fn entry(sandbox: &Sandbox, table: &str, version: u64) -> PathBuf {
    sandbox.path("lake").join(table.replace('.', "/")).join(format!("_delta_log/{version:020}.json"))
}

/// What `fsck` finds wrong, which must not be nothing; it changes nothing.
fn wrong(sandbox: &Sandbox) -> Vec<Value> {
    let before = sandbox.listing();
    let report = sandbox.expect(1, &["fsck", "--format", "json"]).json();
    sandbox.assert_files_are(&before, "fsck");
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["is_wrong"] == true).cloned().collect()
}

fn assert_names(findings: &[Value], place: &str, fact: &str) {
    let names = |finding: &Value| {
        finding["place"].as_str().unwrap().contains(place)
            && finding["fact"].as_str().unwrap().contains(fact)
            && finding["hint"].is_string()
    };
    assert!(findings.iter().any(names), "{place}: {fact}: {findings:#?}");
}

fn assert_fails(outcome: &Outcome, place: &str, hint: &str) {
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(place) && outcome.stderr.contains(hint), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

#[test]
fn data_files_that_are_gone_cut_off_or_of_another_size() {
    for damage in ["gone", "cut", "other"] {
        let sandbox = lake_with(2);
        let file = sandbox.table("silver.exams", None).files().unwrap()[0].path.clone();
        let path = sandbox.path("lake/silver/exams").join(&file);
        let bytes = fs::read(&path).unwrap();
        match damage {
            "gone" => fs::remove_file(&path).unwrap(),
            "cut" => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
            _ => fs::write(&path, vec![0; bytes.len()]).unwrap(),
        }
        assert_names(&wrong(&sandbox), &file, "");
        deliver(&sandbox, 2, 3);
        let outcome = sandbox.pipeline(&["run"]);
        assert_fails(&outcome, "silver.exams", "");
        sandbox.run_with(&["--full-refresh"]);
        assert_undisturbed(&sandbox, 3, damage);
    }
}

#[test]
fn a_log_entry_that_is_gone_or_empty() {
    let sandbox = lake_with(3);
    deliver(&sandbox, 3, 3);
    let log = entry(&sandbox, "silver.exams", 2);
    let bytes = fs::read(&log).unwrap();
    for content in [None, Some("")] {
        fs::remove_file(&log).unwrap();
        if let Some(content) = content {
            fs::write(&log, content).unwrap();
        }
        assert_names(&wrong(&sandbox), "silver.exams", "");
        assert_fails(&sandbox.pipeline(&["run"]), "silver.exams", "pipeline fsck");
        fs::write(&log, &bytes).unwrap();
    }
    sandbox.run();
    assert_undisturbed(&sandbox, 4, "after it was put back");
}

#[test]
fn the_newest_log_entry_that_is_gone() {
    for table in ["bronze.exam_events", "ops.files"] {
        let sandbox = lake_with(3);
        let version = sandbox.table(table, None).version();
        let log = entry(&sandbox, table, version);
        let bytes = fs::read(&log).unwrap();
        fs::remove_file(&log).unwrap();
        wrong(&sandbox);
        let before = sandbox.listing();
        deliver(&sandbox, 3, 3);
        let outcome = sandbox.pipeline(&["run"]);
        if table == "ops.files" {
            // Its rows stand in bronze's commit as well, and are there again.
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        } else {
            assert_fails(&outcome, "was deleted", "--full-refresh");
            let added: Vec<_> = sandbox.listing().into_keys().filter(|file| !before.contains_key(file)).collect();
            assert!(added.iter().all(|file| file.to_string_lossy().contains("ops/")), "{added:?}");
            fs::write(&log, &bytes).unwrap();
            sandbox.run();
        }
        assert_undisturbed(&sandbox, 4, table);
    }
}

#[test]
fn tables_that_are_deleted_by_hand() {
    for table in ["bronze.exam_events", "silver.exams", "silver.quarantine", "ops.files", "ops.releases"] {
        let sandbox = lake_with(3);
        fs::remove_dir_all(sandbox.path("lake").join(table.replace('.', "/"))).unwrap();
        deliver(&sandbox, 3, 3);
        let outcome = sandbox.pipeline(&["run"]);
        match table {
            "bronze.exam_events" => {
                assert_fails(&outcome, "bronze.exam_events", "--full-refresh");
                assert!(!sandbox.path("lake/bronze/exam_events").exists(), "no empty table in its place");
                assert_names(&wrong(&sandbox), "bronze.exam_events", "ops.files knows");
                sandbox.run_with(&["--full-refresh"]);
                assert_undisturbed(&sandbox, 4, table);
            }
            "ops.files" => {
                assert_fails(&outcome, "bronze.exam_events", "--full-refresh");
                fs::remove_dir_all(sandbox.path("lake/bronze/exam_events")).unwrap();
                sandbox.run_with(&["--full-refresh"]);
                assert_undisturbed(&sandbox, 4, table);
            }
            "silver.exams" => assert_undisturbed(&sandbox, 4, table),
            "silver.quarantine" => {
                // What stood in it comes again with what it was set aside of.
                sandbox.run_with(&["--full-refresh"]);
                assert_undisturbed(&sandbox, 4, table);
            }
            _ => {
                assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
                assert_undisturbed(&sandbox, 4, table);
            }
        }
    }
}

/// Commits to a table as another program would: the rows of one of its files once more.
fn append_as_someone_else(sandbox: &Sandbox, name: &str) {
    let table = sandbox.table(name, None);
    let file = table.files().unwrap()[0].clone();
    let folder = sandbox.path("lake").join(name.replace('.', "/"));
    fs::copy(folder.join(&file.path), folder.join("foreign.parquet")).unwrap();
    let add = Add { path: "foreign.parquet".to_owned(), ..file.add().clone() };
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    sandbox.block_on(async {
        let snapshot = table.delta().snapshot().unwrap().snapshot().clone();
        CommitBuilder::from(CommitProperties::default())
            .with_actions(vec![Action::Add(add)])
            .build(Some(&snapshot), table.delta().log_store(), operation)
            .await
            .unwrap();
    });
}

#[test]
fn a_table_that_someone_else_wrote_to() {
    let sandbox = lake_with(2);
    append_as_someone_else(&sandbox, "silver.exams");
    assert_names(&wrong(&sandbox), "silver.exams: version", "not written by a run");
    deliver(&sandbox, 2, 3);
    let outcome = sandbox.pipeline(&["run"]);
    assert!(outcome.stderr.contains("silver.exams: version"), "a run tells of it: {}", outcome.stderr);
    sandbox.run_with(&["--full-refresh"]);
    assert_undisturbed(&sandbox, 3, "after a full refresh");
    // What a killed run left is applied though somebody else has committed since.
    let before = rows(&sandbox);
    let version = sandbox.table("silver.exams", None).version();
    append_as_someone_else(&sandbox, "silver.exams");
    sandbox.expect(0, &["restore", "silver.exams", "--to", &version.to_string()]);
    assert_rows_are(&sandbox, &before, "restored");
    sandbox.expect(0, &["fsck"]);
}

#[test]
fn followers_are_applied_behind_a_foreign_commit() {
    let sandbox = lake_with(2);
    // As a run leaves it that is killed right after bronze's commit, and somebody else commits then.
    let ledger = sandbox.table("ops.files", None).version();
    fs::remove_file(entry(&sandbox, "ops.files", ledger)).unwrap();
    append_as_someone_else(&sandbox, "bronze.exam_events");
    let version = sandbox.table("bronze.exam_events", None).version();
    assert_names(&wrong(&sandbox), "bronze.exam_events", "ops.files");
    sandbox.expect(0, &["restore", "bronze.exam_events", "--to", &(version - 1).to_string()]);
    sandbox.run();
    assert_undisturbed(&sandbox, 2, "restored");
}

#[test]
fn a_run_of_one_stage_ends_what_a_killed_run_of_another_left() {
    let sandbox = lake_with(2);
    let expected = sandbox.rows("silver.quarantine");
    // As a run leaves it that is killed right after its commit of silver.exams.
    let newest = sandbox.table("silver.quarantine", None).version();
    let follows = |version: &u64| {
        let text = fs::read_to_string(entry(&sandbox, "silver.quarantine", *version)).unwrap();
        text.contains("\"appId\":\"silver.exams\"")
    };
    let left = (1..=newest).rev().find(follows).unwrap();
    (left..=newest).for_each(|version| fs::remove_file(entry(&sandbox, "silver.quarantine", version)).unwrap());
    assert_ne!(sandbox.rows("silver.quarantine"), expected);
    sandbox.run_with(&["--stage", "gold"]);
    assert_eq!(sandbox.rows("silver.quarantine"), expected);
    sandbox.expect(0, &["fsck"]);
}

#[test]
fn a_process_that_is_stopped_keeps_its_lease_and_one_that_lost_it_stops() {
    let sandbox = lake_with(1);
    deliver(&sandbox, 1, 2000);
    let files = || fs::read_dir(sandbox.path("lake/bronze/exam_events")).unwrap().count();
    let before = files();
    let mut child = sandbox.command(&["run", "--lease-expiry", "1"]).spawn().unwrap();
    let lease = sandbox.path("lake/_lease");
    while files() == before
        || !fs::read_to_string(&lease).unwrap_or_default().contains(&format!("\"process\":{}", child.id()))
    {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was stopped");
    }
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success())
    };
    signal("-STOP");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let told = sandbox.expect(4, &["run", "--lease-expiry", "1"]);
    assert!(told.stderr.contains(&format!("process {} on ", child.id())), "{}", told.stderr);
    // Without its file nobody knows of the owner, and another run takes the lease.
    fs::remove_file(&lease).unwrap();
    sandbox.run();
    signal("-CONT");
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("was lost"), "{}", outcome.stderr);
    sandbox.run();
    sandbox.expect(0, &["fsck", "--deep"]);
}

/// Runs a script in which `$pipeline` is the program with the sandbox's folders, in a mount namespace of its own.
fn in_namespace(sandbox: &Sandbox, script: &str) -> Outcome {
    let command = sandbox.command(&[]);
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let program: Vec<String> = [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
    let script = format!("set -eu; pipeline() {{ {} \"$@\"; }}; {script}", program.join(" "));
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "bash", "-c", &script]).env_remove("RUST_LOG");
    command.env("lake", sandbox.path("lake")).env("kept", sandbox.path("kept"));
    Outcome::of(command.output().unwrap())
}

#[test]
fn a_disk_that_is_full() {
    for kib in [60, 120, 180] {
        let sandbox = Sandbox::new();
        deliver(&sandbox, 0, 3);
        deliver(&sandbox, 1, 300);
        let script = format!(
            "mkdir -p $lake; mount -t tmpfs -o size={kib}k tmpfs $lake
             code=0; pipeline run || code=$?
             mount -o remount,size=100m $lake
             pipeline run >/dev/null; pipeline fsck --deep; cp -R $lake $kept; exit $code"
        );
        let outcome = in_namespace(&sandbox, &script);
        assert_fails(&outcome, "os error 28", "make room");
        fs::remove_dir(sandbox.path("lake")).unwrap();
        fs::rename(sandbox.path("kept"), sandbox.path("lake")).unwrap();
        let fresh = Sandbox::new();
        deliver(&fresh, 0, 3);
        deliver(&fresh, 1, 300);
        fresh.run();
        sandbox.assert_same_rows(&fresh, &format!("{kib} KiB"));
        sandbox.assert_up_to_date();
    }
}

#[test]
fn a_file_system_that_is_read_only() {
    let sandbox = lake_with(2);
    deliver(&sandbox, 2, 3);
    let before = sandbox.listing();
    let read_only = "mount --bind $lake $lake; mount -o remount,bind,ro $lake;";
    for command in ["run", "maintain", "restore silver.exams --to 1"] {
        let outcome = in_namespace(&sandbox, &format!("{read_only} pipeline {command}"));
        assert_fails(&outcome, "os error 30", "write there");
    }
    for command in ["fsck --deep", "status", "query 'SELECT COUNT(*) FROM silver.exams'", "maintain --dry-run"] {
        let outcome = in_namespace(&sandbox, &format!("{read_only} pipeline {command}"));
        assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.stderr);
    }
    sandbox.assert_files_are(&before, "a read-only lake");
    sandbox.run();
    assert_undisturbed(&sandbox, 3, "writable again");
}

#[test]
fn files_that_may_not_grow() {
    let sandbox = lake_with(2);
    deliver(&sandbox, 2, 300);
    let before = rows(&sandbox);
    let outcome = in_namespace(&sandbox, "trap '' XFSZ; ulimit -f 4; pipeline run");
    assert_fails(&outcome, "os error 27", "make room");
    for (table, rows) in before.iter().filter(|(table, _)| table.starts_with("silver.")) {
        crate::harness::assert_same(&sandbox.rows(table), rows, table);
    }
    sandbox.run();
    sandbox.expect(0, &["fsck", "--deep"]);
    sandbox.assert_up_to_date();
}
