//! More than fits: more keys than are listed in a filter, more rows than wait in the upsert's buffer.

use medalha::run::Options;
use serde_json::{Value, json};

use crate::harness::{Sandbox, assert_same, copy_folder, sorted};
use crate::late_events::assert_feed;

#[test]
fn thousands_of_keys_change_at_once() {
    let (increments, fresh) = (Sandbox::new(), Sandbox::new());
    // The deliveries share ids; whose event is the later one is by chance.
    for (seed, start, exams) in [(1, 1, 3000), (2, 1, 4000), (3, 1, 40)] {
        let out = increments.path(&format!("delivery-{seed}"));
        let [seed_text, start, exams] = [seed, start, exams].map(|number: u32| number.to_string());
        let place = ["generate", "--out", out.to_str().unwrap(), "--defects", "0.01"];
        let numbers = ["--seed", &seed_text, "--start", &start, "--exams", &exams, "--per-file", "1000"];
        increments.expect(0, &[&place[..], &numbers[..]].concat());
        for source in ["exam", "medical_report"] {
            let folder = format!("data/{source}/delivery-{seed}");
            copy_folder(&out.join(source), &increments.path(&folder));
            copy_folder(&out.join(source), &fresh.path(&folder));
        }
        increments.run_in_process(&Options::default());
    }
    fresh.run_in_process(&Options::default());
    assert!(fresh.count("silver.exams") > 3900);
    increments.assert_same_rows(&fresh, "increments (left) and one run over everything");
    increments.run_in_process(&Options { full_refresh: true, ..Options::default() });
    increments.assert_same_rows(&fresh, "a full refresh (left) and one run over everything");
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
    // Exams of before: some stay, some are older and some newer than what comes.
    let held = |id: u32| event(id, [0, 5, 90][id as usize % 3], 10);
    let lines: String = (0..EXAMS + 10).step_by(2).map(|id| held(id) + "\n").collect();
    sandbox.deliver("exam/held.json", lines);
    sandbox.run_in_tasks(&Options::default(), 1);
    // Of some exams the first event wins, of others the last, of others one between.
    let order = |id: u32, turn: u32| 10 + (turn + id) % EVENTS;
    let turns = (0..EVENTS).flat_map(|turn| (0..EXAMS).map(move |id| (id, turn)));
    let lines: String = turns.map(|(id, turn)| event(id, order(id, turn), BYTES) + "\n").collect();
    assert!(lines.len() > 40 << 20);
    sandbox.deliver("exam/many.json", lines);
    sandbox.run_in_tasks(&Options::default(), 1);
    let row = |id: u32| {
        let newest = if id < EXAMS { 10 + EVENTS - 1 } else { 0 };
        let held = if id.is_multiple_of(2) { [0, 5, 90][id as usize % 3] } else { 0 };
        let at = newest.max(held);
        let second = 40 + at;
        let time = format!("2001-09-09T01:{:02}:{:02}Z", 46 + second / 60, second % 60);
        json!({"exam_id": id.to_string(), "published_at": time})
    };
    let expected: Vec<Value> = (0..EXAMS).chain((EXAMS..EXAMS + 10).step_by(2)).map(row).collect();
    assert_same(&sandbox.columns("silver.exams", &["exam_id", "published_at"]), &sorted(expected), "silver.exams");
    assert_feed(&sandbox, &["silver.exams".to_owned()]);
    sandbox.run_in_tasks(&Options { full_refresh: true, ..Options::default() }, 2);
    let times = sandbox.columns("silver.exams", &["exam_id", "published_at"]);
    assert_same(
        &times,
        &sorted((0..EXAMS).chain((EXAMS..EXAMS + 10).step_by(2)).map(row).collect()),
        "after a full refresh",
    );
}
