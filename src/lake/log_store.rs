//! Tells deltalake how the logs of tables in object stores are written: as on disk, by puts that only create.

use std::sync::Arc;

use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use url::Url;

use crate::error::{Error, Result};

struct Factory;

impl LogStoreFactory for Factory {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

/// Makes a scheme known; that of files is.
pub(super) fn register(scheme: &str) -> Result<()> {
    if scheme != "file" {
        let key = Url::parse(&format!("{scheme}://")).map_err(|error| Error::usage(error.to_string()))?;
        logstore_factories().insert(key, Arc::new(Factory));
    }
    Ok(())
}
