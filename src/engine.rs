//! The only place that builds a DataFusion session: memory limit, spill to disk, and how SQL is read.

use std::num::NonZeroUsize;
use std::sync::Arc;

use deltalake::datafusion::catalog::{MemorySchemaProvider, TableProvider};
use deltalake::datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use deltalake::datafusion::execution::runtime_env::RuntimeEnvBuilder;
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Result;

/// How many of the largest users of memory an error names when the limit is reached.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN;

/// DataFusion's setting of the bytes up to which a join's side counts as small. A reference has to.
const SMALL_SIDE: &str = "datafusion.optimizer.hash_join_single_partition_threshold";
/// The share of memory that a small side may take.
const SMALL_SIDE_SHARE: usize = 8;

/// What an engine may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that sorts, joins and aggregations may hold before they spill to disk.
    pub memory: usize,
    /// Tasks that run side by side.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self { memory: 512 * 1024 * 1024, threads }
    }
}

/// A session with nothing registered but the stages' schemas.
///
/// Strings are `Utf8` and identifiers fold to lower case, as the contracts are checked.
///
/// # Errors
/// When the directory for spilling cannot be made.
pub fn session(limits: Limits) -> Result<SessionContext> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory), NAMED_CONSUMERS);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    // With one partition, DataFusion builds a join's hash table from its left side, whatever its size: from all records of a
    // run, where a reference is on the right. With two it takes the side that is known to be small.
    let config = config(limits.threads.max(2)).set_usize(SMALL_SIDE, limits.memory / SMALL_SIDE_SHARE);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

fn config(partitions: usize) -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true)
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        .set_bool("datafusion.execution.parquet.reorder_filters", true)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // In 55.2 it loses the qualifier of a field that a join condition reads (`ON f(a.x['y']) = b.z`).
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
}

/// A session that plans SQL, for contracts to be checked, and never executes it.
pub fn planning_session() -> SessionContext {
    SessionContext::new_with_config(config(1))
}

/// Registers a table under a name such as `silver.exams`.
///
/// # Errors
/// When the name is taken.
pub fn register(ctx: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
    if let Some((schema, _)) = name.split_once('.')
        && let Some(catalog) = ctx.catalog("datafusion")
        && catalog.schema(schema).is_none()
    {
        catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    ctx.register_table(name, table)?;
    Ok(())
}
