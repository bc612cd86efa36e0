//! A table's SQL, planned over its inputs, with its expectations: a stream of rows that are judged as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, not};
use deltalake::datafusion::common::DFSchema;
use deltalake::datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use deltalake::datafusion::dataframe::DataFrame;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::SendableRecordBatchStream;
use deltalake::datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection};
use deltalake::datafusion::prelude::SessionContext;

use crate::contract::{Column, Expectation, Severity, Table};
use crate::error::{Error, Kind, Place, Result};

/// A planned table.
pub struct Transform {
    frame: DataFrame,
    judge: Arc<Judge>,
}

/// Tells rows that pass from those that do not.
pub struct Judge {
    table: String,
    columns: usize,
    carried: usize,
    expectations: Vec<Expectation>,
    /// Of the expectations, those that hold for a deletion too: that its key is there.
    of_key: Vec<usize>,
    /// The place of the column that says whether a row is a deletion.
    deletes: Option<usize>,
}

/// Rows of a batch that were told apart.
pub struct Judged {
    /// The table's columns of all rows.
    pub rows: RecordBatch,
    /// Which of them pass; `None` where all do.
    pub passes: Option<BooleanArray>,
    /// The rows that do not: the table's columns and those that were carried, and the reasons, a row.
    pub failed: Option<(RecordBatch, Vec<Vec<String>>)>,
}

impl Judged {
    /// The rows that pass.
    ///
    /// # Errors
    /// When Arrow fails; a defect.
    pub fn passed(&self) -> Result<RecordBatch> {
        Ok(match &self.passes {
            None => self.rows.clone(),
            Some(passes) => filter_record_batch(&self.rows, passes)?,
        })
    }
}

/// How many rows passed, an expectation.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Rows that the SQL gave.
    pub input: u64,
    /// Rows that passed all expectations of severity `quarantine`.
    pub passed: u64,
    /// Rows that failed, for each expectation, in the contract's order.
    pub failed: Vec<u64>,
}

impl Counts {
    /// Adds what another task counted.
    pub fn add(&mut self, other: &Counts) {
        self.input += other.input;
        self.passed += other.passed;
        self.failed.resize(self.failed.len().max(other.failed.len()), 0);
        for (mine, theirs) in self.failed.iter_mut().zip(&other.failed) {
            *mine += theirs;
        }
    }
}

impl Transform {
    /// Plans a table's SQL over what is registered in the session. The columns of `carry`, which the table's input must
    /// have, are led through the SQL beside what it selects, for rows that are set aside; so is `deletes`, which says
    /// whether a row deletes another.
    ///
    /// # Errors
    /// When the SQL does not plan, which `check` has found before.
    #[tracing::instrument(level = "trace", skip_all)]
    pub async fn plan(ctx: &SessionContext, table: &Table, carry: &[&str], deletes: Option<&str>) -> Result<Self> {
        let place = || table.name.to_string();
        let sql = table.sql().unwrap_or_default();
        let plan = ctx.state().create_logical_plan(sql).await.at(place())?;
        let of_table = system_columns(table, &plan).into_iter().filter(|name| !carry.contains(name));
        let through: Vec<&str> = carry.iter().copied().chain(deletes).chain(of_table).collect();
        let plan = if through.is_empty() { plan } else { carry_columns(plan, &through).at(place())? };
        let frame = DataFrame::new(ctx.state(), plan);
        let mut select =
            table.columns.iter().map(|column| declared(column, frame.schema())).collect::<Result<Vec<_>>>()?;
        for name in carry.iter().copied().chain(deletes) {
            select.push(column_of(frame.schema(), name).at(place())?.alias(format!("_carried{name}")));
        }
        Self::judged(table, frame.select(select).at(place())?, carry.len(), deletes.is_some())
    }

    /// The same of rows that were computed otherwise: a frame with the table's columns, in their order.
    ///
    /// # Errors
    /// When an expectation does not plan, which `check` has found before.
    pub fn of(table: &Table, frame: DataFrame) -> Result<Self> {
        Self::judged(table, frame, 0, false)
    }

    fn judged(table: &Table, frame: DataFrame, carried: usize, deletes: bool) -> Result<Self> {
        let place = || table.name.to_string();
        let mut flags: Vec<Expr> = frame.schema().columns().into_iter().map(Expr::Column).collect();
        for (index, expectation) in table.expectations.iter().enumerate() {
            let condition = frame.parse_sql_expr(&expectation.condition).at(place())?;
            flags.push(condition.is_true().alias(format!("_holds_{index}")));
        }
        let judge = Judge {
            table: table.name.to_string(),
            columns: table.columns.len(),
            carried,
            expectations: table.expectations.clone(),
            of_key: (0..table.expectations.len()).filter(|index| is_of_key(table, *index)).collect(),
            deletes: deletes.then_some(table.columns.len() + carried),
        };
        Ok(Self { frame: frame.select(flags).at(place())?, judge: Arc::new(judge) })
    }

    /// Starts the work: one stream a task.
    ///
    /// # Errors
    /// When the plan cannot be executed.
    pub async fn execute(&self) -> Result<Vec<SendableRecordBatchStream>> {
        self.frame.clone().execute_stream_partitioned().await.at(&self.judge.table)
    }

