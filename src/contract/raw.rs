//! Contracts as typed: keys and values with their places, before anything is known about what they name.

use std::borrow::Cow;

use toml_span::value::{Key, Table, ValueInner};
use toml_span::{ErrorKind, Value};

use super::types::{TYPES, parse_type};
use super::{Format, Severity, csv};
use crate::problem::{File, Problem, suggest};
use arrow::datatypes::DataType;

/// A value and the byte offset where it stands in its file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub value: T,
    pub at: usize,
}

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
    Files { path: Option<At<String>>, format: Format },
}

/// `bronze/<t>.toml`.
#[derive(Debug)]
pub(super) struct RawBronze {
    pub description: String,
    pub source: Option<At<String>>,
    pub payload: Option<At<DataType>>,
}

/// `silver/<t>.toml` and `gold/<t>.toml`.
#[derive(Debug)]
pub(super) struct RawTable {
    pub description: String,
    pub strategy: Option<At<Strategy>>,
    pub key: Option<At<Vec<At<String>>>>,
    pub sequence: Option<At<String>>,
    pub replace_by: Option<At<Vec<At<String>>>>,
    pub statistics: Vec<At<String>>,
    pub subject: Option<At<String>>,
    pub columns: Vec<RawColumn>,
    pub expectations: Vec<RawExpectation>,
}

/// How a table is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    ByRecord,
    ByKey,
    Whole,
}

#[derive(Debug)]
pub(super) struct RawColumn {
    pub name: At<String>,
    pub data_type: Option<At<DataType>>,
    pub required: bool,
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
            let mut reader = Reader { file, at: name.at, table, known: Vec::new(), problems };
            let description = reader.description();
            reader.choice("kind", &[("files", ())]);
            let format = csv::format(&mut reader);
            let kind = RawKind::Files { path: reader.required("path"), format };
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
        payload: reader.data_type("payload"),
    };
    reader.finish();
    Some(raw)
}

