//! The files that a source's local folder holds.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use url::Url;
use walkdir::{DirEntry, WalkDir};

use super::file::{FileEntry, Location};

/// Ends of the names of files that somebody still writes, or of checksums beside files.
const UNFINISHED: [&str; 4] = ["~", ".tmp", ".part", ".crc"];

/// The system's "too many links", which `io::ErrorKind` has no stable name for.
const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// Why something below the root is not among the files, though its name does not exclude it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// A link to a folder that the link is in.
    #[error("the link leads back to a folder above it")]
    Loop,
    /// A link to nothing, or a file that was removed while the folder was listed.
    #[error("the file is gone")]
    Gone,
    /// A pipe, a socket or a device.
    #[error("not a regular file")]
    Special,
}

/// Something that was not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was not listed.
    pub reason: SkipReason,
}

/// What is below a root.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Regular files, sorted by path.
    pub files: Vec<FileEntry>,
    /// The rest, sorted by path.
    pub skipped: Vec<Skipped>,
}

/// Why a folder could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is at the root's path.
    #[error("{}: no such folder\nhint: check the path, and that its disk is mounted", .path.display())]
    MissingRoot {
        /// The root as it was given.
        path: PathBuf,
    },
    /// A folder or file is there and cannot be looked at.
    #[error("{}: cannot be listed: {cause}\nhint: the program needs the right to read it", .path.display())]
    Unreadable {
        /// What cannot be looked at.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Lists the regular files below `root` in any depth; links are followed.
///
/// Left out are names that begin with `.` or `_`, folders too, and files whose names end
/// with `~`, `.tmp`, `.part` or `.crc`. A `root` that is a file is the only one listed.
/// The root's path is resolved first, so that a file has one URI however `root` is spelled.
///
/// # Errors
/// When `root` does not exist, or a folder or file below it cannot be looked at: a listing
/// that silently lacks files would be worse.
pub fn list_files(root: &Path) -> Result<Listing, SourceError> {
    let resolved = root.canonicalize().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => SourceError::MissingRoot { path: root.into() },
        _ => SourceError::Unreadable { path: root.into(), cause },
    })?;
    let mut listing = Listing::default();
    let walk = WalkDir::new(&resolved).follow_links(true).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let found = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => look_at(&entry),
            Err(error) => explain(error, &resolved),
        };
        match found? {
            Found::File(file) => listing.files.push(file),
            Found::Skipped(skipped) => listing.skipped.push(skipped),
            Found::Excluded => {}
        }
    }
    // Entries by path: those of a folder stand together.
    listing.files.sort_by(|a, b| path_of(a).cmp(&path_of(b)));
    listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn path_of(file: &FileEntry) -> Option<&Path> {
    match &file.location {
        Location::Local(path) => Some(path),
        Location::Object(_) => None,
    }
}

enum Found {
    File(FileEntry),
    Skipped(Skipped),
    Excluded,
}

fn look_at(entry: &DirEntry) -> Result<Found, SourceError> {
    let path = entry.path();
    if entry.depth() > 0 && is_unfinished(entry.file_name()) {
        return Ok(Found::Excluded);
    }
    if !entry.file_type().is_file() {
        return Ok(skipped(path, SkipReason::Special));
    }
    match path.metadata() {
        Ok(metadata) => file_entry(path, &metadata).map(Found::File),
        Err(cause) => gone_or_unreadable(path, cause),
    }
}

/// The walk's errors: a loop or a file that is gone is no reason to stop.
fn explain(error: walkdir::Error, root: &Path) -> Result<Found, SourceError> {
    let path = error.path().unwrap_or(root).to_path_buf();
    let name = path.file_name().unwrap_or_default();
    if error.depth() > 0 && (is_hidden(name) || is_unfinished(name)) {
        return Ok(Found::Excluded);
    }
    if error.loop_ancestor().is_some() {
        return Ok(skipped(&path, SkipReason::Loop));
    }
    let cause = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
    gone_or_unreadable(&path, cause)
}

fn gone_or_unreadable(path: &Path, cause: io::Error) -> Result<Found, SourceError> {
    match cause.kind() {
        io::ErrorKind::NotFound => Ok(skipped(path, SkipReason::Gone)),
        // A link to itself, which the system finds before the walk does.
        _ if cause.raw_os_error() == Some(ELOOP) => Ok(skipped(path, SkipReason::Loop)),
        _ => Err(SourceError::Unreadable { path: path.into(), cause }),
    }
}

fn skipped(path: &Path, reason: SkipReason) -> Found {
    Found::Skipped(Skipped { path: path.into(), reason })
}

pub(super) fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}

pub(super) fn is_unfinished(name: &OsStr) -> bool {
    UNFINISHED.iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes()))
}

fn file_entry(path: &Path, metadata: &Metadata) -> Result<FileEntry, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { path: path.into(), cause };
    let uri = Url::from_file_path(path)
        .map_err(|()| unreadable(io::Error::new(io::ErrorKind::InvalidFilename, "not an absolute path")))?;
    Ok(FileEntry {
        uri: uri.into(),
        location: Location::Local(path.into()),
        size: metadata.len(),
        modified_us: modified_us(metadata).map_err(unreadable)?,
        e_tag: None,
    })
}

