//! What did not fit its type: kept as it came, under its path.

use std::fmt::{self, Display, Write};

/// Where in a payload a value stands, as in `content.labels[0].value`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    /// The payload itself.
    Root,
    /// A member of an object.
    Member(&'a Path<'a>, &'a str),
    /// An element of an array.
    Element(&'a Path<'a>, usize),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The rescued values of the row that is being read.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// The members of a JSON object, without its braces.
    members: String,
}

impl Rescue {
    /// Keeps a value as it is written.
    pub fn keep(&mut self, path: Path, raw: &str) {
        let separator = if self.members.is_empty() { "" } else { "," };
        let path = serde_json::Value::from(path.to_string());
        // Writing to a String cannot fail.
        let _ = write!(self.members, "{separator}{path}:{raw}");
    }

    /// How much is kept, for [`Rescue::forget_after`].
    pub fn kept(&self) -> usize {
        self.members.len()
    }

    /// Gives up what was kept later than that.
    pub fn forget_after(&mut self, kept: usize) {
        self.members.truncate(kept);
    }

    /// Ends the row: what was kept as a JSON object, if there is any.
    pub fn end_row(&mut self) -> Option<String> {
        (!self.members.is_empty()).then(|| format!("{{{}}}", std::mem::take(&mut self.members)))
    }
}
