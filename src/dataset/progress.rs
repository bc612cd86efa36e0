//! What a build has finished, so that one that was killed goes on.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::digest;
use super::part::Part;
use crate::error::{Error, Kind, Place, Result};

/// The name of the file, in the folder that is being built.
const FILE: &str = "progress.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    recipe: String,
    parts: BTreeMap<String, Vec<Part>>,
}

/// A folder that a dataset is built in, and what of it is finished. Nobody else builds there meanwhile.
#[derive(Debug)]
pub struct Progress {
    folder: PathBuf,
    state: State,
    /// Parts that an earlier build has left.
    pub resumed: usize,
    lock: PathBuf,
    _lock: File,
}

impl Progress {
    /// Opens the folder. What is in it stays as far as it is of this recipe, was finished, and still has its hash.
    ///
    /// # Errors
    /// When another process builds there, or the folder cannot be written.
    pub fn open(folder: &Path, recipe: &str) -> Result<Self> {
        let mut lock = folder.as_os_str().to_owned();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        fs::create_dir_all(folder).at(folder.display())?;
        let file = take(&lock)?;
        let known: State =
            fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let parts = if known.recipe == recipe { known.parts } else { BTreeMap::new() };
        let parts: BTreeMap<String, Vec<Part>> =
            parts.into_iter().map(|(split, parts)| (split, whole(folder, parts))).collect();
        clear(folder, &parts)?;
        let resumed = parts.values().map(Vec::len).sum();
        let progress = Self {
            folder: folder.to_owned(),
            state: State { recipe: recipe.to_owned(), parts },
            resumed,
            lock,
            _lock: file,
        };
        progress.save()?;
        Ok(progress)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The finished parts of a split.
    pub fn parts(&self, split: &str) -> &[Part] {
        self.state.parts.get(split).map_or(&[], Vec::as_slice)
    }

    /// Records a part.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn add(&mut self, split: &str, part: Part) -> Result<()> {
        self.state.parts.entry(split.to_owned()).or_default().push(part);
        self.save()
    }

    fn save(&self) -> Result<()> {
        write_whole(&self.folder.join(FILE), &serde_json::to_vec_pretty(&self.state)?)
    }

    /// Takes away all that is not part of the dataset, and gives the folder its name.
    ///
    /// # Errors
    /// When the folder cannot be moved.
    pub fn publish(self, target: &Path) -> Result<()> {
        fs::remove_file(self.folder.join(FILE)).at(self.folder.display())?;
        let mut old = self.folder.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        if target.exists() {
            fs::rename(target, &old).at(target.display())?;
        }
        fs::rename(&self.folder, target).at(target.display())?;
        if old.exists() {
            fs::remove_dir_all(&old).at(old.display())?;
        }
        // Whoever waits for the lock finds another file in its place, or none.
        fs::remove_file(&self.lock).at(self.lock.display())
    }
}

fn take(lock: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(lock).at(lock.display())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process builds this dataset: {}", lock.display());
            Err(Error::new(Kind::Lease, message)
                .hint("wait for it to end; the lock of a process that died is free at once"))
        }
        Err(TryLockError::Error(error)) => Err(Error::from(error).at(lock.display())),
    }
}

/// Removes what is in the folder beside the files of the parts: else it would be in the dataset.
fn clear(folder: &Path, parts: &BTreeMap<String, Vec<Part>>) -> Result<()> {
    let files = parts.values().flatten().flat_map(|part| &part.files);
    let kept: HashSet<PathBuf> = files.map(|file| folder.join(&file.path)).collect();
    for entry in WalkDir::new(folder).into_iter().flatten() {
        if !entry.file_type().is_dir() && !kept.contains(entry.path()) {
            fs::remove_file(entry.path()).at(entry.path().display())?;
        }
    }
    Ok(())
}

/// The parts up to the first of which a file is missing or has another content.
fn whole(folder: &Path, parts: Vec<Part>) -> Vec<Part> {
    let is_whole = |part: &Part| {
        part.files.iter().all(|file| {
            digest::of_file(&folder.join(&file.path)).is_ok_and(|found| found == (file.sha256.clone(), file.bytes))
        })
    };
    parts.into_iter().take_while(is_whole).collect()
}

/// Writes a file that is there whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().at(path.display())
}
