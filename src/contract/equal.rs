//! Which expressions have the same value in every row of a plan, and how to write one in terms of other columns.

use deltalake::datafusion::common::DFSchema;
use deltalake::datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use deltalake::datafusion::error::{DataFusionError, Result as DfResult};
use deltalake::datafusion::logical_expr::utils::split_conjunction;
use deltalake::datafusion::logical_expr::{BinaryExpr, Expr, Join, JoinType, LogicalPlan, Operator};

/// Two expressions that are equal.
pub(super) type Equality = (Expr, Expr);

/// The equalities that a condition states.
pub(super) fn of_condition(condition: &Expr) -> Vec<Equality> {
    split_conjunction(condition)
        .into_iter()
        .filter_map(|part| match part {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) => {
                Some((left.as_ref().clone(), right.as_ref().clone()))
            }
            _ => None,
        })
        .collect()
}

/// The equalities that hold wherever a row of the left and a row of the right match.
pub(super) fn of_join(join: &Join) -> Vec<Equality> {
    let mut equal = join.on.clone();
    equal.extend(join.filter.iter().flat_map(of_condition));
    equal
}

/// The equalities that hold in every row that a plan gives.
pub(super) fn of_plan(plan: &LogicalPlan) -> Vec<Equality> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut equal = of_plan(&filter.input);
            equal.extend(of_condition(&filter.predicate));
            equal
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner => {
                let mut equal = of_join(join);
                equal.extend(of_plan(&join.left));
                equal.extend(of_plan(&join.right));
                equal
            }
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => of_plan(&join.left),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => of_plan(&join.right),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Whether all columns of an expression are of this schema; an expression without columns is of any.
pub(super) fn is_over(expr: &Expr, schema: &DFSchema) -> bool {
    expr.column_refs().iter().all(|column| schema.has_column(column))
}

/// The same value over the columns of `schema` only, if the equalities allow it.
pub(super) fn translate(expr: &Expr, schema: &DFSchema, equal: &[Equality]) -> Option<Expr> {
    rewrite(expr, |part| {
        if is_over(part, schema) {
            return Some(Some(part.clone()));
        }
        match equivalent(part, schema, equal) {
            Some(other) => Some(Some(other)),
            None if matches!(part, Expr::Column(_)) => Some(None),
            None => None,
        }
    })
}

/// Whether rows that agree in all of `by` agree in `expr`.
pub(super) fn is_decided_by(expr: &Expr, by: &[Expr]) -> bool {
    let decided = rewrite(expr, |part| {
        let known = by.iter().any(|known| bare(known) == *part) || part.column_refs().is_empty();
        match part {
            _ if known => Some(Some(part.clone())),
            Expr::Column(_) => Some(None),
            _ => None,
        }
    });
    decided.is_some()
}

/// Replaces parts of an expression from the top: `Some(Some(e))` replaces, `Some(None)` gives up, `None` looks deeper.
pub(super) fn rewrite(expr: &Expr, mut part: impl FnMut(&Expr) -> Option<Option<Expr>>) -> Option<Expr> {
    let rewritten: DfResult<Transformed<Expr>> = expr.clone().transform_down(|node| match part(&node) {
        Some(Some(other)) => Ok(Transformed::new(other, true, TreeNodeRecursion::Jump)),
        Some(None) => Err(DataFusionError::Plan(String::new())),
        None => Ok(Transformed::no(node)),
    });
    rewritten.ok().map(|transformed| transformed.data)
}

/// Without names: what remains is what is computed.
pub(super) fn bare(expr: &Expr) -> Expr {
    expr.clone().unalias_nested().data
}

/// An expression over `schema` that a chain of equalities leads to.
fn equivalent(expr: &Expr, schema: &DFSchema, equal: &[Equality]) -> Option<Expr> {
    let mut reached = vec![expr.clone()];
    let mut next = 0;
    while next < reached.len() {
        let here = reached[next].clone();
        for (left, right) in equal {
            for (from, to) in [(left, right), (right, left)] {
                if *from == here && !reached.contains(to) {
                    reached.push(to.clone());
                }
            }
        }
        next += 1;
    }
    reached.into_iter().skip(1).find(|other| is_over(other, schema) && !other.column_refs().is_empty())
}
