use std::io::{self, Write as _};

use proptest::prelude::*;

use super::super::read::{Contents, Shape, read_records};
use super::*;
use crate::contract::Format;

/// A record: payload, bytes, and the reason of its fault.
type Told = (Option<String>, Option<Vec<u8>>, Option<String>);

fn told(record: &Record<'_>) -> Told {
    (record.payload.map(str::to_owned), record.bytes.map(<[u8]>::to_vec), record.fault.map(|fault| fault.reason()))
}

fn cut_with(input: &[u8], options: &CsvOptions, known: &[&str], limits: Limits) -> (Vec<Told>, Summary) {
    let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
    let mut records = Vec::new();
    let collect = |record: Record<'_>| {
        records.push(told(&record));
        Ok::<_, ()>(())
    };
    let summary = Splitter::new(input, options, &known, collect, limits).run().unwrap();
    assert_eq!(summary.records, records.len() as u64);
    assert_eq!(summary.broken, records.iter().filter(|record| record.2.is_some()).count() as u64);
    assert_eq!(summary.bytes, input.len() as u64);
    (records, summary)
}

fn cut(input: &str) -> (Vec<Told>, Summary) {
    cut_with(input.as_bytes(), &CsvOptions::default(), &["a", "b"], LIMITS)
}

/// Expects these payloads, of a record with a fault its reason behind ` ! `, and this reason of the file.
#[track_caller]
fn expect(input: &str, records: &[&str], faults: &[&str]) {
    let (found, summary) = cut(input);
    assert_eq!(shown(&found), records, "{input:?}");
    assert_eq!(summary.faults.iter().map(ToString::to_string).collect::<Vec<_>>(), faults, "{input:?}");
}

fn shown(records: &[Told]) -> Vec<String> {
    let show = |(payload, _, reason): &Told| {
        let payload = payload.clone().unwrap_or_else(|| "-".to_owned());
        reason.as_ref().map_or(payload.clone(), |reason| format!("{payload} ! {reason}"))
    };
    records.iter().map(show).collect()
}

fn options(change: impl FnOnce(&mut CsvOptions)) -> CsvOptions {
    let mut options = CsvOptions::default();
    change(&mut options);
    options
}

