//! A file as a record: what it is, never its bytes.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::{FileEntry, Opened};
use crate::contract::OriginalOptions;
use crate::original::forward::Forward;
use crate::original::hash::sha256;
use crate::original::look::{Look, look};
use crate::original::media;
use crate::original::person::PersonKey;

/// Up to this size a file is read once, into memory.
const SMALL: u64 = 1 << 20;
/// Bytes of a TIFF in a store that are copied to disk, because its pages may lie anywhere.
const SPOOL_LIMIT: u64 = 1 << 30;

/// A file as a record, and the columns that stand beside it in bronze.
#[derive(Debug)]
pub struct Original {
    /// The description, JSON.
    pub payload: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hexadecimal; `None` when it could not be opened.
    pub sha256: Option<String>,
    /// What it is by its content.
    pub media_type: Option<&'static str>,
    /// Why it cannot be read.
    pub reason: Option<String>,
}

#[derive(Serialize)]
struct Description<'a> {
    uri: &'a str,
    name: &'a str,
    stem: &'a str,
    size: u64,
    modified_at: Option<String>,
    sha256: Option<&'a str>,
    status: &'static str,
    #[serde(flatten)]
    look: &'a Look,
}

/// Looks at a file that was opened; `None` when it is gone. `is_changed` when another content was known under its name.
///
/// # Errors
/// When the file cannot be read to its end.
pub fn describe(
    file: &FileEntry,
    opened: Opened,
    options: &OriginalOptions,
    person_key: Option<&PersonKey>,
    is_changed: bool,
) -> io::Result<Option<Original>> {
    let read = match opened {
        Opened::Gone => return Ok(None),
        Opened::Refused(why) => {
            let found = Look { reason: Some(format!("cannot be opened: {why}")), ..Look::default() };
            return original(file, found, None, file.size, false).map(Some);
        }
        Opened::File(file) => read_file(file, options, person_key)?,
        Opened::Reader(stream) => read_stream(stream, file.size, options, person_key)?,
    };
    let (found, (sha256, size)) = read;
    original(file, found, Some(sha256), size, is_changed).map(Some)
}

/// What a file says of itself, its hash and its size.
type Found = (Look, (String, u64));

/// A small file is read once; of a large one the header is, by seeking, and then all of it for its hash.
fn read_file(mut file: File, options: &OriginalOptions, person_key: Option<&PersonKey>) -> io::Result<Found> {
    let mut bytes = Vec::new();
    (&mut file).take(SMALL).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < SMALL {
        let found = look(Cursor::new(&bytes), options, person_key)?;
        return Ok((found, sha256(&bytes[..])?));
    }
    file.rewind()?;
    let found = look(&file, options, person_key)?;
    file.rewind()?;
    Ok((found, sha256(file)?))
}

fn read_stream(
    stream: impl Read,
    size: u64,
    options: &OriginalOptions,
    person_key: Option<&PersonKey>,
) -> io::Result<Found> {
    let mut stream = Forward::new(stream, size);
    let mut head = Vec::new();
    (&mut stream).take(media::HEAD as u64).read_to_end(&mut head)?;
    stream.rewind()?;
    let found = if media::media_type(&head) == media::TIFF {
        let mut copy = tempfile::tempfile()?;
        io::copy(&mut (&mut stream).take(SPOOL_LIMIT), &mut copy)?;
        copy.rewind()?;
        look(copy, options, person_key)?
    } else {
        look(&mut stream, options, person_key)?
    };
    Ok((found, stream.finish()?))
}

fn original(file: &FileEntry, look: Look, sha256: Option<String>, size: u64, is_changed: bool) -> io::Result<Original> {
    let name = file.name();
    let status = match (&look.reason, is_changed) {
        (Some(_), _) => "unreadable",
        (None, true) => "changed",
        (None, false) => "found",
    };
    let description = Description {
        uri: &file.uri,
        name: &name,
        stem: stem(&name),
        size,
        modified_at: modified_at(file.modified_us),
        sha256: sha256.as_deref(),
        status,
        look: &look,
    };
    let payload = serde_json::to_string(&description).map_err(io::Error::other)?;
    Ok(Original { payload, size, sha256, media_type: look.media_type, reason: look.reason })
}

/// RFC 3339; a server that tells no time is listed with 0.
fn modified_at(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros).filter(|_| micros != 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A name without its extension, which begins with a letter: UIDs have points, and numbers after them.
fn stem(name: &str) -> &str {
    let is_extension = |end: &str| {
        end.len() <= 5
            && end.starts_with(|c: char| c.is_ascii_alphabetic())
            && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && is_extension(end) => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_begins_with_a_letter() {
        for (name, expected) in [
            ("a.png", "a"),
            ("2.25.123.dcm", "2.25.123"),
            ("2.25.123", "2.25.123"),
            ("tórax.1.JPEG", "tórax.1"),
            ("scan.extension", "scan.extension"),
            (".hidden", ".hidden"),
            ("a.", "a."),
        ] {
            assert_eq!(stem(name), expected, "{name}");
        }
    }
}