    /// The columns that it reads, a table.
    ///
    /// # Errors
    /// When the plan cannot be optimised.
    pub fn columns_read(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let plan = self.frame.clone().into_optimized_plan().at(&self.judge.table)?;
        let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        plan.apply(|plan| {
            if let LogicalPlan::TableScan(scan) = plan {
                let columns = read.entry(scan.table_name.to_string()).or_default();
                columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
                let filtered = scan.filters.iter().flat_map(Expr::column_refs);
                columns.extend(filtered.map(|column| column.name.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(read)
    }

    /// What tells its rows apart.
    pub fn judge(&self) -> Arc<Judge> {
        self.judge.clone()
    }
}

impl Judge {
    /// Tells the rows of a batch apart and counts them.
    ///
    /// # Errors
    /// When Arrow fails; a defect.
    pub fn judge(&self, batch: &RecordBatch, counts: &mut Counts) -> Result<Judged> {
        self.judge_by(batch, &(0..self.expectations.len()).collect::<Vec<_>>(), counts)
    }

    /// The same for deletions: of the row that goes, only its key is known.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_deletions(&self, batch: &RecordBatch, counts: &mut Counts) -> Result<Judged> {
        self.judge_by(batch, &self.of_key, counts)
    }

    /// Takes the deletions out of a batch.
    ///
    /// # Errors
    /// When Arrow fails; a defect.
    pub fn split(&self, batch: RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let Some(column) = self.deletes else { return Ok((batch, None)) };
        let deletes = batch.column(column).as_boolean();
        if deletes.true_count() == 0 {
            return Ok((batch, None));
        }
        let rows = filter_record_batch(&batch, &not(deletes)?)?;
        Ok((rows, Some(filter_record_batch(&batch, deletes)?)))
    }

    fn first_flag(&self) -> usize {
        self.columns + self.carried + usize::from(self.deletes.is_some())
    }

    #[tracing::instrument(level = "trace", skip_all, name = "judge")]
    fn judge_by(&self, batch: &RecordBatch, which: &[usize], counts: &mut Counts) -> Result<Judged> {
        counts.input += batch.num_rows() as u64;
        counts.failed.resize(self.expectations.len(), 0);
        let mut passes = BooleanArray::from(vec![true; batch.num_rows()]);
        let first_flag = self.first_flag();
        for (index, expectation) in which.iter().map(|index| (*index, &self.expectations[*index])) {
            let holds = batch.column(first_flag + index).as_boolean();
            counts.failed[index] += (holds.len() - holds.true_count()) as u64;
            if expectation.severity == Severity::Quarantine {
                passes = and(&passes, holds)?;
            }
        }
        counts.passed += passes.true_count() as u64;
        let rows = batch.project(&(0..self.columns).collect::<Vec<_>>())?;
        if passes.true_count() == batch.num_rows() {
            return Ok(Judged { rows, passes: None, failed: None });
        }
        let failed = filter_record_batch(batch, &not(&passes)?)?;
        let reasons = (0..failed.num_rows()).map(|row| self.reasons(&failed, row, which)).collect();
        let shown: Vec<usize> = (0..self.columns + self.carried).collect();
        Ok(Judged { rows, passes: Some(passes), failed: Some((failed.project(&shown)?, reasons)) })
    }

    fn reasons(&self, failed: &RecordBatch, row: usize, which: &[usize]) -> Vec<String> {
        let holds = |index: usize| failed.column(self.first_flag() + index).as_boolean().value(row);
        let broken = |index: &&usize| self.expectations[**index].severity == Severity::Quarantine && !holds(**index);
        which.iter().filter(broken).map(|index| self.expectations[*index].name.clone()).collect()
    }

    /// Ends the run where an expectation of severity `fail` did not hold.
    ///
    /// # Errors
    /// [`Kind::Expectation`], with the expectation and the number of rows.
    pub fn stop_on_failure(&self, counts: &Counts) -> Result<()> {
        for (expectation, failed) in self.expectations.iter().zip(&counts.failed) {
            if expectation.severity == Severity::Fail && *failed > 0 {
                return Err(Error::new(
                    Kind::Expectation,
                    format!(
                        "{}: expectation '{}' does not hold for {failed} of {} rows; nothing of them was written",
                        self.table, expectation.name, counts.input
                    ),
                )
                .hint(format!("the condition is: {}", expectation.condition)));
            }
        }
        Ok(())
    }
}

/// Whether an expectation is that a column of the key is there.
fn is_of_key(table: &Table, index: usize) -> bool {
    let name = &table.expectations[index].name;
    table.key.iter().any(|key| *name == format!("{key}_required"))
}

/// The columns that the engine adds to what the author's SQL selects.
fn system_columns<'a>(table: &'a Table, plan: &LogicalPlan) -> Vec<&'a str> {
    let selected = |name: &str| plan.schema().has_column_with_unqualified_name(name);
    let names = table.columns.iter().map(|column| column.name.as_str());
    names.filter(|name| name.starts_with('_') && !selected(name)).collect()
}

/// Leads columns of the input through a plan of projections, filters, joins and unnests, to its top.
fn carry_columns(plan: LogicalPlan, names: &[&str]) -> Result<LogicalPlan, DataFusionError> {
    let plan = plan.transform_up(|plan| match plan {
        LogicalPlan::Projection(projection) => {
            let mut exprs = projection.expr.clone();
            for name in names {
                if !projection.schema.has_column_with_unqualified_name(name) {
                    exprs.push(column_of(projection.input.schema(), name)?);
                }
            }
            Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?)))
        }
        other => Ok(Transformed::yes(other.recompute_schema()?)),
    })?;
    Ok(plan.data)
}

fn column_of(schema: &DFSchema, name: &str) -> Result<Expr, DataFusionError> {
    Ok(Expr::Column(schema.qualified_field_with_unqualified_name(name)?.into()))
}

/// A declared column, with its declared type.
fn declared(column: &Column, schema: &DFSchema) -> Result<Expr> {
    let expr = column_of(schema, &column.name)?;
    if expr.get_type(schema)? == column.data_type {
        return Ok(expr.alias(&column.name));
    }
    Ok(expr.cast_to(&column.data_type, schema)?.alias(&column.name))
}
