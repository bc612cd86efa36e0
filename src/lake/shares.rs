//! Rows that several tasks read together, each taking whatever is next.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::datafusion::catalog::Session;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::TaskContext;
use deltalake::datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use deltalake::datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use deltalake::datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{Stream, TryStreamExt};

use crate::error::Result;

/// Rows that can be read by several tasks, once.
pub trait Shared: Debug + Send + Sync + 'static {
    /// The columns of the rows.
    fn schema(&self) -> &SchemaRef;

    /// One task's share of the rows: what no other task has taken.
    fn stream(self: Arc<Self>) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static;
}

/// The rows as SQL reads them, by so many tasks.
pub fn shares<T: Shared>(rows: &Arc<T>, tasks: usize) -> Vec<Arc<dyn PartitionStream>> {
    (0..tasks).map(|_| Arc::new(Share(rows.clone())) as Arc<dyn PartitionStream>).collect()
}

/// How a query reads rows once, in as many tasks as it has; those of some columns, or of all.
///
/// # Errors
/// When there is no such column; a defect.
pub fn scan<T: Shared>(
    rows: T,
    session: &dyn Session,
    columns: Option<&Vec<usize>>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let rows = Arc::new(rows);
    let tasks = shares(&rows, session.config().target_partitions());
    Ok(Arc::new(StreamingTableExec::try_new(rows.schema().clone(), tasks, columns, [], false, None)?))
}

#[derive(Debug)]
struct Share<T>(Arc<T>);

impl<T: Shared> PartitionStream for Share<T> {
    fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stream = self.0.clone().stream().map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(self.0.schema().clone(), stream))
    }
}
