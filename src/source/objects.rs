//! The files of a source in an object store: listing and reading.

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, ObjectMeta, ObjectStoreExt};
use tokio::runtime::Handle;
use url::Url;

use super::file::{FileEntry, Location, Opened};
use super::listing::{is_hidden, is_unfinished};
use crate::error::{Error, Place, Result};
use crate::store::{Store, connect, path_in_store};

/// Bytes asked for in a request. Each request is repeated on its own when it fails, so that how long a file takes to read does
/// not matter, and a connection that breaks costs one part.
const PART: u64 = 4 << 20;
/// Parts that are fetched before they are wanted.
const AHEAD: usize = 2;

/// An object in the state in which it was listed.
#[derive(Debug, Clone)]
pub struct StoredObject {
    store: Store,
    path: Path,
    size: u64,
    e_tag: Option<String>,
}

/// Lists the objects below a URI in any depth, sorted, or the one that it names; empty when there is none.
///
/// The same names are left out as in a folder. A web server without WebDAV cannot list: there a URI names a file.
///
/// # Errors
/// When the store cannot be reached or refuses to list.
pub async fn list_objects(root: &Url) -> Result<Vec<FileEntry>> {
    let (store, prefix) = (connect(root)?, path_in_store(root)?);
    if !root.path().ends_with('/') && !prefix.is_root() {
        match store.head(&prefix).await {
            Ok(meta) => return Ok(vec![entry(&store, root, meta)?]),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(Error::from(error).at(root)),
        }
    }
    let found: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.at(root)?;
    let wanted = found.into_iter().filter(|meta| is_wanted(&meta.location, &prefix));
    let mut files: Vec<FileEntry> = wanted.map(|meta| entry(&store, root, meta)).collect::<Result<_>>()?;
    files.sort_by(|a, b| a.uri.cmp(&b.uri));
    Ok(files)
}

/// Whether no folder below the prefix is hidden, nor the file itself, and nobody still writes it.
fn is_wanted(location: &Path, prefix: &Path) -> bool {
    let Some(parts) = location.prefix_match(prefix) else { return false };
    let parts: Vec<_> = parts.collect();
    let hidden = parts.iter().any(|part| is_hidden(part.as_ref().as_ref()));
    parts.last().is_some_and(|name| !hidden && !is_unfinished(name.as_ref().as_ref()))
}

fn entry(store: &Store, root: &Url, meta: ObjectMeta) -> Result<FileEntry> {
    let mut uri = root.clone();
    uri.path_segments_mut()
        .map_err(|()| Error::usage("the URI cannot have parts").at(root))?
        .clear()
        .extend(meta.location.parts().map(|part| part.as_ref().to_owned()));
    let object = StoredObject { store: store.clone(), path: meta.location, size: meta.size, e_tag: meta.e_tag.clone() };
    Ok(FileEntry {
        uri: uri.into(),
        location: Location::Object(object),
        size: meta.size,
        modified_us: meta.last_modified.timestamp_micros(),
        e_tag: meta.e_tag,
    })
}

impl StoredObject {
    /// The last part of its path.
    pub(super) fn name(&self) -> &str {
        self.path.filename().unwrap_or_default()
    }

