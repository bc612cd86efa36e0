//! The lease on a local lake: an advisory lock on a file, which the operating system gives back when its owner ends,
//! however it ends.
//!
//! Where a folder is shared by machines, locks may not reach from one to the other, or be lost while a machine sleeps. So the
//! file's text counts too: it names the owner, who writes it anew every so often. On the owner's machine the lock alone
//! decides; to another machine the lease is free only after as long a silence as that of an object store. Before a commit the
//! owner looks whether the file still has its text.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::{BEATS, Body, held_by, lost};
use crate::error::{Error, Place, Result};

/// Looks at a lease whose new owner has not written its name yet.
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// A lease that is held, and renewed in the background.
#[derive(Debug)]
pub(in crate::lake) struct DiskLease {
    held: Arc<Held>,
    beat: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    /// Locked.
    file: Mutex<File>,
    path: PathBuf,
    lake: String,
    body: Mutex<Body>,
}

impl DiskLease {
    pub(super) async fn take(folder: &Path, expiry: Duration) -> Result<Self> {
        std::fs::create_dir_all(folder).at(folder.display())?;
        let held = Arc::new(Held::take(folder, expiry).await?);
        let beat = tokio::spawn(beat(held.clone(), expiry / BEATS));
        Ok(Self { held, beat })
    }

    pub(super) fn check(&self) -> Result<()> {
        self.held.renew()
    }
}

impl Drop for DiskLease {
    fn drop(&mut self) {
        self.beat.abort();
        self.held.release();
    }
}

async fn beat(held: Arc<Held>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        // Whoever commits is told.
        if held.renew().is_err() {
            return;
        }
    }
}

impl Held {
    async fn take(folder: &Path, expiry: Duration) -> Result<Self> {
        let (path, lake) = (folder.join("_lease"), folder.display().to_string());
        for look in 1.. {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path).at(path.display())?;
            let is_locked = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(Error::from(error).at(path.display())),
            };
            let body = read(&mut file).at(path.display())?;
            let silent = silence(&file, folder).at(path.display())?;
            let elsewhere = |body: &Body| !body.owner.is_of_this_machine() && silent < body.expiry();
            if is_locked && !body.as_ref().is_some_and(elsewhere) {
                let body = Body::new(expiry);
                let held = Self { file: Mutex::new(file), path, lake, body: Mutex::new(body) };
                held.write().at(held.path.display())?;
                // The file may have been removed before it was locked: then it is nobody's.
                if held.is_ours() {
                    return Ok(held);
                }
                return Err(lost(&held.lake));
            }
            if body.is_some() || look >= LOOKS {
                let free = if is_locked { "" } else { "; that of a process of this machine that died is free at once" };
                return Err(held_by(&lake, body.as_ref(), silent, expiry, free));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(lost(&lake))
    }

    /// Makes sure that the file is still ours, and writes it anew, so that others see that its owner lives.
    fn renew(&self) -> Result<()> {
        if !self.is_ours() {
            return Err(lost(&self.lake));
        }
        self.with_body(|body| body.beat += 1);
        self.write().at(self.path.display())
    }

    fn with_body<T>(&self, with: impl FnOnce(&mut Body) -> T) -> T {
        with(&mut self.body.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// In one write, and never shorter than before: nobody reads half of it.
    fn write(&self) -> io::Result<()> {
        let text = self.with_body(|body| serde_json::to_string(body))? + "\n";
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }

    fn is_ours(&self) -> bool {
        let found = File::open(&self.path).and_then(|mut file| read(&mut file));
        found.is_ok_and(|found| found.is_some_and(|found| self.with_body(|body| found.id == body.id)))
    }

    /// Gives it back. Where that fails, the end of the process does.
    fn release(&self) {
        let is_ours = self.is_ours();
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ours {
            let _ = file.set_len(0);
        }
        let _ = file.unlock();
    }
}

/// What the file says; nothing where it was given back.
fn read(file: &mut File) -> io::Result<Option<Body>> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text).ok())
}

/// How long ago the file was written, by the clock of the file system.
fn silence(file: &File, folder: &Path) -> io::Result<Duration> {
    let now = match tempfile::tempfile_in(folder) {
        Ok(file) => file.metadata()?.modified()?,
        Err(_) => SystemTime::now(),
    };
    Ok(now.duration_since(file.metadata()?.modified()?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const EXPIRY: Duration = Duration::from_secs(60);

    /// As a process of another machine leaves the file that does not see locks of this one, so many seconds after its beat.
    fn write_as_another_machine(folder: &Path, seconds: u64) {
        let mut body = Body::new(EXPIRY);
        (body.owner.host, body.owner.machine) = ("elsewhere".to_owned(), Some("another".to_owned()));
        let path = folder.join("_lease");
        std::fs::write(&path, serde_json::to_string(&body).unwrap()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[tokio::test]
    async fn another_machine_is_waited_for_until_it_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        // The clock of the file system may be some milliseconds behind.
        write_as_another_machine(folder.path(), 35);
        let held = DiskLease::take(folder.path(), EXPIRY).await.unwrap_err();
        assert_eq!(held.kind(), Kind::Lease);
        assert!(held.message().contains("on elsewhere since") && held.message().contains("last heard of 3"), "{held}");
        write_as_another_machine(folder.path(), 61);
        let lease = DiskLease::take(folder.path(), EXPIRY).await.unwrap();
        lease.check().unwrap();
        write_as_another_machine(folder.path(), 0);
        assert_eq!(lease.check().unwrap_err().kind(), Kind::Lease, "the other one came back");
    }

    #[tokio::test]
    async fn one_that_is_given_back_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let lease = DiskLease::take(folder.path(), EXPIRY).await.unwrap();
        let held = DiskLease::take(folder.path(), EXPIRY).await.unwrap_err();
        assert!(held.message().contains(&format!("process {} on ", std::process::id())), "{held}");
        drop(lease);
        DiskLease::take(folder.path(), EXPIRY).await.unwrap().check().unwrap();
    }

    #[tokio::test]
    async fn one_whose_file_was_removed_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let lease = DiskLease::take(folder.path(), EXPIRY).await.unwrap();
        std::fs::remove_file(folder.path().join("_lease")).unwrap();
        let other = DiskLease::take(folder.path(), EXPIRY).await.unwrap();
        assert_eq!(lease.check().unwrap_err().kind(), Kind::Lease);
        drop(lease);
        other.check().unwrap();
    }

    #[tokio::test]
    async fn its_owner_is_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let _lease = DiskLease::take(folder.path(), Duration::from_millis(300)).await.unwrap();
        let beat = || read(&mut File::open(folder.path().join("_lease")).unwrap()).unwrap().unwrap().beat;
        let before = beat();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(beat() > before);
    }
}