/// Reads a silver or gold table's contract.
pub(super) fn table(file: &File, problems: &mut Vec<Problem>) -> Option<RawTable> {
    let strategies = [("by_record", Strategy::ByRecord), ("by_key", Strategy::ByKey), ("whole", Strategy::Whole)];
    let mut reader = Reader::open(file, &file.text, problems)?;
    let mut raw = RawTable {
        description: reader.description(),
        strategy: reader.choice("strategy", &strategies),
        key: reader.names("key"),
        sequence: reader.optional("sequence"),
        replace_by: reader.names("replace_by"),
        subject: reader.optional("subject"),
        statistics: reader.names("statistics").map_or_else(Vec::new, |at| at.value),
        columns: Vec::new(),
        expectations: Vec::new(),
    };
    let columns = reader.tables("columns");
    let expectations = reader.tables("expectations");
    reader.finish();
    for (name, table) in columns {
        let mut reader = Reader { file, at: name.at, table, known: Vec::new(), problems };
        raw.columns.push(RawColumn {
            data_type: reader.data_type("type"),
            required: reader.flag("required").unwrap_or_default(),
            comment: reader.required("comment").map_or_else(String::new, |at| at.value),
            name,
        });
        reader.finish();
    }
    for (name, table) in expectations {
        let severities = [Severity::Warn, Severity::Quarantine, Severity::Fail].map(|s| (s.as_str(), s));
        let mut reader = Reader { file, at: name.at, table, known: Vec::new(), problems };
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

/// Takes the keys of one TOML table and remembers which it was asked for, so that the rest are unknown.
pub(super) struct Reader<'a, 'p> {
    file: &'a File,
    at: usize,
    table: Table<'a>,
    known: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Reader<'a, 'p> {
    /// Parses `text`, whose offsets are those of `file`.
    pub fn open(file: &'a File, text: &'a str, problems: &'p mut Vec<Problem>) -> Option<Self> {
        match toml_span::parse(text).map(|mut value| value.take()) {
            Ok(ValueInner::Table(table)) => Some(Self { file, at: 0, table, known: Vec::new(), problems }),
            Ok(_) => None,
            Err(error) => {
                let message = match &error.kind {
                    ErrorKind::DuplicateKey { key, .. } => format!("'{key}' stands twice"),
                    ErrorKind::DuplicateTable { name, .. } => format!("'{name}' stands twice"),
                    _ => format!("not TOML: {error}"),
                };
                problems.push(file.problem(error.span.start, message));
                None
            }
        }
    }

    /// A reader of a nested table.
    pub fn nested(file: &'a File, at: usize, table: Table<'a>, problems: &'p mut Vec<Problem>) -> Self {
        Self { file, at, table, known: Vec::new(), problems }
    }

    fn take(&mut self, key: &'static str) -> Option<(Key<'a>, Value<'a>)> {
        self.known.push(key);
        self.table.remove_entry(key)
    }

    /// A reader of a table inside this one.
    pub fn within(&mut self, at: usize, table: Table<'a>) -> Reader<'a, '_> {
        Reader { file: self.file, at, table, known: Vec::new(), problems: self.problems }
    }

    /// Where the table stands.
    pub fn place(&self) -> usize {
        self.at
    }

    pub fn report(&mut self, at: usize, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(self.file.problem(at, message).with_hint(hint));
    }

    fn mismatch(&mut self, key: &str, wanted: &str, found: &ValueInner<'_>, at: usize) {
        self.report(at, format!("'{key}' is of type {}, not {wanted}", found.type_str()), None);
    }

    fn missing(&mut self, key: &str) {
        self.report(self.at, format!("'{key}' is missing"), None);
    }

    /// A text that may be missing, but not empty.
    pub fn optional(&mut self, key: &'static str) -> Option<At<String>> {
        let text = self.text(key)?;
        if text.value.trim().is_empty() {
            self.report(text.at, format!("'{key}' is empty"), None);
            return None;
        }
        Some(text)
    }

    /// A text that may be missing or empty.
    pub fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let (_, mut value) = self.take(key)?;
        let at = value.span.start;
        match value.take() {
            ValueInner::String(text) => Some(At { value: text.into_owned(), at }),
            other => {
                self.mismatch(key, "string", &other, at);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, key: &'static str) -> Option<At<String>> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.missing(key);
            return None;
        }
        self.optional(key)
    }

    pub fn description(&mut self) -> String {
        self.required("description").map_or_else(String::new, |at| at.value)
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let (_, mut value) = self.take(key)?;
        match value.take() {
            ValueInner::Boolean(flag) => Some(flag),
            other => {
                self.mismatch(key, "boolean", &other, value.span.start);
                None
            }
        }
    }

    /// A list of different texts that may be missing, but not empty.
    pub fn names(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let before = self.problems.len();
        let names = self.list(key)?;
        if names.value.is_empty() && self.problems.len() == before {
            self.report(names.at, format!("'{key}' is empty"), None);
        }
        Some(names)
    }

    /// A list of different texts that may be missing or empty.
    pub fn list(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let (_, mut value) = self.take(key)?;
        let at = value.span.start;
        let items = match value.take() {
            ValueInner::Array(items) => items,
            other => {
                self.mismatch(key, "a list of strings", &other, at);
                return Some(At { value: Vec::new(), at });
            }
        };
        let mut names: Vec<At<String>> = Vec::new();
        for mut item in items {
            let at = item.span.start;
            match item.take() {
                ValueInner::String(name) if names.iter().any(|known| known.value == name) => {
                    self.report(at, format!("'{name}' stands twice in '{key}'"), None);
                }
                ValueInner::String(name) => names.push(At { value: name.into_owned(), at }),
                other => self.mismatch(key, "a list of strings", &other, at),
            }
        }
        Some(At { value: names, at })
    }

    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<At<T>> {
        let At { value, at } = self.required(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) {
            return Some(At { value: *choice, at });
        }
        let hint = suggest(&value, choices.iter().map(|(name, _)| *name));
        self.problems.push(self.file.problem(at, format!("unknown {key} '{value}'")).with_hint(hint));
        None
    }

    pub fn data_type(&mut self, key: &'static str) -> Option<At<DataType>> {
        let At { value, at } = self.required(key)?;
        match parse_type(&value) {
            Ok(data_type) => Some(At { value: data_type, at }),
            Err((offset, message)) => {
                let at = inside(self.file, at, &value, offset);
                self.problems.push(self.file.problem(at, message).with_hint(TYPES.to_owned()));
                None
            }
        }
    }

    /// A table inside the table, which may be missing.
    pub fn table(&mut self, key: &'static str) -> Option<At<Table<'a>>> {
        let (_, mut value) = self.take(key)?;
        let at = value.span.start;
        match value.take() {
            ValueInner::Table(table) => Some(At { value: table, at }),
            other => {
                self.mismatch(key, "table", &other, at);
                None
            }
        }
    }

    /// The sub-tables of a table, in the order of the file; a missing table has none.
    pub fn tables(&mut self, key: &'static str) -> Vec<(At<String>, Table<'a>)> {
        let Some(At { value: table, .. }) = self.table(key) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, mut value) in table {
            let at = name.span.start;
            match value.take() {
                ValueInner::Table(table) => tables.push((At { value: Cow::into_owned(name.name), at }, table)),
                other => self.mismatch(&format!("{key}.{}", name.name), "table", &other, at),
            }
        }
        tables.sort_by_key(|(name, _)| name.at);
        tables
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for key in self.table.keys() {
            let hint = suggest(&key.name, self.known.iter().copied());
            let problem = self.file.problem(key.span.start, format!("unknown key '{}'", key.name));
            self.problems.push(problem.with_hint(hint));
        }
    }
}

/// The place of an offset inside a string value; the value's start when escapes make the two differ.
pub(super) fn inside(file: &File, at: usize, value: &str, offset: usize) -> usize {
    let verbatim = file.text.get(at..).is_some_and(|rest| rest.starts_with(value));
    if verbatim { at + offset } else { at }
}
