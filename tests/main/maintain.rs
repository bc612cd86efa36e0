//! `pipeline maintain`: fewer files, the same rows, and nothing taken away that somebody needs.

use std::time::{Duration, Instant};

use medalha::run::Options;
use serde_json::Value;

use crate::harness::{Sandbox, assert_same};
use crate::increments::{assert_rows_are, deliver, fresh, increments, rows};

fn maintain(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.expect(0, &[&["maintain", "--format", "json"], args].concat()).json()
}

fn total(report: &Value, column: &str) -> u64 {
    report["tables"].as_array().unwrap().iter().filter_map(|row| row[column].as_u64()).sum()
}

#[test]
fn the_same_rows_in_fewer_files_and_no_news_for_anyone() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..6);
    let before = rows(&sandbox);
    let files = sandbox.table("silver.exams", None).files().unwrap().len();
    let planned = sandbox.listing();
    let plan = maintain(&sandbox, &["--dry-run"]);
    sandbox.assert_files_are(&planned, "a dry run");
    let report = maintain(&sandbox, &[]);
    assert_eq!(total(&plan, "compacted"), total(&report, "compacted"), "{plan}\n{report}");
    assert!(total(&report, "compacted") > 0 && report["release"].is_i64(), "{report}");
    assert!(sandbox.table("silver.exams", None).files().unwrap().len() < files);
    assert_rows_are(&sandbox, &before, "after maintain");
    // Nothing is new for a run, and nothing is left to do.
    sandbox.assert_up_to_date();
    let versions = sandbox.versions();
    let again = maintain(&sandbox, &[]);
    assert_eq!(sandbox.versions(), versions, "a second maintain commits nothing: {again}");
    // The next increment is one: keys are found in the new files, and derived tables take only what is new.
    increments(&sandbox, 6..7);
    sandbox.assert_same_rows(&fresh(7), "maintained or not");
    sandbox.assert_up_to_date();
}

#[test]
fn what_is_old_goes_and_what_is_pinned_stays() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..3);
    let old = ["bronze.exam_events", "silver.exams", "gold.label_completeness"]
        .map(|table| (table, sandbox.table(table, None).version(), sandbox.rows(table)));
    sandbox.expect(0, &["release", "pin", "3", "--why", "a training set"]);
    increments(&sandbox, 3..8);
    let before = rows(&sandbox);
    std::fs::write(sandbox.path("lake/silver/exams/left-by-a-killed-run.parquet"), "").unwrap();
    std::fs::write(sandbox.path("lake/silver/exams/unfinished.parquet#17"), "").unwrap();
    let report = maintain(&sandbox, &["--keep", "0s"]);
    assert!(total(&report, "files") > 0 && total(&report, "log_files") > 0, "{report}");
    for gone in ["left-by-a-killed-run.parquet", "unfinished.parquet#17", "_delta_log/00000000000000000000.json"] {
        assert!(!sandbox.path("lake/silver/exams").join(gone).exists(), "{gone}");
    }
    assert_rows_are(&sandbox, &before, "after maintain");
    for (table, version, rows) in old {
        assert_same(&sandbox.rows_at(table, Some(version)), &rows, &format!("pinned {table}"));
    }
    let read = |release: &str| sandbox.pipeline(&["query", "SELECT COUNT(*) FROM silver.exams", "--as-of", release]);
    assert_eq!(read("3").code, Some(0), "{}", read("3").stderr);
    assert_eq!(read("5").code, Some(2), "{}", read("5").stderr);
    assert!(read("5").stderr.contains("can no longer be read"), "{}", read("5").stderr);
    // All positions are there without the entries that first had them.
    sandbox.assert_up_to_date();
    let files = sandbox.listing();
    maintain(&sandbox, &["--keep", "0s"]);
    sandbox.assert_files_are(&files, "a second maintain");
    sandbox.expect(0, &["release", "unpin", "3"]);
    let report = maintain(&sandbox, &["--keep", "0s"]);
    assert!(total(&report, "files") > 0, "{report}");
    let before: Vec<_> = before.into_iter().filter(|(table, _)| table != "ops.pins").collect();
    assert_rows_are(&sandbox, &before, "after unpinning");
}

#[test]
fn what_a_derived_table_has_not_read_stays() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..2);
    for number in 2..7 {
        deliver(&sandbox, number, 3);
        sandbox.run_with(&["--stage", "bronze"]);
        sandbox.run_with(&["--select", "silver.exams"]);
    }
    let seen = sandbox.table("silver.exams", None).version();
    maintain(&sandbox, &["--keep", "0s"]);
    let report = sandbox.run();
    let of = |name: &str| report["tables"].as_array().unwrap().iter().find(|row| row["table"] == name).unwrap().clone();
    assert!(sandbox.table("silver.exams", None).version() > seen, "it was compacted");
    let causes: Vec<Value> = sandbox
        .tables(&["gold"])
        .iter()
        .map(|name| of(name)["why"].clone())
        .filter(|why| *why == "unknown-changes")
        .collect();
    assert!(causes.is_empty(), "increments, not all anew: {report}");
    sandbox.assert_same_rows(&fresh(7), "late readers");
}

