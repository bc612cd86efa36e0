//! The lease on a local lake: an advisory lock on a file, which the operating system gives back when its owner ends,
//! however it ends; the file's text says who that is.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::{Owner, held};
use crate::error::{Error, Place, Result};

/// The locked file.
#[derive(Debug)]
pub(in crate::lake) struct DiskLease {
    _file: File,
}

impl DiskLease {
    pub(super) fn take(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).at(folder.display())?;
        let path = folder.join("_lease");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).at(path.display())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner).at(path.display())?;
                return Err(held(&folder.display(), owner.trim())
                    .hint("wait for it to end; the lease of a process that died is free at once"));
            }
            Err(TryLockError::Error(error)) => return Err(Error::from(error).at(path.display())),
        }
        file.set_len(0).and_then(|()| file.rewind()).at(path.display())?;
        writeln!(file, "{}", Owner::this()).at(path.display())?;
        Ok(Self { _file: file })
    }
}
