//! The data is reproducible, and what the truth says of it is so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::{Defects, GenerateError, Options, Report, generate};

const IMAGING: &str = include_str!("../../pipelines/imaging/generate.toml");

/// Made data: the path below the output folder, and the bytes.
type Files = BTreeMap<String, Vec<u8>>;

fn options(records: u64, defects: Defects) -> Options {
    Options { records, defects, per_file: 100, seed: 12, threads: 1, ..Options::default() }
}

fn make(options: &Options) -> (Report, Files) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { out: folder.path().to_owned(), ..options.clone() };
    let report = generate(IMAGING, "generate.toml", &options, &|_| ()).expect("the data is made");
    let mut files = Files::new();
    read(folder.path(), folder.path(), &mut files);
    (report, files)
}

fn read(root: &Path, folder: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let one = Options { images: 9, ..options(950, Defects::Rate(0.1)) };
    let (report, files) = make(&one);
    assert_eq!(report.files, files.len() as u64);
    assert_eq!(report.bytes, files.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    assert_eq!(files.keys().filter(|name| name.starts_with("images/")).count(), 9);
    for threads in [2, 3, 16] {
        assert!(make(&Options { threads, ..one.clone() }) == (report.clone(), files.clone()));
    }
    assert!(make(&Options { seed: 13, ..one }).1 != files);
}

#[test]
fn a_later_start_continues_the_data() {
    let whole = options(200, Defects::Rate(0.1));
    let (_, files) = make(&whole);
    let (_, rest) = make(&Options { records: 100, start: 101, ..whole });
    assert_eq!(rest["exam/exam-101-000000.json"], files["exam/exam-1-000001.json"]);
}

#[test]
fn progress_adds_up_to_the_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_owned();
    let options = Options { out, per_file: 1500, threads: 2, ..options(4321, Defects::None) };
    let made = AtomicU64::new(0);
    let progress = |n| {
        made.fetch_add(n, Ordering::Relaxed);
    };
    generate(IMAGING, "generate.toml", &options, &progress).expect("the data is made");
    assert_eq!(made.into_inner(), 4321);
}

#[test]
fn the_truth_holds_at_any_rate_of_defects() {
    for defects in [Defects::None, Defects::Rate(0.02), Defects::Rate(1.0)] {
        let (report, files) = make(&options(2500, defects));
        let truth: BTreeMap<_, _> = report.truth.into_iter().collect();
        assert_eq!(truth, recount(&files), "{defects:?}");
        assert!(truth["covid_not_pneumonia_2021_12"] > 0 && truth["chest_gt5"] > 0);
        assert_eq!(truth["duplicates"] > 0, defects != Defects::None);
        let written: BTreeMap<String, u64> = serde_json::from_slice(&files["truth.json"]).expect("truth.json is JSON");
        assert_eq!(truth, written);
    }
}

#[test]
fn the_sample_shows_each_defect_and_its_truth_holds() {
    let sample = Options { per_file: 20, images: 8, ..options(60, Defects::Sample) };
    let (report, files) = make(&sample);
    let truth: BTreeMap<_, _> = report.truth.into_iter().collect();
    assert_eq!(truth, recount(&files));
    assert!(truth["covid_not_pneumonia_2021_12"] > 0);

    let described: Vec<&str> =
        IMAGING.split("[[files]]\npath = \"").skip(1).filter_map(|entry| entry.split('"').next()).collect();
    assert!(described.len() > 15);
    let readme = String::from_utf8_lossy(&files["README.md"]);
    for path in described {
        assert!(files.contains_key(path), "{path}");
        assert!(readme.contains(&format!("| `{path}` |")), "{path} in the page");
    }
    assert!(files["exam/defect-empty.json"].is_empty());
    assert!(std::str::from_utf8(&files["exam/defect-latin-1.json"]).is_err());
    assert!(files["exam/defect-byte-order-mark.json"].starts_with(b"\xef\xbb\xbf["));
    assert!(files["exam/defect-compressed.json.gz"].starts_with(b"\x1f\x8b"));
    assert!(files.values().map(Vec::len).sum::<usize>() < 300_000);
}

#[test]
fn images_are_where_the_exams_say_and_can_be_read() {
    let (_, files) = make(&Options { images: 20, ..options(20, Defects::None) });
    let exams: Vec<Value> = serde_json::from_slice(&files["exam/exam-1-000000.json"]).expect("an array");
    for exam in exams {
        let path = exam["content"]["image_path"].as_str().expect("a path");
        let name = path.rsplit('/').next().expect("a name");
        let bytes = &files[&format!("images/{name}")];
        if name.ends_with(".dcm") {
            let object = dicom_object::from_reader(&bytes[..]).expect("a DICOM file");
            let uid = object.element_by_name("SOPInstanceUID").expect("an id").to_str();
            assert_eq!(format!("{}.dcm", uid.expect("a text")), name);
            let pixels = object.element_by_name("PixelData").expect("pixels").to_bytes();
            assert_eq!(pixels.expect("bytes").len(), 64 * 64);
        } else {
            let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
            let mut reader = decoder.read_info().expect("a PNG file");
            let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
            let frame = reader.next_frame(&mut pixels).expect("pixels");
            assert_eq!((frame.width, frame.height, frame.buffer_size()), (64, 64, 64 * 64));
        }
    }
}

