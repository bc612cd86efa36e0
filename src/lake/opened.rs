//! The tables that a run has opened. Each table reads its inputs, and its commits go on to tables that all share: opened
//! anew every time, their logs would be most of what a run reads that finds nothing new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LakeTable;
use crate::error::Result;

/// Tables by name, as they were opened or last committed to.
#[derive(Debug, Clone, Default)]
pub(super) struct Opened(Arc<Mutex<HashMap<String, LakeTable>>>);

impl Opened {
    fn tables(&self) -> MutexGuard<'_, HashMap<String, LakeTable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table, if nobody has committed to it since it was kept.
    ///
    /// # Errors
    /// When its log cannot be looked at.
    pub async fn newest(&self, name: &str) -> Result<Option<LakeTable>> {
        let known = self.tables().get(name).cloned();
        match known {
            Some(table) if !table.has_entry(table.version() + 1).await? => Ok(Some(table)),
            _ => Ok(None),
        }
    }

    /// Keeps a table for those who open it next.
    pub fn keep(&self, table: &LakeTable) {
        self.tables().insert(table.name.clone(), table.clone());
    }
}