#[test]
fn records_are_objects_of_texts_beside_their_bytes() {
    let (records, summary) = cut("a,b\r\n1,\"x, \"\"y\"\"\r\nz\"\r\n\r\n,\"\"\r\n5\" pipe,\u{1}\\");
    assert_eq!(
        shown(&records),
        [r#"{"a":"1","b":"x, \"y\"\r\nz"}"#, r#"{"a":null,"b":null}"#, r#"{"a":"5\" pipe","b":"\u0001\\"}"#]
    );
    assert_eq!(records[0].1.as_deref(), Some(&b"1,\"x, \"\"y\"\"\r\nz\""[..]));
    assert_eq!(records[2].1.as_deref(), Some("5\" pipe,\u{1}\\".as_bytes()));
    assert_eq!((summary.fault_count, summary.header), (0, None));
}

#[test]
fn a_carriage_return_alone_ends_a_line() {
    expect("a,b\r1,2\r\r3,\"4\r\"\r", &[r#"{"a":"1","b":"2"}"#, r#"{"a":"3","b":"4\r"}"#], &[]);
}

#[test]
fn ragged_records_are_kept_with_their_line() {
    expect(
        "a,b\n1,2\n\n3\n4,\"x\ny\"\n5,6,7\n",
        &[
            r#"{"a":"1","b":"2"}"#,
            "3 ! 1 field, not 2, line 4",
            r#"{"a":"4","b":"x\ny"}"#,
            "5,6,7 ! 3 fields, not 2, line 7",
        ],
        &["1 field, not 2 (record 1, line 4, byte 9)", "3 fields, not 2 (record 3, line 7, byte 19)"],
    );
}

#[test]
fn a_quote_that_is_not_closed_costs_one_line() {
    let reason = "a quote is not closed, or text follows it";
    let in_file = format!("{reason} (record 1, line 3, byte 8)");
    expect(
        "a,b\n1,2\n\"3,4\n5,6\n",
        &[r#"{"a":"1","b":"2"}"#, &format!("\"3,4 ! {reason}, line 3"), r#"{"a":"5","b":"6"}"#],
        &[&in_file],
    );
    expect(
        "a,b\n1,2\n\"3,4\n5,\"6\"\n",
        &[r#"{"a":"1","b":"2"}"#, &format!("\"3,4 ! {reason}, line 3"), r#"{"a":"5","b":"6"}"#],
        &[&in_file],
    );
    expect(
        "a,b\n1,\"2\"3",
        &[&format!("1,\"2\"3 ! {reason}, line 2")],
        &[&format!("{reason} (record 0, line 2, byte 4)")],
    );
}

#[test]
fn files_without_records() {
    expect("", &[], &["the file is empty (record 0, line 1, byte 0)"]);
    expect("\r\n\n", &[], &["the file is empty (record 0, line 3, byte 3)"]);
    expect("a,b", &[], &[]);
    expect("\u{feff}a,b\r\n", &[], &[]);
    let headless = options(|options| options.columns = Some(vec!["a".to_owned()]));
    assert_eq!(cut_with(b"", &headless, &["a"], LIMITS).1.faults[0].kind, FaultKind::Empty);
}

#[test]
fn columns_go_by_name_and_the_header_tells_what_differs() {
    let (records, summary) = cut("\u{feff} b ,c,b\n1,2,3\n");
    assert_eq!(shown(&records), [r#"{"b":"1","c":"2","b_2":"3"}"#]);
    let note =
        "header without the contract's 'a', not in the contract: column 2, with the name of an earlier one: column 3";
    assert_eq!(summary.header.as_deref(), Some(note));
}

#[test]
fn without_a_header_nothing_is_guessed() {
    let reason = "no header with the contract's columns";
    expect(
        "John,1\nAnn,2\n",
        &[&format!("John,1 ! {reason}, line 1"), &format!("Ann,2 ! {reason}, line 2")],
        &[&format!("{reason} (record 0, line 1, byte 0)")],
    );
    let quote = "a quote is not closed, or text follows it";
    expect(
        "\"a\"x,b\n1,2\n",
        &[&format!("\"a\"x,b ! {quote}, line 1"), &format!("1,2 ! {reason}, line 2")],
        &[&format!("{quote} (record 0, line 1, byte 0)"), &format!("{reason} (record 1, line 2, byte 7)")],
    );
    let headless = options(|options| options.columns = Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(shown(&cut_with(b"John,1\n", &headless, &["a"], LIMITS).0), [r#"{"a":"John","b":"1"}"#]);
}

#[test]
fn delimiter_quote_and_null_tokens_are_the_contracts() {
    let own = options(|options| {
        (options.delimiter, options.quote) = (b'\t', Some(b'\''));
        options.null = vec!["NULL".to_owned(), "-".to_owned()];
    });
    let (records, _) = cut_with(b"a\tb\n'x''\ty'\tNULL\n'NULL'\t\n\"q\"\tnull\n-\t-1", &own, &["a"], LIMITS);
    let expected =
        [r#"{"a":"x'\ty","b":null}"#, r#"{"a":null,"b":""}"#, r#"{"a":"\"q\"","b":"null"}"#, r#"{"a":null,"b":"-1"}"#];
    assert_eq!(shown(&records), expected);
    let unquoted = options(|options| options.quote = None);
    assert_eq!(shown(&cut_with(b"a,b\n\"1,2\"\n", &unquoted, &["a"], LIMITS).0), [r#"{"a":"\"1","b":"2\""}"#]);
}

#[test]
fn other_encodings_are_decoded_and_keep_their_bytes() {
    let latin = options(|options| options.encoding = encoding_rs::WINDOWS_1252);
    let (records, _) = cut_with(b"a,b\n\xe9,\x80\n", &latin, &["a"], LIMITS);
    assert_eq!(records, [(Some(r#"{"a":"é","b":"€"}"#.to_owned()), Some(b"\xe9,\x80".to_vec()), None)]);
    let shift = options(|options| options.encoding = encoding_rs::SHIFT_JIS);
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode("a,b\nソ,表\n");
    assert_eq!(shown(&cut_with(&bytes, &shift, &["a"], LIMITS).0), [r#"{"a":"ソ","b":"表"}"#]);
}

#[test]
fn a_byte_order_mark_counts_for_more_than_the_contract() {
    let text = "\u{feff}a,b\r\n\"ਬ,\r\n\",𝄞\r\n1\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, step) in [(little, 7), (big, 64)] {
        let limits = Limits { block: step, ..LIMITS };
        let (records, summary) = cut_with(&bytes, &CsvOptions::default(), &["a"], limits);
        assert_eq!(shown(&records), [r#"{"a":"ਬ,\r\n","b":"𝄞"}"#, "1 ! 1 field, not 2, line 4"]);
        assert_eq!(summary.faults[0].at, 34);
        let raw: Vec<Vec<u8>> = records.into_iter().filter_map(|record| record.1).collect();
        assert_eq!((&bytes[12..30], &bytes[34..36]), (&raw[0][..], &raw[1][..]));
    }
}

#[test]
fn what_is_not_in_the_encoding_is_kept_as_bytes() {
    let (records, summary) = cut_with(b"a,b\n1,2\n\xff,3\n4,5\n\xff\n", &CsvOptions::default(), &["a"], LIMITS);
    assert_eq!(records[1], (None, Some(b"\xff,3".to_vec()), Some("not UTF-8, line 3".to_owned())));
    assert_eq!(records[2].0.as_deref(), Some(r#"{"a":"4","b":"5"}"#));
    assert_eq!(records[3], (None, Some(b"\xff".to_vec()), Some("1 field, not 2, line 5".to_owned())));
    assert_eq!(summary.fault_count, 2);
    let (records, _) = cut_with(b"\xe9,b\n1,2\n", &CsvOptions::default(), &["b"], LIMITS);
    let reasons: Vec<_> = records.into_iter().map(|record| record.2.unwrap()).collect();
    assert_eq!(reasons, ["not UTF-8, line 1", "no header with the contract's columns, line 2"]);
    let utf_16 = options(|options| options.encoding = encoding_rs::UTF_16LE);
    let (records, _) = cut_with(b"a\0\n\0\x00\xd8\n\0b\0c", &utf_16, &["a"], LIMITS);
    let reasons: Vec<_> = records.iter().map(|record| record.2.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["not UTF-16LE, line 2", "not UTF-16LE, line 3"]);
}

#[test]
fn binary_files_go_out_in_pieces() {
    let limits = Limits { piece: 4, ..LIMITS };
    let (records, summary) = cut_with(b"PK\0\n\n\n\n\n,", &CsvOptions::default(), &["a"], limits);
    let bytes: Vec<u8> = records.iter().flat_map(|record| record.0.clone().unwrap().into_bytes()).collect();
    assert_eq!((bytes.as_slice(), records.len(), summary.fault_count), (&b"PK\0\n\n\n\n\n,"[..], 3, 1));
}

#[test]
fn memory_is_bounded_by_the_limits() {
    let limits = Limits { probe: 8, block: 8, piece: 16, record: 32, ..LIMITS };
    let long = format!("a,b\n1,\"{}\n2,3\n{}\n4,5\n", "x".repeat(100), "y".repeat(50));
    let (records, _) = cut_with(long.as_bytes(), &CsvOptions::default(), &["a"], limits);
    let good: Vec<_> = records.iter().filter(|record| record.2.is_none()).collect();
    assert_eq!(good.len(), 2, "{records:?}");
    let parts: String = records.iter().filter(|record| record.2.is_some()).filter_map(|r| r.0.clone()).collect();
    assert_eq!(parts, format!("1,\"{}{}", "x".repeat(100), "y".repeat(50)));
    assert!(
        records.iter().filter_map(|record| record.2.as_deref()).all(|reason| reason.starts_with("record too large"))
    );
}

#[test]
fn looking_twice_has_an_end() {
    let limits = Limits { twice: 100, ..LIMITS };
    let input = format!("a,b\n{}1,\"2\n3\"\n", "\"x,y\n".repeat(200));
    let (records, _) = cut_with(input.as_bytes(), &CsvOptions::default(), &["a"], limits);
    assert_eq!(records.len(), 202);
    assert!(records.iter().all(|record| record.2.is_some()));
}

fn read(stored: &[u8]) -> (Vec<Told>, Contents) {
    let shape = Shape { format: Format::Csv(CsvOptions::default()), columns: vec!["a".to_owned()], person_key: None };
    let mut records = Vec::new();
    let contents = read_records(stored, &shape, |record| {
        records.push(told(&record));
        Ok::<_, io::Error>(())
    });
    (records, contents.unwrap())
}

#[test]
fn compressed_or_not_the_records_are_the_same_and_damage_is_not_taken_for_a_record() {
    let plain: String = (0..5000).map(|row| format!("{row},{}\n", row * 7919 % 1013)).collect();
    let plain = format!("a,b\n{plain}");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let (expected, contents) = read(plain.as_bytes());
    assert_eq!((expected.len(), contents.summary.fault_count), (5000, 0));
    for stored in [gzip.clone(), zstd::encode_all(plain.as_bytes(), 3).unwrap()] {
        let (found, contents) = read(&stored);
        assert!(found == expected);
        assert_eq!(contents.content_hash, blake3::hash(&stored).to_hex().to_string());
    }
    let (found, contents) = read(&gzip[..gzip.len() / 2]);
    let (last, whole) = found.split_last().unwrap();
    assert!(whole.len() > 100 && whole.iter().zip(&expected).all(|(found, expected)| found == expected));
    assert!(last.2.as_deref().unwrap().starts_with("compressed data is damaged, line "));
    assert_eq!(contents.summary.fault_count, 1);
}

proptest! {
    /// Whatever is written as CSV comes back, whatever the block that is read at a time.
    #[test]
    fn what_a_writer_writes_comes_back(
        rows in prop::collection::vec(prop::collection::vec("[a\",;\r\n é'𝄞]{0,6}", 3), 0..8),
        block in 1_usize..20,
        crlf in any::<bool>(),
    ) {
        let terminator = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let mut writer = ::csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
        writer.write_record(["x", "y", "z"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let input = writer.into_inner().unwrap();
        let options = options(|options| options.null = Vec::new());
        let (records, summary) = cut_with(&input, &options, &["x", "y", "z"], Limits { block, ..LIMITS });
        let found: Vec<serde_json::Value> =
            records.iter().map(|record| serde_json::from_str(record.0.as_ref().unwrap()).unwrap()).collect();
        let expected: Vec<serde_json::Value> =
            rows.iter().map(|row| serde_json::json!({"x": row[0], "y": row[1], "z": row[2]})).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(summary.fault_count, 0);
    }

    /// Of any bytes at all, those of every line are in a record, in order.
    #[test]
    fn nothing_is_lost(input in prop::collection::vec(prop::sample::select(&b"a,\"\r\n\xff"[..]), 0..60), block in 1_usize..9) {
        let headless = options(|options| options.columns = Some(vec!["a".to_owned(), "b".to_owned()]));
        let (records, _) = cut_with(&input, &headless, &["a"], Limits { block, ..LIMITS });
        let mut kept: Vec<u8> = Vec::new();
        for (payload, bytes, _) in &records {
            kept.extend(bytes.as_deref().or(payload.as_deref().map(str::as_bytes)).unwrap());
        }
        let no_breaks = |bytes: &[u8]| bytes.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect::<Vec<_>>();
        prop_assert_eq!(no_breaks(&kept), no_breaks(&input));
    }
}
