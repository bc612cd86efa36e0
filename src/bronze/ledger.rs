//! What has been seen of a source's files, from `ops.files`, and what is new of a listing.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use tokio::sync::Mutex;

use crate::error::Result;
use crate::lake::{Follower, LakeTable, read_columns, rewrite_each};
use crate::ops;
use crate::source::FileEntry;

/// The last that is known of a file.
#[derive(Debug, Clone)]
struct Seen {
    size: i64,
    modified_at: i64,
    e_tag: Option<String>,
    seen_at: i64,
    content_hash: Option<String>,
}

/// A row of `ops.files`, and where it stands.
struct Row {
    file: usize,
    place: u32,
    uri: String,
    batch: Option<i64>,
    seen: Seen,
}

/// What has been seen of a source's files.
#[derive(Debug, Default)]
pub struct Ledger {
    by_uri: HashMap<String, Seen>,
    hashes: HashSet<String>,
    sizes: HashSet<u64>,
    has_nameless: bool,
    /// The newest batch that it knows, whether or not it counts.
    pub newest_batch: i64,
    /// When a file was last looked at, microseconds since the epoch.
    pub newest_seen_at: i64,
    /// Rows that do not count, by their file.
    beyond: BTreeMap<usize, Vec<u32>>,
}

/// What a file is to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A name and a content that were not there before.
    New,
    /// Other content under a known name.
    Changed,
    /// The same content under the same name, modified later.
    Touched,
    /// Known content under another name, or again under its own.
    Duplicate,
    /// It could not be opened.
    Unreadable,
}

impl Event {
    /// The event's name in `ops.files`.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::New => "new",
            Event::Changed => "changed",
            Event::Touched => "touched",
            Event::Duplicate => "duplicate",
            Event::Unreadable => "unreadable",
        }
    }

    /// Whether the file's records are taken in.
    pub fn brings_records(self) -> bool {
        matches!(self, Event::New | Event::Changed)
    }
}

/// What stands for a file's name when all that it brought was erased: the file is known by it, and not taken in again.
pub fn nameless(uri: &str) -> String {
    format!("{NAMELESS}{}", blake3::hash(uri.as_bytes()).to_hex())
}

const NAMELESS: &str = "erased:";

impl Ledger {
    /// Reads the ledger of a source. What it says of batches after `last` does not count: their records are not in bronze.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn read(files: &LakeTable, source: &str, last: i64) -> Result<Self> {
        let rows = read_rows(files).await?.remove(source).unwrap_or_default();
        Ok(Self::of(rows, last))
    }

    fn of(rows: Vec<Row>, last: i64) -> Self {
        let mut ledger = Self {
            newest_batch: rows.iter().filter_map(|row| row.batch).max().unwrap_or_default(),
            newest_seen_at: rows.iter().map(|row| row.seen.seen_at).max().unwrap_or_default(),
            ..Self::default()
        };
        let (known, beyond) = split(rows, last);
        known.into_iter().for_each(|row| ledger.add(&row.uri, row.seen));
        beyond.into_iter().for_each(|row| ledger.beyond.entry(row.file).or_default().push(row.place));
        ledger
    }

    /// Takes the rows that do not count out of `ops.files`; `None` when there are none.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget(&self, files: &LakeTable) -> Result<Option<Follower>> {
        let held = files.files()?;
        let mut follower = Follower { table: files.name.clone(), adds: Vec::new(), removes: Vec::new() };
        let touched = self.beyond.iter().map(|(file, places)| (held[*file].clone(), places.clone()));
        for rewrite in rewrite_each(files, &ops::files(), touched).await? {
            follower.removes.push(rewrite.remove);
            follower.adds.extend(rewrite.add);
        }
        Ok((!self.beyond.is_empty()).then_some(follower))
    }

    fn add(&mut self, uri: &str, seen: Seen) {
        if let Some(hash) = &seen.content_hash {
            self.hashes.insert(hash.clone());
            self.sizes.insert(u64::try_from(seen.size).unwrap_or_default());
        }
        self.has_nameless |= uri.starts_with(NAMELESS);
        let known = self.by_uri.get(uri);
        if known.is_none_or(|known| known.seen_at <= seen.seen_at) {
            self.by_uri.insert(uri.to_owned(), seen);
        }
    }

    fn seen(&self, uri: &str) -> Option<&Seen> {
        let erased = || self.has_nameless.then(|| self.by_uri.get(&nameless(uri))).flatten();
        self.by_uri.get(uri).or_else(erased)
    }

    /// Whether nothing of the source was seen yet.
    pub fn is_empty(&self) -> bool {
        self.by_uri.is_empty()
    }

    /// Whether a file was seen as it is now, by path and size, and by its tag or, where it has none, modification time.
    pub fn has_seen(&self, file: &FileEntry) -> bool {
        self.seen(&file.uri).is_some_and(|seen| {
            let same = match (&seen.e_tag, &file.e_tag) {
                (Some(seen), Some(now)) => seen == now,
                _ => seen.modified_at == file.modified_us,
            };
            same && u64::try_from(seen.size) == Ok(file.size)
        })
    }

    /// Whether a file was seen as it is now and read. A server may tell neither tag nor time: then only a look does.
    pub fn has_read(&self, file: &FileEntry) -> bool {
        let is_marked = file.e_tag.is_some() || file.modified_us != 0;
        is_marked && self.has_seen(file) && self.seen(&file.uri).is_some_and(|seen| seen.content_hash.is_some())
    }

    /// Whether a content was known under the file's name.
    pub fn knows(&self, file: &FileEntry) -> bool {
        self.seen(&file.uri).is_some_and(|seen| seen.content_hash.is_some())
    }

    /// Whether a content of this size is known: only then can a file's content be known too.
    pub fn knows_size(&self, size: u64) -> bool {
        self.sizes.contains(&size)
    }

    /// What a file is, whose content has this hash; the hash counts as known from now on.
    pub fn classify(&mut self, file: &FileEntry, hash: Option<&str>) -> Event {
        let known = self.seen(&file.uri).and_then(|seen| seen.content_hash.clone());
        match (hash, known) {
            (Some(hash), Some(known)) if hash == known => Event::Touched,
            (Some(hash), _) if !self.hashes.insert(hash.to_owned()) => Event::Duplicate,
            (_, Some(_)) => Event::Changed,
            (_, None) => Event::New,
        }
    }
}

