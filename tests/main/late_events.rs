//! Increments in any order and cut give the tables that one run over everything gives, and that a plain computation in
//! this file gives; the change data feed tells each step.

use std::collections::{BTreeMap, BTreeSet};

use medalha::run::Options;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::harness::{Sandbox, assert_same, project, sorted, to_json};

/// Spellings of classes, and the class that each means.
const CLASSES: [(Option<&str>, Option<&str>); 7] = [
    (Some("covid"), Some("covid19")),
    (Some(" COVID-19"), Some("covid19")),
    (Some("mass"), Some("mass")),
    (Some("Tumour"), Some("tumor")),
    (Some("Pneumonia"), Some("pneumonia")),
    (Some("Odd Thing"), Some("odd thing")),
    (None, None),
];
/// Dates as delivered; the last ones are none.
const DATES: [(Option<&str>, Option<&str>); 5] = [
    (Some("2021-11-30"), Some("2021-11-30")),
    (Some("2021-12-01"), Some("2021-12-01")),
    (Some("2021-12-31"), Some("2021-12-31")),
    (Some("2021-02-30"), None),
    (None, None),
];
const METHODS: [Option<&str>; 4] = [Some("physician"), Some("ml_model"), Some("other"), None];
/// Classes that are expected of every exam.
const EXPECTED: [&str; 5] = ["covid19", "edema", "hernia", "mass", "tumor"];

#[derive(Debug, Clone)]
struct Label {
    class: (Option<&'static str>, Option<&'static str>),
    date: (Option<&'static str>, Option<&'static str>),
    method: Option<&'static str>,
    value: Option<bool>,
}

/// Images that exams name, each with what becomes of it where its file is there.
const IMAGES: [(&str, &str); 3] = [("one.png", "found"), ("two.png", "found"), ("broken.png", "unreadable")];

