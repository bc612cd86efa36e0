//! What an erasure has decided, written down before the first log entry is changed: whoever takes the lease after a process
//! that was killed carries it out before anything else, for what was changed half can no longer be searched. It names files,
//! and nobody.

use std::collections::BTreeMap;

use object_store::{Error as StoreError, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::{Lake, Replacements};
use crate::error::{Place, Result};

/// An object below the lake's root.
const NOTE: &str = "_erasure";

/// Which files stand in for which.
#[derive(Debug, Serialize, Deserialize)]
pub struct Redo {
    /// What is erased, as contracts call it: `exam`.
    pub subject: String,
    /// By table.
    pub tables: BTreeMap<String, Replacements>,
    /// The logs name the new files, and the old ones are gone; tables may still count what was in them.
    is_carried_out: bool,
}

impl Redo {
    /// That of a subject, with no table yet.
    pub fn of(subject: &str) -> Self {
        Self { subject: subject.to_owned(), tables: BTreeMap::new(), is_carried_out: false }
    }

    /// That of an erasure that was begun and not ended.
    ///
    /// # Errors
    /// When the note cannot be read.
    pub async fn pending(lake: &Lake) -> Result<Option<Self>> {
        let path = lake.root_path()?.join(NOTE);
        match lake.store.get(&path).await {
            Ok(found) => Ok(Some(serde_json::from_slice(&found.bytes().await.at(&path)?).at(&path)?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).at(&path),
        }
    }

    /// Writes it down, and carries it out.
    ///
    /// # Errors
    /// When the lease was lost, or storage fails; whoever takes the lease then goes on with it.
    pub async fn begin(&mut self, lake: &Lake) -> Result<()> {
        self.write(lake).await?;
        self.carry_out(lake).await
    }

    /// Lets all logs name the new files, then takes the old ones away; from the start where that was killed.
    pub(super) async fn carry_out(&mut self, lake: &Lake) -> Result<()> {
        if self.is_carried_out {
            return Ok(());
        }
        // Commits carry files of other tables, so every log may name any of them.
        let all: Replacements = self.tables.values().flat_map(Clone::clone).collect();
        for name in lake.tables().await? {
            if let Some(table) = lake.open(&name).await? {
                table.rename_in_log(lake, &all).await?;
            }
        }
        for (name, replaced) in &self.tables {
            if let Some(table) = lake.open(name).await? {
                table.delete_replaced(lake, replaced).await?;
            }
        }
        self.is_carried_out = true;
        self.write(lake).await
    }

    async fn write(&self, lake: &Lake) -> Result<()> {
        lake.check_lease().await?;
        let path = lake.root_path()?.join(NOTE);
        lake.store.put(&path, serde_json::to_vec(self)?.into()).await.at(&path).map(drop)
    }

    /// All that belongs to the erasure is done.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn end(lake: &Lake) -> Result<()> {
        let path = lake.root_path()?.join(NOTE);
        lake.store.delete(&path).await.at(&path)
    }
}