/// The truth, found in the files by other means than it was made.
fn recount(files: &Files) -> BTreeMap<String, u64> {
    let mut truth: BTreeMap<String, u64> = [
        "exam_records",
        "exams",
        "labels",
        "missing_id",
        "unreadable",
        "quarantined",
        "duplicates",
        "late",
        "reports",
        "covid_not_pneumonia_2021_12",
        "chest_gt5",
    ]
    .map(|name| (name.to_owned(), 0))
    .into();
    let mut add = |name: &str, n: usize| *truth.entry(name.to_owned()).or_default() += n as u64;
    let mut contents = HashSet::new();
    let mut winners: HashMap<String, (f64, Value)> = HashMap::new();
    let mut events = HashSet::new();
    for (name, bytes) in files {
        if name.starts_with("medical_report/") {
            add("reports", pieces(bytes).len());
        }
        if !name.starts_with("exam/") || !contents.insert(bytes) {
            continue;
        }
        for piece in pieces(bytes) {
            add("exam_records", 1);
            let Some(event) = piece else {
                add("unreadable", 1);
                add("quarantined", 1);
                continue;
            };
            let id = match &event["content"]["id"] {
                Value::Number(n) => n.to_string(),
                Value::String(text) => text.clone(),
                _ => {
                    add("missing_id", 1);
                    add("quarantined", 1);
                    continue;
                }
            };
            let published = event["publication_timestamp"].as_f64().expect("a time");
            if published > 1e11 {
                add("quarantined", 1);
                continue;
            }
            if !events.insert(event.to_string()) {
                add("duplicates", 1);
                continue;
            }
            match winners.get(&id) {
                Some((newer, _)) if *newer > published => add("late", 1),
                _ => {
                    winners.insert(id, (published, event));
                }
            }
        }
    }
    for (_, event) in winners.values() {
        let labels: &[Value] = event["content"]["labels"].as_array().map_or(&[], Vec::as_slice);
        let found = |classes: &[&str], month: &str| {
            labels.iter().any(|label| {
                let class = label["classification"].as_str().expect("a class").to_lowercase();
                let date = label["labelled_date"].as_str().expect("a date");
                let value = label["value"].as_bool();
                let value = value.unwrap_or_else(|| label["value"].as_str() == Some("true"));
                value && classes.contains(&class.as_str()) && date.starts_with(month)
            })
        };
        let body_part = event["content"]["body_part"].as_str().unwrap_or_default();
        let covid = found(&["covid19", "covid", "covid-19"], "2021-12");
        add("exams", 1);
        add("labels", labels.len());
        add("chest_gt5", usize::from(body_part.to_uppercase() == "CHEST" && labels.len() > 5));
        add("covid_not_pneumonia_2021_12", usize::from(covid && !found(&["pneumonia"], "")));
    }
    truth
}

/// The records of a file: an array, or a piece a line; `None` for what is not JSON.
fn pieces(bytes: &[u8]) -> Vec<Option<Value>> {
    let mut plain = Vec::new();
    if bytes.starts_with(b"\x1f\x8b") {
        let mut decoder = flate2::read::GzDecoder::new(bytes);
        std::io::Read::read_to_end(&mut decoder, &mut plain).expect("gzip");
    } else {
        plain.extend_from_slice(bytes);
    }
    let plain = plain.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&plain);
    if let Ok(array) = serde_json::from_slice::<Vec<Value>>(plain) {
        return array.into_iter().map(Some).collect();
    }
    let lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let piece = |line: &[u8]| {
        let line = line.strip_prefix(b"[").unwrap_or(line);
        serde_json::from_slice(line.strip_suffix(b",").unwrap_or(line)).ok()
    };
    lines.map(piece).collect()
}

/// A small template, whole and right.
const SMALL: &str = r#"
[record.colour]
choice = ["red", ["blue", 3]]
[record.born]
date = ["2020-01-01", "2020-12-31"]
[value.size]
integer = [-5, 5]
[value.parts]
list = '{"size": ${size}}'
length = [0, 2]
[streams.thing]
kind = "ndjson"
path = "thing/${start}-${file}.json"
record = '''
{"id": ${id}, "colour": "${colour}",
  "born": "${born}", "parts": [${parts}]}'''
[defects.grey]
stream = "thing"
replace = ['"${colour}"', '"grey"']
good = false
[truth.red]
where = { colour = "red", born = { min = "2020-07-01" } }
any = { parts = { size = { max = 0 } } }
"#;

