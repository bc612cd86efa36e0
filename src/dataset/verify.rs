//! Is a dataset what its manifest says?

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;
use walkdir::WalkDir;
use xxhash_rust::xxh3::xxh3_128;

use super::digest;
use super::manifest::{self, Manifest};
use super::rows::{PERSON, texts};
use super::scan;
use crate::error::{Error, Result};

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The dataset.
    pub name: String,
    /// Its digest, as the manifest has it.
    pub digest: String,
    /// Files that were hashed.
    pub files: u64,
    /// Rows that were read.
    pub rows: u64,
    /// What is wrong; nothing when it is empty.
    pub problems: Vec<String>,
}

/// Compares all files with the manifest, and looks for persons and rows that are in two splits.
///
/// # Errors
/// Wrong use when there is no dataset; what is wrong with it is in the result.
pub fn verify(folder: &Path) -> Result<Verified> {
    let manifest = Manifest::require(folder)?;
    let mut problems = files(folder, &manifest);
    if digest::of_files(&manifest.files) != manifest.digest {
        problems.push(format!("{}: its digest is not that of the files that it lists", manifest::FILE));
    }
    let mut rows = 0;
    // Rows of files that are not what they were may be anything.
    if problems.is_empty() {
        rows = overlaps(folder, &manifest, &mut problems)?;
        if rows != manifest.rows() {
            problems.push(format!("{rows} rows, the manifest says {}", manifest.rows()));
        }
    }
    let files = manifest.files.len() as u64;
    Ok(Verified { name: manifest.recipe.name, digest: manifest.digest, files, rows, problems })
}

fn files(folder: &Path, manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    for file in &manifest.files {
        match digest::of_file(&folder.join(&file.path)) {
            Ok((sha256, bytes)) if sha256 == file.sha256 && bytes == file.bytes => {}
            Ok(_) => problems.push(format!("{}: its content is not what was written", file.path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                problems.push(format!("{}: the file is missing", file.path));
            }
            Err(error) => problems.push(format!("{}: {error}", file.path)),
        }
    }
    let known: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).chain([manifest::FILE]).collect();
    for entry in
        WalkDir::new(folder).sort_by_file_name().into_iter().flatten().filter(|entry| entry.file_type().is_file())
    {
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let path = path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        if !known.contains(path.as_str()) {
            problems.push(format!("{path}: the file is not part of the dataset"));
        }
    }
    problems
}

/// Looks for what is in two splits; gives the number of rows.
fn overlaps(folder: &Path, manifest: &Manifest, problems: &mut Vec<String>) -> Result<u64> {
    let (mut persons, mut ids) = (Seen::default(), Seen::default());
    let mut rows = 0;
    let id = manifest.recipe.id.as_str();
    for (split, file) in manifest.rows_by_split() {
        for batch in scan::batches(&folder.join(&file), &[id, PERSON])? {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            texts(&batch, id)?.iter().flatten().for_each(|id| ids.add(split, id, true));
            if manifest.recipe.person.is_some() {
                texts(&batch, PERSON)?.iter().flatten().for_each(|person| persons.add(split, person, false));
            }
        }
    }
    if persons.overlaps > 0 {
        problems.push(format!("{} rows are of persons who are in another split too", persons.overlaps));
    }
    if ids.overlaps > 0 {
        problems.push(format!("{} rows have the id of another row", ids.overlaps));
    }
    Ok(rows)
}

/// Which split a value was seen in first.
#[derive(Default)]
struct Seen {
    places: HashMap<u128, usize>,
    overlaps: u64,
}

impl Seen {
    fn add(&mut self, split: usize, text: &str, is_unique: bool) {
        let first = *self.places.entry(xxh3_128(text.as_bytes())).or_insert(usize::MAX);
        if first == usize::MAX {
            self.places.insert(xxh3_128(text.as_bytes()), split);
        } else if is_unique || first != split {
            self.overlaps += 1;
        }
    }
}

impl Manifest {
    /// The Parquet files with the place of their split.
    pub fn rows_by_split(&self) -> Vec<(usize, String)> {
        let places: BTreeMap<&str, usize> =
            self.recipe.splits.iter().enumerate().map(|(at, split)| (split.name.as_str(), at)).collect();
        let split_of = |path: &str| {
            let name = path.strip_prefix("data/")?.strip_suffix(".parquet")?.rsplit_once('-')?.0;
            places.get(name).copied()
        };
        self.files.iter().filter_map(|file| Some((split_of(&file.path)?, file.path.clone()))).collect()
    }
}

/// Ends a command that found something wrong.
pub fn failure(verified: &Verified) -> Option<Error> {
    let count = verified.problems.len();
    (count > 0).then(|| {
        let what = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Error::failed(format!("dataset {}: {what}", verified.name))
            .hint("build it again from its release: `pipeline dataset build` with --as-of and --replace")
    })
}
