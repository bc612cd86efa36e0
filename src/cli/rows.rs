//! Rows of an answer as a table for people.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{Cell, CellAlignment};
use deltalake::datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::output;
use crate::error::Result;
use crate::query::fault;

/// Rows that a table shows; who wants all of them wants them in another format.
const SHOWN_ROWS: usize = 1000;
/// Characters that a cell shows.
const SHOWN_CHARS: usize = 80;

/// The first rows with their number below.
///
/// # Errors
/// When the query fails.
pub async fn table(mut rows: SendableRecordBatchStream) -> Result<String> {
    let schema = rows.schema();
    let mut shown: Vec<RecordBatch> = Vec::new();
    let mut count = 0;
    while count <= SHOWN_ROWS
        && let Some(batch) = rows.next().await
    {
        let batch = batch.map_err(|error| fault::of_rows(&error))?;
        count += batch.num_rows();
        shown.push(batch);
    }
    match plans(&schema, &shown) {
        Some(plans) => Ok(plans),
        None => render(&schema, &shown, count),
    }
}

fn render(schema: &Schema, batches: &[RecordBatch], count: usize) -> Result<String> {
    let heading: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut table = output::table(&heading);
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let mut left = SHOWN_ROWS;
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows().min(left) {
            let cells = columns.iter().zip(schema.fields()).map(|(column, field)| {
                let cell = Cell::new(cut(&column.value(row).to_string()));
                if is_number(field.data_type()) { cell.set_alignment(CellAlignment::Right) } else { cell }
            });
            table.add_row(cells.collect::<Vec<_>>());
        }
        left -= batch.num_rows().min(left);
    }
    let below = match count {
        1 => "1 row".to_owned(),
        count if count <= SHOWN_ROWS => format!("{} rows", output::thousands(count as u64)),
        _ => format!("the first {} rows; --format csv or json gives all", output::thousands(SHOWN_ROWS as u64)),
    };
    Ok(format!("{table}\n{below}"))
}

/// Plans as EXPLAIN gives them: a tree over many lines, which cells would spoil.
fn plans(schema: &Schema, batches: &[RecordBatch]) -> Option<String> {
    let is_plan = schema.fields().iter().map(|field| field.name().as_str()).eq(["plan_type", "plan"]);
    let mut text = Vec::new();
    for batch in batches.iter().filter(|_| is_plan) {
        let (names, plans) = (batch.column(0).as_string_opt::<i32>()?, batch.column(1).as_string_opt::<i32>()?);
        let each = names.iter().zip(plans.iter());
        text.extend(each.map(|(name, plan)| format!("{}:\n{}", name.unwrap_or_default(), plan.unwrap_or_default())));
    }
    is_plan.then(|| text.join("\n"))
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// A text in one line, cut where it is long. What could move the cursor or colour the terminal is shown as a space.
fn cut(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltalake::datafusion::prelude::SessionContext;

    async fn shown(sql: &str) -> String {
        let ctx = SessionContext::new();
        table(ctx.sql(sql).await.unwrap().execute_stream().await.unwrap()).await.unwrap()
    }

    #[test]
    fn long_texts_are_cut_and_control_characters_are_not_sent() {
        assert_eq!(cut("a\nb\u{1b}[31m"), "a b [31m");
        let long = "é".repeat(SHOWN_CHARS + 1);
        assert_eq!(cut(&long).chars().count(), SHOWN_CHARS);
        assert!(cut(&long).ends_with('…'));
        assert_eq!(cut(&"é".repeat(SHOWN_CHARS)), "é".repeat(SHOWN_CHARS));
    }

    #[tokio::test]
    async fn nulls_lists_and_structs_are_readable() {
        let text = shown("SELECT NULL AS n, [1, 2] AS l, named_struct('a', 1, 'b', 'x') AS s").await;
        assert!(text.contains("NULL") && text.contains("[1, 2]") && text.contains("{a: 1, b: x}"), "{text}");
        assert!(text.ends_with("\n1 row"), "{text}");
    }

    #[tokio::test]
    async fn many_rows_are_cut_and_told() {
        let text = shown("SELECT * FROM range(0, 1000)").await;
        assert!(text.ends_with("\n1,000 rows"), "{text}");
        let text = shown("SELECT * FROM range(0, 5000)").await;
        assert!(text.ends_with("the first 1,000 rows; --format csv or json gives all"));
        assert!(text.contains("999 ") && !text.contains("1000 "));
    }
}
