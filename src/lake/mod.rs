//! The lake: the only place that imports deltalake. Tables are opened, written and committed here.
//!
//! `<lake>/<stage>/<table>` is a plain Delta directory. Whatever a commit must record with its rows, the position
//! that they came from above all, travels in the same commit ([`Commit`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deltalake::protocol::SaveMode;
use deltalake::{DeltaTableBuilder, DeltaTableError};
use object_store::local::LocalFileSystem;
use url::Url;

use crate::error::{Error, Place, Result};
pub use crate::store::Store;
use crate::store::{CertainStore, connect, path_in_store, uri};

mod changes;
mod clean;
mod commit;
mod compact;
mod dictionary;
mod durable;
mod history;
mod keyed;
mod lease;
mod log;
mod log_store;
mod lookup;
mod opened;
mod probe;
mod reader;
mod redact;
mod redo;
mod rewrite;
mod shares;
mod side_by_side;
mod spans;
mod spec;
mod table;
mod tables;
mod writer;

pub use deltalake::kernel::{Add, AddCDCFile, Remove};

pub use changes::{Changed, changed_rows, has_changed};
pub use clean::{Needed, Waste};
pub use commit::{Commit, Follower, Kind, identity_of};
pub use compact::{compact, small_files};
pub use durable::DurableStore;
pub use history::TableVersion;
pub use keyed::{KeyedRows, RowKey};
pub use lease::LEASE_EXPIRY;
use lease::Lease;
pub use log::{Log, LogEntry};
pub use lookup::{KeySet, Match, OfHashes, hash_keys, lookup};
use opened::Opened;
pub use reader::{RowGroup, file_rows, read_columns, read_file, read_rows, row_groups, stream_columns};
pub use redact::{Redaction, Replacements, without_rows};
pub use redo::Redo;
pub use rewrite::{Rewrite, change_file, rewrite_each};
pub use shares::{Shared, scan, shares};
pub use side_by_side::side_by_side;
pub use spans::{Span, spans};
pub use spec::TableSpec;
pub use table::{DataFile, LakeTable, signed};
pub use writer::{FileWriter, TableWriter};

/// A folder, or a place in an object store, that holds tables.
#[derive(Debug, Clone)]
pub struct Lake {
    root: Url,
    store: Store,
    lease_expiry: Duration,
    lease: Option<Arc<Lease>>,
    base: Option<Arc<Base>>,
    opened: Option<Opened>,
}

/// Tables that a lake reads from another one, as they were.
#[derive(Debug)]
struct Base {
    lake: Lake,
    versions: BTreeMap<String, u64>,
}

/// Whether writes are to survive a power cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// Files and folders are synced before a commit counts.
    #[default]
    Full,
    /// The system syncs when it likes; a process that is killed loses nothing, a power cut may.
    None,
}

impl Lake {
    /// The lake at a path or URI; nothing is read or made yet.
    ///
    /// # Errors
    /// When the text is no path and no URI.
    pub fn at(location: &str, durability: Durability) -> Result<Self> {
        let root = match uri(location)? {
            Some(url) => url,
            None => {
                let path = std::path::absolute(location).at(format!("lake '{location}'"))?;
                Url::from_directory_path(&path)
                    .map_err(|()| Error::usage(format!("lake '{location}': not an absolute path")))?
            }
        };
        if let Some(code) = percent_code(&root) {
            return Err(Error::usage(format!("lake '{location}': a lake's path cannot have '{code}' in it"))
                .hint("Delta readers take it for another character: name the folder otherwise"));
        }
        let store: Store = match (root.scheme(), durability) {
            ("file", Durability::Full) => Arc::new(DurableStore::default()),
            ("file", Durability::None) => Arc::new(LocalFileSystem::new()),
            ("http" | "https", _) => {
                return Err(Error::usage(format!("lake '{location}': files of a web server can only be read"))
                    .hint("give a folder, for example --lake lake, or a bucket, for example --lake s3://bucket/lake"));
            }
            _ => Arc::new(CertainStore::new(connect(&root).at(format!("lake '{location}'"))?)),
        };
        log_store::register(root.scheme())?;
        Ok(Self { root, store, lease_expiry: LEASE_EXPIRY, lease: None, base: None, opened: None })
    }

