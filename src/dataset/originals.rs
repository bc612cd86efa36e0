//! Original files: where a URI leads, and copies that may be given away.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::SpooledTempFile;
use url::Url;

use super::digest::Hashing;
use crate::error::{Error, Place, Result};
use crate::original::deidentify::{Uids, deidentify};
use crate::original::media;
use crate::original::unreadable::Unreadable;

/// The kinds that are copied as they are, besides DICOM: any other could hold whatever.
const PLAIN: [&str; 6] = [media::PNG, media::JPEG, media::TIFF, media::GIF, media::BMP, media::PDF];

/// Bytes of a copy that are held in memory; a larger one waits in a temporary file.
const IN_MEMORY: usize = 8 << 20;

/// What became of a row's original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The row names none.
    None,
    /// The row names it; it was not looked at.
    Referenced,
    /// It is in the shard.
    Copied,
    /// There is nothing at its place.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// It may not be copied: its kind is not known, or cannot be de-identified.
    Refused,
}

impl Status {
    /// The status as it stands in the dataset.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Referenced => "referenced",
            Status::Copied => "copied",
            Status::Missing => "missing",
            Status::Unreadable => "unreadable",
            Status::Refused => "refused",
        }
    }
}

/// A row's original.
pub struct Original {
    /// What became of it.
    pub status: Status,
    /// What it is, where that is known.
    pub media_type: Option<&'static str>,
    /// The copy, from its start.
    pub copy: Option<Copy>,
}

/// A copy of an original.
pub struct Copy {
    /// Its bytes.
    pub content: SpooledTempFile,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Their number.
    pub bytes: u64,
}

impl Original {
    fn without_copy(status: Status) -> Self {
        Self { status, media_type: None, copy: None }
    }
}

/// What originals are read from.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Why an original is not copied.
pub enum Refusal {
    /// It cannot be read to its end.
    Unreadable,
    /// It may not be given away as it is.
    NotAllowed,
}

/// Copies an original of a kind, with what identifies a person removed where the kind has a place for it.
///
/// DICOM is de-identified by the Basic Profile of PS3.15 ([`crate::original::deidentify`]).
///
/// # Errors
/// Why there is no copy, or that the copy cannot be written.
pub fn copy_original(
    mut from: &mut dyn Source,
    media_type: &str,
    mut to: &mut dyn Write,
    uids: &Uids,
) -> Result<Result<(), Refusal>> {
    if media_type == media::DICOM {
        return match deidentify(&mut from, &mut to, uids) {
            Ok(()) => Ok(Ok(())),
            Err(Unreadable::Content(_)) => Ok(Err(Refusal::NotAllowed)),
            // The reader's fault or the writer's: the copy, too, is a file that may not fit.
            Err(Unreadable::Io(error)) => Err(error).at("the copy of an original"),
        };
    }
    let mut block = vec![0; 64 << 10];
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => to.write_all(&block[..count]).at("the copy of an original")?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(Err(Refusal::Unreadable)),
        }
    }
}

/// Fetches originals by their URIs.
pub struct Originals {
    data: PathBuf,
    uids: Uids,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Originals {
    /// Relative URIs are looked for below `data`; `uids` are the identifiers that copies of DICOM get.
    pub fn new(data: &str, uids: Uids) -> Self {
        Self { data: PathBuf::from(data), uids, stores: Mutex::default() }
    }

    /// Copies an original.
    ///
    /// # Errors
    /// When an object store does not answer: the dataset would depend on the network's state. What is wrong with a single
    /// original is its status.
    pub async fn fetch(&self, uri: Option<&str>) -> Result<Original> {
        let Some(uri) = uri.filter(|uri| !uri.trim().is_empty()) else {
            return Ok(Original::without_copy(Status::None));
        };
        let opened = match local_path(&self.data, uri) {
            Some(path) => tokio::task::spawn_blocking(move || open(&path)).await?,
            None => self.download(uri).await?,
        };
        let uids = self.uids.clone();
        match opened {
            Ok(source) => tokio::task::spawn_blocking(move || copy(source, &uids)).await?,
            Err(status) => Ok(Original::without_copy(status)),
        }
    }

    /// The bytes of an object; temporary files take those that are large.
    async fn download(&self, uri: &str) -> Result<Result<Box<dyn Source + Send>, Status>> {
        let Ok(url) = Url::parse(uri) else { return Ok(Err(Status::Missing)) };
        let place = format!("originals in {}://{}", url.scheme(), url.host_str().unwrap_or_default());
        let (store, path) = self.store(&url).at(&place)?;
        let mut chunks = match store.get(&path).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(Err(Status::Missing)),
            Err(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
                return Ok(Err(Status::Unreadable));
            }
            Err(error) => return Err(unreachable(error).at(place)),
        };
        let mut file = SpooledTempFile::new(IN_MEMORY);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreachable(error).at(&place))?;
            file.write_all(&chunk).at("a temporary file")?;
        }
        file.rewind().at("a temporary file")?;
        Ok(Ok(Box::new(file)))
    }

    fn store(&self, url: &Url) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
        let key = url[..url::Position::BeforePath].to_owned();
        let (_, path) = object_store::ObjectStoreScheme::parse(url).map_err(|error| {
            Error::usage(error.to_string()).hint("originals are files, or objects at s3://, gs://, az:// or https://")
        })?;
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&key) {
            return Ok((store.clone(), path));
        }
        let (store, path) = object_store::parse_url_opts(url, std::env::vars())?;
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        stores.insert(key, store.clone());
        Ok((store, path))
    }
}

