//! A local object store whose writes survive a power cut.
//!
//! `object_store` leaves it to the system when bytes reach the disk: after a power cut a log entry could be there and
//! empty. Here a put counts as done when the file and the folder that names it are synced, and a file has its name only
//! once its bytes are: a name never stands for less than the whole.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// Local files, synced.
#[derive(Debug, Clone)]
pub struct DurableStore {
    inner: Arc<LocalFileSystem>,
}

impl Default for DurableStore {
    fn default() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.inner)
    }
}

/// Numbers the staged files of this process.
static STAGED: AtomicU64 = AtomicU64::new(0);

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        let name = location.to_string();
        let put = tokio::task::spawn_blocking(move || put(&path, &payload, create));
        match put.await.map_err(|error| generic(error.into()))? {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(object_store::Error::AlreadyExists { path: name, source: error.into() })
            }
            Err(error) => Err(generic(error.into())),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        Ok(Box::new(blocking(move || Upload::begin(path)).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

impl DurableStore {
    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            File::open(&path)?.sync_all()?;
            sync_folder(&path)
        })
        .await
    }
}

/// A large file, written in parts under another name; gone when it is dropped before it was completed.
#[derive(Debug)]
struct Upload {
    path: PathBuf,
    staged: Staged,
    file: Arc<Mutex<File>>,
    bytes: u64,
}

impl Upload {
    fn begin(path: PathBuf) -> io::Result<Self> {
        create_folder(path.parent().ok_or(ErrorKind::InvalidInput)?)?;
        let staged = Staged::of(&path);
        let file = Arc::new(Mutex::new(File::create(&staged.0)?));
        Ok(Self { path, staged, file, bytes: 0 })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, start) = (self.file.clone(), self.bytes);
        self.bytes += data.content_length() as u64;
        Box::pin(blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start))?;
            data.iter().try_for_each(|part| file.write_all(part))
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, staged, path) = (self.file.clone(), self.staged.0.clone(), self.path.clone());
        blocking(move || {
            file.lock().unwrap_or_else(PoisonError::into_inner).sync_all()?;
            fs::rename(&staged, &path)?;
            sync_folder(&path)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.0.clone();
        blocking(move || fs::remove_file(staged)).await
    }
}

/// The name of a file until it is whole; a file that still has it is removed in the end.
#[derive(Debug)]
struct Staged(PathBuf);

impl Staged {
    /// Names with '#' and digits are what a local store uses, and hides from listings.
    fn of(path: &FilePath) -> Self {
        let mut staged = path.as_os_str().to_owned();
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        staged.push(format!("#{}{number}", std::process::id()));
        Self(PathBuf::from(staged))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What is left where that fails is hidden, and `maintain` takes it away.
        let _ = fs::remove_file(&self.0);
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "DurableStore", source }
}

/// Work that waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| generic(error.into()))?;
    done.map_err(|error| generic(error.into()))
}

/// Writes a file under another name, syncs it, and gives it its own.
fn put(path: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
    create_folder(path.parent().ok_or(ErrorKind::InvalidInput)?)?;
    let staged = Staged::of(path);
    stage(&staged.0, payload)?;
    if create { fs::hard_link(&staged.0, path) } else { fs::rename(&staged.0, path) }?;
    sync_folder(path)
}

/// Makes a folder and those above it that are missing, and syncs each folder that names a new one.
fn create_folder(folder: &FilePath) -> io::Result<()> {
    let missing: Vec<&FilePath> = folder.ancestors().take_while(|above| !above.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    missing.into_iter().rev().try_for_each(sync_folder)
}

fn stage(path: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create(path)?;
    payload.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

/// Syncs the folder that a file or folder is in.
fn sync_folder(path: &FilePath) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn at(folder: &FilePath, name: &str) -> Path {
        Path::from_absolute_path(folder.join(name)).unwrap()
    }

    #[tokio::test]
    async fn of_two_creates_one_wins_and_its_bytes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (DurableStore::default(), at(folder.path(), "a/b/log.json"));
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let first = store.put_opts(&path, "first".into(), create()).await;
        let second = store.put_opts(&path, "second".into(), create()).await;
        assert!(first.is_ok());
        assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })));
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
        let files = fs::read_dir(folder.path().join("a/b")).unwrap().count();
        assert_eq!(files, 1, "nothing staged is left");
    }

    #[tokio::test]
    async fn overwriting_and_parts_work_as_in_any_store() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (DurableStore::default(), at(folder.path(), "data"));
        store.put(&path, "one".into()).await.unwrap();
        store.put(&path, "two".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "two");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("thr".into()).await.unwrap();
        upload.put_part("ee".into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
    }

    #[tokio::test]
    async fn a_large_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (DurableStore::default(), at(folder.path(), "a/data"));
        let names = || -> Vec<_> {
            let entries = fs::read_dir(folder.path().join("a")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        let mut upload = store.put_multipart(&path).await.unwrap();
        let (one, two) = (upload.put_part("one".into()), upload.put_part("two".into()));
        two.await.unwrap();
        one.await.unwrap();
        assert!(names().iter().all(|name| name.contains('#')), "{:?}", names());
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "onetwo");
        let mut given_up = store.put_multipart(&at(folder.path(), "a/other")).await.unwrap();
        given_up.put_part("three".into()).await.unwrap();
        drop((upload, given_up));
        assert_eq!(names(), ["data"]);
    }
}