    /// Opens the object as it was listed.
    pub(super) fn open(&self) -> Result<Opened> {
        let runtime = Handle::current();
        match runtime.block_on(self.stream()) {
            Ok(stream) => {
                Ok(Opened::Reader(Box::new(ObjectReader { runtime, stream, part: Bytes::new(), left: self.size })))
            }
            Err(StoreError::NotFound { .. } | StoreError::Precondition { .. }) => Ok(Opened::Gone),
            Err(StoreError::PermissionDenied { .. }) => Ok(Opened::Refused("permission denied".to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// The object's bytes: the first part is there, the others are fetched ahead.
    async fn stream(&self) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        if self.size == 0 {
            return self.whole().await;
        }
        let mut parts = (0..self.size.div_ceil(PART)).map(|part| part * PART..((part + 1) * PART).min(self.size));
        let first = match self.clone().part(parts.next().unwrap_or_default()).await {
            // A web server that knows no ranges.
            Err(StoreError::NotSupported { .. }) => return self.whole().await,
            first => first?,
        };
        let object = self.clone();
        let rest = stream::iter(parts.collect::<Vec<_>>())
            // Tasks of their own, because nobody polls while a part is parsed.
            .map(move |range| tokio::spawn(object.clone().part(range)))
            .buffered(AHEAD)
            .map(|part| part.unwrap_or_else(|error| Err(error.into())));
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    async fn part(self, range: Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions { range: Some(range.into()), ..self.options() };
        let result = self.store.get_opts(&self.path, options).await?;
        if result.meta.size != self.size || (self.e_tag.is_some() && result.meta.e_tag != self.e_tag) {
            return Err(StoreError::Precondition { path: self.path.to_string(), source: "it has changed".into() });
        }
        result.bytes().await
    }

    async fn whole(&self) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        Ok(self.store.get_opts(&self.path, self.options()).await?.into_stream())
    }

    /// On condition that the object is the one that was listed. Weak tags never match.
    fn options(&self) -> GetOptions {
        GetOptions { if_match: self.e_tag.clone().filter(|tag| !tag.starts_with("W/")), ..GetOptions::default() }
    }
}

/// Reads a stream of parts from a thread that may wait.
struct ObjectReader {
    runtime: Handle,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    part: Bytes,
    left: u64,
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(part) => self.part = part.map_err(failure)?,
                None if self.left == 0 => return Ok(0),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object ended early")),
            }
        }
        let count = self.part.len().min(into.len());
        self.part.copy_to_slice(&mut into[..count]);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

fn failure(error: StoreError) -> io::Error {
    io::Error::other(match error {
        StoreError::Precondition { .. } | StoreError::NotFound { .. } => {
            "it was changed or removed meanwhile; run again".to_owned()
        }
        error => Error::from(error).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn hidden_and_unfinished_names_are_left_out_at_any_depth() {
        let prefix = Path::from("in");
        for wanted in ["in/a.json", "in/b/c.json", "in/d.tmp/kept.json"] {
            assert!(is_wanted(&Path::from(wanted), &prefix), "{wanted}");
        }
        for left_out in ["in/.a", "in/_b/c.json", "in/a.json.part", "in/b/x.tmp", "in", "else/a.json"] {
            assert!(!is_wanted(&Path::from(left_out), &prefix), "{left_out}");
        }
    }

    #[test]
    fn uris_hold_any_name() {
        let store: Store = Arc::new(InMemory::new());
        let root = Url::parse("s3://bucket/somewhere%20else/").unwrap();
        let name = |path: &str| {
            let meta = ObjectMeta {
                location: Path::parse(path).unwrap(),
                last_modified: Default::default(),
                size: 0,
                e_tag: None,
                version: None,
            };
            entry(&store, &root, meta).unwrap().uri
        };
        assert_eq!(name("in/tórax 1.json"), "s3://bucket/in/t%C3%B3rax%201.json");
        assert_eq!(name("in/a%2Fb?#.json"), "s3://bucket/in/a%252Fb%3F%23.json");
    }

    async fn object(store: &Store, bytes: Vec<u8>) -> StoredObject {
        let path = Path::from("x");
        store.put(&path, bytes.into()).await.unwrap();
        let meta = store.head(&path).await.unwrap();
        StoredObject { store: store.clone(), path, size: meta.size, e_tag: meta.e_tag }
    }

    fn read(object: StoredObject) -> io::Result<Vec<u8>> {
        let Opened::Reader(mut reader) = object.open().unwrap() else { return Err(io::ErrorKind::NotFound.into()) };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_make_the_whole() {
        let store: Store = Arc::new(InMemory::new());
        let part = usize::try_from(PART).unwrap();
        for size in [0, 1, part - 1, part, part + 1, 3 * part + 5] {
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let object = object(&store, bytes.clone()).await;
            let found = tokio::task::spawn_blocking(|| read(object)).await.unwrap().unwrap();
            assert!(found == bytes, "{size} bytes");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_object_that_changes_before_it_is_opened_is_gone_and_later_a_failure() {
        let store: Store = Arc::new(InMemory::new());
        let size = usize::try_from(8 * PART).unwrap();
        let listed = object(&store, vec![1; size]).await;
        let opened = tokio::task::spawn_blocking({
            let listed = listed.clone();
            move || listed.open().unwrap()
        });
        let Opened::Reader(mut reader) = opened.await.unwrap() else { panic!("gone") };
        object(&store, vec![2; size]).await;
        let read = tokio::task::spawn_blocking(move || io::copy(&mut reader, &mut io::sink())).await.unwrap();
        assert!(read.unwrap_err().to_string().contains("changed"));
        let again = tokio::task::spawn_blocking(move || listed.open().unwrap()).await.unwrap();
        assert!(matches!(again, Opened::Gone));
    }
}
