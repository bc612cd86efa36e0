//! Why an original could not be read.

use std::{fmt, io};

/// Why an original could not be read. Neither holds a value of the file.
#[derive(Debug)]
pub enum Unreadable {
    /// The bytes are there, and are not what they should be: the file's fault.
    Content(String),
    /// The bytes could not be had: the disk's or the network's fault, and another try may work.
    Io(io::Error),
}

impl Unreadable {
    /// The file's content is wrong.
    pub fn content(reason: impl Into<String>) -> Self {
        Self::Content(reason.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(reason) => f.write_str(reason),
            Self::Io(error) => write!(f, "cannot be read: {}", error.kind()),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::content("the file ends early"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::content("the compressed data are damaged")
            }
            io::ErrorKind::Unsupported => Self::content("its parts lie too far apart to be read in one pass"),
            _ => Self::Io(error),
        }
    }
}
