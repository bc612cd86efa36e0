//! How a source's files hold records: `format`, and the keys that belong to one.

use std::collections::HashSet;

use super::csv::{self, CsvOptions};
use crate::original::dicom::element::is_keyword;
use crate::toml::{At, Reader};
use crate::variables;

/// How a source's bytes hold records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Arrays of objects, single objects and NDJSON; plain, `.gz` or `.zst`.
    Json,
    /// Lines of fields; plain, `.gz` or `.zst`.
    Csv(CsvOptions),
    /// Each file is one record: what it is, never its bytes.
    Original(OriginalOptions),
}

impl Format {
    /// Whether each file is one record.
    pub fn is_original(&self) -> bool {
        matches!(self, Self::Original(_))
    }
}

/// What is told of original files besides what is told of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginalOptions {
    /// Keywords of DICOM elements that are kept although the Basic Profile takes them out.
    pub keep: HashSet<String>,
    /// The variable with the key of the hash that stands for a patient.
    pub person_key: Option<String>,
    /// Whether they are documents, whose text is read.
    pub text: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Csv,
    Original,
}

/// Reads `format` of a source, and the keys that belong to it.
pub(super) fn read(reader: &mut Reader<'_, '_>) -> Format {
    let csv = reader.table("csv");
    let keep = reader.names("keep");
    let person_key = reader.optional("person_key");
    let text = reader.flag("text");
    let kinds = [("json", Kind::Json), ("csv", Kind::Csv), ("original", Kind::Original)];
    let kind = reader.choice("format", &kinds).map(|at| at.value);
    if let (Some(Kind::Json | Kind::Original), Some(At { at, .. })) = (kind, &csv) {
        reader.report(*at, "'csv' belongs to format = \"csv\"", None);
    }
    if let (Some(Kind::Json | Kind::Csv), Some(key)) = (kind, original_key(&keep, &person_key, text)) {
        reader.report(reader.place(), format!("'{key}' belongs to format = \"original\""), None);
    }
    match (kind, csv) {
        (Some(Kind::Csv), Some(At { value, at })) => Format::Csv(csv::options(reader.within(at, value))),
        (Some(Kind::Csv), None) => Format::Csv(CsvOptions::default()),
        (Some(Kind::Original), _) => Format::Original(OriginalOptions {
            keep: keep.map_or_else(HashSet::new, |keep| keywords(reader, keep.value)),
            person_key: person_key.and_then(|name| variable(reader, name)),
            text: text.unwrap_or(false),
        }),
        (Some(Kind::Json) | None, _) => Format::Json,
    }
}

/// The first key that only originals have.
fn original_key(
    keep: &Option<At<Vec<At<String>>>>,
    person_key: &Option<At<String>>,
    text: Option<bool>,
) -> Option<&'static str> {
    let given = [("keep", keep.is_some()), ("person_key", person_key.is_some()), ("text", text.is_some())];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(key, _)| key)
}

fn keywords(reader: &mut Reader<'_, '_>, keep: Vec<At<String>>) -> HashSet<String> {
    for At { value, at } in keep.iter().filter(|keyword| !is_keyword(&keyword.value)) {
        let hint = "write keywords of the DICOM dictionary, such as PatientSex".to_owned();
        reader.report(*at, format!("'{value}' is no DICOM keyword"), Some(hint));
    }
    keep.into_iter().map(|at| at.value).collect()
}

fn variable(reader: &mut Reader<'_, '_>, At { value, at }: At<String>) -> Option<String> {
    if variables::is_name(&value) {
        return Some(value);
    }
    let hint = "the key itself is a secret, and stands in the environment".to_owned();
    reader.report(at, "'person_key' must name a variable", Some(hint));
    None
}
