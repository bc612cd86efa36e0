//! The text of a template file, and what is wrong with it.

use std::cell::RefCell;

use crate::problem::{File, Problem, Problems, suggest};

/// The text of a template file, and the problems found in it so far.
pub(super) struct Source {
    file: File,
    problems: RefCell<Vec<Problem>>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { file: File { path: path.to_owned(), text: text.to_owned() }, problems: RefCell::default() }
    }

    pub(super) fn text(&self) -> &str {
        &self.file.text
    }

    /// Notes a problem at byte `at` of the text.
    pub(super) fn problem(&self, at: usize, message: impl Into<String>, hint: Option<String>) {
        self.problems.borrow_mut().push(self.file.problem(at, message).with_hint(hint));
    }

    /// Notes that `name` is not one of `known`, with the nearest of them as a hint.
    pub(super) fn unknown<'k>(&self, at: usize, what: &str, name: &str, known: impl Iterator<Item = &'k str>) {
        self.problem(at, format!("unknown {what} '{name}'"), suggest(name, known));
    }

    /// The problems found, if there are any.
    pub(super) fn finish(&self) -> Result<(), Problems> {
        match self.problems.take() {
            found if found.is_empty() => Ok(()),
            found => Err(Problems::sorted(found)),
        }
    }
}