fn modified_us(metadata: &Metadata) -> io::Result<i64> {
    let micros = match metadata.modified()?.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_micros()),
        Err(before) => i128::try_from(before.duration().as_nanos().div_ceil(1000)).map(|us| -us),
    };
    let micros = micros.ok().and_then(|us| i64::try_from(us).ok());
    micros.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "time of change out of range"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn names(listing: &Listing, root: &Path) -> Vec<String> {
        let root = root.canonicalize().unwrap();
        let name = |file: &FileEntry| path_of(file).unwrap().strip_prefix(&root).unwrap().display().to_string();
        listing.files.iter().map(name).collect()
    }

    #[test]
    fn any_depth_sorted_and_without_what_is_hidden_or_unfinished() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["b/c", ".git", "_delta_log", "d.tmp"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for name in [
            "b/c/2.json",
            "b/1.json",
            "a.json",
            "z",
            ".hidden",
            "_SUCCESS",
            "x~",
            "x.tmp",
            "x.part",
            "x.json.crc",
            ".git/config",
            "_delta_log/0.json",
            "d.tmp/kept.json",
            "a_b.json",
        ] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let listing = list_files(root.path()).unwrap();
        let expected = ["a.json", "a_b.json", "b/1.json", "b/c/2.json", "d.tmp/kept.json", "z"];
        assert_eq!(names(&listing, root.path()), expected);
        assert_eq!(listing.skipped, []);
        assert_eq!(listing.files[0].size, 6);
        let one = list_files(&root.path().join("x.tmp")).unwrap();
        assert_eq!(names(&one, root.path()), ["x.tmp"]);
    }

    #[test]
    fn uris_hold_any_name() {
        let root = tempfile::tempdir().unwrap();
        let strange = OsStr::from_bytes(b"not\xffutf8\n.json");
        for name in ["tórax 1.json", "a%2Fb.json", "q?#&+;.json", "{[\\]}.json"].map(OsStr::new) {
            fs::write(root.path().join(name), "x").unwrap();
        }
        fs::write(root.path().join(strange), "x").unwrap();
        let files = list_files(root.path()).unwrap().files;
        let ends = |end: &str| files.iter().any(|file| file.uri.ends_with(end));
        assert!(ends("/t%C3%B3rax%201.json") && ends("/a%252Fb.json") && ends("/not%FFutf8%0A.json"));
        assert_eq!(files.len(), 5);
        for file in &files {
            assert!(file.uri.starts_with("file:///") && file.uri.is_ascii());
            assert_eq!(Url::parse(&file.uri).unwrap().to_file_path().ok().as_deref(), path_of(file));
        }
    }

    #[test]
    fn one_uri_however_the_root_is_spelled() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        fs::write(root.path().join("in/x"), "x").unwrap();
        symlink(root.path().join("in"), root.path().join("link")).unwrap();
        let uris = |root: &Path| list_files(root).unwrap().files.into_iter().map(|file| file.uri).collect::<Vec<_>>();
        let plain = uris(&root.path().join("in"));
        for spelled in ["in/../in/.", "link"] {
            assert_eq!(uris(&root.path().join(spelled)), plain);
        }
    }

    #[test]
    fn links_are_followed_and_loops_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let away = tempfile::tempdir().unwrap();
        fs::write(away.path().join("far.json"), "x").unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        symlink(away.path(), root.path().join("away")).unwrap();
        symlink(away.path().join("far.json"), root.path().join("near.json")).unwrap();
        symlink(root.path(), root.path().join("sub/up")).unwrap();
        symlink("self", root.path().join("self")).unwrap();
        symlink("nowhere", root.path().join("gone")).unwrap();
        symlink("nowhere", root.path().join(".#lock")).unwrap();
        let listing = list_files(root.path()).unwrap();
        assert_eq!(names(&listing, root.path()), ["away/far.json", "near.json"]);
        let reasons: Vec<_> = listing.skipped.iter().map(|skipped| skipped.reason).collect();
        assert_eq!(reasons, [SkipReason::Gone, SkipReason::Loop, SkipReason::Loop]);
    }

    #[test]
    fn pipes_and_sockets_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        let listing = list_files(root.path()).unwrap();
        assert_eq!((listing.files.len(), listing.skipped[0].reason), (0, SkipReason::Special));
    }

    #[test]
    fn a_missing_root_is_an_error_of_its_own() {
        let error = list_files(Path::new("/no/such/root")).unwrap_err();
        assert!(matches!(error, SourceError::MissingRoot { .. }));
        assert!(error.to_string().starts_with("/no/such/root: no such folder\nhint: "));
    }

    #[test]
    fn times_before_1970_round_down() {
        let root = tempfile::tempdir().unwrap();
        let file = fs::File::create(root.path().join("old")).unwrap();
        let time_of = |time: SystemTime| {
            file.set_modified(time).unwrap();
            list_files(root.path()).unwrap().files[0].modified_us
        };
        assert_eq!(time_of(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789)), 1_700_000_000_123_456);
        assert_eq!(time_of(UNIX_EPOCH - Duration::from_nanos(1_500)), -2);
        assert_eq!(time_of(UNIX_EPOCH - Duration::from_secs(1)), -1_000_000);
    }
}
