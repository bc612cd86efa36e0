//! A file of a source, wherever it is.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::objects::StoredObject;
use crate::error::Result;

/// A file that can be read.
#[derive(Debug, Clone)]
pub struct FileEntry {
    /// Its URI; bytes that a URI cannot hold are percent-encoded.
    pub uri: String,
    /// Where its bytes are.
    pub location: Location,
    /// Bytes.
    pub size: u64,
    /// Time of the last change, microseconds since 1970-01-01 UTC; negative before.
    pub modified_us: i64,
    /// What a store calls this state of the file; another one after each change. Local files have none.
    pub e_tag: Option<String>,
}

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub enum Location {
    /// Absolute path, below the source's folder with the folder's own links resolved.
    Local(PathBuf),
    /// An object in a store.
    Object(StoredObject),
}

/// What came of opening a file.
pub enum Opened {
    /// A file on disk.
    File(File),
    /// The bytes of an object, read once.
    Reader(Box<dyn Read + Send>),
    /// It is there no more, or there is another object in its place: the next listing tells.
    Gone,
    /// It is there and may not be read, and why.
    Refused(String),
}

impl Opened {
    /// The bytes, from their beginning to their end; `None` when they cannot be had.
    pub fn reader(self) -> Option<Box<dyn Read + Send>> {
        match self {
            Self::File(file) => Some(Box::new(file)),
            Self::Reader(reader) => Some(reader),
            Self::Gone | Self::Refused(_) => None,
        }
    }
}

impl FileEntry {
    /// The name that its folder has it under, without escapes.
    pub fn name(&self) -> String {
        match &self.location {
            Location::Local(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Location::Object(object) => object.name().to_owned(),
        }
    }

    /// Opens the file. To be called where waiting does no harm: on a thread for blocking work.
    ///
    /// # Errors
    /// When a store cannot be asked.
    pub fn open(&self) -> Result<Opened> {
        match &self.location {
            Location::Object(object) => object.open(),
            Location::Local(path) => Ok(match File::open(path) {
                Ok(file) => Opened::File(file),
                Err(error) if error.kind() == ErrorKind::NotFound => Opened::Gone,
                Err(error) => Opened::Refused(error.to_string()),
            }),
        }
    }
}
