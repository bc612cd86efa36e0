//! The only place that builds a DataFusion session: memory limit, spill to disk, and how SQL is read.

mod array_length;
mod pool;
pub mod spill;

use std::num::NonZeroUsize;
use std::sync::Arc;

use deltalake::datafusion::catalog::{MemorySchemaProvider, TableProvider};
use deltalake::datafusion::execution::memory_pool::TrackConsumersPool;
use deltalake::datafusion::execution::runtime_env::RuntimeEnvBuilder;
use deltalake::datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use deltalake::datafusion::logical_expr::ScalarUDF;
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};

use self::array_length::ArrayLength;
use self::pool::LendingPool;
use crate::error::Result;

/// How many of the largest users of memory an error names when the limit is reached.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN;

/// DataFusion's setting of the bytes up to which a join's side counts as small: one task collects it, for all the others.
const SMALL_SIDE: &str = "datafusion.optimizer.hash_join_single_partition_threshold";
/// References are small; of tables it should be those that one task collects sooner than all together divide both sides.
const SMALL_SIDE_BYTES: usize = 4 * 1024 * 1024;
/// The share of memory that a small side may take at most.
const SMALL_SIDE_SHARE: usize = 8;

/// DataFusion's setting of the bytes that each sort keeps free for merging what it has spilled: by default so many that no
/// sort could begin in little memory.
const SORT_RESERVATION: &str = "datafusion.execution.sort_spill_reservation_bytes";
/// The share of memory that a sort keeps free, and the most that it does.
const SORT_RESERVATION_SHARE: usize = 16;
const MOST_SORT_RESERVATION: usize = 10 * 1024 * 1024;

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
        Self { memory: 256 * 1024 * 1024, threads }
    }
}

/// A session with nothing registered but the stages' schemas.
///
/// Strings are `Utf8` and identifiers fold to lower case, as the contracts are checked.
///
/// # Errors
/// When the directory for spilling cannot be made.
pub fn session(limits: Limits) -> Result<SessionContext> {
    let pool = TrackConsumersPool::new(LendingPool::new(limits.memory), NAMED_CONSUMERS);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    // With one partition, DataFusion builds a join's hash table from its left side, whatever its size: from all records of a
    // run, where a reference is on the right. With two it takes the side that is known to be small.
    let config = config(limits.threads.max(2))
        .set_usize(SMALL_SIDE, SMALL_SIDE_BYTES.min(limits.memory / SMALL_SIDE_SHARE))
        .set_usize(SORT_RESERVATION, (limits.memory / SORT_RESERVATION_SHARE).min(MOST_SORT_RESERVATION));
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    let array_length = ctx.udf("array_length")?;
    ctx.register_udf(ScalarUDF::from(ArrayLength::new(array_length)));
    Ok(ctx)
}

fn config(partitions: usize) -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true)
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
        // Choosing rows column by column costs more than decoding all of what statistics and bloom filters leave: the named
        // query over labels takes 0.3 s with it, and 0.2 s without.
        .set_bool("datafusion.execution.parquet.pushdown_filters", false)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // In 55.2 it loses the qualifier of a field that a join condition reads (`ON f(a.x['y']) = b.z`).
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
}

/// A session that plans SQL, for contracts to be checked, and never executes it: how to make a plan fast is not asked.
pub(crate) fn planning_session() -> SessionContext {
    let state = SessionStateBuilder::new().with_config(config(1)).with_default_features();
    SessionContext::new_with_state(state.with_physical_optimizer_rules(Vec::new()).build())
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

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use deltalake::datafusion::datasource::MemTable;
    use deltalake::datafusion::physical_plan::{ExecutionPlan, collect};

    use super::*;

    const ROWS: i64 = 1_500_000;

    /// Numbers in an order of no kind, each once.
    fn numbers() -> MemTable {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |first: i64| {
            // The factor has no divisor in common with the number of rows.
            let mixed = (first..(first + 8192).min(ROWS)).map(|n| n * 7919 % ROWS);
            RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(mixed))]).unwrap()
        };
        let batches = (0..ROWS).step_by(8192).map(batch).collect();
        MemTable::try_new(schema.clone(), vec![batches]).unwrap()
    }

    fn spills(plan: &dyn ExecutionPlan) -> usize {
        let own = plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or_default();
        own + plan.children().into_iter().map(|child| spills(child.as_ref())).sum::<usize>()
    }

    /// The first column of the answer, and how often something was spilled.
    async fn answer(sql: &str) -> (Vec<i64>, usize) {
        let ctx = session(Limits { memory: 16 << 20, threads: 2 }).unwrap();
        register(&ctx, "numbers", Arc::new(numbers())).unwrap();
        let plan = ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let batches = collect(plan.clone(), ctx.task_ctx()).await.unwrap();
        let values = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        (values.collect(), spills(plan.as_ref()))
    }

    #[tokio::test]
    async fn the_length_of_an_array_is_what_datafusion_says() {
        let lists = "VALUES ([1, 2, 3], 1), ([], 1), (NULL, 1), ([NULL], 2), ([4, 5], NULL), ([6], 0)";
        for call in
            ["ARRAY_LENGTH(a)", "LIST_LENGTH(a)", "ARRAY_LENGTH(a, n)", "ARRAY_LENGTH([a, a])", "ARRAY_LENGTH([7])"]
        {
            let sql = format!("SELECT {call} AS length FROM ({lists}) AS t(a, n)");
            let ours = session(Limits::default()).unwrap().sql(&sql).await.unwrap().collect().await.unwrap();
            let theirs = SessionContext::new().sql(&sql).await.unwrap().collect().await.unwrap();
            assert_eq!(ours, theirs, "{call}");
        }
    }

    #[tokio::test]
    async fn a_sort_of_more_than_memory_spills() {
        let (values, spills) = answer("SELECT n, n AS a, n AS b FROM numbers ORDER BY n").await;
        assert!(values.into_iter().eq(0..ROWS));
        assert!(spills > 0);
    }

    #[tokio::test]
    async fn an_aggregation_of_more_than_memory_spills() {
        let (mut values, spills) = answer("SELECT n / 2 AS half, COUNT(*), MAX(n) FROM numbers GROUP BY n / 2").await;
        values.sort_unstable();
        assert!(values.into_iter().eq(0..ROWS / 2));
        assert!(spills > 0);
    }
}
