//! What there is, how fresh, from what: read from the lake's logs and the contracts; nothing is written.

mod catalog;
mod history;
mod lineage;
mod runs;
mod status;

pub use catalog::{ColumnInfo, Contract, Description, ExpectationInfo, TableInfo, catalog, describe};
pub use history::{HistoryRow, history};
pub use lineage::{Edge, EdgeKind, Graph, Node, NodeKind};
pub use runs::{StageRun, runs};
pub use status::{LastRun, Status, TableStatus, status};

use crate::error::Result;
use crate::query::Reader;

/// The place of a stage in the flow, for sorting; the lake's own history comes last.
fn stage_order(table: &str) -> usize {
    let stages = ["bronze.", "silver.", "gold.", "ops."];
    stages.iter().position(|stage| table.starts_with(stage)).unwrap_or(stages.len())
}

/// The names of the tables that can be read, in the order of the flow.
///
/// # Errors
/// When the lake's folder cannot be listed, or there is no lake.
async fn tables_of(reader: &Reader) -> Result<Vec<String>> {
    let mut names = reader.tables().await?;
    if names.is_empty() {
        return Err(reader.no_lake());
    }
    names.sort_by_key(|name| stage_order(name));
    Ok(names)
}