    /// The same over another store, made of the one that it has: one that counts, delays or fails.
    pub fn with_store(self, wrap: impl FnOnce(Store) -> Store) -> Self {
        Self { store: wrap(self.store), ..self }
    }

    /// The same with another time after which the lease of a dead run is free, on an object store.
    pub fn with_lease_expiry(self, lease_expiry: Duration) -> Self {
        Self { lease_expiry, ..self }
    }

    /// The lake with its lease taken, for as long as this value or a clone of it lives: one writer at a time. On an object
    /// store it should be [released](Self::release), or it only expires. An erasure that was killed is carried out first.
    ///
    /// # Errors
    /// Kind [`Lease`](crate::error::Kind::Lease) when another process holds it; a failure when the lake cannot be written, or its store does not
    /// honour conditional puts.
    #[tracing::instrument(level = "trace", skip_all, name = "lease")]
    pub async fn leased(&self) -> Result<Self> {
        let leased = Self { lease: Some(Arc::new(Lease::take(self).await?)), ..self.clone() };
        let carried_out = match Redo::pending(&leased).await {
            Ok(Some(mut redo)) => redo.carry_out(&leased).await,
            pending => pending.map(drop),
        };
        if carried_out.is_err() {
            leased.release().await;
        }
        carried_out.map(|()| leased)
    }

    /// Does work on the lake with its lease taken, and gives it back.
    ///
    /// # Errors
    /// As [`leased`](Self::leased), and those of the work.
    pub async fn with_lease<T>(&self, work: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        let leased = self.leased().await?;
        let result = work(&leased).await;
        leased.release().await;
        result
    }

    /// The same, where a table that was opened once is read again only when somebody has committed to it since. Not for work
    /// that changes what older versions hold.
    pub fn remembering(self) -> Self {
        Self { opened: Some(Opened::default()), ..self }
    }

    /// Keeps a table that was opened or committed to, if the lake remembers any.
    fn keep(&self, table: &LakeTable) {
        if let Some(opened) = &self.opened {
            opened.keep(table);
        }
    }

    /// Gives the lease back.
    pub async fn release(&self) {
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
    }

    /// Makes sure that the lease, if it was taken, is still held.
    async fn check_lease(&self) -> Result<()> {
        match &self.lease {
            Some(lease) => lease.check().await,
            None => Ok(()),
        }
    }

    /// This lake, with some tables read from another one at these versions. They are not to be written to.
    pub fn over(self, lake: &Lake, versions: BTreeMap<String, u64>) -> Self {
        Self { base: Some(Arc::new(Base { lake: lake.clone(), versions })), ..self }
    }

    /// The lake's folder, where it has one.
    pub fn folder(&self) -> Option<PathBuf> {
        self.root.to_file_path().ok()
    }

    /// The lake's path within its store.
    fn root_path(&self) -> Result<object_store::path::Path> {
        path_in_store(&self.root)
    }

    /// A table's place.
    ///
    /// # Errors
    /// When the name cannot be part of a URI.
    pub fn table_url(&self, name: &str) -> Result<Url> {
        let mut url = self.root.clone();
        url.path_segments_mut()
            .map_err(|()| Error::usage("the lake's URI cannot have parts"))?
            .pop_if_empty()
            .extend(name.split('.'))
            .push("");
        Ok(url)
    }

    /// Opens a table at its newest version; `None` when there is none.
    ///
    /// # Errors
    /// When the table's log cannot be read.
    pub async fn open(&self, name: &str) -> Result<Option<LakeTable>> {
        if let Some(base) = &self.base
            && let Some(version) = base.versions.get(name)
        {
            return base.lake.load(name, Some(*version)).await;
        }
        if let Some(opened) = &self.opened
            && let Some(table) = opened.newest(name).await?
        {
            return Ok(Some(table));
        }
        let table = self.load(name, None).await?;
        if let Some(table) = &table {
            self.keep(table);
        }
        Ok(table)
    }

