//! What is wrong in a file that a person wrote, and where: problems with line, column and a hint, all of them at once.

use std::fmt;
use std::fs;
use std::path::Path;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as the reader knows it: of a project's files, relative to its directory, with `/`.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What could be done about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a file as a whole.
    pub(crate) fn of_file(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: 1, column: 1, message: message.into(), hint: None }
    }

    /// With what the author can do about it, if anything is known.
    pub(crate) fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, sorted by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(crate) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A text file, and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// Reads a file of a project; `path` is relative to `root`.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub fn read(root: &Path, path: &str) -> Result<Self, Problem> {
        match fs::read(root.join(path)).map(String::from_utf8) {
            Ok(Ok(text)) => Ok(Self { path: path.to_owned(), text }),
            Ok(Err(error)) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let file = Self { path: path.to_owned(), text };
                Err(file.problem(valid, "the file is not UTF-8 from here on"))
            }
            Err(error) => Err(Problem::of_file(path, format!("cannot be read: {error}"))),
        }
    }

    /// A problem at a byte offset of the text.
    pub fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        self.problem_at(self.place(offset), message)
    }

    /// The place of a byte offset of the text.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Place { line: line as u32, column: column as u32 }
    }

    /// A problem at a line and column.
    pub fn problem_at(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem { path: self.path.clone(), line: place.line, column: place.column, message: message.into(), hint: None }
    }
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Place = Place { line: 1, column: 1 };
}

/// How much of a word may differ for it to pass as a slip of the pen.
const NEAR: f64 = 0.6;

/// A hint for a name that is not among `known`: the nearest one, or all when they are few.
pub(crate) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known, 1).first() {
        Some(near) => Some(format!("did you mean '{near}'?")),
        None if known.is_empty() || known.len() > 10 => None,
        None => Some(format!("known: {}", known.join(", "))),
    }
}

/// At most `n` of `known` that resemble `word`, the most alike first.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str], n: usize) -> Vec<&'a str> {
    let word = word.trim().to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&word, &name.trim().to_lowercase()), *name))
        .filter(|(score, _)| *score >= NEAR)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(n).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_not_bytes() {
        let file = File { path: "a".into(), text: "é\nüb c".into() };
        let offset = file.text.find('c').unwrap();
        let problem = file.problem(offset, "x");
        assert_eq!((problem.line, problem.column), (2, 4));
    }

    #[test]
    fn an_offset_past_the_end_is_the_end() {
        let file = File { path: "a".into(), text: "ab\nc".into() };
        let problem = file.problem(99, "x");
        assert_eq!((problem.line, problem.column), (2, 2));
    }

    #[test]
    fn problems_read_as_place_fact_and_hint() {
        let problem =
            Problem::of_file("p/x.toml", "unknown column 'totl'").with_hint("did you mean 'total'?".to_owned());
        assert_eq!(
            Problems::sorted(vec![problem.clone(), problem]).to_string(),
            "p/x.toml:1:1: unknown column 'totl'\n  hint: did you mean 'total'?"
        );
    }

    #[test]
    fn a_name_that_resembles_none_lists_the_few_that_there_are() {
        assert_eq!(suggest("totl", ["total", "other"]).as_deref(), Some("did you mean 'total'?"));
        assert_eq!(suggest("zzz", ["total", "other"]).as_deref(), Some("known: total, other"));
        assert_eq!(suggest("zzz", []), None);
    }
}
