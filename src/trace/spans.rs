//! Spans as they were open, in lanes in which they nest, and how long each step took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// A span that was opened.
pub(super) struct Span {
    pub step: &'static str,
    pub table: Option<Arc<str>>,
    /// The span around it, or the one that the run was in when a task of its own opened it.
    pub parent: Option<usize>,
    /// In a lane, spans are apart or one within the other.
    pub lane: usize,
    pub start: Duration,
    /// When it was closed; a span that is still open has no part in what is written.
    pub end: Option<Duration>,
    /// How long a thread was in it, and in no span within it.
    pub busy: Duration,
}

impl Span {
    /// The step with the stage that it is of.
    pub fn name(&self) -> String {
        match self.table.as_deref().and_then(|table| table.split_once('.')) {
            Some((stage, _)) => format!("{stage}.{}", self.step),
            None => self.step.to_owned(),
        }
    }

    pub fn length(&self) -> Duration {
        self.end.map_or(Duration::ZERO, |end| end - self.start)
    }
}

/// How long a step took, all its spans together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    /// The step, with its stage.
    pub name: String,
    /// How many spans.
    pub spans: u64,
    /// How long they were open.
    pub total_ms: f64,
    /// How long they were open while no span within them was.
    pub self_ms: f64,
    /// How long threads worked in them, and in no span within them: more than `self_ms` where several did, less where
    /// they waited.
    pub busy_ms: f64,
}

/// All spans, in the order in which they were opened.
#[derive(Default)]
pub(super) struct Spans {
    all: Vec<Span>,
    /// Of each lane, the spans that are open, the innermost last. The first lane is the run's own flow.
    lanes: Vec<Vec<usize>>,
}

impl Spans {
    /// Opens a span; gives its place.
    pub fn open(&mut self, step: &'static str, table: Option<String>, parent: Option<usize>, now: Duration) -> usize {
        let place = self.all.len();
        let lane = self.lane_of(parent);
        let parent = parent.or_else(|| self.lanes.first().and_then(|flow| flow.last().copied()));
        let of_parent = || parent.and_then(|parent| self.all[parent].table.clone());
        let table = table.map(Arc::from).or_else(of_parent);
        self.lanes[lane].push(place);
        self.all.push(Span { step, table, parent, lane, start: now, end: None, busy: Duration::ZERO });
        place
    }

    /// The lane of the span around, if nothing else is open within that; else one in which nothing is.
    fn lane_of(&mut self, parent: Option<usize>) -> usize {
        if let Some(parent) = parent {
            let lane = self.all[parent].lane;
            if self.lanes[lane].last() == Some(&parent) {
                return lane;
            }
        }
        let free = self.lanes.iter().position(Vec::is_empty);
        free.unwrap_or_else(|| {
            self.lanes.push(Vec::new());
            self.lanes.len() - 1
        })
    }

    pub fn add_busy(&mut self, place: usize, busy: Duration) {
        self.all[place].busy += busy;
    }

    pub fn close(&mut self, place: usize, now: Duration) {
        let span = &mut self.all[place];
        span.end = Some(now);
        self.lanes[span.lane].retain(|open| *open != place);
    }

    /// The spans that were closed.
    pub fn closed(&self) -> impl Iterator<Item = &Span> {
        self.all.iter().filter(|span| span.end.is_some())
    }

    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// How long each step took, those with most time of their own first.
    pub fn times(&self) -> Vec<StepTime> {
        let mut within: BTreeMap<usize, Vec<&Span>> = BTreeMap::new();
        for span in self.closed() {
            if let Some(parent) = span.parent {
                within.entry(parent).or_default().push(span);
            }
        }
        let mut times: BTreeMap<String, StepTime> = BTreeMap::new();
        for (place, span) in self.all.iter().enumerate().filter(|(_, span)| span.end.is_some()) {
            let covered = within.get(&place).map_or(Duration::ZERO, |spans| covered(span, spans));
            let name = span.name();
            let time = times.entry(name.clone()).or_insert(StepTime {
                name,
                spans: 0,
                total_ms: 0.0,
                self_ms: 0.0,
                busy_ms: 0.0,
            });
            time.spans += 1;
            time.total_ms += milliseconds(span.length());
            time.self_ms += milliseconds(span.length().saturating_sub(covered));
            time.busy_ms += milliseconds(span.busy);
        }
        let mut times: Vec<StepTime> = times.into_values().collect();
        times.sort_by(|a, b| b.self_ms.total_cmp(&a.self_ms));
        times
    }
}

/// How much of a span's time others cover, which began in the order given and may overlap.
fn covered(span: &Span, others: &[&Span]) -> Duration {
    let (mut covered, mut until) = (Duration::ZERO, span.start);
    let last = span.end.unwrap_or(span.start);
    for other in others {
        let end = other.end.unwrap_or(other.start).min(last);
        covered += end.saturating_sub(other.start.max(until));
        until = until.max(end);
    }
    covered
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A run in which two tasks of their own overlap, and a step within one of them.
    fn spans() -> Spans {
        let mut spans = Spans::default();
        let run = spans.open("run", None, None, at(0));
        let table = spans.open("refresh", Some("silver.exams".to_owned()), Some(run), at(10));
        let one = spans.open("sql", None, None, at(20));
        let two = spans.open("sql", None, None, at(30));
        let write = spans.open("write", Some("ops.files".to_owned()), Some(two), at(40));
        spans.add_busy(write, at(7));
        spans.close(write, at(50));
        spans.close(one, at(60));
        spans.close(two, at(70));
        spans.close(table, at(80));
        spans.open("never closed", None, Some(run), at(85));
        spans.close(run, at(100));
        spans
    }

    #[test]
    fn steps_bear_the_stage_of_the_nearest_table() {
        let names: Vec<String> = spans().closed().map(Span::name).collect();
        assert_eq!(names, ["run", "silver.refresh", "silver.sql", "silver.sql", "ops.write"]);
    }

    #[test]
    fn time_is_a_steps_own_while_nothing_within_it_is_open() {
        let times = spans().times();
        let of = |name: &str| {
            let time = times.iter().find(|time| time.name == name).unwrap();
            (time.spans, time.total_ms, time.self_ms, time.busy_ms)
        };
        assert_eq!(of("run"), (1, 100.0, 30.0, 0.0));
        assert_eq!(of("silver.refresh"), (1, 70.0, 20.0, 0.0), "from 10 to 20 and from 70 to 80");
        assert_eq!(of("silver.sql"), (2, 80.0, 70.0, 0.0));
        assert_eq!(of("ops.write"), (1, 10.0, 10.0, 7.0));
        assert_eq!(times[0].name, "silver.sql", "most time of its own");
    }

    #[test]
    fn what_overlaps_is_in_lanes_of_its_own() {
        let lanes: Vec<usize> = spans().closed().map(|span| span.lane).collect();
        assert_eq!(lanes, [0, 0, 1, 2, 2]);
    }
}
