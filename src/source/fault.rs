//! What can be wrong with a file, as values: none of it stops the reading.

use std::fmt;

/// Faults that a [`Summary`] keeps in full; more are only counted.
const KEPT_FAULTS: usize = 8;

/// What is wrong with an input; its `Display` is a short reason in plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No bytes, or white space only.
    Empty,
    /// The input ends inside a record or an array.
    Truncated,
    /// A record's brackets do not match, or a line break stands inside a string.
    Broken,
    /// Text outside any object or array.
    Text,
    /// Not text in UTF-8: a NUL byte near the start, or the mark of UTF-16.
    Binary,
    /// A record of more than [`MAX_RECORD`](super::MAX_RECORD) bytes.
    TooLarge,
    /// The compressed data cannot be unpacked to its end.
    Damaged,
    /// A CSV record with too few or too many fields.
    Ragged {
        /// Fields of the record.
        found: usize,
        /// Columns of the file.
        expected: usize,
    },
    /// A quote of a CSV record is not closed, or text follows a closing one.
    Quote,
    /// Bytes that the encoding of this name does not know.
    Encoding(&'static str),
    /// The first line has none of the contract's columns, or cannot be read.
    NoHeader,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ragged { found, expected } => {
                let fields = if *found == 1 { "field" } else { "fields" };
                return write!(f, "{found} {fields}, not {expected}");
            }
            Self::Encoding(name) => return write!(f, "not {name}"),
            Self::Quote => "a quote is not closed, or text follows it",
            Self::NoHeader => "no header with the contract's columns",
            Self::Empty => "the file is empty",
            Self::Truncated => "the array or its last record is not closed",
            Self::Broken => "a bracket or a string of the record is not closed",
            Self::Text => "text outside any object or array",
            Self::Binary => "binary data",
            Self::TooLarge => "record too large",
            Self::Damaged => "compressed data is damaged",
        })
    }
}

/// One thing that is wrong with an input, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Bytes of the unpacked input before the piece that has the fault, or before the
    /// input's end where no piece has it.
    pub at: u64,
    /// Pieces that were handed out before: the position, from 0, of the piece that has the fault.
    pub row: u64,
    /// The line, from 1, that the piece begins at, where the format has lines.
    pub line: Option<u64>,
}

impl Fault {
    /// The fault as it is told of the piece itself, whose position is known.
    pub fn reason(&self) -> String {
        match self.line {
            Some(line) => format!("{}, line {line}", self.kind),
            None => self.kind.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (record {}, ", self.kind, self.row)?;
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "byte {})", self.at)
    }
}

/// What came out of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pieces handed out, those that are not intact included.
    pub records: u64,
    /// Pieces handed out that are not intact.
    pub broken: u64,
    /// Bytes of the unpacked input.
    pub bytes: u64,
    /// How the header of a CSV file differs from the contract, in one line.
    pub header: Option<String>,
    /// The first faults, at most 8, in the order in which they were found.
    pub faults: Vec<Fault>,
    /// All faults, those that `faults` has no room for included.
    pub fault_count: u64,
}

impl Summary {
    pub(super) fn add(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < KEPT_FAULTS {
            self.faults.push(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_faults_are_kept_and_all_are_counted() {
        let mut summary = Summary::default();
        for row in 0..20 {
            summary.add(Fault { kind: FaultKind::Broken, at: row * 10, row, line: None });
        }
        assert_eq!(summary.fault_count, 20);
        assert_eq!(summary.faults.len(), KEPT_FAULTS);
        assert_eq!(
            summary.faults[7].to_string(),
            "a bracket or a string of the record is not closed (record 7, byte 70)"
        );
    }

    #[test]
    fn a_fault_of_a_line_names_it() {
        let kind = FaultKind::Ragged { found: 5, expected: 8 };
        let fault = Fault { kind, at: 320, row: 5, line: Some(7) };
        assert_eq!(fault.to_string(), "5 fields, not 8 (record 5, line 7, byte 320)");
        assert_eq!(fault.reason(), "5 fields, not 8, line 7");
    }
}
