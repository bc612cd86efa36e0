//! More than fits: more keys than are listed in a filter, more rows than wait in the upsert's buffer.

use medalha::run::Options;
use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, copy_folder, sorted};
use crate::late_events::assert_feed;

#[test]
fn thousands_of_keys_change_at_once() {
    let (increments, fresh) = (Sandbox::new(), Sandbox::new());
    // The deliveries share ids; whose event is the later one is by chance.
    for (seed, exams) in [("1", "1200"), ("2", "3000"), ("3", "40")] {
        let out = increments.path(&format!("delivery-{seed}"));
        let what = ["generate", "--out", out.to_str().unwrap(), "--defects", "0.01", "--per-file", "1000"];
        increments.expect(0, &[&what[..], &["--seed", seed, "--exams", exams]].concat());
        let folder = format!("data/exam/delivery-{seed}");
        copy_folder(&out.join("exam"), &increments.path(&folder));
        copy_folder(&out.join("exam"), &fresh.path(&folder));
        let report = increments.run_in_process(&Options::default());
        let exams = report.tables.iter().find(|table| table.table == "silver.exams").unwrap();
        assert!(seed != "2" || exams.written > 2000, "more keys than are listed: {}", exams.written);
    }
    fresh.run_in_process(&Options::default());
    assert!(fresh.count("silver.exams") > 2900);
    increments.assert_same_rows(&fresh, "increments (left) and one run over everything");
}

/// Exams, events of each, and bytes of an event: together more than the 32 MB that wait in one task before they are written.
const EXAMS: u32 = 160;
const EVENTS: u32 = 7;
const BYTES: usize = 40_000;

fn event(id: u32, at: u32, bytes: usize) -> String {
    let text = format!("{id} at {at} ");
    let text = text.repeat(bytes.div_ceil(text.len()));
    json!({"content": {"id": id, "dataset": text, "labels": []}, "publication_timestamp": 1_000_000_000 + at})
        .to_string()
}

#[test]
fn rows_that_lose_after_they_were_written_are_taken_out() {
    let sandbox = Sandbox::with_own_project();
    // A reference that is not small: in memory must be all of it, and few of the records that are joined with it.
    let parts: String = (0..40_000).map(|part| format!("made up part {part},PART{part}\n")).collect();
    let reference = std::fs::read_to_string(sandbox.project_file("reference/body_parts.csv")).unwrap();
    sandbox.write_project_file("reference/body_parts.csv", &(reference + &parts));
    let lines: String = (0..EXAMS + 10).filter_map(|id| Some(event(id, held_at(id)?, 10) + "\n")).collect();
    sandbox.deliver("exam/held.json", lines);
    sandbox.run_in_tasks(&Options::default(), 1);
    // Of some exams the first event wins, of others the last, of others one between.
    let turns = (0..EVENTS).flat_map(|turn| (0..EXAMS).map(move |id| (id, 10 + (turn + id) % EVENTS)));
    // Between them are records without an id: rows that are set aside, and take no place in a file.
    let nameless =
        |id: u32| if id.is_multiple_of(3) { "{\"content\": {}, \"publication_timestamp\": 1}\n" } else { "" };
    let lines: String = turns.map(|(id, at)| nameless(id).to_owned() + &event(id, at, BYTES) + "\n").collect();
    assert!(lines.len() > 40 << 20);
    sandbox.deliver("exam/many.json", lines);
    sandbox.run_in_tasks(&Options::default(), 1);
    let row = |id: u32| {
        let brought = (id < EXAMS).then_some(10 + EVENTS - 1);
        let second = 40 + held_at(id).max(brought)?;
        let time = format!("2001-09-09T01:{:02}:{:02}Z", 46 + second / 60, second % 60);
        Some(json!({"exam_id": id.to_string(), "published_at": time}))
    };
    let expected: Vec<Value> = sorted((0..EXAMS + 10).filter_map(row).collect());
    let found = || sandbox.columns("silver.exams", &["exam_id", "published_at"]);
    assert_same(&found(), &expected, "silver.exams");
    assert_feed(&sandbox, &["silver.exams".to_owned()]);
    sandbox.run_in_tasks(&Options { full_refresh: true, ..Options::default() }, 2);
    assert_same(&found(), &expected, "silver.exams after a full refresh");
}

/// When the exam's event of before was published, if it has one: before or after what comes.
fn held_at(id: u32) -> Option<u32> {
    id.is_multiple_of(2).then(|| [0, 5, 90][id as usize % 3])
}
