//! Work on several files of a table at once.

use futures::{StreamExt, TryStreamExt};

use crate::error::Result;

/// Files that are worked on at once: of each a row group may be in memory.
const AT_ONCE: usize = 2;

/// Does work, a few pieces at once, each as a task of its own; gives the results in the order of the pieces.
///
/// # Errors
/// Those of the work. Pieces that have begun by then end unheard.
pub async fn side_by_side<T, W>(work: impl IntoIterator<Item = W>) -> Result<Vec<T>>
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let tasks = work.into_iter().map(|piece| async move { tokio::spawn(piece).await? });
    futures::stream::iter(tasks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await
}
