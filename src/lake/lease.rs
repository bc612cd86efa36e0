//! One writer at a time: the lease on a lake.
//!
//! A local lake's lease is an advisory lock on a file, which the operating system gives back when its owner ends, however
//! it ends; the file's text says who that is.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};

use super::Lake;
use crate::error::{Error, Kind, Place, Result};

/// The lease; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

impl Lease {
    /// Takes the lease, or fails at once with [`Kind::Lease`] and the name of its owner.
    ///
    /// # Errors
    /// When another process holds it, or the lake cannot be written.
    pub fn take(lake: &Lake) -> Result<Self> {
        let folder = lake.folder().ok_or_else(|| Error::usage("only a lake on disk can be written"))?;
        std::fs::create_dir_all(&folder).at(folder.display())?;
        let path = folder.join("_lease");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).at(path.display())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner).at(path.display())?;
                return Err(Error::new(
                    Kind::Lease,
                    format!("another run holds the lease on {}: {}", folder.display(), owner.trim()),
                )
                .hint("wait for it to end; the lease of a process that died is free at once"));
            }
            Err(TryLockError::Error(error)) => return Err(Error::from(error).at(path.display())),
        }
        file.set_len(0).and_then(|()| file.rewind()).at(path.display())?;
        let since = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        writeln!(file, "process {} on {} since {since}", std::process::id(), host()).at(path.display())?;
        Ok(Self { _file: file })
    }
}

fn host() -> String {
    std::fs::read_to_string("/etc/hostname").map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}
