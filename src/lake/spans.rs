//! Between which values of a column the rows of a table lie, row group by row group, from the files' footers.

use deltalake::datafusion::common::ScalarValue;

use super::{DataFile, LakeTable, reader, side_by_side};
use crate::error::{Place, Result};

/// Rows that lie together in a file.
#[derive(Debug, Clone)]
pub struct Span {
    /// How many they are.
    pub rows: usize,
    /// No value of the column is less, and none is more; of texts they may be cut off.
    pub least: ScalarValue,
    /// As `least`.
    pub most: ScalarValue,
}

/// The spans of a table's row groups in a column; `None` where a footer does not tell.
///
/// # Errors
/// When a file's footer cannot be read.
#[tracing::instrument(level = "trace", skip_all, name = "spans", fields(table = %table.name))]
pub async fn spans(table: &LakeTable, column: &str) -> Result<Option<Vec<Span>>> {
    let files = table.files()?.into_iter().map(|file| {
        let (table, column) = (table.clone(), column.to_owned());
        async move { spans_of(&table, &file, &column).await.at(&table.name) }
    });
    let spans: Option<Vec<Vec<Span>>> = side_by_side(files).await?.into_iter().collect();
    Ok(spans.map(|spans| spans.concat()))
}

async fn spans_of(table: &LakeTable, file: &DataFile, column: &str) -> Result<Option<Vec<Span>>> {
    let reader = reader::open(table, &file.path, file.size, None).await?;
    let (least, most) = reader::bounds(reader.metadata(), reader.schema(), column).at(&file.path)?;
    let mut spans = Vec::new();
    for (index, group) in reader.metadata().row_groups().iter().enumerate() {
        if least.is_null(index) || most.is_null(index) {
            return Ok(None);
        }
        let value = |values| ScalarValue::try_from_array(values, index);
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        spans.push(Span { rows, least: value(&least)?, most: value(&most)? });
    }
    Ok(Some(spans))
}