    /// Opens tables side by side, for those who open them next, where the lake remembers any. What cannot be opened is told
    /// then.
    pub async fn open_ahead(&self, names: impl IntoIterator<Item = String>) {
        if self.opened.is_none() {
            return;
        }
        let open = names.into_iter().map(|name| {
            let lake = self.clone();
            tokio::spawn(async move { drop(lake.open(&name).await) })
        });
        futures::future::join_all(open).await;
    }

    /// Opens a table as it was at a version; `None` when there is no such table.
    ///
    /// # Errors
    /// When the version does not exist or the log cannot be read.
    pub async fn open_at(&self, name: &str, version: u64) -> Result<Option<LakeTable>> {
        self.load(name, Some(version)).await
    }

    #[tracing::instrument(level = "trace", skip_all, name = "open", fields(table = name))]
    async fn load(&self, name: &str, version: Option<u64>) -> Result<Option<LakeTable>> {
        if let Some(folder) = self.folder()
            && !has_log(&folder, name)
        {
            return Ok(None);
        }
        let mut builder = self.builder(name)?;
        if let Some(version) = version {
            builder = builder.with_version(version);
        }
        match builder.load().await {
            Ok(table) => Ok(Some(LakeTable::new(name, table)?)),
            Err(DeltaTableError::NotATable(_)) if version.is_none() => Ok(None),
            Err(error) => Err(Error::from(error).at(name).hint("`pipeline fsck` says what is missing or broken")),
        }
    }

    fn builder(&self, name: &str) -> Result<DeltaTableBuilder> {
        let url = self.table_url(name)?;
        Ok(DeltaTableBuilder::from_url(url.clone()).at(name)?.with_storage_backend(self.store.clone(), url))
    }

    /// Opens a table, and makes it when there is none.
    ///
    /// # Errors
    /// When the table cannot be made or its log cannot be read.
    pub async fn open_or_create(&self, spec: &TableSpec) -> Result<LakeTable> {
        match self.open(&spec.name).await? {
            Some(table) => Ok(table),
            None => self.create(spec).await,
        }
    }

    #[tracing::instrument(level = "trace", skip_all, fields(table = %spec.name))]
    async fn create(&self, spec: &TableSpec) -> Result<LakeTable> {
        self.check_lease().await?;
        let url = self.table_url(&spec.name)?;
        if let Ok(path) = url.to_file_path() {
            std::fs::create_dir_all(&path).at(path.display())?;
        }
        let schema = spec.delta_schema()?;
        let name = spec.name.rsplit('.').next().unwrap_or(&spec.name);
        let table = self
            .builder(&spec.name)?
            .build()
            .at(&spec.name)?
            .create()
            .with_save_mode(SaveMode::Ignore)
            .with_table_name(name)
            .with_comment(&spec.description)
            .with_columns(schema.fields().cloned())
            .with_configuration(spec.properties().into_iter().map(|(key, value)| (key, Some(value))))
            .await
            .at(&spec.name)?;
        LakeTable::new(&spec.name, table)
    }
}

impl fmt::Display for Lake {
    /// Its folder or its URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.folder() {
            Some(folder) => folder.display().fmt(f),
            None => self.root.fmt(f),
        }
    }
}

/// A percent sign with two hexadecimal digits that stands in a path itself, not only in its URI. Delta's libraries decode
/// paths twice and would look elsewhere than they wrote.
fn percent_code(root: &Url) -> Option<String> {
    let codes = root.path().split("%25").skip(1);
    let digits = codes.filter_map(|rest| rest.get(..2));
    digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(|digits| format!("%{digits}"))
        .next()
}

/// Whether a local lake has a table of this name: a look at one folder, where asking Delta lists it. A run that was killed
/// while it made the table left a folder with nothing in it but an unfinished file.
fn has_log(root: &Path, name: &str) -> bool {
    let mut folder = root.to_owned();
    folder.extend(name.split('.'));
    let Ok(mut entries) = folder.join("_delta_log").read_dir() else { return false };
    entries.any(|entry| entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().contains('#')))
}
