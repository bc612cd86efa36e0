//! The loops that a run spends its time in, one by one: splitting records, typed decoding, hashing, writing.
//!
//! `cargo bench` runs all of them; `cargo bench -- decoding` some.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Fields;
use arrow::json::ReaderBuilder;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use medalha::contract::{self, Definition, Format, Project, Table};
use medalha::decode::Decoder;
use medalha::lake::{Durability, Lake, TableSpec, TableWriter, hash_keys};
use medalha::source::{HashingReader, Shape, read_records};
use xxhash_rust::xxh3::xxh3_64;

/// Records of an input.
const RECORDS: usize = 4096;
/// Labels of an exam.
const LABELS: usize = 4;

fn main() {
    divan::main();
}

/// The repository's own project: what is measured are the types and tables that there are.
fn project() -> Project {
    contract::load(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the project checks")
}

fn table<'a>(project: &'a Project, name: &str) -> &'a Table {
    project.table(&name.parse().expect("a table's name")).expect("the table is there")
}

/// Numbers that look like drawn ones, the same each time.
fn mixed(number: usize) -> u64 {
    xxh3_64(&number.to_le_bytes())
}

/// A label; `value` as it is delivered.
fn label(number: usize, value: &str) -> String {
    const CLASSES: [&str; 6] = ["covid19", "pneumonia", "edema", "mass", "hernia", "tumor"];
    let draw = mixed(number);
    format!(
        r#"{{"classification": "{}", "labelled_by": "Labeller {}", "labelled_date": "2021-{:02}-{:02}", "labelling_method": "{}", "classification_type": "binary", "value": {value}}}"#,
        CLASSES[draw as usize % CLASSES.len()],
        draw % 11,
        draw % 12 + 1,
        draw % 28 + 1,
        if draw.is_multiple_of(2) { "physician" } else { "ml_model" },
    )
}

/// An exam's event. One that is odd has a field that no contract knows, an id that is a text and a label's date that is none.
fn event(number: usize, odd: bool) -> String {
    let mut labels: Vec<String> = (0..LABELS).map(|index| label(number * LABELS + index, "true")).collect();
    let id = if odd { format!("\"{number}\"") } else { number.to_string() };
    let more = if odd { r#", "priority": "high""# } else { "" };
    if odd {
        labels[0] = labels[0].replace("2021-", "2021/");
    }
    format!(
        r#"{{"content": {{"id": {id}, "source": ["first institute"], "dataset_type": "private", "dataset": "batch", "body_part": "CHEST", "image_path": "gs://bucket/xray/2.25.{}.dcm", "labels": [{}]{more}}}, "publication_timestamp": {}.5}}"#,
        mixed(number),
        labels.join(", "),
        1_600_000_000 + number,
    )
}

fn events(odd_every: usize) -> Vec<String> {
    (0..RECORDS).map(|number| event(number, number % odd_every == 0)).collect()
}

mod splitting {
    use super::*;

    fn split(bencher: Bencher<'_, '_>, input: String) {
        let shape = Shape { format: Format::Json, columns: Vec::new(), person_key: None };
        bencher.counter(BytesCount::of_str(&input)).bench(|| {
            let mut bytes = 0;
            let contents = read_records(input.as_bytes(), &shape, |record| {
                bytes += record.payload.map_or(0, str::len);
                Ok::<_, std::io::Error>(())
            });
            (contents.expect("bytes in memory can be read"), bytes)
        });
    }

    /// One array of all records, hashed on the way.
    #[divan::bench]
    fn array(bencher: Bencher<'_, '_>) {
        split(bencher, format!("[{}]", events(RECORDS).join(", ")));
    }

    /// A record a line.
    #[divan::bench]
    fn lines(bencher: Bencher<'_, '_>) {
        split(bencher, events(RECORDS).join("\n"));
    }
}

mod decoding {
    use super::*;

    fn fields() -> Fields {
        match &table(&project(), "bronze.exam_events").definition {
            Definition::Bronze { payload, .. } => payload.clone(),
            _ => panic!("a bronze table"),
        }
    }

    fn decode(bencher: Bencher<'_, '_>, events: &[String]) {
        let fields = fields();
        let bytes: usize = events.iter().map(String::len).sum();
        bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(events.len())).bench(|| {
            let mut decoder = Decoder::new(&fields).expect("the fields' types can be read");
            for event in events {
                decoder.read(event).expect("an event is an object");
            }
            decoder.finish().expect("the columns fit together")
        });
    }

    /// Events in which all is as the contract says.
    #[divan::bench]
    fn clean(bencher: Bencher<'_, '_>) {
        decode(bencher, &events(RECORDS));
    }

    /// Events of which each has something to convert and something to rescue.
    #[divan::bench]
    fn rescue(bencher: Bencher<'_, '_>) {
        decode(bencher, &events(1));
    }
}

