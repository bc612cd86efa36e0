//! Conditional puts whose outcome is certain.
//!
//! A put that a server has done and not acknowledged is repeated, and then meets its own object: "already exists" may
//! mean that it succeeded. What is stored decides: commits and leases never have the same bytes twice.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::Store;

/// How often a put is tried of which nothing arrived. The store's own retries come on top, but where a connection broke:
/// there it does not know whether to repeat.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubles with each.
const PAUSE: Duration = Duration::from_millis(500);

/// A store that finds out whether a conditional put that failed has landed.
#[derive(Debug)]
pub struct CertainStore {
    inner: Store,
    pause: Duration,
}

impl CertainStore {
    /// Around another store.
    pub fn new(inner: Store) -> Self {
        Self { inner, pause: PAUSE }
    }

    /// What is stored, beside what was to be.
    async fn found(&self, location: &Path, payload: &PutPayload) -> Result<Found> {
        let stored = match self.inner.get(location).await {
            Ok(stored) => stored,
            Err(Error::NotFound { .. }) => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let ours = PutResult { e_tag: stored.meta.e_tag.clone(), version: stored.meta.version.clone() };
        if stored.meta.size != payload.content_length() as u64 {
            return Ok(Found::Other);
        }
        let same = stored.bytes().await? == Bytes::from(payload.clone());
        Ok(if same { Found::Ours(ours) } else { Found::Other })
    }
}

enum Found {
    Nothing,
    Ours(PutResult),
    Other,
}

impl fmt::Display for CertainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certain({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CertainStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode == PutMode::Overwrite {
            return self.inner.put_opts(location, payload, opts).await;
        }
        for attempt in 1.. {
            let error = match self.inner.put_opts(location, payload.clone(), opts.clone()).await {
                Err(error) if is_doubtful(&error) => error,
                known => return known,
            };
            let conflict = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
            match self.found(location, &payload).await {
                Ok(Found::Ours(result)) => return Ok(result),
                Ok(Found::Other) if conflict => return Err(error),
                _ if attempt == ATTEMPTS => return Err(error),
                _ => tokio::time::sleep(self.pause * 2_u32.pow(attempt - 1)).await,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
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
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// Whether the put may have landed in spite of the error.
fn is_doubtful(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::Generic { .. })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use object_store::memory::InMemory;

    use super::*;

    /// How a put ends that the store was asked for.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        /// The object is there, and the answer is lost.
        Unanswered,
        /// Nothing arrives, the first times.
        Lost(u32),
    }

    #[derive(Debug)]
    struct Faulty {
        inner: InMemory,
        fate: Fate,
        puts: AtomicU32,
    }

    impl fmt::Display for Faulty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{self:?}")
        }
    }

    #[async_trait]
    impl ObjectStore for Faulty {
        async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
            let number = self.puts.fetch_add(1, Ordering::Relaxed);
            let broken = Error::Generic { store: "Faulty", source: "connection reset".into() };
            match self.fate {
                Fate::Lost(times) if number < times => return Err(broken),
                Fate::Lost(_) => return self.inner.put_opts(location, payload, opts).await,
                Fate::Unanswered => {}
            }
            self.inner.put_opts(location, payload, opts).await?;
            Err(broken)
        }

        async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, opts).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.inner.get_opts(location, options).await
        }

        fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.inner.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }

    async fn put(store: &CertainStore, text: &'static str, mode: PutMode) -> Result<PutResult> {
        store.put_opts(&Path::from("key"), text.into(), mode.into()).await
    }

    fn certain(fate: Fate) -> (CertainStore, Arc<Faulty>) {
        let faulty = Arc::new(Faulty { inner: InMemory::new(), fate, puts: AtomicU32::new(0) });
        (CertainStore { inner: faulty.clone(), pause: Duration::from_millis(1) }, faulty)
    }

    #[tokio::test]
    async fn what_landed_unanswered_counts_as_done_and_only_for_who_put_it() {
        let (store, faulty) = certain(Fate::Unanswered);
        let first = put(&store, "first", PutMode::Create).await.unwrap();
        assert_eq!(faulty.puts.load(Ordering::Relaxed), 1, "it is looked at, not put again");
        assert!(matches!(put(&store, "other", PutMode::Create).await, Err(Error::AlreadyExists { .. })));
        let stale = PutMode::Update(first.clone().into());
        put(&store, "second", PutMode::Update(first.into())).await.unwrap();
        assert!(matches!(put(&store, "third", stale).await, Err(Error::Precondition { .. })));
    }

    #[tokio::test]
    async fn what_never_arrived_is_put_again_a_few_times() {
        let (store, _) = certain(Fate::Lost(2));
        put(&store, "first", PutMode::Create).await.unwrap();
        let (store, faulty) = certain(Fate::Lost(100));
        assert!(matches!(put(&store, "first", PutMode::Create).await, Err(Error::Generic { .. })));
        assert_eq!(faulty.puts.load(Ordering::Relaxed), ATTEMPTS);
    }
}
