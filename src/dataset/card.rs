//! What lies beside a dataset's rows: the pages for people and programs, and the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;

use super::digest::{self, FileHash};
use super::manifest::{self, Manifest, SplitCounts};
use super::progress::{Progress, write_whole};
use super::readme::{self, Page};
use super::recipe::Recipe;
use super::{croissant, scan};
use crate::error::{Place, Result};

/// The comments on columns, as their tables have them.
pub fn descriptions(schema: &Schema) -> BTreeMap<String, String> {
    let comment = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        Some((field.name().clone(), field.metadata().get("comment")?.clone()))
    };
    schema.fields().iter().filter_map(comment).collect()
}

/// Writes all that lies beside the rows; the manifest last.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(recipe: Recipe, descriptions: &BTreeMap<String, String>, progress: &Progress) -> Result<Manifest> {
    let folder = progress.folder();
    let (splits, mut files) = counted(&recipe, progress)?;
    let mut pages = readme::plots(&recipe, &splits);
    pages.push(readme::page(&recipe, &splits, descriptions));
    for page in pages {
        files.push(write_page(folder, &page)?);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let document = croissant::document(&recipe, descriptions, &splits, &files, folder)?;
    let text = serde_json::to_string_pretty(&document)? + "\n";
    files.push(write_page(folder, &Page { path: "croissant.json".to_owned(), text })?);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest { digest: digest::of_files(&files), recipe, splits, files };
    let text = serde_json::to_string_pretty(&manifest)? + "\n";
    write_whole(&folder.join(manifest::FILE), text.as_bytes())?;
    Ok(manifest)
}

/// What is in each split, and the files of all parts.
fn counted(recipe: &Recipe, progress: &Progress) -> Result<(Vec<SplitCounts>, Vec<FileHash>)> {
    let (mut splits, mut files) = (Vec::new(), Vec::new());
    for split in &recipe.splits {
        let own: Vec<FileHash> = progress.parts(&split.name).iter().flat_map(|part| part.files.clone()).collect();
        let rows = own.iter().filter(|file| file.path.ends_with(".parquet"));
        let paths: Vec<PathBuf> = rows.map(|file| progress.folder().join(&file.path)).collect();
        splits.push(scan::count(recipe, &split.name, &paths)?);
        files.extend(own);
    }
    Ok((splits, files))
}

fn write_page(folder: &Path, page: &Page) -> Result<FileHash> {
    let path = folder.join(&page.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at(parent.display())?;
    }
    write_whole(&path, page.text.as_bytes())?;
    Ok(FileHash {
        path: page.path.clone(),
        sha256: digest::sha256(page.text.as_bytes()),
        bytes: page.text.len() as u64,
    })
}
