//! What killed runs left, in tables that a run does not bring up to date itself.

use super::{Options, Run};
use crate::contract::TableName;
use crate::error::Error;

impl Run {
    /// Lets tables that the run leaves as they are hand over what a killed run of theirs left to its followers: what this
    /// run reads and publishes must be whole. Gives what failed of the pipelines that the run is for, and whether nothing waits
    /// any more in any pipeline.
    pub(super) async fn catch_up_others(&self, names: &[TableName], options: &Options) -> (Vec<Error>, bool) {
        let (mut errors, mut is_whole) = (Vec::new(), true);
        for table in self.project.tables.iter().filter(|table| !names.contains(&table.name)) {
            let caught_up = match self.lake.open(&table.name.to_string()).await {
                Ok(Some(table)) => table.catch_up(&self.lake).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            is_whole &= caught_up.is_ok();
            errors.extend(caught_up.err().filter(|_| options.takes_pipeline(&table.pipeline)));
        }
        (errors, is_whole)
    }
}
