//! Training sets that can be built again: rows of a release by split, their originals, and a card beside them.
//!
//! Bytes depend on the [`recipe`](recipe::Recipe) alone, which names a release: not on the time, the machine, or how many
//! threads there are. A build goes on where it was killed.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use build::{BuildEvent, BuildProgress, Place, build};
pub use diff::{Difference, Ids, diff};
pub use manifest::{Manifest, SplitCounts};
pub use recipe::{Plan, Recipe, Request, plan};
pub use verify::{Verified, failure, verify};

mod build;
mod card;
mod croissant;
mod diff;
mod digest;
mod keys;
mod manifest;
mod originals;
mod part;
mod progress;
mod readme;
mod recipe;
mod rows;
mod scan;
mod svg;
#[cfg(test)]
mod tests;
mod verify;

use crate::error::Result;

/// A dataset in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The release that it was made from.
    pub release: i64,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 over its files.
    pub digest: String,
    /// When it was built.
    pub built_at: Option<DateTime<Utc>>,
}

/// The datasets in a folder, sorted by name.
///
/// # Errors
/// When a manifest cannot be read.
pub fn list(into: &Path) -> Result<Vec<Summary>> {
    let Ok(entries) = std::fs::read_dir(into) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
        let folder = entry.path();
        let Some(manifest) = Manifest::find(&folder)? else { continue };
        found.push(Summary {
            name: entry.file_name().to_string_lossy().into_owned(),
            release: manifest.recipe.release,
            rows: manifest.rows(),
            digest: manifest.digest,
            built_at: Manifest::built_at(&folder),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