#[test]
fn a_budget_ends_it_and_the_next_goes_on() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..5);
    let before = rows(&sandbox);
    let report = maintain(&sandbox, &["--budget", "0s"]);
    assert_eq!(report["unfinished"], true, "{report}");
    assert_eq!(total(&report, "compacted"), 0, "{report}");
    let report = maintain(&sandbox, &["--budget", "10m"]);
    assert_eq!(report["unfinished"], false, "{report}");
    assert!(total(&report, "compacted") > 0, "{report}");
    assert_rows_are(&sandbox, &before, "after both");
    sandbox.assert_up_to_date();
}

#[test]
fn killed_wherever_it_stands() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..5);
    let before = rows(&sandbox);
    for milliseconds in [20, 60, 100, 150, 200, 300, 400] {
        let mut child = sandbox.command(&["maintain", "--keep", "0s"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        assert_rows_are(&sandbox, &before, "killed");
    }
    maintain(&sandbox, &["--keep", "0s"]);
    sandbox.run();
    sandbox.assert_up_to_date();
}

/// `MEDALHA_INCREMENTS` gives another number than 200; the times, of the processors and of the clock, go to standard error.
#[test]
#[ignore = "takes minutes; its figures stand in the README"]
fn many_increments_take_no_longer() {
    let number = |name: &str, default: u32| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, every) = (number("MEDALHA_INCREMENTS", 200), number("MEDALHA_MAINTAIN", 100));
    let sandbox = Sandbox::new();
    let (mut times, mut clock) = (Vec::new(), Vec::new());
    for number in 1..=count {
        deliver(&sandbox, number, 10);
        let (begun, before) = (Instant::now(), processor_time());
        sandbox.run();
        times.push(processor_time() - before);
        clock.push(begun.elapsed());
        if number % every == 0 {
            let before = processor_time();
            maintain(&sandbox, &[]);
            eprintln!("maintain after {number}: {:?}", processor_time() - before);
        }
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2]
    };
    let tens =
        |times: &[Duration]| -> Vec<String> { times.chunks(10).map(|ten| format!("{:.0?}", median(ten))).collect() };
    eprintln!("medians of ten increments each: {:?}, by the clock {:?}", tens(&times), tens(&clock));
    let (tenth, last) = (median(&times[5..15]), median(&times[times.len() - 10..]));
    assert!(last <= 2 * tenth, "the tenth took {tenth:?}, the last {last:?}");
}

/// What the processes that this one has started and that have ended took of the processors.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(13).take(2).map(|n| n.parse().unwrap()).collect();
    // In hundredths of a second, on every Linux.
    Duration::from_millis(10 * fields.iter().sum::<u64>())
}

#[test]
fn a_release_that_is_gone_cannot_be_pinned() {
    let sandbox = Sandbox::new();
    increments(&sandbox, 0..3);
    maintain(&sandbox, &["--keep", "0s"]);
    let told = sandbox.expect(2, &["release", "pin", "1"]);
    assert!(told.stderr.contains("can no longer be read"), "{}", told.stderr);
    let told = sandbox.expect(2, &["replay", "--verify", "1"]);
    assert!(told.stderr.contains("can no longer be read"), "{}", told.stderr);
    sandbox.expect(0, &["fsck"]);
}

#[test]
fn a_run_of_one_pipeline_leaves_few_files_too() {
    let manifest = |name: &str| {
        format!(
            "name = \"{name}\"\ndescription = \"Things.\"\n\n[sources.{name}]\ndescription = \"Things.\"\n\
             kind = \"files\"\npath = \"{name}\"\nformat = \"json\"\n"
        )
    };
    let bronze =
        |name: &str| format!("description = \"Things.\"\nsource = \"{name}\"\npayload = \"STRUCT<id STRING>\"\n");
    let sandbox = Sandbox::with_files(&[
        ("one/pipeline.toml", &manifest("one")),
        ("one/bronze/ones.toml", &bronze("one")),
        ("other/pipeline.toml", &manifest("other")),
        ("other/bronze/others.toml", &bronze("other")),
    ]);
    let options = Options { pipelines: vec!["one".to_owned()], ..Options::default() };
    for number in 0..20 {
        sandbox.deliver(&format!("one/{number}.json"), format!("{{\"id\": \"{number}\"}}"));
        sandbox.run_in_process(&options);
    }
    assert_eq!(sandbox.count("bronze.ones"), 20);
    for table in ["bronze.ones", "ops.files", "ops.runs"] {
        let files = sandbox.table(table, None).files().unwrap().len();
        assert!(files < 16, "{table} has {files} files");
    }
}
