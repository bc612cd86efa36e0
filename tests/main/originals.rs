//! Images and documents as they come: what becomes of each in the manifest, and what must never be in the lake.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Outcome, Sandbox, project};

/// What no file of the lake may hold: the patient of every DICOM file here.
const SECRETS: [&str; 3] = ["Zwicky^Ottilie", "MRN-77120034", "19420317"];

/// An element in Explicit VR Little Endian, of a representation with a length of two bytes.
fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr.as_bytes());
    let padded = value.len() + value.len() % 2;
    bytes.extend(u16::try_from(padded).unwrap().to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len() + padded - value.len(), if vr == "UI" { 0 } else { b' ' });
    bytes
}

/// Preamble and meta group.
fn meta(transfer_syntax: &str) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element(2, 0x10, "UI", transfer_syntax.as_bytes()));
    bytes
}

/// The data set up to the pixels.
fn header(sop_uid: &str) -> Vec<u8> {
    [
        element(0x08, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.7"),
        element(0x08, 0x18, "UI", sop_uid.as_bytes()),
        element(0x08, 0x60, "CS", b"DX"),
        element(0x10, 0x10, "PN", SECRETS[0].as_bytes()),
        element(0x10, 0x20, "LO", SECRETS[1].as_bytes()),
        element(0x10, 0x30, "DA", SECRETS[2].as_bytes()),
        element(0x10, 0x4000, "LT", b"Ottilie says hello"),
        element(0x18, 0x60, "DS", b"120"),
        element(0x20, 0x0d, "UI", format!("{sop_uid}.1").as_bytes()),
        element(0x28, 0x10, "US", &2_u16.to_le_bytes()),
        element(0x28, 0x11, "US", &4_u16.to_le_bytes()),
        element(0x28, 0x30, "DS", b"0.5\\0.25"),
    ]
    .concat()
}

fn pixels(claimed: u32) -> Vec<u8> {
    let mut bytes = vec![0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0];
    bytes.extend(claimed.to_le_bytes());
    bytes.extend([7; 8]);
    bytes
}

const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn dicom(sop_uid: &str) -> Vec<u8> {
    [meta(EXPLICIT), header(sop_uid), pixels(8)].concat()
}

fn png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, 3, 5).write_header().unwrap();
    writer.write_image_data(&[0; 3 * 5 * 4]).unwrap_or_default();
    writer.finish().unwrap();
    bytes
}

/// A PDF of one page without text, and what stands in its trailer.
fn pdf(trailer: &str, more: &str) -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << >> >>".to_owned(),
        "<< /Length 19 >>\nstream\n0 0 m 100 100 l S  \nendstream".to_owned(),
        more.to_owned(),
    ];
    let mut file = b"%PDF-1.4\n".to_vec();
    for (number, object) in (1..).zip(&objects) {
        file.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    indexed(file, trailer)
}

