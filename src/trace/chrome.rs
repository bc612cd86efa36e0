//! The trace as Chrome, Perfetto and Speedscope read it: JSON trace events.

use std::io::Write;

use serde::Serialize;

use super::spans::{Spans, StepTime};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
    other_data: OtherData<'a>,
}

#[derive(Serialize)]
struct OtherData<'a> {
    program: String,
    /// Of each step, in milliseconds.
    times: &'a [StepTime],
}

/// `X`: from when and how long, in microseconds; `M`: how a lane is called.
#[derive(Serialize)]
struct Event {
    name: String,
    ph: &'static str,
    pid: u32,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u128>,
    args: Args,
}

#[derive(Serialize, Default)]
struct Args {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy_us: Option<u128>,
}

/// Writes the document.
pub(super) fn write(mut to: impl Write, spans: &Spans, times: &[StepTime]) -> std::io::Result<()> {
    let program = format!("pipeline {}", env!("CARGO_PKG_VERSION"));
    let document = Document {
        trace_events: (0..spans.lanes()).map(lane).chain(events(spans)).collect(),
        display_time_unit: "ms",
        other_data: OtherData { program, times },
    };
    serde_json::to_writer(&mut to, &document)?;
    to.flush()
}

fn lane(lane: usize) -> Event {
    let name = if lane == 0 { "run".to_owned() } else { format!("task {lane}") };
    let args = Args { name: Some(name), ..Args::default() };
    Event { name: "thread_name".to_owned(), ph: "M", pid: 1, tid: lane, ts: None, dur: None, args }
}

fn events(spans: &Spans) -> impl Iterator<Item = Event> {
    spans.closed().map(|span| {
        // Whole microseconds from the same beginning: what nests in time nests in the file.
        let start = span.start.as_micros();
        let end = (span.start + span.length()).as_micros();
        let args = Args {
            table: span.table.as_deref().map(str::to_owned),
            busy_us: Some(span.busy.as_micros()),
            ..Args::default()
        };
        Event { name: span.name(), ph: "X", pid: 1, tid: span.lane, ts: Some(start), dur: Some(end - start), args }
    })
}
