//! A project with a CSV source, from files to `silver`: what is sound is typed, everything else can be found again.

use std::fs;
use std::io::Write;
use std::path::Path;

use medalha::contract::SourceKind;
use medalha::engine::Limits;
use medalha::{contract, pipeline_test};

const PIPELINE: &str = r#"
name = "p"
description = "Providers of care"
[sources.provider]
description = "A file a day"
kind = "files"
path = "provider"
format = "csv"
[sources.provider.csv]
delimiter = ","
quote = "\""
null = ["", "NULL"]
encoding = "windows-1252"
"#;

const BRONZE: &str = r#"
description = "Rows of providers' files"
source = "provider"
payload = "STRUCT<name STRING, npi STRING, since DATE, beds BIGINT, day BIGINT>"
"#;

const SILVER: &str = r#"
description = "A provider, as in the newest file"
strategy = "by_record"
key = ["npi"]
sequence = "day"
[columns.npi]
type = "STRING"
required = true
comment = "National provider identifier"
[columns.name]
type = "STRING"
comment = "As it is written"
[columns.since]
type = "DATE"
comment = "First day"
[columns.beds]
type = "BIGINT"
comment = "Beds"
[columns.day]
type = "BIGINT"
comment = "Day of the file"
"#;

/// A project whose one case is given these files and expects these tables.
fn project(given: &[(&str, &[u8])], expected: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: String, bytes: &[u8]| {
        let path = root.path().join("pipelines/p").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("pipeline.toml".into(), PIPELINE.as_bytes());
    write("bronze/providers.toml".into(), BRONZE.as_bytes());
    write("silver/providers.toml".into(), SILVER.as_bytes());
    write("silver/providers.sql".into(), b"SELECT npi, name, since, beds, day FROM bronze.providers");
    for (path, bytes) in given {
        write(format!("tests/c/given/{path}"), bytes);
    }
    for (table, rows) in expected {
        write(format!("tests/c/expect/{table}.csv"), rows.as_bytes());
    }
    root
}

async fn check(given: &[(&str, &[u8])], expected: &[(&str, &str)]) {
    let root = project(given, expected);
    let project = contract::load(root.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let cases = pipeline_test::load(&project, root.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let reports = pipeline_test::run(&project, cases, Limits::default(), |_| {}).await;
    assert_eq!(reports.len(), 1);
    assert!(reports[0].passed, "{}", reports[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_typed_and_the_newest_file_wins() {
    let header: &[u8] = b"name,npi,since,beds,day\r\n";
    let monday: [&[u8]; 3] = [
        b"\"Vale, \"\"Clinica\"\"\r\nNorte\",0100000001,2020-01-31,12,1",
        b"Jos\xe9,0100000002,NULL,,1",
        b"Old,0100000003,2020-02-01,1,1",
    ];
    let tuesday: &[u8] = b"2,7,0100000003,\"New\",31/01/2020";
    let bronze = format!(
        "_batch,_row,payload_bytes,payload_fault\n1,0,{},\n1,1,{},\n1,2,{},\n2,0,{},\n",
        hex(monday[0]),
        hex(monday[1]),
        hex(monday[2]),
        hex(tuesday)
    );
    check(
        &[
            ("1/provider/monday.csv", &[header, &monday.join(&b"\r\n"[..])].concat()),
            ("2/provider/tuesday.csv", &[b"day,beds,npi,name,since\n", tuesday, b"\n"].concat()),
        ],
        &[
            (
                "silver.providers",
                "npi,name,since,beds,day,_rescued\n0100000001,\"Vale, \"\"Clinica\"\"\r\nNorte\",2020-01-31,12,1,\n\
                 0100000002,José,,,1,\n0100000003,New,,7,2,\"{\"\"since\"\":\"\"31/01/2020\"\"}\"\n",
            ),
            ("silver.quarantine", "table\n"),
            ("bronze.providers", &bronze),
        ],
    )
    .await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sound_is_in_quarantine_with_its_line() {
    check(
        &[(
            "provider.csv",
            b"name,npi,since,beds,day\nA,1,,,1\nB,2,,1\n\"C,3,,,1\n{}\nNULL,NULL,,,1\nCaf\xe9,5\nZ,9,,,1\n",
        )],
        &[
            ("silver.providers", "npi,name\n1,A\n9,Z\n"),
            (
                "silver.quarantine",
                "_row,reasons,payload,payload_bytes\n\
                 1,\"[\"\"unreadable: 4 fields, not 5, line 3\"\"]\",\"B,2,,1\",\n\
                 2,\"[\"\"unreadable: a quote is not closed, or text follows it, line 4\"\"]\",\"\"\"C,3,,,1\",\n\
                 3,\"[\"\"unreadable: 1 field, not 5, line 5\"\"]\",{},\n\
                 4,\"[\"\"npi_required\"\"]\",\"{\"\"name\"\":null,\"\"npi\"\":null,\"\"since\"\":null,\"\"beds\"\":null,\
                 \"\"day\"\":\"\"1\"\"}\",\n\
                 5,\"[\"\"unreadable: 2 fields, not 5, line 7\"\"]\",\"Café,5\",436166e92c35\n",
            ),
            (
                "ops.files",
                "event,records,reason\nnew,7,\"4 fields, not 5 (record 1, line 3, byte 32); \
                 a quote is not closed, or text follows it (record 2, line 4, byte 39); \
                 1 field, not 5 (record 3, line 5, byte 48); 2 fields, not 5 (record 5, line 7, byte 65)\"\n",
            ),
            (
                "ops.expectations",
                "expectation,input,passed,failed\n*,7,2,5\nnpi_required,3,2,1\nreadable,7,3,4\n",
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_may_differ_from_the_contract() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"name,npi,since,beds,day\nG,7,,,1\n").unwrap();
    let gzip = gzip.finish().unwrap();
    let utf_16: Vec<u8> = "\u{feff}npi,name\n8,Łódź\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let swapped = zstd::encode_all(&b"colour,npi,npi,name,since,beds,day\nred,6,x,F,,,1\n"[..], 3).unwrap();
    check(
        &[
            ("provider/a.csv", b"John Doe,12345,,,1\n"),
            ("provider/b.csv", b""),
            ("provider/c.csv", b"name,npi,since,beds,day\n"),
            ("provider/d.csv.gz", &gzip),
            ("provider/e.csv", &utf_16),
            ("provider/f.csv.zst", &swapped),
        ],
        &[
            (
                "silver.providers",
                "npi,name,_rescued\n7,G,\n8,Łódź,\n6,F,\"{\"\"colour\"\":\"\"red\"\",\"\"npi_2\"\":\"\"x\"\"}\"\n",
            ),
            (
                "silver.quarantine",
                "reasons,payload\n\"[\"\"unreadable: no header with the contract's columns, line 1\"\"]\",\"John Doe,12345,,,1\"\n",
            ),
            (
                "ops.files",
                "event,records,reason\n\
                 new,1,\"no header with the contract's columns (record 0, line 1, byte 0)\"\n\
                 new,0,\"the file is empty (record 0, line 1, byte 0)\"\nnew,0,\nnew,1,\n\
                 new,1,\"header without the contract's 'since' 'beds' 'day'\"\n\
                 new,1,\"header not in the contract: column 1, with the name of an earlier one: column 3\"\n",
            ),
        ],
    )
    .await;
}

#[test]
fn the_project_checks() {
    let root = project(&[], &[]);
    let project = contract::load(Path::new(root.path())).unwrap_or_else(|problems| panic!("{problems}"));
    let SourceKind::Files(files) = &project.pipelines[0].sources[0].kind else { panic!("not files") };
    let contract::Format::Csv(options) = &files.format else { panic!("not CSV") };
    assert_eq!((options.delimiter, options.encoding.name()), (b',', "windows-1252"));
}
