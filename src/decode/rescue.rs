//! What did not fit its type: kept as it came, under its path.

use std::fmt::Write;

use arrow::array::StringBuilder;
use sonic_rs::LazyValue;

use super::value;

/// The rescued values of the row that is being read.
#[derive(Default)]
pub(super) struct Rescue {
    /// Where the reader stands, as in `content.labels[0].value`.
    path: String,
    /// The members of the JSON object, without its braces.
    pub members: String,
}

impl Rescue {
    pub fn keep(&mut self, json: &LazyValue) {
        let separator = if self.members.is_empty() { "" } else { "," };
        let path = serde_json::Value::from(self.path.as_str());
        // Writing to a String cannot fail.
        let _ = write!(self.members, "{separator}{path}:{}", value::raw(json));
    }

    /// Runs with a step added to the path.
    pub fn within<T>(&mut self, step: impl FnOnce(&mut String), run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        step(&mut self.path);
        let result = run(self);
        self.path.truncate(length);
        result
    }

    pub fn end_row(&mut self, column: &mut StringBuilder) {
        if self.members.is_empty() {
            column.append_null();
        } else {
            column.append_value(format!("{{{}}}", self.members));
            self.members.clear();
        }
    }
}

pub(super) fn member(name: &str) -> impl FnOnce(&mut String) {
    move |path| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

pub(super) fn element(index: usize) -> impl FnOnce(&mut String) {
    move |path| {
        let _ = write!(path, "[{index}]");
    }
}