/// One record as it comes; an original is a file of its own.
#[derive(Debug, Clone)]
enum Record {
    Exam { id: u32, at: u32, labels: Vec<Label>, image: Option<&'static str> },
    BadExam(&'static str),
    Report { exam: u32, text: Option<&'static str> },
    Image(&'static str),
    Document { exam: u32 },
}

/// What follows a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Nothing,
    File,
    Run,
}

/// Records in the order in which they come, cut into files and runs; and in another order, for a lake of one run.
#[derive(Debug, Clone)]
struct History {
    records: Vec<(Record, Cut)>,
    otherwise: Vec<Record>,
}

fn label() -> impl Strategy<Value = Label> {
    let value = select(vec![Some(true), Some(false), None]);
    (select(CLASSES.to_vec()), select(DATES.to_vec()), select(METHODS.to_vec()), value)
        .prop_map(|(class, date, method, value)| Label { class, date, method, value })
}

fn record() -> impl Strategy<Value = Record> {
    let names = IMAGES.map(|(name, _)| Some(name)).into_iter().chain([None]).collect::<Vec<_>>();
    let exam = (1..4_u32, 0..3_u32, prop::collection::vec(label(), 0..4), select(names));
    let bad = select(vec![
        r#"{"content": {"labels": []}, "publication_timestamp": 1}"#,
        r#"{"content": {"id": 1, "body_part": "HAND", "labels": []}, "publication_timestamp": 1641900000000}"#,
        r#"{"content": {"id": 1,}}"#,
        "{}",
    ]);
    let report = (1..3_u32, select(vec![Some("clear"), Some("unclear"), None]));
    prop_oneof![
        8 => exam.prop_map(|(id, at, labels, image)| Record::Exam { id, at, labels, image }),
        1 => bad.prop_map(Record::BadExam),
        1 => report.prop_map(|(exam, text)| Record::Report { exam, text }),
        1 => select(IMAGES.to_vec()).prop_map(|(name, _)| Record::Image(name)),
        1 => (1..3_u32).prop_map(|exam| Record::Document { exam }),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let again = prop::collection::vec(any::<Index>(), 0..4);
    let records = (prop::collection::vec(record(), 1..14), again).prop_map(|(mut records, again)| {
        let more: Vec<Record> = again.iter().map(|index| index.get(&records).clone()).collect();
        records.extend(more);
        records
    });
    let ordered = records.prop_flat_map(|records| (Just(records.clone()).prop_shuffle(), Just(records).prop_shuffle()));
    let cut = prop_oneof![4 => Just(Cut::Nothing), 1 => Just(Cut::File), 2 => Just(Cut::Run)];
    (ordered, prop::collection::vec(cut, 20)).prop_map(|((records, otherwise), cuts)| History {
        records: records.into_iter().zip(cuts).collect(),
        otherwise,
    })
}

impl Record {
    fn payload(&self) -> String {
        match self {
            Record::Exam { id, at, labels, image } => {
                let labels: Vec<Value> = labels.iter().map(Label::json).collect();
                let image = image.map(|name| format!("gs://elsewhere/{name}"));
                let content = json!({"id": id, "body_part": "chest", "image_path": image, "labels": labels});
                json!({"content": content, "publication_timestamp": 1_000_000_000 + at}).to_string()
            }
            Record::BadExam(text) => (*text).to_owned(),
            Record::Report { exam, text } => json!({"content": {"exam_id": exam, "text": text}}).to_string(),
            Record::Image(name) => (*name).to_owned(),
            Record::Document { exam } => document_text(*exam),
        }
    }

    fn source(&self) -> &'static str {
        match self {
            Record::Exam { .. } | Record::BadExam(_) => "exam",
            Record::Report { .. } => "medical_report",
            Record::Image(_) => "images",
            Record::Document { .. } => "report_documents",
        }
    }

    /// The name and the bytes of an original.
    fn original(&self) -> Option<(String, Vec<u8>)> {
        match self {
            Record::Image("broken.png") => Some(("broken.png".to_owned(), b"no picture at all".to_vec())),
            Record::Image(name) => Some(((*name).to_owned(), png(name.len() as u32))),
            Record::Document { exam } => Some((format!("{exam} note.txt"), document_text(*exam).into_bytes())),
            _ => None,
        }
    }
}

impl Label {
    fn json(&self) -> Value {
        json!({"classification": self.class.0, "labelled_date": self.date.0, "labelling_method": self.method, "value": self.value})
    }
}

fn document_text(exam: u32) -> String {
    format!("Of exam {exam}: nothing found.")
}

fn png(height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, 1, height).write_header().unwrap();
    writer.write_image_data(&vec![0; height as usize]).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Delivers records as one file a source, a record a line, and originals. The number makes each file another one.
fn deliver(sandbox: &Sandbox, number: usize, records: &[Record]) {
    for source in ["exam", "medical_report"] {
        let of_source = records.iter().filter(|record| record.source() == source);
        let lines: String = of_source.map(|record| record.payload() + "\n").collect();
        if !lines.is_empty() {
            sandbox.deliver(&format!("{source}/{number}.json"), lines + &"\n".repeat(number));
        }
    }
    for record in records {
        let Some((name, bytes)) = record.original() else { continue };
        let path = sandbox.deliver(&format!("{}/{name}", record.source()), bytes);
        // In every lake the same: the manifest says when a file was changed.
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// Delivers a history and runs where it is cut.
fn in_increments(history: &History) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut file = Vec::new();
    for (number, (record, cut)) in history.records.iter().enumerate() {
        file.push(record.clone());
        if *cut != Cut::Nothing {
            deliver(&sandbox, number, &file);
            file.clear();
        }
        if *cut == Cut::Run {
            sandbox.run_in_process(&Options::default());
        }
    }
    deliver(&sandbox, history.records.len(), &file);
    sandbox.run_in_process(&Options::default());
    sandbox
}

/// The event of an exam that counts.
struct Winner {
    id: u32,
    at: u32,
    payload: String,
    labels: Vec<Label>,
    image: Option<&'static str>,
}

impl Winner {
    fn hash(&self) -> i64 {
        xxh3_64(self.payload.as_bytes()) as i64
    }
}

/// Of each exam the latest event, of equal ones that with the higher hash.
fn winners(records: &[Record]) -> Vec<Winner> {
    let mut winners: BTreeMap<u32, Winner> = BTreeMap::new();
    for record in records {
        let Record::Exam { id, at, labels, image } = record else { continue };
        let new = Winner { id: *id, at: *at, payload: record.payload(), labels: labels.clone(), image: *image };
        match winners.get(id) {
            Some(held) if (held.at, held.hash()) >= (new.at, new.hash()) => {}
            _ => drop(winners.insert(*id, new)),
        }
    }
    winners.into_values().collect()
}

/// Silver and gold, computed from the records in the plainest way.
fn computed(records: &[Record]) -> [(&'static str, Vec<Value>); 9] {
    let winners = winners(records);
    [
        ("silver.exams", winners.iter().map(exam_row).collect()),
        ("silver.exam_labels", winners.iter().flat_map(label_rows).collect()),
        ("silver.reports", report_rows(records)),
        ("silver.quarantine", quarantine_rows(records)),
        ("silver.images", winners.iter().filter_map(|exam| image_row(exam, records)).collect()),
        ("silver.report_documents", document_rows(records)),
        ("gold.exam_label_consensus", winners.iter().flat_map(consensus_rows).collect()),
        ("gold.label_completeness", winners.iter().map(completeness_row).collect()),
        ("gold.label_activity_monthly", activity_rows(&winners)),
    ]
}

fn exam_row(exam: &Winner) -> Value {
    json!({"exam_id": exam.id.to_string(), "body_part": "CHEST", "label_count": exam.labels.len(),
        "published_at": format!("2001-09-09T01:46:4{}Z", exam.at), "_payload_hash": exam.hash()})
}

fn label_rows(exam: &Winner) -> Vec<Value> {
    let row = |(index, label): (usize, &Label)| {
        json!({"exam_id": exam.id.to_string(), "label_index": index, "classification": label.class.1,
            "classification_raw": label.class.0, "labelled_date": label.date.1, "labelling_method": label.method,
            "value": label.value})
    };
    exam.labels.iter().enumerate().map(row).collect()
}

fn consensus_rows(exam: &Winner) -> Vec<Value> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for label in &exam.labels {
        let (Some(class), Some(value)) = (label.class.1, label.value) else { continue };
        let weight = match label.method {
            Some("physician") => 10,
            Some("ml_model") => 5,
            _ => 0,
        };
        *sums.entry(class).or_default() += if value { weight } else { -weight };
    }
    let row = |(class, sum): (&str, i64)| json!({"exam_id": exam.id.to_string(), "classification": class, "value": sum > 0, "score": sum.abs()});
    sums.into_iter().filter(|(_, sum)| *sum != 0).map(row).collect()
}

fn completeness_row(exam: &Winner) -> Value {
    let classes = exam.labels.iter().filter_map(|label| label.class.1).filter(|class| EXPECTED.contains(class));
    let classes = classes.collect::<BTreeSet<_>>().len();
    let percent = 100.0 * classes as f64 / EXPECTED.len() as f64;
    json!({"exam_id": exam.id.to_string(), "distinct_classifications": classes, "completeness": percent})
}

fn activity_rows(exams: &[Winner]) -> Vec<Value> {
    #[derive(Default)]
    struct Count {
        positive: u32,
        negative: u32,
        exams: BTreeSet<u32>,
    }
    let mut counts: BTreeMap<[String; 3], Count> = BTreeMap::new();
    for exam in exams {
        for label in &exam.labels {
            let Some(date) = label.date.1 else { continue };
            let text = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
            let count =
                counts.entry([format!("{}-01", &date[..7]), text(label.class.1), text(label.method)]).or_default();
            count.positive += u32::from(label.value == Some(true));
            count.negative += u32::from(label.value == Some(false));
            count.exams.insert(exam.id);
        }
    }
    let row = |([month, class, method], count): ([String; 3], Count)| {
        json!({"month": month, "classification": class, "labelling_method": method, "positive": count.positive,
            "negative": count.negative, "exams": count.exams.len()})
    };
    counts.into_iter().map(row).collect()
}

/// Equal reports are one.
fn report_rows(records: &[Record]) -> Vec<Value> {
    let reports = records.iter().filter_map(|record| match record {
        Record::Report { exam, text } => Some((*exam, *text)),
        _ => None,
    });
    let distinct: BTreeSet<(u32, Option<&str>)> = reports.collect();
    distinct.into_iter().map(|(exam, text)| json!({"exam_id": exam.to_string(), "text": text})).collect()
}

/// The image of an exam, also where its file has not come.
fn image_row(exam: &Winner, records: &[Record]) -> Option<Value> {
    let name = exam.image?;
    let is_there = records.iter().any(|record| matches!(record, Record::Image(there) if *there == name));
    let status = IMAGES.iter().find(|(known, _)| is_there && *known == name).map_or("missing", |(_, status)| status);
    Some(json!({"exam_id": exam.id.to_string(), "image_key": name.trim_end_matches(".png"), "status": status}))
}

fn document_rows(records: &[Record]) -> Vec<Value> {
    let exams = records.iter().filter_map(|record| match record {
        Record::Document { exam } => Some(*exam),
        _ => None,
    });
    let distinct: BTreeSet<u32> = exams.collect();
    let row = |exam: u32| json!({"exam_id": exam.to_string(), "text": document_text(exam), "status": "found"});
    distinct.into_iter().map(row).collect()
}

fn quarantine_rows(records: &[Record]) -> Vec<Value> {
    let bad = records.iter().filter(|record| matches!(record, Record::BadExam(_)));
    bad.map(|record| json!({"payload": record.payload()})).collect()
}

fn assert_computed(sandbox: &Sandbox, records: &[Record]) {
    for (table, rows) in computed(records) {
        let found = match rows.first() {
            None => sandbox.rows(table),
            Some(row) => {
                let columns: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
                sandbox.columns(table, &columns)
            }
        };
        assert_same(&found, &sorted(rows), &format!("{table} as computed here"));
    }
}

/// Each version's rows are those of the version before, less what the feed says went, with what it says came.
pub fn assert_feed(sandbox: &Sandbox, tables: &[String]) {
    for table in tables {
        let newest = sandbox.table(table, None);
        let mut rows = sandbox.rows_at(table, Some(0));
        for version in 1..=newest.version() {
            let changes = changes(sandbox, table, version);
            assert_updates_are_pairs(&changes, &format!("{table} at {version}"));
            for change in changes {
                let columns: Vec<&str> = change.as_object().unwrap().keys().map(String::as_str).collect();
                let own: Vec<&str> = columns.iter().copied().filter(|name| !FEED.contains(name)).collect();
                let row = project(&change, &own);
                match change["_change_type"].as_str().unwrap() {
                    "delete" | "update_preimage" => {
                        let place = rows.iter().position(|held| *held == row);
                        rows.remove(place.unwrap_or_else(|| panic!("{table} {version}: {row} went and was not there")));
                    }
                    _ => rows.push(row),
                }
            }
            let held = sandbox.rows_at(table, Some(version));
            assert_same(&sorted(rows.clone()), &held, &format!("the change data feed of {table} at {version}"));
        }
    }
}

/// An update has a row before and one after, of the same key: its first column, in the tables that have updates.
fn assert_updates_are_pairs(changes: &[Value], what: &str) {
    let keys = |kind: &str| {
        let of_kind = changes.iter().filter(|change| change["_change_type"] == kind);
        sorted(of_kind.map(|change| change.as_object().unwrap().values().next().unwrap().clone()).collect())
    };
    assert_same(&keys("update_postimage"), &keys("update_preimage"), &format!("keys of updates: {what}"));
}

const FEED: [&str; 3] = ["_change_type", "_commit_version", "_commit_timestamp"];

/// What a reader of the change data feed sees of a version, what went first.
fn changes(sandbox: &Sandbox, table: &str, version: u64) -> Vec<Value> {
    use deltalake::datafusion::physical_plan::collect;
    use deltalake::datafusion::prelude::SessionContext;
    let feed = sandbox.table(table, None).delta().clone().scan_cdf();
    let feed = feed.with_starting_version(version).with_ending_version(version);
    let ctx = SessionContext::new();
    let batches = sandbox.block_on(async {
        let plan = feed.build(&ctx.state(), None).await.unwrap();
        collect(plan, ctx.task_ctx()).await.unwrap()
    });
    let mut changes = to_json(&batches);
    changes.sort_by_key(|change| !matches!(change["_change_type"].as_str(), Some("delete" | "update_preimage")));
    changes
}

fn check(history: &History) {
    let fresh = Sandbox::new();
    deliver(&fresh, 0, &history.otherwise);
    fresh.run_in_process(&Options::default());
    assert_computed(&fresh, &history.otherwise);
    let increments = in_increments(history);
    increments.assert_same_rows(&fresh, "increments (left) and one run over everything");
    assert_feed(&increments, &increments.tables(&["silver", "gold"]));
    let before = increments.listing();
    let again = increments.run_in_process(&Options::default());
    assert!(again.release.is_none());
    increments.assert_files_are(&before, "a run with nothing new");
    increments.run_in_process(&Options { full_refresh: true, ..Options::default() });
    increments.assert_same_rows(&fresh, "a full refresh (left) and one run over everything");
}

/// Few cases, for each is a dozen runs; PROPTEST_CASES asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4);
    ProptestConfig { cases, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_order_and_cut_gives_the_same_tables(history in history()) {
        check(&history);
    }
}
