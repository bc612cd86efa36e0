//! SHA-256 of files, while they are written and when they are checked.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Relative to the dataset, with `/`.
    pub path: String,
    /// Hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// SHA-256 of some bytes, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of all files together, in whatever order they are given.
pub fn of_files(files: &[FileHash]) -> String {
    let mut lines: Vec<String> = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
    lines.sort();
    sha256(lines.concat().as_bytes())
}

/// The hash and size of a file on disk.
///
/// # Errors
/// When it cannot be read.
pub fn of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut file, &mut hashing)?;
    Ok(hashing.finish().1)
}

/// Passes bytes on and hashes them.
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    /// Passes bytes on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the bytes were passed on to, and their hash and number.
    pub fn finish(self) -> (W, (String, u64)) {
        (self.inner, (hex(self.hash.finalize().as_slice()), self.bytes))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_standards_own() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
        let mut hashing = Hashing::new(Vec::new());
        hashing.write_all(b"abc").unwrap();
        let (bytes, (hash, count)) = hashing.finish();
        assert_eq!((bytes.as_slice(), count), (b"abc".as_slice(), 3));
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn order_does_not_count_and_names_do() {
        let file = |path: &str, sha256: &str| FileHash { path: path.to_owned(), sha256: sha256.to_owned(), bytes: 1 };
        let (a, b) = (file("a", "1"), file("b", "2"));
        assert_eq!(of_files(&[a.clone(), b.clone()]), of_files(&[b.clone(), a]));
        assert_ne!(of_files(&[file("a", "2"), file("b", "1")]), of_files(&[file("a", "1"), b]));
    }
}
