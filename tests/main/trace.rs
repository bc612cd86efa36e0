//! `pipeline run --profile-out`: where the time went, as trace events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::Sandbox;

/// Steps that a run of everything has, each with a table that it is of.
const STEPS: [(&str, &str); 21] = [
    ("bronze.refresh", "bronze.exam_events"),
    ("bronze.ledger", "bronze.exam_events"),
    ("bronze.list", "bronze.exam_events"),
    ("bronze.hash", "bronze.exam_events"),
    ("bronze.read", "bronze.exam_events"),
    ("bronze.read_block", "bronze.exam_events"),
    ("bronze.split", "bronze.exam_events"),
    ("bronze.write", "bronze.exam_events"),
    ("bronze.commit", "bronze.exam_events"),
    ("ops.follow", "ops.files"),
    ("ops.commit", "ops.files"),
    ("silver.decode", "silver.exams"),
    ("silver.sql", "silver.exams"),
    ("silver.judge", "silver.exams"),
    ("silver.upsert", "silver.exams"),
    ("silver.write", "silver.exams"),
    ("silver.commit", "silver.exam_labels"),
    ("gold.sql", "gold.exam_label_consensus"),
    ("gold.write", "gold.exam_label_consensus"),
    ("ops.record", "ops.runs"),
    ("ops.release", "ops.releases"),
];

/// A complete event.
struct Event {
    name: String,
    table: Option<String>,
    lane: u64,
    start: u64,
    end: u64,
}

impl Event {
    fn of(event: &Value) -> Self {
        let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {event}"));
        let args = event["args"].as_object().unwrap();
        let known = |name: &String| ["table", "busy_us"].contains(&name.as_str());
        assert!(args.keys().all(known), "a trace holds tables and times, nothing else: {event}");
        let start = number("ts");
        Self {
            name: event["name"].as_str().unwrap().to_owned(),
            table: args.get("table").map(|table| table.as_str().unwrap().to_owned()),
            lane: number("tid"),
            start,
            end: start + number("dur"),
        }
    }
}

fn deliver(sandbox: &Sandbox, number: u32) {
    let lines: String = (0..50)
        .map(|id| {
            format!(
                "{{\"content\": {{\"id\": {}, \"body_part\": \"CHEST\", \"labels\": [{{\"classification\": \"mass\", \
                 \"labelled_by\": \"Otávio Brandão\", \"labelling_method\": \"physician\", \"value\": true}}]}}, \
                 \"publication_timestamp\": {}}}\n",
                7_430_000 + id,
                1_700_000_000 + number
            )
        })
        .collect();
    sandbox.deliver(&format!("exam/of Otávio {number}.json"), lines);
}

fn traced(sandbox: &Sandbox) -> (String, Value, Vec<Event>) {
    let file = sandbox.path("trace.json");
    sandbox.expect(0, &["run", "--profile-out", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(file).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let all = document["traceEvents"].as_array().unwrap();
    let events = all.iter().filter(|event| event["ph"] == "X").map(Event::of).collect();
    (text, document, events)
}

/// In a lane, of two spans one is within the other, or they are apart.
fn assert_nested(events: &[Event]) {
    let mut lanes: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| lanes.entry(event.lane).or_default().push(event));
    for mut events in lanes.into_values() {
        events.sort_by_key(|event| (event.start, std::cmp::Reverse(event.end)));
        let mut around: Vec<&Event> = Vec::new();
        for event in events {
            while around.last().is_some_and(|outer| outer.end <= event.start) {
                around.pop();
            }
            if let Some(outer) = around.last() {
                assert!(event.end <= outer.end, "{} ends after {}, in which it began", event.name, outer.name);
            }
            around.push(event);
        }
    }
}

/// The times that are told are those of the events.
fn assert_times(document: &Value, events: &[Event]) {
    let mut totals: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for event in events {
        let total = totals.entry(&event.name).or_default();
        *total = (total.0 + 1, total.1 + (event.end - event.start) as f64 / 1e3);
    }
    let times = document["otherData"]["times"].as_array().unwrap();
    let told: BTreeSet<&str> = times.iter().map(|time| time["name"].as_str().unwrap()).collect();
    assert_eq!(told, totals.keys().copied().collect());
    for time in times {
        let (spans, total) = totals[time["name"].as_str().unwrap()];
        assert_eq!(time["spans"], spans, "{time}");
        // An event's time is cut to whole microseconds.
        let millis = |name: &str| time[name].as_f64().unwrap();
        assert!((millis("total_ms") - total).abs() <= spans as f64 * 2e-3, "{total} and {time}");
        assert!(millis("self_ms") <= millis("total_ms") && millis("busy_ms") >= 0.0, "{time}");
    }
}

#[test]
fn the_trace_of_a_run_tells_its_steps() {
    let sandbox = Sandbox::new();
    deliver(&sandbox, 1);
    let (_, document, events) = traced(&sandbox);
    for (name, table) in STEPS {
        let is_there = |event: &Event| event.name == name && event.table.as_deref() == Some(table);
        assert!(events.iter().any(is_there), "no {name} of {table}");
    }
    let run = events.iter().find(|event| event.name == "run").unwrap();
    assert!(events.iter().all(|event| run.start <= event.start && event.end <= run.end), "all is within the run");
    assert_nested(&events);
    assert_times(&document, &events);

    // An increment of known keys has steps that the first run has not.
    deliver(&sandbox, 2);
    let (text, document, events) = traced(&sandbox);
    for name in ["silver.lookup", "silver.rewrite", "silver.change_feed", "gold.changed_keys", "bronze.catch_up"] {
        assert!(events.iter().any(|event| event.name == name), "no {name}");
    }
    assert_nested(&events);
    assert_times(&document, &events);
    assert!(!text.contains("Brand") && !text.contains("exam/"), "nothing of a person");
}

#[test]
fn a_trace_that_cannot_be_written_is_told_before_the_work() {
    let sandbox = Sandbox::new();
    deliver(&sandbox, 1);
    let outcome = sandbox.expect(1, &["run", "--profile-out", "/no/such/folder/trace.json"]);
    assert!(outcome.stderr.contains("/no/such/folder/trace.json"), "{}", outcome.stderr);
    assert!(!sandbox.path("lake").exists(), "nothing was done");
}

#[test]
fn steps_are_told_where_more_is_asked_for() {
    let sandbox = Sandbox::new();
    deliver(&sandbox, 1);
    let file = sandbox.path("trace.json");
    let outcome = sandbox.expect(0, &["run", "-v", "--profile-out", file.to_str().unwrap()]);
    assert!(outcome.stderr.contains("self ms") && outcome.stderr.contains("silver.write"), "{}", outcome.stderr);
    let outcome = sandbox.expect(0, &["run", "--profile-out", file.to_str().unwrap()]);
    assert!(!outcome.stderr.contains("self ms"), "{}", outcome.stderr);
}