fn unreachable(error: object_store::Error) -> Error {
    Error::from(error).hint("build again when it answers: what is finished is kept")
}

/// The file that a URI names; none when it is in an object store.
fn local_path(data: &Path, uri: &str) -> Option<PathBuf> {
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => Some(url.to_file_path().unwrap_or_default()),
        Ok(_) if uri.contains("://") => None,
        _ => Some(data.join(uri)),
    }
}

fn open(path: &Path) -> Result<Box<dyn Source + Send>, Status> {
    let status = |error: io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Status::Missing,
        _ => Status::Unreadable,
    };
    // A pipe or a device could be opened and never end.
    match path.metadata().map_err(status)?.is_file() {
        true => Ok(Box::new(File::open(path).map_err(status)?)),
        false => Err(Status::Unreadable),
    }
}

fn copy(mut source: Box<dyn Source + Send>, uids: &Uids) -> Result<Original> {
    let mut head = Vec::with_capacity(media::HEAD);
    let read = source.by_ref().take(media::HEAD as u64).read_to_end(&mut head).and_then(|_| source.rewind());
    if read.is_err() {
        return Ok(Original::without_copy(Status::Unreadable));
    }
    let media_type = media::media_type(&head);
    if media_type != media::DICOM && !PLAIN.contains(&media_type) {
        return Ok(Original::without_copy(Status::Refused));
    }
    let mut copy = Hashing::new(SpooledTempFile::new(IN_MEMORY));
    let status = match copy_original(&mut source, media_type, &mut copy, uids)? {
        Ok(()) => Status::Copied,
        Err(Refusal::Unreadable) => Status::Unreadable,
        Err(Refusal::NotAllowed) => Status::Refused,
    };
    let (mut content, (sha256, bytes)) = copy.finish();
    content.rewind().at("a temporary file")?;
    let copy = (status == Status::Copied).then_some(Copy { content, sha256, bytes });
    Ok(Original { status, media_type: Some(media_type), copy })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use dicom_core::VR;
    use dicom_dictionary_std::tags;

    use super::*;
    use crate::original::dicom::sample::Sample;

    fn copied(file: &[u8]) -> (Status, Vec<u8>) {
        let original = copy(Box::new(Cursor::new(file.to_vec())), &Uids::new(b"a key")).unwrap();
        let mut bytes = Vec::new();
        original.copy.map(|mut copy| copy.content.read_to_end(&mut bytes)).transpose().unwrap();
        (original.status, bytes)
    }

    #[test]
    fn a_copy_of_dicom_names_nobody() {
        let mut file = Sample::explicit();
        file.put(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.2\0");
        file.put(tags::SOP_INSTANCE_UID, VR::UI, b"1.2.3.45");
        file.put(tags::PATIENT_NAME, VR::PN, b"Silva^Ana ");
        let (status, copy) = copied(&file.bytes);
        assert_eq!(status, Status::Copied);
        for gone in ["Silva", "1.2.3.45"] {
            assert!(!copy.windows(gone.len()).any(|window| window == gone.as_bytes()), "{gone}");
        }
        assert_eq!(copied(&file.bytes).1, copy, "the same bytes again");
    }

    #[test]
    fn what_cannot_be_taken_apart_is_refused() {
        let mut file = vec![0; 128];
        file.extend(b"DICM and no more");
        for refused in [&file[..], b"", b"Silva, Ana: a text", b"\x7fELF", b"\x08\0\x05\0CS\n\0ISO_IR 100"] {
            assert_eq!(copied(refused).0, Status::Refused, "{refused:?}");
        }
    }
}
