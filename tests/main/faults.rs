//! An object store that fails at chosen operations, in each way that a real one can.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use medalha::lake::{Lake, Store};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Fails,
    /// It fails, and was done: only the answer was lost.
    Unanswered,
    /// The writer dies in the middle of it, as a process does that is killed: what was written has not its name yet, and
    /// nothing that the process would have done comes after it.
    Dies,
    /// The same of a store that promises less than ours: the first half stands under the final name.
    Tears,
    /// The process is killed before it.
    Kills,
}

/// Which operations fail, by their number from 1.
#[derive(Debug, Default)]
pub struct Faults {
    plan: BTreeMap<u64, Fault>,
    /// Whether reading counts too.
    reads: bool,
    counted: AtomicU64,
    met: AtomicU64,
    is_dead: AtomicBool,
}

impl Faults {
    /// Those of a plan.
    pub fn of(plan: impl IntoIterator<Item = (u64, Fault)>, reads: bool) -> Arc<Self> {
        Arc::new(Self { plan: plan.into_iter().collect(), reads, ..Self::default() })
    }

    /// A lake whose store has them.
    pub fn over(self: &Arc<Self>, lake: Lake) -> Lake {
        lake.with_store(|inner| Arc::new(Faulty { inner, faults: self.clone() }))
    }

    /// How many operations there were.
    pub fn counted(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }

    /// How many of them failed as planned.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::SeqCst)
    }

    /// What becomes of the next operation that changes something; an error when nothing works any more.
    fn next(&self) -> Result<Option<Fault>> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(broken("dead since an earlier operation"));
        }
        let number = self.counted.fetch_add(1, Ordering::SeqCst) + 1;
        let Some(fault) = self.plan.get(&number).copied() else { return Ok(None) };
        self.met.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::Kills => std::process::abort(),
            Fault::Fails => return Err(broken("was not done")),
            Fault::Dies | Fault::Tears => self.is_dead.store(true, Ordering::SeqCst),
            Fault::Unanswered => {}
        }
        Ok(Some(fault))
    }

    /// The same for one that writes no bytes: it is done or not.
    fn next_whole(&self) -> Result<Option<Fault>> {
        match self.next()? {
            Some(Fault::Dies | Fault::Tears) => Err(broken("died")),
            fault => Ok(fault),
        }
    }

    /// The same for reading.
    fn read(&self) -> Result<()> {
        if !self.reads {
            return if self.is_dead.load(Ordering::SeqCst) { Err(broken("dead")) } else { Ok(()) };
        }
        self.next_whole().and_then(|fault| answer((), fault))
    }
}

fn broken(what: &'static str) -> Error {
    Error::Generic { store: "Faulty", source: what.into() }
}

/// A result that is lost where there was a fault.
fn answer<T>(done: T, fault: Option<Fault>) -> Result<T> {
    if fault.is_some() { Err(broken("no answer")) } else { Ok(done) }
}

/// The store.
#[derive(Debug)]
struct Faulty {
    inner: Store,
    faults: Arc<Faults>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

/// Leaves half of what was to be written: under the name of an unfinished file, or under its own.
fn leave_half(location: &Path, payload: &[u8], fault: Fault) -> Result<()> {
    let name = match fault {
        Fault::Tears => format!("/{location}"),
        _ => format!("/{location}#1"),
    };
    let path = PathBuf::from(name);
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    written.and_then(|()| std::fs::write(&path, &payload[..payload.len() / 2])).map_err(|_| broken("half"))
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = self.faults.next()?;
        if let Some(fault @ (Fault::Dies | Fault::Tears)) = fault {
            leave_half(location, &Bytes::from(payload), fault)?;
            return Err(broken("died"));
        }
        let done = self.inner.put_opts(location, payload, opts).await?;
        answer(done, fault)
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.faults.read()?;
        let inner = self.inner.put_multipart_opts(at, opts).await?;
        Ok(Box::new(Upload { inner, faults: self.faults.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.read()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.faults.read()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (self.inner.clone(), self.faults.clone());
        let delete = move |location: Result<Path>| {
            let (inner, faults) = (inner.clone(), faults.clone());
            async move {
                let location = location?;
                let fault = faults.next_whole()?;
                let one = futures::stream::iter([Ok(location.clone())]).boxed();
                let done: Vec<Result<Path>> = inner.delete_stream(one).collect().await;
                done.into_iter().collect::<Result<Vec<_>>>()?;
                answer(location, fault)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.faults.read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.faults.read() {
            Ok(()) => self.inner.list_with_offset(prefix, offset),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.faults.read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let fault = self.faults.next_whole()?;
        self.inner.copy_opts(from, to, options).await?;
        answer((), fault)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let fault = self.faults.next_whole()?;
        self.inner.rename_opts(from, to, options).await?;
        answer((), fault)
    }
}

/// A large file: completing it is what counts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    faults: Arc<Faults>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.faults.read() {
            Ok(()) => self.inner.put_part(data),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.faults.next_whole()?;
        let done = self.inner.complete().await?;
        answer(done, fault)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
