//! The text of a project's contracts: what a release must keep so that its rules can be run again.

use std::path::Path;

use super::layout::Folder;
use crate::error::{Place, Result};
use crate::problem::File;

/// The files of all pipelines, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    files: Vec<(String, String)>,
}

impl Files {
    /// Files as (path relative to the project, text), in any order.
    pub fn new(mut files: Vec<(String, String)>) -> Self {
        files.sort();
        Self { files }
    }

    pub(super) fn of(folders: &[Folder]) -> Self {
        let of_folder = |folder: &'_ Folder| -> Vec<(String, String)> {
            let tables = folder.tables.iter().flat_map(|table| std::iter::once(&table.contract).chain(&table.sql));
            let named = folder.references.iter().chain(&folder.queries).map(|named| &named.file);
            let all: Vec<&File> = folder.manifest.iter().chain(tables).chain(named).collect();
            all.into_iter().map(|file| (file.path.clone(), file.text.clone())).collect()
        };
        Self::new(folders.iter().flat_map(of_folder).collect())
    }

    /// BLAKE3 over paths and texts, in hexadecimal: the same files have the same hash, wherever they lie.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (path, text) in &self.files {
            for part in [path, text] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Path and text of each file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Writes the files below a folder, as a project that can be loaded.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_below(&self, folder: &Path) -> Result<()> {
        for (path, text) in self.iter() {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).at(parent.display())?;
            std::fs::write(&path, text).at(path.display())?;
        }
        Ok(())
    }
}
