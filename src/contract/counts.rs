//! Finds, for a table that is kept by key, whether its rows are counts that can be kept by adding what changed.
//!
//! Rows of an aggregation are counted apart for each value of what COUNT(DISTINCT …) counts: a group's count is the sum of
//! its counts over the input rows of each value. So of the values whose input rows changed, what they counted for before is
//! taken away from the group and what they count for now is added; nobody looks at the rows of other values.

use deltalake::datafusion::logical_expr::expr::AggregateFunction;
use deltalake::datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};

use super::equal::bare;
use super::{Column, Counts, TableName, keys};

/// What of a table is counted, from its analysed plan; `None` where its rows have to be computed anew.
pub(super) fn find(plan: &LogicalPlan, columns: &[Column], broadcast: &[TableName]) -> Option<Counts> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { return None };
    let mut output = Output { aggregate, grouped: Vec::new(), counts: Vec::new(), counted: None };
    for (expr, field) in projection.expr.iter().zip(plan.schema().fields()) {
        let column = columns.iter().find(|column| column.name == *field.name())?;
        if column.data_type != *field.data_type() {
            return None;
        }
        output.add(&column.name, &bare(expr))?;
    }
    let Output { grouped, counts, counted, .. } = output;
    let every_group = (0..aggregate.group_expr.len()).all(|at| grouped.contains(&at));
    let counted = counted.filter(|_| every_group)?;
    let data_type = counted.get_type(aggregate.input.schema()).ok()?;
    let inputs = keys::derive_from(&aggregate.input, counted, broadcast)?;
    Some(Counts { inputs, data_type, columns: counts })
}

/// The columns of a plan's output, as what its aggregation gives.
struct Output<'a> {
    aggregate: &'a Aggregate,
    /// Places of the expressions that are grouped by.
    grouped: Vec<usize>,
    /// Names of the columns that are counts.
    counts: Vec<String>,
    /// What is counted once, the same in all of them.
    counted: Option<Expr>,
}

impl Output<'_> {
    /// Takes in a column; `None` where it is neither grouped by nor a count.
    fn add(&mut self, name: &str, expr: &Expr) -> Option<()> {
        let Expr::Column(column) = expr else { return None };
        let at = self.aggregate.schema.maybe_index_of_column(column)?;
        let Some(of_aggregate) = at.checked_sub(self.aggregate.group_expr.len()) else {
            self.grouped.push(at);
            return Some(());
        };
        let Expr::AggregateFunction(AggregateFunction { func, params }) = bare(&self.aggregate.aggr_expr[of_aggregate])
        else {
            return None;
        };
        let [counted] = params.args.as_slice() else { return None };
        if func.name() != "count" || !params.order_by.is_empty() {
            return None;
        }
        if params.distinct {
            let counted = bare(counted);
            match &self.counted {
                Some(known) if *known != counted => return None,
                _ => self.counted = Some(counted),
            }
        }
        self.counts.push(name.to_owned());
        Some(())
    }
}
