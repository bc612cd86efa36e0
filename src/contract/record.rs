//! Checks that a table kept up to date by record is a function of one record: rows can then be made batch by batch.

use deltalake::datafusion::common::DFSchema;
use deltalake::datafusion::common::tree_node::{Transformed, TreeNode};
use deltalake::datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, TableScan};

use super::equal::is_over;
use super::equal::of_join;
use super::keys::{has_subquery, node_name, tables_in};
use super::{Stage, TableName};

/// Functions that keep different keys of a reference different: case and outer spaces do not count in them anyway.
const SPELLING: [&str; 5] = ["lower", "upper", "btrim", "ltrim", "rtrim"];

/// What makes the SQL more than a function of one record.
#[derive(Debug)]
pub(super) struct Shape {
    pub message: String,
    pub hint: String,
}

fn shape(message: impl Into<String>, hint: &str) -> Shape {
    Shape { message: message.into(), hint: hint.to_owned() }
}

/// The one bronze table that the plan reads.
pub(super) fn check(plan: &LogicalPlan) -> Result<TableName, Shape> {
    if has_subquery(plan) {
        let hint = "write unnest(…) in the SELECT list, or use strategy = \"by_key\" or \"whole\"";
        return Err(shape("by_record SQL holds a subquery", hint));
    }
    walk(plan)?;
    let tables = tables_in(plan);
    match tables.first() {
        Some(table) if tables.len() == 1 && table.stage == Stage::Bronze => Ok(table.clone()),
        _ => {
            let read: Vec<String> = tables.iter().map(ToString::to_string).collect();
            let found = if read.is_empty() { "none".to_owned() } else { read.join(", ") };
            let hint = "use strategy = \"by_key\" or \"whole\" for a table made of other tables";
            Err(shape(format!("by_record SQL reads exactly one bronze table, this reads {found}"), hint))
        }
    }
}

fn walk(plan: &LogicalPlan) -> Result<(), Shape> {
    match plan {
        LogicalPlan::Projection(node) => walk(&node.input),
        LogicalPlan::Filter(node) => walk(&node.input),
        LogicalPlan::Unnest(node) => walk(&node.input),
        LogicalPlan::SubqueryAlias(node) => walk(&node.input),
        LogicalPlan::TableScan(_) => Ok(()),
        LogicalPlan::Join(join) => {
            check_join(join)?;
            walk(&join.left)
        }
        other => {
            let what = match other {
                LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => "rows of other records",
                LogicalPlan::Distinct(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
                    "the order or number of rows"
                }
                _ => "more than one record",
            };
            let hint = "project, filter and unnest only; use strategy = \"by_key\" or \"whole\" for the rest";
            Err(shape(format!("by_record SQL depends on {what} ({})", node_name(other)), hint))
        }
    }
}

/// A reference may add columns to a record, never drop or double it.
fn check_join(join: &Join) -> Result<(), Shape> {
    let hint = "write LEFT JOIN reference.x AS x ON lower(x.<first column>) = lower(…)";
    let Some(reference) = scanned(&join.right).filter(|scan| scan.table_name.schema() == Some("reference")) else {
        return Err(shape("by_record SQL joins references only, each on its own on the right", hint));
    };
    if join.join_type != JoinType::Left {
        return Err(shape(format!("{} join with '{}' may drop a record", join.join_type, reference.table_name), hint));
    }
    let first = reference.source.schema().fields().first().map(|field| field.name().clone()).unwrap_or_default();
    let (left, right) = (join.left.schema(), join.right.schema());
    let on_key = of_join(join)
        .iter()
        .any(|(a, b)| (is_over(a, left) && is_key(b, right, &first)) || (is_over(b, left) && is_key(a, right, &first)));
    if on_key {
        return Ok(());
    }
    let message = format!("the join with '{}' may double a record: it is not on '{first}'", reference.table_name);
    Err(shape(message, hint))
}

fn scanned(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => scanned(&alias.input),
        LogicalPlan::TableScan(scan) => Some(scan),
        _ => None,
    }
}

/// Whether an expression is the reference's key, in whatever spelling.
fn is_key(expr: &Expr, schema: &DFSchema, first: &str) -> bool {
    let spelled = expr.clone().transform_up(|node| {
        Ok(match node {
            Expr::ScalarFunction(mut function)
                if SPELLING.contains(&function.func.name()) && function.args.len() == 1 =>
            {
                Transformed::yes(function.args.remove(0))
            }
            other => Transformed::no(other),
        })
    });
    matches!(spelled.map(|spelled| spelled.data),
        Ok(Expr::Column(column)) if column.name == first && schema.has_column(&column))
}
