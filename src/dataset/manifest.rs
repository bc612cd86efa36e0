//! `dataset.json`: what a dataset was made from, what is in it, and the hashes of its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::FileHash;
use super::recipe::Recipe;
use crate::error::{Error, Place, Result};

/// The manifest's file in a dataset's folder; it is written last.
pub const FILE: &str = "dataset.json";

/// A dataset that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 over the hashes and paths of all files.
    pub digest: String,
    /// What it was made from.
    pub recipe: Recipe,
    /// What is in each split, in the order of the recipe.
    pub splits: Vec<SplitCounts>,
    /// All files but the manifest itself, sorted by path.
    pub files: Vec<FileHash>,
}

/// What is in a split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// The split.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Different persons; none where the dataset knows no persons.
    pub persons: Option<u64>,
    /// Rows of which no person is known.
    pub without_person: u64,
    /// Of each label column, how many rows have each value.
    pub labels: BTreeMap<String, BTreeMap<String, u64>>,
    /// What became of originals: how many rows have each status.
    pub originals: BTreeMap<String, u64>,
}

impl Manifest {
    /// The manifest in a folder; none where there is no dataset.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).at(path.display())?)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::from(error).at(path.display())),
        }
    }

    /// The manifest in a folder that must hold a dataset.
    ///
    /// # Errors
    /// As [`Manifest::find`], and wrong use when there is none.
    pub fn require(folder: &Path) -> Result<Self> {
        Self::find(folder)?.ok_or_else(|| {
            Error::usage(format!("there is no dataset at {}", folder.display()))
                .hint("`pipeline dataset list` shows those that there are; --into says where")
        })
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.splits.iter().map(|split| split.rows).sum()
    }

    /// When it was built: the time of its file, since a time inside would make each build another dataset.
    pub fn built_at(folder: &Path) -> Option<DateTime<Utc>> {
        Some(fs::metadata(folder.join(FILE)).ok()?.modified().ok()?.into())
    }
}
