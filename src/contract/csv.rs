//! How the CSV files of a source are written: `format = "csv"` and the table `[sources.<name>.csv]`.

use arrow::datatypes::Fields;
use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED};

use super::types::type_name;
use crate::problem::{File, Problem, suggest};
use crate::toml::{At, Reader};

/// The encodings that a mistyped label is compared with; there are many more.
const USUAL_ENCODINGS: [&str; 8] =
    ["utf-8", "latin1", "iso-8859-1", "iso-8859-15", "windows-1252", "windows-1250", "utf-16le", "utf-16be"];

/// How a source's CSV files are written.
///
/// A record ends with LF, CRLF or CR outside quotes; an empty line is no record. Inside quotes a doubled quote is one;
/// a quote that does not begin a field is a character like others. All values are texts: in bronze, `payload` is a JSON
/// object from column to text, and `payload_bytes` the record byte for byte, without its line's end. A record with too
/// few or too many fields, or with a broken quote, is kept as it came and goes to quarantine with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Stands between fields; `,` unless told otherwise. ASCII.
    pub delimiter: u8,
    /// Stands around fields that hold delimiters or line breaks; `"` unless told otherwise, none for `""`. ASCII.
    pub quote: Option<u8>,
    /// The columns of files without a header; `None` when the first line of each file names them.
    pub columns: Option<Vec<String>>,
    /// Values that are NULL, in quotes or not; only the empty text unless told otherwise.
    pub null: Vec<String>,
    /// UTF-8 unless told otherwise. A byte order mark at a file's start counts for more.
    pub encoding: &'static Encoding,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"'), columns: None, null: vec![String::new()], encoding: UTF_8 }
    }
}

/// Reads the table `csv` of a source.
pub(super) fn options(mut reader: Reader<'_, '_>) -> CsvOptions {
    let defaults = CsvOptions::default();
    let delimiter = reader.text("delimiter");
    let quote = reader.text("quote");
    let encoding = reader.text("encoding");
    let marks_at = quote.as_ref().or(delimiter.as_ref()).map(|at| at.at);
    let options = CsvOptions {
        delimiter: delimiter.and_then(|text| mark(&mut reader, "delimiter", &text)).unwrap_or(defaults.delimiter),
        quote: match quote {
            Some(At { value, .. }) if value.is_empty() => None,
            Some(text) => mark(&mut reader, "quote", &text).or(defaults.quote),
            None => defaults.quote,
        },
        columns: columns(&mut reader),
        null: reader.list("null").map_or(defaults.null, |at| at.value.into_iter().map(|at| at.value).collect()),
        encoding: encoding.and_then(|label| supported(&mut reader, &label)).unwrap_or(defaults.encoding),
    };
    if let Some(at) = marks_at {
        check_marks(&mut reader, &options, at);
    }
    reader.finish();
    options
}

/// One character that no value is made of.
fn mark(reader: &mut Reader<'_, '_>, key: &str, text: &At<String>) -> Option<u8> {
    match text.value.as_bytes() {
        [byte] if byte.is_ascii_punctuation() || matches!(byte, b' ' | b'\t' | 0x01..=0x08 | 0x0e..=0x1f) => {
            Some(*byte)
        }
        _ => {
            let hint = "write one ASCII character that is no letter and no digit, such as \",\" \";\" \"|\" \"\\t\"";
            reader.report(
                text.at,
                format!("'{}' cannot be the {key}", text.value.escape_debug()),
                Some(hint.to_owned()),
            );
            None
        }
    }
}

fn check_marks(reader: &mut Reader<'_, '_>, options: &CsvOptions, at: usize) {
    if options.quote == Some(options.delimiter) {
        reader.report(at, "the delimiter and the quote are the same", None);
    }
    let is_plain = options.encoding.is_single_byte() || [UTF_8, UTF_16LE, UTF_16BE].contains(&options.encoding);
    // In the encodings of East Asia the second byte of a character may be that of `@` or any ASCII character above it.
    let doubtful = [Some(options.delimiter), options.quote].into_iter().flatten().find(|mark| *mark >= b'@');
    if let (false, Some(mark)) = (is_plain, doubtful) {
        let message = format!("in {} '{}' may be a part of a character", options.encoding.name(), char::from(mark));
        reader.report(at, message, Some("use another mark, or deliver the files in UTF-8".to_owned()));
    }
}

/// The columns of files that have no header.
fn columns(reader: &mut Reader<'_, '_>) -> Option<Vec<String>> {
    let header = reader.flag("header").unwrap_or(true);
    match (header, reader.names("columns")) {
        (true, None) => None,
        (true, Some(At { at, .. })) => {
            let hint = "write header = false, or leave columns out: the header names them".to_owned();
            reader.report(at, "'columns' stand beside a header", Some(hint));
            None
        }
        (false, None) => {
            let hint = "a file without a header needs columns = [\"…\"], in the order of its fields".to_owned();
            reader.report(reader.place(), "'columns' is missing", Some(hint));
            None
        }
        (false, Some(At { value, .. })) => {
            for name in value.iter().filter(|name| name.value.trim().is_empty()) {
                reader.report(name.at, "a column's name is empty", None);
            }
            Some(value.into_iter().map(|name| name.value).collect()).filter(|names: &Vec<_>| !names.is_empty())
        }
    }
}

fn supported(reader: &mut Reader<'_, '_>, label: &At<String>) -> Option<&'static Encoding> {
    match Encoding::for_label(label.value.as_bytes()) {
        None => {
            let hint = suggest(&label.value, USUAL_ENCODINGS);
            reader.report(label.at, format!("unknown encoding '{}'", label.value), hint);
            None
        }
        Some(encoding) if [ISO_2022_JP, REPLACEMENT, X_USER_DEFINED].contains(&encoding) => {
            let hint = "deliver the files in UTF-8".to_owned();
            reader.report(label.at, format!("encoding '{}' cannot be cut into lines", label.value), Some(hint));
            None
        }
        Some(encoding) => Some(encoding),
    }
}

/// Whether the payload of a bronze table, which stands at `at` of its contract, can come from CSV records.
pub(super) fn check_payload(
    options: &CsvOptions,
    payload: &Fields,
    contract: &File,
    at: usize,
    problems: &mut Vec<Problem>,
) {
    for field in payload {
        if field.data_type().is_nested() {
            let (name, found) = (field.name(), type_name(field.data_type()));
            let hint = "read it as STRING, and take it apart in silver".to_owned();
            let message = format!("payload field '{name}' is {found}, but the values of CSV are texts");
            problems.push(contract.problem(at, message).with_hint(hint));
        }
        if let Some(columns) = &options.columns
            && !columns.contains(field.name())
        {
            let hint = suggest(field.name(), columns.iter().map(String::as_str));
            let message = format!("payload field '{}' is none of the source's columns", field.name());
            problems.push(contract.problem(at, message).with_hint(hint));
        }
    }
}
