//! Contracts as typed: keys and values with their places, before anything is known about what they name.

use arrow::datatypes::DataType;

use super::types::{TYPES, parse_type};
use super::{Format, Severity, database, format};
use crate::problem::{File, Problem};
use crate::toml::{At, Reader, inside};

/// `pipeline.toml`.
#[derive(Debug)]
pub(super) struct RawPipeline {
    pub name: Option<At<String>>,
    pub description: String,
    pub sources: Vec<RawSource>,
}

#[derive(Debug)]
pub(super) struct RawSource {
    pub name: At<String>,
    pub description: String,
    pub kind: RawKind,
}

/// A source's kind, with the keys that belong to it.
#[derive(Debug)]
pub(super) enum RawKind {
    Files { path: Option<At<String>>, format: Format, optional: bool },
    Postgres(RawDatabase),
}

/// Where a database is, and which of its tables are taken.
#[derive(Debug)]
pub(super) struct RawDatabase {
    pub url: Option<At<String>>,
    pub password_variable: Option<At<String>>,
    pub tables: Vec<At<String>>,
}

/// `bronze/<t>.toml`.
#[derive(Debug)]
pub(super) struct RawBronze {
    pub description: String,
    pub source: Option<At<String>>,
    pub relation: Option<At<String>>,
    pub payload: Option<At<DataType>>,
}

/// `silver/<t>.toml` and `gold/<t>.toml`.
#[derive(Debug)]
pub(super) struct RawTable {
    pub description: String,
    pub strategy: Option<At<Strategy>>,
    pub key: Option<At<Vec<At<String>>>>,
    pub sequence: Option<At<String>>,
    pub delete_when: Option<At<String>>,
    pub replace_by: Option<At<Vec<At<String>>>>,
    pub broadcast: Vec<At<String>>,
    pub inherits: Option<At<String>>,
    pub statistics: Vec<At<String>>,
    pub subject: Option<At<String>>,
    pub erased_with: Option<At<String>>,
    pub columns: Vec<RawColumn>,
    pub expectations: Vec<RawExpectation>,
}

/// How a table is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    ByRecord,
    ByKey,
    Whole,
    Surrogate,
}

#[derive(Debug)]
pub(super) struct RawColumn {
    pub name: At<String>,
    pub data_type: Option<At<DataType>>,
    pub required: bool,
    pub surrogate: bool,
    pub comment: String,
}

#[derive(Debug)]
pub(super) struct RawExpectation {
    pub name: At<String>,
    pub condition: Option<At<String>>,
    pub severity: Severity,
    pub comment: String,
}

/// Reads `pipeline.toml`.
pub(super) fn pipeline(file: &File, problems: &mut Vec<Problem>) -> Option<RawPipeline> {
    let mut reader = Reader::open(file, &file.text, problems)?;
    let name = reader.required("name");
    let description = reader.description();
    let tables = reader.tables("sources");
    reader.finish();
    let sources = tables
        .into_iter()
        .map(|(name, table)| {
            let mut reader = Reader::nested(file, name.at, table, problems);
            let description = reader.description();
            let kinds = [("files", false), ("postgres", true)];
            let kind = match reader.choice("kind", &kinds) {
                Some(At { value: true, .. }) => RawKind::Postgres(database::keys(&mut reader)),
                _ => {
                    let format = format::read(&mut reader);
                    let optional = reader.flag("optional").unwrap_or(false);
                    RawKind::Files { path: reader.required("path"), format, optional }
                }
            };
            let source = RawSource { name, description, kind };
            reader.finish();
            source
        })
        .collect();
    Some(RawPipeline { name, description, sources })
}

/// Reads a bronze table's contract.
pub(super) fn bronze(file: &File, problems: &mut Vec<Problem>) -> Option<RawBronze> {
    let mut reader = Reader::open(file, &file.text, problems)?;
    let raw = RawBronze {
        description: reader.description(),
        source: reader.required("source"),
        relation: reader.optional("relation"),
        payload: data_type(&mut reader, "payload"),
    };
    reader.finish();
    Some(raw)
}

/// Reads a silver or gold table's contract.
pub(super) fn table(file: &File, problems: &mut Vec<Problem>) -> Option<RawTable> {
    let strategies = [
        ("by_record", Strategy::ByRecord),
        ("by_key", Strategy::ByKey),
        ("whole", Strategy::Whole),
        ("surrogate", Strategy::Surrogate),
    ];
    let mut reader = Reader::open(file, &file.text, problems)?;
    let mut raw = RawTable {
        description: reader.description(),
        strategy: reader.choice("strategy", &strategies),
        key: reader.names("key"),
        sequence: reader.optional("sequence"),
        delete_when: reader.optional("delete_when"),
        replace_by: reader.names("replace_by"),
        broadcast: reader.names("broadcast").map_or_else(Vec::new, |at| at.value),
        inherits: reader.optional("inherits"),
        subject: reader.optional("subject"),
        erased_with: reader.optional("erased_with"),
        statistics: reader.names("statistics").map_or_else(Vec::new, |at| at.value),
        columns: Vec::new(),
        expectations: Vec::new(),
    };
    let columns = reader.tables("columns");
    let expectations = reader.tables("expectations");
    reader.finish();
    for (name, table) in columns {
        let mut reader = Reader::nested(file, name.at, table, problems);
        raw.columns.push(RawColumn {
            data_type: data_type(&mut reader, "type"),
            required: reader.flag("required").unwrap_or_default(),
            surrogate: reader.flag("surrogate").unwrap_or_default(),
            comment: reader.required("comment").map_or_else(String::new, |at| at.value),
            name,
        });
        reader.finish();
    }
    for (name, table) in expectations {
        let severities = [Severity::Warn, Severity::Quarantine, Severity::Fail].map(|s| (s.as_str(), s));
        let mut reader = Reader::nested(file, name.at, table, problems);
        raw.expectations.push(RawExpectation {
            condition: reader.required("condition"),
            severity: reader.choice("severity", &severities).map_or(Severity::Fail, |at| at.value),
            comment: reader.optional("comment").map_or_else(String::new, |at| at.value),
            name,
        });
        reader.finish();
    }
    Some(raw)
}

/// A text that names a type.
pub(super) fn data_type(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<At<DataType>> {
    let At { value, at } = reader.required(key)?;
    match parse_type(&value) {
        Ok(data_type) => Some(At { value: data_type, at }),
        Err((offset, message)) => {
            let at = inside(reader.file(), at, &value, offset);
            reader.report(at, message, Some(TYPES.to_owned()));
            None
        }
    }
}
