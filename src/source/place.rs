//! Where the files of a source are, and which.

use std::path::{Path, PathBuf};

use url::Url;

use super::listing::{SourceError, list_files};
use super::objects::list_objects;
use super::{FileEntry, Skipped};
use crate::error::{Error, Result};
use crate::store::uri;

/// A folder or file on disk, or a place in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path.
    Local(PathBuf),
    /// A URI of any other scheme than `file`.
    Store(Url),
}

impl Place {
    /// Where a source's `path` points to: a URI or an absolute path as it is, another path below `data`, which may itself
    /// be a URI.
    ///
    /// # Errors
    /// Wrong use: a URI that cannot be read.
    pub fn resolve(data: &str, path: &str) -> Result<Self> {
        if let Some(url) = uri(path)? {
            return Self::of(url);
        }
        match uri(data)? {
            Some(base) if !Path::new(path).is_absolute() => Self::of(below(base, path)?),
            _ => Ok(Self::Local(Path::new(data).join(path))),
        }
    }

    fn of(url: Url) -> Result<Self> {
        if url.scheme() != "file" {
            return Ok(Self::Store(url));
        }
        let path = url.to_file_path();
        path.map(Self::Local).map_err(|()| Error::usage(format!("{url}: not a path of this machine")))
    }

    /// The files that are there, and what is there besides. A folder that is not there is empty where it is `optional`.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be looked at.
    pub async fn list(&self, optional: bool) -> Result<(Vec<FileEntry>, Vec<Skipped>)> {
        match self {
            Self::Store(root) => Ok((list_objects(root).await?, Vec::new())),
            Self::Local(root) => match list_files(root) {
                Ok(listing) => Ok((listing.files, listing.skipped)),
                Err(SourceError::MissingRoot { .. }) if optional => Ok((Vec::new(), Vec::new())),
                Err(error) => Err(Error::failed(error.to_string())),
            },
        }
    }
}

/// The URI of a path below another; `..` leads nowhere else.
fn below(mut base: Url, path: &str) -> Result<Url> {
    base.path_segments_mut()
        .map_err(|()| Error::usage("a URI that can have no parts"))?
        .pop_if_empty()
        .extend(path.split(['/', std::path::MAIN_SEPARATOR]));
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_data_unless_it_says_where() {
        let place = |data, path| match Place::resolve(data, path).unwrap() {
            Place::Local(path) => path.display().to_string(),
            Place::Store(url) => url.to_string(),
        };
        assert_eq!(place("data", "exam"), "data/exam");
        assert_eq!(place("data", "/in/exam"), "/in/exam");
        assert_eq!(place("file:///in%20here", "exam"), "/in here/exam");
        assert_eq!(place("s3://b/day", "exam/tórax 1"), "s3://b/day/exam/t%C3%B3rax%201");
        assert_eq!(place("s3://b/", "./exam/"), "s3://b/exam/");
        assert_eq!(place("s3://b/day", "gs://c/exam"), "gs://c/exam");
        assert_eq!(place("s3://b/day", "/in/exam"), "/in/exam");
    }
}
