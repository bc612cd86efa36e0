//! What is wrong with a template file, and where.

use std::cell::RefCell;
use std::fmt;

/// One mistake in a template file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What could be done about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, message, hint } = self;
        write!(f, "{path}:{line}:{column}: {message}")?;
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of a template file, in the order of the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The text of a template file, and the problems found in it so far.
pub(super) struct Source<'a> {
    path: &'a str,
    pub(super) text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text, problems: RefCell::default() }
    }

    /// Notes a problem at byte `at` of the text.
    pub(super) fn problem(&self, at: usize, message: impl Into<String>, hint: Option<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.problems.borrow_mut().push(Problem {
            path: self.path.to_owned(),
            line: count(before.matches('\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
            message: message.into(),
            hint,
        });
    }

    /// Notes that `name` is not one of `known`, with the nearest of them as a hint.
    pub(super) fn unknown<'k>(&self, at: usize, what: &str, name: &str, known: impl Iterator<Item = &'k str>) {
        let near = known
            .map(|k| (strsim::jaro_winkler(k, name), k))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = near.map(|(_, k)| format!("did you mean '{k}'?"));
        self.problem(at, format!("unknown {what} '{name}'"), hint);
    }

    /// The problems found, if there are any.
    pub(super) fn finish(&self) -> Result<(), Problems> {
        let mut found = self.problems.take();
        found.sort_by_key(|problem| (problem.line, problem.column));
        found.dedup();
        match found.is_empty() {
            true => Ok(()),
            false => Err(Problems(found)),
        }
    }
}