/// A PDF of one page with these contents and resources, and further objects from 5 on.
fn page(contents: (&str, &[u8]), resources: &str, more: &[String]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n".to_vec();
    file.extend(b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R ");
    file.extend(format!("/MediaBox [0 0 9 9] /Contents 4 0 R /Resources << {resources} >> >>\nendobj\n").bytes());
    let (filter, bytes) = contents;
    file.extend(format!("4 0 obj\n<< {filter} /Length {} >>\nstream\n", bytes.len()).bytes());
    file.extend(bytes);
    file.extend(b"\nendstream\nendobj\n");
    for (number, object) in (5..).zip(more) {
        file.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    indexed(file, "")
}

/// A PDF whose page unpacks to so many bytes of zeros: matches of 258 bytes at distance 1, in 13 bits each.
fn bomb(bytes: usize) -> Vec<u8> {
    // One block of fixed codes: a literal 0 and a match make 3 bytes, and each further 8 matches 13.
    let codes = |matches: usize| (0..matches).flat_map(|_| [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
    let pack = |bits: Vec<u8>| -> Vec<u8> {
        bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect()
    };
    let mut packed = vec![0x78, 0x9c];
    packed.extend(pack([1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0].into_iter().chain(codes(1)).collect()));
    packed.extend(pack(codes(8).collect()).repeat(bytes / (8 * 258)));
    page(("/Filter /FlateDecode", &packed), "", &[])
}

/// Forms that each draw the next ten times: ten to the power of their number.
fn laughs(forms: usize) -> Vec<u8> {
    let draw = "/X Do ".repeat(10);
    let form = |number: usize| {
        let next = if number < forms {
            format!("/Resources << /XObject << /X {} 0 R >> >>", number + 6)
        } else {
            String::new()
        };
        let length = draw.len();
        format!(
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] {next} /Length {length} >>\nstream\n{draw}\nendstream"
        )
    };
    let forms: Vec<String> = (0..=forms).map(form).collect();
    page(("", draw.as_bytes()), "/XObject << /X 5 0 R >>", &forms)
}

/// A PDF's objects with the index of where they begin.
fn indexed(mut file: Vec<u8>, trailer: &str) -> Vec<u8> {
    let begins = |at: &usize| {
        let line = file[*at..].split(|byte| *byte == b'\n').next().unwrap();
        line.ends_with(b" 0 obj") && (*at == 0 || file[at - 1] == b'\n')
    };
    let offsets: Vec<usize> = (0..file.len()).filter(|at| file[*at].is_ascii_digit()).filter(begins).collect();
    let (index, size) = (file.len(), offsets.len() + 1);
    file.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    offsets.iter().for_each(|offset| file.extend(format!("{offset:010} 00000 n \n").bytes()));
    file.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{index}\n%%EOF\n").bytes());
    file
}

fn encrypted_pdf() -> Vec<u8> {
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let encrypt = format!("<< /Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}> >>");
    pdf("/Encrypt 5 0 R /ID [<00> <00>]", &encrypt)
}

/// An event of an exam for each image.
fn exams(images: &[&str]) -> String {
    let event = |(id, image): (usize, &&str)| {
        json!({"content": {"id": id, "image_path": format!("gs://elsewhere/xray/{image}"), "labels": []},
               "publication_timestamp": 1_640_000_000})
    };
    Value::from((1..).zip(images).map(event).collect::<Vec<_>>()).to_string()
}

/// Runs with the key that patients are hashed with.
fn run(sandbox: &Sandbox) -> Outcome {
    let mut command = sandbox.command(&["run", "--format", "json"]);
    let outcome = Outcome::of(command.env("MEDALHA_PERSON_KEY", "a test's key").output().unwrap());
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    outcome
}

/// Some columns of the manifest by the image's name.
fn manifest(sandbox: &Sandbox, columns: &[&str]) -> BTreeMap<String, Value> {
    let rows = sandbox.rows("silver.images").into_iter();
    rows.map(|row| {
        let name = row["image_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (name, project(&row, columns))
    })
    .collect()
}

/// A file's name and bytes, and its status and reason; an empty reason is any.
type Case = (&'static str, Option<Vec<u8>>, &'static str, Option<&'static str>);

#[test]
fn every_file_has_its_status_and_none_stops_the_run() {
    let sandbox = Sandbox::new();
    let cases: Vec<Case> = vec![
        ("good.dcm", Some(dicom("1.2.1")), "found", None),
        ("good.png", Some(png()), "found", None),
        ("2.25.77.dcm", Some(dicom("2.25.77")), "found", None),
        ("tórax ção.png", Some(png()), "found", None),
        ("bare.dcm", Some([header("1.2.2"), pixels(8)].concat()), "found", None),
        ("absent.dcm", None, "missing", None),
        ("empty.dcm", Some(Vec::new()), "unreadable", Some("the file is empty")),
        ("cut.dcm", Some(dicom("1.2.3")[..200].to_vec()), "unreadable", Some("")),
        ("cut-in-pixels.dcm", Some([meta(EXPLICIT), header("1.2.4"), pixels(80)].concat()), "unreadable", Some("")),
        (
            "no-pixels.dcm",
            Some([meta(EXPLICIT), header("1.2.5")].concat()),
            "unreadable",
            Some("an image without pixel data"),
        ),
        (
            "strange.dcm",
            Some([meta("1.2.3.4.5.6"), header("1.2.6"), pixels(8)].concat()),
            "unreadable",
            Some("the transfer syntax is not known"),
        ),
        ("lies.png", Some(b"Service unavailable\n".to_vec()), "unreadable", Some("text/plain is no image")),
        ("cut.png", Some(png()[..40].to_vec()), "unreadable", Some("the picture ends early")),
        ("scan.pdf", Some(pdf("", "null")), "found", None),
        ("locked.pdf", Some(encrypted_pdf()), "unreadable", Some("the document is encrypted")),
    ];
    for (name, bytes, ..) in &cases {
        if let Some(bytes) = bytes {
            sandbox.deliver(&format!("images/{name}"), bytes);
        }
    }
    std::os::unix::fs::symlink(".", sandbox.path("data/images/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere.dcm", sandbox.path("data/images/dangling.dcm")).unwrap();
    sandbox.deliver("exam/a.json", exams(&cases.iter().map(|(name, ..)| *name).collect::<Vec<_>>()));
    run(&sandbox);
    let found = manifest(&sandbox, &["status", "reason"]);
    assert_eq!(found.len(), cases.len());
    for (name, _, status, reason) in &cases {
        assert_eq!(found[*name]["status"], *status, "{name}: {}", found[*name]);
        match reason {
            Some("") => assert!(found[*name]["reason"].is_string(), "{name}"),
            reason => assert_eq!(found[*name]["reason"], json!(reason), "{name}"),
        }
    }
    let known =
        manifest(&sandbox, &["width", "height", "pages", "modality", "row_spacing_mm", "sop_uid", "media_type"]);
    assert_eq!(known["good.png"]["width"], 3);
    assert_eq!(known["scan.pdf"]["pages"], 1);
    assert_eq!(
        known["good.dcm"],
        json!({"width": 4, "height": 2, "pages": null, "modality": "DX", "row_spacing_mm": 0.5, "sop_uid": "1.2.1",
               "media_type": "application/dicom"})
    );
    let bronze = sandbox.columns("bronze.image_files", &["uri", "_source", "size", "sha256", "media_type"]);
    assert_eq!(bronze.len(), cases.len() - 1);
    assert!(bronze.iter().all(|row| row["uri"] == row["_source"] && row["sha256"].as_str().unwrap().len() == 64));
    sandbox.assert_up_to_date();
}

#[test]
fn no_patient_is_found_in_the_lake_and_files_of_one_share_a_key() {
    let sandbox = Sandbox::new();
    sandbox.deliver("images/a.dcm", dicom("1.2.1"));
    sandbox.deliver("images/b.dcm", dicom("1.2.2"));
    sandbox.deliver("images/cut.dcm", &dicom("1.2.3")[..330]);
    sandbox.deliver("exam/a.json", exams(&["a.dcm", "b.dcm"]));
    run(&sandbox);
    let rows = manifest(&sandbox, &["person_key", "tags"]);
    assert_eq!(rows["a.dcm"]["person_key"].as_str().unwrap().len(), 64);
    assert_eq!(rows["a.dcm"]["person_key"], rows["b.dcm"]["person_key"]);
    assert_eq!(rows["a.dcm"]["tags"], json!({"KVP": "120"}));
    let mut values = String::new();
    for table in sandbox.tables(&["bronze", "silver", "gold", "ops"]) {
        sandbox.rows(&table).iter().for_each(|row| values.push_str(&row.to_string()));
    }
    assert!(values.contains("KVP"));
    for path in sandbox.listing().into_keys() {
        let bytes = fs::read(&path).unwrap();
        for secret in SECRETS.map(str::as_bytes) {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }
    for secret in SECRETS.into_iter().chain(["Ottilie", "Zwicky"]) {
        assert!(!values.contains(secret), "{secret}");
    }
}

#[test]
fn without_a_key_there_is_no_person_and_a_word_about_it() {
    let sandbox = Sandbox::new();
    sandbox.deliver("images/a.dcm", dicom("1.2.1"));
    sandbox.deliver("exam/a.json", exams(&["a.dcm"]));
    let mut command = sandbox.command(&["run"]);
    let outcome = Outcome::of(command.env_remove("MEDALHA_PERSON_KEY").output().unwrap());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("MEDALHA_PERSON_KEY is not set").count(), 1, "{}", outcome.stderr);
    assert_eq!(manifest(&sandbox, &["person_key"])["a.dcm"]["person_key"], Value::Null);
}

#[test]
fn what_is_asked_for_by_name_is_kept() {
    let sandbox = Sandbox::with_own_project();
    sandbox.edit_project_file("pipeline.toml", "person_key =", "keep = [\"PatientBirthDate\"]\nperson_key =");
    sandbox.deliver("images/a.dcm", dicom("1.2.1"));
    sandbox.deliver("exam/a.json", exams(&["a.dcm"]));
    run(&sandbox);
    let tags = &manifest(&sandbox, &["tags"])["a.dcm"]["tags"];
    assert_eq!(*tags, json!({"KVP": "120", "PatientBirthDate": SECRETS[2]}));
    sandbox.edit_project_file("pipeline.toml", "PatientBirthDate", "PatientBirthday");
    let told = sandbox.expect(2, &["check"]);
    assert!(told.stderr.contains("'PatientBirthday' is no DICOM keyword"), "{}", told.stderr);
}

#[test]
fn an_image_is_found_by_its_uid_and_of_several_files_one_is_chosen() {
    let sandbox = Sandbox::new();
    sandbox.deliver("images/x.dcm", dicom("2.25.1"));
    sandbox.deliver("images/y.dcm", dicom("2.25.2"));
    sandbox.deliver("images/z.dcm", dicom("2.25.2"));
    sandbox.deliver("images/same.png", png());
    sandbox.deliver("images/same.dcm", dicom("2.25.3"));
    sandbox.deliver("exam/a.json", exams(&["2.25.1.dcm", "2.25.2", "same.png"]));
    let report = run(&sandbox).json();
    let rows = manifest(&sandbox, &["matched_by", "uri", "files"]);
    let row = |by: &str, file: &str, files: u64| json!({"matched_by": by, "uri": format!("{}images/{file}", sandbox.data_uri()), "files": files});
    assert_eq!(rows["2.25.1.dcm"], row("dicom_uid", "x.dcm", 1));
    assert_eq!(rows["2.25.2"], row("dicom_uid", "y.dcm", 2));
    assert_eq!(rows["same.png"], row("file_name", "same.png", 2));
    let images = report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "silver.images").unwrap();
    let failed = images["expectations"].as_array().unwrap().iter().find(|of| of["name"] == "one_file").unwrap();
    assert_eq!(failed["failed"], 2);
}

#[test]
fn a_second_run_looks_at_what_changed_only() {
    let sandbox = Sandbox::new();
    sandbox.deliver("images/a.dcm", dicom("1.2.1"));
    sandbox.deliver("images/b.dcm", dicom("1.2.2"));
    sandbox.deliver("images/copy.dcm", dicom("1.2.2"));
    sandbox.deliver("exam/a.json", exams(&["a.dcm", "b.dcm", "late.dcm", "copy.dcm"]));
    run(&sandbox);
    let status = |name: &str| manifest(&sandbox, &["status"])[name]["status"].as_str().unwrap().to_owned();
    assert_eq!(
        (status("a.dcm"), status("late.dcm"), status("copy.dcm")),
        ("found".into(), "missing".into(), "found".into())
    );
    sandbox.assert_up_to_date();
    sandbox.deliver("images/a.dcm", [dicom("1.2.1"), element(0xfffc, 0xfffc, "LO", b"")].concat());
    sandbox.deliver("images/late.dcm", dicom("1.2.9"));
    run(&sandbox);
    assert_eq!(
        (status("a.dcm"), status("b.dcm"), status("late.dcm")),
        ("changed".into(), "found".into(), "found".into())
    );
    assert_eq!(sandbox.count("bronze.image_files"), 5);
    let catalog = sandbox.columns("gold.exam_catalog", &["exam_id", "image_status"]);
    let late = catalog.iter().find(|row| row["exam_id"] == "3").unwrap();
    assert_eq!(late["image_status"], "found");
    // The content that a file had before, under its name: a change, though the content is known.
    sandbox.deliver("images/a.dcm", dicom("1.2.1"));
    run(&sandbox);
    assert_eq!(sandbox.count("bronze.image_files"), 6);
}

#[test]
fn documents_are_read_as_text_or_say_why_not() {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", exams(&["a", "b", "c", "d", "e", "f"]));
    sandbox.deliver("report_documents/1.txt", b"Sem altera\xe7\xf5es.\n");
    sandbox.deliver("report_documents/laudo-2.html", "<p>Um</p><script>x()</script><p>Dois</p>");
    sandbox.deliver("report_documents/3.rtf", r"{\rtf1\ansi Um\par Dois}");
    sandbox.deliver("report_documents/4.pdf", pdf("", "null"));
    sandbox.deliver("report_documents/5.pdf", encrypted_pdf());
    sandbox.deliver("report_documents/6.png", png());
    sandbox.deliver("report_documents/nobody.txt", "Whose?");
    run(&sandbox);
    let rows =
        sandbox.columns("silver.report_documents", &["exam_id", "format", "encoding", "text", "status", "reason"]);
    let row = |id: &str, format: Value, encoding: Value, text: Value, reason: Value| {
        let status = if reason.is_null() { "found" } else { "unreadable" };
        json!({"exam_id": id, "format": format, "encoding": encoding, "text": text, "status": status, "reason": reason})
    };
    let nothing = Value::Null;
    let none = |id, reason: &str| row(id, nothing.clone(), nothing.clone(), nothing.clone(), json!(reason));
    let expected = vec![
        row("1", json!("text"), json!("windows-1252"), json!("Sem alterações."), nothing.clone()),
        row("2", json!("html"), json!("UTF-8"), json!("Um\n\nDois"), nothing.clone()),
        row("3", json!("rtf"), json!("windows-1252"), json!("Um\nDois"), nothing.clone()),
        none("4", "the document has no text"),
        none("5", "the document is encrypted"),
        none("6", "image/png is no document"),
    ];
    crate::harness::assert_same(&rows, &expected, "documents");
    assert_eq!(sandbox.count("silver.quarantine"), 1);
    let catalog = sandbox.columns("gold.exam_catalog", &["exam_id", "report_text"]);
    assert_eq!(catalog[1], json!({"exam_id": "2", "report_text": "Um\n\nDois"}));
}

#[test]
fn a_document_that_wants_all_memory_costs_only_itself() {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", exams(&["a", "b", "c"]));
    sandbox.deliver("report_documents/1.pdf", bomb(2 << 30));
    sandbox.deliver("report_documents/2.txt", "Fine.");
    sandbox.deliver("report_documents/3.pdf", pdf("", "null"));
    run(&sandbox);
    let reasons = sandbox.columns("silver.report_documents", &["exam_id", "reason"]);
    let row = |id: &str, reason: Value| json!({"exam_id": id, "reason": reason});
    assert_eq!(
        reasons,
        [
            row("1", json!("the document takes too much memory to read")),
            row("2", Value::Null),
            row("3", json!("the document has no text")),
        ]
    );
}

#[test]
#[ignore = "takes the half minute that a document may take"]
fn a_document_that_never_ends_costs_only_its_time() {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", exams(&["a", "b"]));
    sandbox.deliver("report_documents/1.pdf", laughs(12));
    sandbox.deliver("report_documents/2.pdf", pdf("", "null"));
    let start = Instant::now();
    run(&sandbox);
    assert!(start.elapsed().as_secs() < 60);
    let reasons = sandbox.columns("silver.report_documents", &["reason"]);
    assert_eq!(reasons[1], json!({"reason": "the document takes too long to read"}));
}

/// A file of zeros, which takes no room on the disk.
fn sparse(size: u64, sha256: &str) {
    let sandbox = Sandbox::new();
    sandbox.deliver("exam/a.json", exams(&["huge.bin"]));
    fs::create_dir_all(sandbox.path("data/images")).unwrap();
    File::create(sandbox.path("data/images/huge.bin")).unwrap().set_len(size).unwrap();
    run(&sandbox);
    let rows = manifest(&sandbox, &["status", "size", "media_type", "sha256"]);
    let media = "application/octet-stream";
    assert_eq!(rows["huge.bin"], json!({"status": "unreadable", "size": size, "media_type": media, "sha256": sha256}));
}

#[test]
fn a_large_sparse_file_is_hashed() {
    sparse(64 << 20, "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351");
}

#[test]
#[ignore = "minutes, where SHA-256 is not optimised"]
fn a_sparse_file_of_two_gigabytes_is_hashed() {
    sparse(2 << 30, "a7c744c13cc101ed66c29f672f92455547889cc586ce6d44fe76ae824958ea51");
}

/// How fast many small files are taken, and that nothing is read again: the rate is printed, to be looked at.
#[test]
#[ignore = "a measurement: --ignored shows it"]
fn many_small_files() {
    let sandbox = Sandbox::new();
    let count = 20_000;
    for number in 0..count {
        sandbox.deliver(&format!("images/{}/{number}.dcm", number % 100), dicom(&format!("1.2.{number}")));
    }
    let start = Instant::now();
    run(&sandbox);
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} files in {seconds:.1} s: {:.0} a second", f64::from(count) / seconds);
    assert_eq!(sandbox.count("silver.image_files"), count as u64);
    let start = Instant::now();
    sandbox.assert_up_to_date();
    println!("looked at again in {:.1} s", start.elapsed().as_secs_f64());
}