#[test]
fn a_template_says_all_that_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { out: folder.path().to_owned(), ..options(3, Defects::None) };
    generate(SMALL, "small.toml", &options, &|_| ()).expect("the data is made");
    let made = std::fs::read_to_string(folder.path().join("thing/1-000000.json")).expect("a file");
    assert_eq!(made.lines().count(), 3);
    for (line, id) in made.lines().zip(1..) {
        let thing: Value = serde_json::from_str(line).expect("JSON");
        assert!(line.starts_with(&format!("{{\"id\": {id}, \"colour\": ")), "{line}");
        assert!(["red", "blue"].contains(&thing["colour"].as_str().expect("a text")));
        assert!(thing["born"].as_str().expect("a text").starts_with("2020-"));
    }
}

#[test]
fn a_csv_file_has_its_header_and_a_line_a_record() {
    let template = r#"
[value.name]
choice = ["Ana", "Rui"]
[streams.people]
kind = "csv"
header = "id,name"
path = "people-${file}.csv"
record = "${id},${name}"
"#;
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { out: folder.path().to_owned(), ..options(150, Defects::None) };
    generate(template, "people.toml", &options, &|_| ()).expect("the data is made");
    let made = std::fs::read_to_string(folder.path().join("people-000001.csv")).expect("a file");
    let lines: Vec<&str> = made.lines().collect();
    assert_eq!((lines.len(), lines[0]), (51, "id,name"));
    assert!(["101,Ana", "101,Rui"].contains(&lines[1]));
}

#[test]
fn mistakes_are_named_with_their_places() {
    // What stands in the template, what comes instead, what is said.
    let cases = [
        ("${size}", "${sise}", "8:18: unknown value 'sise'\n  hint: did you mean 'size'?"),
        ("${born}", "${born", "15:12: '${' is not closed"),
        ("length", "lenght", "7:1: 'length' is missing"),
        ("[-5, 5]", "[5, -5]", "6:11: 'integer' must be [smallest, largest], whole numbers"),
        ("[\"red\", [\"blue\", 3]]", "[]", "1:9: the weights of 'colour' add up to 0"),
        ("'{\"size\": ${size}}'", "'${parts}'", "7:8: 'parts' is made of itself"),
        ("\"ndjson\"", "\"ndjsn\"", "11:9: unknown kind of stream 'ndjsn'\n  hint: did you mean 'ndjson'?"),
        ("-${file}", "", "12:9: the path must hold ${file}, so that files do not overwrite each other"),
        ("\"thing/", "\"../", "12:9: '../${start}-${file}.json' is not a path below the output folder"),
        ("\"parts\": [", "\"parts\": ", "14:1: a record of this template is not JSON"),
        ("'\"${colour}\"'", "'\"color\"'", "18:13: no template holds this text"),
        ("'\"grey\"'", "'grey'", "18:28: a record of this template is not JSON"),
        ("'\"grey\"'", "'\"grey${parts}\"'", "18:28: a record of this template is not JSON"),
        ("'\"${colour}\"', '\"grey\"'", "'{\"size\"', '${parts}{\"size\"'", "7:8: 'parts' is made of itself"),
        ("good = false", "good = 0", "19:8: 'good' must be true or false"),
        ("good = false", "then = \"same\"", "16:10: 'grey' changes nothing, or twice"),
        ("\"red\", born", "\"rad\", born", "21:21: unknown choice of 'colour' 'rad'\n  hint: did you mean 'red'?"),
        ("{ size =", "{ colour =", "22:19: the items of 'parts' do not hold 'colour'"),
        ("where = {", "where = { size = true,", "21:11: 'size' is drawn more than once a record"),
        ("[truth.red]", "[truth.red", "20:11: not TOML"),
    ];
    for (find, with, said) in cases {
        let template = SMALL.replacen('\n', "", 1).replacen(find, with, 1);
        assert_ne!(template, SMALL, "{find}");
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { out: folder.path().join("out"), ..options(3, Defects::None) };
        let error = generate(&template, "small.toml", &options, &|_| ()).expect_err(find);
        let text = error.to_string();
        assert!(matches!(error, GenerateError::Template(_)), "{text}");
        assert!(text.contains(&format!("small.toml:{said}")), "{find} -> {with}:\n{text}");
        assert!(!options.out.exists(), "nothing is made from a template with mistakes");
    }
}

#[test]
fn options_without_sense_are_refused() {
    let refused = |options: Options| {
        let error = generate(SMALL, "small.toml", &options, &|_| ()).expect_err("a wrong option");
        assert!(matches!(error, GenerateError::Option(_)), "{error}");
    };
    refused(Options { per_file: 0, ..options(1, Defects::None) });
    refused(Options { start: u64::MAX, ..options(1, Defects::None) });
    refused(options(1, Defects::Rate(1.5)));
    assert_eq!("0.25".parse(), Ok(Defects::Rate(0.25)));
    assert!("lots".parse::<Defects>().is_err() && "2".parse::<Defects>().is_err());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let options = Options { out: file, ..options(300, Defects::None) };
    let error = generate(IMAGING, "generate.toml", &options, &|_| ()).expect_err("a file in the way");
    assert!(error.to_string().contains("cannot be written"), "{error}");
}
