//! The lease on a lake in an object store: an object that only one run can create, and only its owner can renew.
//!
//! Its owner replaces it every so often, on condition that it is still the one that the owner wrote last. A run that finds
//! it older than its expiry, by the store's clock, replaces it on the same condition, and then it is the owner; the old
//! owner learns of it when it renews, which it does before it commits.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, UpdateVersion};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use super::super::Lake;
use super::super::probe::probe;
use super::{BEATS, Body, held_by, lost};
use crate::error::{Error, Kind, Place, Result};
use crate::store::Store;

/// Before a commit it must have been renewed within this part of the expiry.
const FRESH: u32 = 3;
/// Looks at a lease that is created, given back and taken over by others meanwhile.
const LOOKS: usize = 3;

/// A lease that is held, and renewed in the background.
#[derive(Debug)]
pub(in crate::lake) struct ObjectLease {
    held: Arc<Held>,
    beat: Mutex<Option<Beat>>,
}

/// The task that renews; ends when its channel is closed.
#[derive(Debug)]
struct Beat {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    store: Store,
    path: Path,
    lake: String,
    body: Body,
    expiry: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    version: UpdateVersion,
    beats: u64,
    renewed: Moment,
    lost: bool,
}

/// A point in time that a machine's sleep and a clock that is set cannot bring nearer: each clock misses one of them.
#[derive(Debug, Clone, Copy)]
struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    fn age(&self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or(Duration::MAX))
    }
}

impl ObjectLease {
    pub(super) async fn take(lake: &Lake) -> Result<Self> {
        let (store, root) = (lake.store.clone(), lake.root_path()?);
        let now = probe(&store, &root).await.at(lake)?;
        let (path, expiry) = (root.join("_lease"), lake.lease_expiry);
        let mut held = Held {
            store,
            path,
            lake: lake.to_string(),
            body: Body::new(expiry),
            expiry,
            state: Mutex::new(State {
                version: UpdateVersion { e_tag: None, version: None },
                beats: 0,
                renewed: Moment::now(),
                lost: false,
            }),
        };
        held.state.get_mut().version = held.acquire(now).await.at(lake)?;
        let held = Arc::new(held);
        let beat = Mutex::new(Some(Beat::start(held.clone())));
        Ok(Self { held, beat })
    }

    pub(super) async fn check(&self) -> Result<()> {
        let mut state = self.held.state.lock().await;
        if !state.lost && state.renewed.age() < self.held.expiry / FRESH {
            return Ok(());
        }
        self.held.renew(&mut state).await
    }

    /// Deletes the object. It is renewed before, so that nobody else can have it meanwhile.
    pub(super) async fn release(&self) {
        let Some(beat) = self.beat.lock().await.take() else { return };
        drop(beat.stop);
        let _ = beat.task.await;
        let mut state = self.held.state.lock().await;
        if state.lost {
            return;
        }
        let released = match self.held.renew(&mut state).await {
            Ok(()) => self.held.store.delete(&self.held.path).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        state.lost = true;
        if let Err(error) = released {
            tracing::warn!("the lease was not given back and will expire: {error}");
        }
    }
}

impl Beat {
    fn start(held: Arc<Held>) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut stopped => return,
                    () = tokio::time::sleep(held.expiry / BEATS) => {}
                }
                let mut state = held.state.lock().await;
                // Whoever commits is told; a failure may be over at the next beat.
                let renewed = held.renew(&mut state).await;
                if renewed.is_err_and(|error| error.kind() == Kind::Lease) {
                    return;
                }
            }
        });
        Self { stop, task }
    }
}

impl Held {
    fn body(&self, beat: u64) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Body { beat, ..self.body.clone() })?)
    }

    /// Creates the object, or replaces that of an owner that is dead; `now` is the store's time.
    async fn acquire(&self, now: DateTime<Utc>) -> Result<UpdateVersion> {
        for _ in 0..LOOKS {
            match self.put(0, PutMode::Create).await {
                Err(StoreError::AlreadyExists { .. }) => {}
                put => return Ok(put?),
            }
            let found = match self.store.get(&self.path).await {
                Err(StoreError::NotFound { .. }) => continue,
                found => found?,
            };
            let (written, version) = (found.meta.last_modified, of(&found.meta));
            let body: Option<Body> = serde_json::from_slice(&found.bytes().await?).ok();
            let silent = (now - written).to_std().unwrap_or_default();
            if silent < body.as_ref().map_or(self.expiry, Body::expiry) {
                return Err(self.held_by(body.as_ref(), silent));
            }
            match self.put(0, PutMode::Update(version)).await {
                Err(StoreError::Precondition { .. } | StoreError::NotFound { .. }) => {}
                put => return Ok(put?),
            }
        }
        Err(self.held_by(None, Duration::ZERO))
    }

    async fn put(&self, beat: u64, mode: PutMode) -> object_store::Result<UpdateVersion> {
        let body = self.body(beat).map_err(|error| StoreError::Generic { store: "lease", source: Box::new(error) })?;
        Ok(self.store.put_opts(&self.path, body.into(), mode.into()).await?.into())
    }

    fn held_by(&self, body: Option<&Body>, silent: Duration) -> Error {
        held_by(&self.lake, body, silent, self.expiry, "")
    }

    async fn renew(&self, state: &mut State) -> Result<()> {
        // The time before the request: the store may have had it at once and answered late.
        let begun = Moment::now();
        if !state.lost {
            match self.put(state.beats + 1, PutMode::Update(state.version.clone())).await {
                Ok(version) => {
                    (state.version, state.renewed) = (version, begun);
                    state.beats += 1;
                    return Ok(());
                }
                Err(StoreError::Precondition { .. } | StoreError::NotFound { .. }) => state.lost = true,
                Err(error) => return Err(Error::from(error).at(format!("the lease on {}", self.lake))),
            }
        }
        Err(lost(&self.lake))
    }
}

fn of(meta: &object_store::ObjectMeta) -> UpdateVersion {
    UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() }
}