/// The ledgers of a run, whose rows lie in the same files: read once for all sources, while nothing is added to them.
#[derive(Default)]
pub struct Ledgers(Mutex<Unclaimed>);

#[derive(Default)]
struct Unclaimed {
    version: Option<u64>,
    rows: HashMap<String, Vec<Row>>,
    claimed: HashSet<String>,
}

impl Ledgers {
    /// As [`Ledger::read`].
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, name = "ledger")]
    pub async fn of(&self, files: &LakeTable, source: &str, last: i64) -> Result<Ledger> {
        let mut unclaimed = self.0.lock().await;
        if unclaimed.version != Some(files.version()) || unclaimed.claimed.contains(source) {
            let rows = read_rows(files).await?;
            *unclaimed = Unclaimed { version: Some(files.version()), rows, claimed: HashSet::new() };
        }
        unclaimed.claimed.insert(source.to_owned());
        let rows = unclaimed.rows.remove(source).unwrap_or_default();
        Ok(Ledger::of(rows, last))
    }
}

/// The columns that [`rows_of`] reads.
const COLUMNS: [&str; 8] = ["source", "batch", "uri", "size", "modified_at", "e_tag", "content_hash", "seen_at"];

/// The rows of each source.
async fn read_rows(files: &LakeTable) -> Result<HashMap<String, Vec<Row>>> {
    let columns = COLUMNS.map(str::to_owned);
    let mut rows = HashMap::new();
    for (index, file) in files.files()?.iter().enumerate() {
        let mut first = 0;
        for batch in read_columns(files, &file.path, file.size, &columns).await? {
            rows_of(&batch, index, first, &mut rows);
            first += batch.num_rows() as u32;
        }
    }
    Ok(rows)
}

/// The rows that count, and those that do not.
fn split(rows: Vec<Row>, last: i64) -> (Vec<Row>, Vec<Row>) {
    if rows.iter().all(|row| row.batch.is_none_or(|batch| batch <= last)) {
        return (rows, Vec::new());
    }
    let in_bronze = rows.iter().filter(|row| row.batch.is_some_and(|batch| batch <= last));
    let contents: HashSet<String> = in_bronze.filter_map(|row| row.seen.content_hash.clone()).collect();
    // A file that brought no records counts while bronze has its content from another one.
    let has_content = |row: &Row| row.seen.content_hash.as_ref().is_none_or(|hash| contents.contains(hash));
    rows.into_iter().partition(|row| row.batch.map_or_else(|| has_content(row), |batch| batch <= last))
}

