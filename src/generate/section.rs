//! Typed reading of a TOML table that notes every problem instead of ending at the first.

use std::cell::RefCell;

use toml_span::value::{Table, Value};

use super::calendar;
use super::problem::Source;

/// A string of the template file and where its first character stands.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) at: usize,
}

/// A table of the template file. Keys that nobody asked for are unknown keys.
pub(super) struct Section<'a, 'de> {
    pub(super) source: &'a Source,
    pub(super) at: usize,
    table: &'a Table<'de>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a, 'de> Section<'a, 'de> {
    pub(super) fn new(source: &'a Source, value: &'a Value<'de>) -> Option<Self> {
        let Some(table) = value.as_table() else {
            source.problem(value.span.start, "a table is wanted here", None);
            return None;
        };
        Some(Self { source, at: value.span.start, table, asked: RefCell::default() })
    }

    fn get(&self, key: &'static str) -> Option<&'a Value<'de>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Keys that may stand in the table although nobody reads them.
    pub(super) fn expect(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// `true` when the key stands in the table.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the key's value stands, else where the table does.
    pub(super) fn place(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |v| v.span.start)
    }

    fn read<T>(&self, key: &'static str, wanted: &str, read: impl FnOnce(&'a Value<'de>) -> Option<T>) -> Option<T> {
        let value = self.get(key)?;
        let found = read(value);
        if found.is_none() {
            let message = format!("'{key}' must be {wanted}");
            self.source.problem(value.span.start, message, None);
        }
        found
    }

    /// The value, or a problem that says that it is missing.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.source.problem(self.at, format!("'{key}' is missing"), None);
        }
        read(self, key)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Text> {
        self.read(key, "a text", |v| self.to_text(v))
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Text>> {
        self.read(key, "a list of texts", |v| match v.as_array() {
            Some(array) => array.iter().map(|v| self.to_text(v)).collect(),
            None => Some(vec![self.to_text(v)?]),
        })
    }

    /// A list of lists of texts.
    pub(super) fn lists(&self, key: &'static str) -> Option<Vec<Vec<Text>>> {
        self.read(key, "a list of lists of texts", |v| {
            let row = |v: &Value<'de>| v.as_array()?.iter().map(|v| self.to_text(v)).collect();
            v.as_array()?.iter().map(row).collect()
        })
    }

    /// Texts with their weights: `"a"` weighs 1, `["a", 5]` weighs 5.
    pub(super) fn weighted(&self, key: &'static str) -> Option<Vec<(String, u32)>> {
        self.read(key, "a list of texts or [text, weight] pairs", |v| {
            let one = |v: &Value<'de>| match v.as_array().map(Vec::as_slice) {
                Some([text, weight]) => Some((text.as_str()?.to_owned(), small(weight)?)),
                Some(_) => None,
                None => Some((v.as_str()?.to_owned(), 1)),
            };
            v.as_array()?.iter().map(one).collect()
        })
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", number)
    }

    /// A whole number of 32 bits that is not negative.
    pub(super) fn count(&self, key: &'static str) -> Option<u32> {
        self.read(key, "a small whole number", small)
    }

    pub(super) fn counts(&self, key: &'static str) -> Option<Vec<u32>> {
        self.read(key, "a list of small whole numbers", |v| {
            let all: Vec<u32> = v.as_array()?.iter().map(small).collect::<Option<_>>()?;
            (!all.is_empty()).then_some(all)
        })
    }

    /// `[first, second]`.
    pub(super) fn numbers(&self, key: &'static str) -> Option<(f64, f64)> {
        self.read(key, "a pair of numbers", |v| match v.as_array()?.as_slice() {
            [a, b] => Some((number(a)?, number(b)?)),
            _ => None,
        })
    }

    /// `[smallest, largest]`, whole numbers.
    pub(super) fn range(&self, key: &'static str) -> Option<(i64, i64)> {
        let wanted = "[smallest, largest], whole numbers";
        self.read(key, wanted, |v| ordered(v, Value::as_integer))
    }

    /// `["2020-01-01", "2021-12-31"]`, in days since 1970-01-01.
    pub(super) fn dates(&self, key: &'static str) -> Option<(i64, i64)> {
        let wanted = "[first, last], dates such as \"2020-01-31\"";
        self.read(key, wanted, |v| ordered(v, |v| calendar::parse(v.as_str()?)))
    }

    /// The whole number or date (in days since 1970-01-01) under the key.
    pub(super) fn bound(&self, key: &'static str) -> Option<i64> {
        self.read(key, "a whole number or a date", |v| v.as_integer().or_else(|| calendar::parse(v.as_str()?)))
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a, 'de>> {
        Section::new(self.source, self.get(key)?)
    }

    /// The tables of a list of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a, 'de>> {
        let list = self.read(key, "a list of tables", Value::as_array);
        let all = list.into_iter().flatten();
        all.filter_map(|v| Section::new(self.source, v)).collect()
    }

    /// The entries of the table under `key`, as they stand in the file.
    pub(super) fn entries(&self, key: &'static str) -> Vec<(Text, &'a Value<'de>)> {
        let table = self.read(key, "a table", Value::as_table);
        table.map(in_file_order).unwrap_or_default()
    }

    /// The entries of this table, all of them, as they stand in the file.
    pub(super) fn all(&self) -> Vec<(Text, &'a Value<'de>)> {
        in_file_order(self.table)
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn done(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            if !asked.contains(&key.name.as_ref()) {
                let known = asked.iter().copied();
                self.source.unknown(key.span.start, "key", &key.name, known);
            }
        }
    }

    pub(super) fn to_text(&self, value: &Value<'de>) -> Option<Text> {
        let text = value.as_str()?.to_owned();
        // The span of a text in quotes may begin at the quotes or behind them.
        let window = value.span.start..(value.span.end + 1).min(self.source.text().len());
        let raw = self.source.text().get(window).unwrap_or_default();
        let at = value.span.start + raw.find(text.as_str()).unwrap_or(0);
        Some(Text { text, at })
    }
}

fn in_file_order<'a, 'de>(table: &'a Table<'de>) -> Vec<(Text, &'a Value<'de>)> {
    let named = |(key, value): (&toml_span::value::Key<'de>, &'a Value<'de>)| {
        let (text, at) = (key.name.to_string(), key.span.start);
        (Text { text, at }, value)
    };
    let mut entries: Vec<_> = table.iter().map(named).collect();
    entries.sort_by_key(|(name, _)| name.at);
    entries
}

fn number(value: &Value<'_>) -> Option<f64> {
    let whole = || value.as_integer().map(|n| n as f64);
    value.as_float().or_else(whole)
}

fn small(value: &Value<'_>) -> Option<u32> {
    u32::try_from(value.as_integer()?).ok()
}

fn ordered<'de>(value: &Value<'de>, read: impl Fn(&Value<'de>) -> Option<i64>) -> Option<(i64, i64)> {
    match value.as_array()?.as_slice() {
        [a, b] => Some((read(a)?, read(b)?)).filter(|(a, b)| a <= b),
        _ => None,
    }
}
