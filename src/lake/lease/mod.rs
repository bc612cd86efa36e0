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

/// How long after the last sign of life of its owner a lease on an object store is free.
pub const LEASE_EXPIRY: Duration = Duration::from_secs(60);

/// The lease; given back when it is dropped (disk) or released (object store).
#[derive(Debug)]
pub(super) enum Lease {
    Disk(#[allow(dead_code, reason = "held, not read")] DiskLease),
    Object(ObjectLease),
}

impl Lease {
    /// Takes the lease, or fails at once with [`Kind::Lease`] and the name of its owner.
    ///
    /// # Errors
    /// When another process holds it, or the lake cannot be written.
    pub(super) async fn take(lake: &Lake) -> Result<Self> {
        match lake.folder() {
            Some(folder) => DiskLease::take(&folder).map(Self::Disk),
            None => ObjectLease::take(lake).await.map(Self::Object),
        }
    }

    /// Makes sure that the lease is still held: called before each commit.
    ///
    /// # Errors
    /// [`Kind::Lease`] when someone else has it; a failure when the store cannot be asked.
    pub(super) async fn check(&self) -> Result<()> {
        match self {
            // The lock lasts as long as the process, asleep or not.
            Self::Disk(_) => Ok(()),
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
    since: String,
}

impl Owner {
    fn this() -> Self {
        let host = std::fs::read_to_string("/etc/hostname");
        let host = host.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned());
        let since = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Self { process: std::process::id(), host, since }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {} since {}", self.process, self.host, self.since)
    }
}

fn held(lake: &dyn fmt::Display, owner: &str) -> Error {
    Error::new(Kind::Lease, format!("another run holds the lease on {lake}: {owner}"))
}