/// Adds the rows of a batch of `ops.files`, whose first row stands at `first` in its file, to those of their sources.
fn rows_of(batch: &RecordBatch, file: usize, first: u32, rows: &mut HashMap<String, Vec<Row>>) {
    let text = |name: &str| batch.column_by_name(name).map(|column| column.as_string::<i32>());
    let number = |name: &str| batch.column_by_name(name).map(|column| column.as_primitive::<Int64Type>());
    let time = |name: &str| batch.column_by_name(name).map(|column| column.as_primitive::<TimestampMicrosecondType>());
    let (Some(sources), Some(uris), Some(hashes)) = (text("source"), text("uri"), text("content_hash")) else {
        return;
    };
    let (Some(batches), Some(sizes)) = (number("batch"), number("size")) else { return };
    let (Some(modified), Some(seen)) = (time("modified_at"), time("seen_at")) else { return };
    // Lakes have rows from before the column was there.
    let e_tags = text("e_tag");
    let row = |row: usize| Row {
        file,
        place: first + row as u32,
        uri: uris.value(row).to_owned(),
        batch: batches.is_valid(row).then(|| batches.value(row)),
        seen: Seen {
            size: sizes.value(row),
            modified_at: modified.value(row),
            e_tag: e_tags.filter(|tags| tags.is_valid(row)).map(|tags| tags.value(row).to_owned()),
            seen_at: seen.value(row),
            content_hash: hashes.is_valid(row).then(|| hashes.value(row).to_owned()),
        },
    };
    for place in 0..batch.num_rows() {
        let source = sources.value(place);
        match rows.get_mut(source) {
            Some(rows) => rows.push(row(place)),
            None => drop(rows.insert(source.to_owned(), vec![row(place)])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::{Commit, Durability, Lake};
    use crate::ops::FileRow;
    use crate::source::Location;

    fn file(uri: &str, size: u64, modified_us: i64) -> FileEntry {
        FileEntry { uri: uri.to_owned(), location: Location::Local(uri.into()), size, modified_us, e_tag: None }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let seen = |hash: &str, seen_at| Seen {
            size: 5,
            modified_at: 1,
            e_tag: Some(format!("tag of {hash}")),
            seen_at,
            content_hash: Some(hash.to_owned()),
        };
        ledger.add("a", seen("old", 1));
        ledger.add("a", seen("new", 2));
        ledger
    }

    #[test]
    fn the_same_path_size_and_time_has_been_seen() {
        assert!(ledger().has_read(&file("a", 5, 1)));
        assert!(!ledger().has_read(&file("a", 5, 2)));
        assert!(!ledger().has_read(&file("a", 6, 1)));
    }

    #[test]
    fn a_tag_tells_more_than_a_time() {
        let tagged = |tag: &str, modified_us| FileEntry { e_tag: Some(tag.to_owned()), ..file("a", 5, modified_us) };
        assert!(ledger().has_read(&tagged("tag of new", 1)));
        assert!(ledger().has_read(&tagged("tag of new", 9)), "put again with the same bytes");
        assert!(!ledger().has_read(&tagged("another", 1)), "replaced within the same second");
        assert!(!Ledger::default().has_read(&file("a", 5, 1)));
    }

    #[test]
    fn content_decides_what_is_new() {
        assert_eq!(ledger().classify(&file("a", 5, 9), Some("new")), Event::Touched);
        assert_eq!(ledger().classify(&file("a", 5, 9), Some("old")), Event::Duplicate);
        assert_eq!(ledger().classify(&file("b", 5, 9), Some("new")), Event::Duplicate);
        assert_eq!(ledger().classify(&file("a", 5, 9), Some("else")), Event::Changed);
        assert_eq!(ledger().classify(&file("b", 5, 9), Some("else")), Event::New);
        let mut twice = ledger();
        assert_eq!(twice.classify(&file("b", 5, 9), Some("else")), Event::New);
        assert_eq!(twice.classify(&file("c", 5, 9), Some("else")), Event::Duplicate, "twice in one run");
    }

    #[tokio::test]
    async fn the_ledgers_of_a_run_are_what_the_files_say_now() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().display().to_string(), Durability::None).unwrap();
        let add = async |source: &str, uri: &str, batch: i64| {
            let row = FileRow {
                run: "r".to_owned(),
                source: source.to_owned(),
                batch: Some(batch),
                uri: uri.to_owned(),
                size: 5,
                modified_at: 1,
                e_tag: None,
                content_hash: Some(uri.to_owned()),
                event: "new".to_owned(),
                records: 1,
                reason: None,
                seen_at: batch,
            };
            let adds = ops::write(&lake, &ops::files(), &[row]).await.unwrap();
            let mut table = lake.open_or_create(&ops::files()).await.unwrap();
            table.commit(&lake, Commit { adds, ..Commit::default() }).await.unwrap();
            table
        };
        let ledgers = Ledgers::default();
        let read = async |files: &LakeTable, source: &str, last: i64| {
            let ledger = ledgers.of(files, source, last).await.unwrap();
            (["a", "b", "c"].map(|uri| ledger.has_read(&file(uri, 5, 1))), ledger.newest_batch)
        };
        add("p.one", "a", 1).await;
        let files = add("p.two", "b", 1).await;
        assert_eq!(read(&files, "p.one", 1).await, ([true, false, false], 1));
        assert_eq!(read(&files, "p.two", 1).await, ([false, true, false], 1));
        assert_eq!(read(&files, "p.none", 0).await, ([false; 3], 0));
        assert_eq!(read(&files, "p.one", 1).await, ([true, false, false], 1), "asked for again, as a further try does");
        let files = add("p.one", "c", 2).await;
        assert_eq!(read(&files, "p.two", 1).await, ([false, true, false], 1));
        assert_eq!(
            read(&files, "p.one", 1).await,
            ([true, false, false], 2),
            "what bronze does not have does not count"
        );
        assert_eq!(read(&files, "p.one", 2).await, ([true, false, true], 2));
    }
}