mod hashing {
    use super::*;

    /// The hash of a file's bytes.
    #[divan::bench]
    fn content(bencher: Bencher<'_, '_>) {
        let bytes = events(RECORDS).concat();
        bencher
            .counter(BytesCount::of_str(&bytes))
            .bench(|| HashingReader::new(bytes.as_bytes()).finish().expect("bytes in memory can be read"));
    }

    /// The hashes of keys: a text and a number, as of labels.
    #[divan::bench]
    fn keys(bencher: Bencher<'_, '_>) {
        let ids = StringArray::from_iter_values((0..RECORDS).map(|number| mixed(number).to_string()));
        let indexes = Int64Array::from_iter_values(0..RECORDS as i64);
        let columns: [ArrayRef; 2] = [Arc::new(ids), Arc::new(indexes)];
        bencher
            .counter(ItemsCount::new(RECORDS))
            .bench(|| hash_keys(&columns).expect("texts and numbers have a row format"));
    }
}

mod writing {
    use super::*;

    /// Rows of a table, from JSON.
    fn rows(spec: &TableSpec, lines: &str) -> RecordBatch {
        let reader = ReaderBuilder::new(spec.arrow_schema()).with_batch_size(RECORDS * LABELS);
        let mut reader = reader.build(lines.as_bytes()).expect("the columns' types can be read");
        reader.next().expect("there are rows").expect("the rows fit the columns")
    }

    /// Writes the batch ten times into data files of a new table.
    fn write(bencher: Bencher<'_, '_>, spec: &TableSpec, lines: &str) {
        let rows = rows(spec, lines);
        let folder = tempfile::tempdir().expect("a folder for the table");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let lake = Lake::at(&folder.path().display().to_string(), Durability::None).expect("a lake");
        let table = runtime.block_on(lake.open_or_create(spec)).expect("a table");
        let times = 10;
        bencher.counter(BytesCount::new(lines.len() * times)).counter(ItemsCount::new(rows.num_rows() * times)).bench(
            || {
                runtime.block_on(async {
                    let mut writer = TableWriter::new(&table, spec);
                    for _ in 0..times {
                        writer.write(&rows).await.expect("rows can be written");
                    }
                    writer.close().await.expect("the file can be ended")
                })
            },
        );
    }

    /// Bronze: payloads as they came.
    #[divan::bench]
    fn payloads(bencher: Bencher<'_, '_>) {
        let spec = TableSpec::of(table(&project(), "bronze.exam_events"));
        let mut lines = String::new();
        for (row, payload) in events(RECORDS).into_iter().enumerate() {
            let row = serde_json::json!({"payload": payload, "_source": "file:///data/exam/1.json", "_row": row, "_batch": 1,
                "_ingested_at": "2024-01-01T00:00:00Z"});
            writeln!(lines, "{row}").expect("a text can grow");
        }
        write(bencher, &spec, &lines);
    }

    /// Silver: labels, short texts that come again and again.
    #[divan::bench]
    fn labels(bencher: Bencher<'_, '_>) {
        let spec = TableSpec::of(table(&project(), "silver.exam_labels"));
        let mut lines = String::new();
        for number in 0..RECORDS * LABELS {
            let (exam, index) = (number / LABELS, number % LABELS);
            let label =
                label(number, "true").replacen('{', &format!(r#"{{"exam_id": "{exam}", "label_index": {index}, "#), 1);
            writeln!(lines, "{label}").expect("a text can grow");
        }
        write(bencher, &spec, &lines);
    }
}
