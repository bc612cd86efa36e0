//! Whether a store can hold a lake: asked once at the start of a run that writes.
//!
//! Commits rest on puts that only create, the lease on puts that only replace what was read. A store that takes such a put
//! and ignores its condition would lose commits without a word.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutResult};

use crate::error::{Error, Result};
use crate::store::Store;

/// Tries the store's conditional puts on a key of its own below the lake's root, and gives the store's time.
///
/// # Errors
/// When the store does not honour them, or cannot be written.
pub(super) async fn probe(store: &Store, root: &Path) -> Result<DateTime<Utc>> {
    let key = root.clone().join(format!("_probe-{}", uuid::Uuid::now_v7()));
    let tried = try_puts(store, &key).await;
    match (tried, store.delete(&key).await) {
        (Err(error), _) => Err(error),
        (Ok(_), Err(error)) => Err(error.into()),
        (Ok(now), Ok(())) => Ok(now),
    }
}

async fn try_puts(store: &Store, key: &Path) -> Result<DateTime<Utc>> {
    let create = |text: &'static str| store.put_opts(key, text.into(), PutMode::Create.into());
    let created = match tokio::join!(create("one"), create("two")) {
        (Ok(created), Err(StoreError::AlreadyExists { .. })) | (Err(StoreError::AlreadyExists { .. }), Ok(created)) => {
            created
        }
        (Ok(_), Ok(_)) => return Err(refused("of two creations of one object both succeeded")),
        (Err(StoreError::AlreadyExists { .. }), Err(StoreError::AlreadyExists { .. })) => {
            return Err(refused("of two creations of one object none succeeded"));
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let update = |text: &'static str, of: &PutResult| {
        store.put_opts(key, text.into(), PutMode::Update(of.clone().into()).into())
    };
    update("three", &created).await?;
    match update("four", &created).await {
        Err(StoreError::Precondition { .. }) => {}
        Ok(_) => return Err(refused("an object was replaced that had changed")),
        Err(error) => return Err(error.into()),
    }
    Ok(store.head(key).await?.last_modified)
}

fn refused(fact: &str) -> Error {
    Error::failed(format!("the store does not honour conditional puts: {fact}"))
        .hint("a lake needs a store that does, under concurrency too: change or update it, or keep the lake on a disk")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_store_that_honours_them_is_left_as_it_was() {
        let store: Store = Arc::new(InMemory::new());
        probe(&store, &Path::from("lake")).await.unwrap();
        assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    }
}
