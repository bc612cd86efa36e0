//! One writer at a time: the lease on a lake.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Lake;
use crate::error::{Error, Kind, Result};

mod disk;
mod object;

use disk::DiskLease;
use object::ObjectLease;

/// How long after the last sign of life of its owner a lease on an object store, or of another machine, is free.
pub const LEASE_EXPIRY: Duration = Duration::from_secs(60);
/// The lease is renewed so many times before it would expire.
const BEATS: u32 = 6;

/// The lease; given back when it is dropped (disk) or released (object store).
#[derive(Debug)]
pub(super) enum Lease {
    Disk(DiskLease),
    Object(ObjectLease),
}

impl Lease {
    /// Takes the lease, or fails at once with [`Kind::Lease`] and the name of its owner.
    ///
    /// # Errors
    /// When another process holds it, or the lake cannot be written.
    pub(super) async fn take(lake: &Lake) -> Result<Self> {
        match lake.folder() {
            Some(folder) => DiskLease::take(&folder, lake.lease_expiry).await.map(Self::Disk),
            None => ObjectLease::take(lake).await.map(Self::Object),
        }
    }

    /// Makes sure that the lease is still held: called before each commit.
    ///
    /// # Errors
    /// [`Kind::Lease`] when someone else has it; a failure when the store cannot be asked.
    pub(super) async fn check(&self) -> Result<()> {
        match self {
            Self::Disk(lease) => lease.check(),
            Self::Object(lease) => lease.check().await,
        }
    }

    /// Gives the lease back. Where that fails, it expires.
    pub(super) async fn release(&self) {
        if let Self::Object(lease) = self {
            lease.release().await;
        }
    }
}

/// Who holds a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Owner {
    process: u32,
    host: String,
    /// What tells the machine from others, and from itself before it was started anew; none where the system does not say.
    machine: Option<String>,
    since: String,
}

impl Owner {
    fn this() -> Self {
        let host = std::fs::read_to_string("/etc/hostname");
        let host = host.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned());
        let since = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Self { process: std::process::id(), host, machine: machine(), since }
    }

    /// Whether the owner's locks are seen here: of two machines of one name, and of one that was started anew, none lives.
    fn is_of_this_machine(&self) -> bool {
        let this = Self::this();
        self.machine == this.machine || self.host == this.host
    }
}

fn machine() -> Option<String> {
    // Containers on one machine have one kernel, and see each other's locks.
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {} since {}", self.process, self.host, self.since)
    }
}

/// What a lease says of itself. The beat makes each of its states another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Body {
    id: String,
    #[serde(flatten)]
    owner: Owner,
    expires_after_seconds: f64,
    beat: u64,
}

impl Body {
    /// That of a lease which this process takes.
    fn new(expiry: Duration) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self { id, owner: Owner::this(), expires_after_seconds: expiry.as_secs_f64(), beat: 0 }
    }

    fn expiry(&self) -> Duration {
        Duration::try_from_secs_f64(self.expires_after_seconds).unwrap_or(LEASE_EXPIRY)
    }
}

/// The lease has another owner, not heard of for some time.
fn held_by(lake: &str, body: Option<&Body>, silent: Duration, expiry: Duration, more: &str) -> Error {
    let owner = body.map_or_else(|| "a run that has just taken it".to_owned(), |body| body.owner.to_string());
    let expiry = body.map_or(expiry, Body::expiry).as_secs();
    let silent = silent.as_secs();
    let fact = format!("another run holds the lease on {lake}: {owner}, last heard of {silent} s ago");
    Error::new(Kind::Lease, fact)
        .hint(format!("wait for it to end; the lease of a run that died is free after {expiry} s of silence{more}"))
}

fn lost(lake: &str) -> Error {
    Error::new(Kind::Lease, format!("the lease on {lake} was lost: another run has taken it over, or it was removed"))
        .hint("this machine slept or was cut off; what was not committed is left to the next run")
}
