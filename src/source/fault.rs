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
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (record {}, byte {})", self.kind, self.row, self.at)
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
            summary.add(Fault { kind: FaultKind::Broken, at: row * 10, row });
        }
        assert_eq!(summary.fault_count, 20);
        assert_eq!(summary.faults.len(), KEPT_FAULTS);
        assert_eq!(
            summary.faults[7].to_string(),
            "a bracket or a string of the record is not closed (record 7, byte 70)"
        );
    }
}
