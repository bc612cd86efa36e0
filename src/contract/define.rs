//! A table's SQL against its contract: output columns, strategy and what it reads become its definition.

use deltalake::datafusion::logical_expr::LogicalPlan;

use super::plan::Planner;
use super::raw::{RawTable, Strategy};
use super::sql::Sql;
use super::table::{Draft, Kind, schema_of};
use super::types::{fits, record_columns, sequence_column, type_name};
use super::{Column, Counts, Definition, KeyedInput, Severity, TableName, counts, keys, record, surrogate};
use crate::problem::{File, Place, Problem, suggest};
use crate::toml::{At, inside};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

/// What the SQL of a table turned out to be.
pub(super) struct Defined<'a> {
    /// Which tables of its own or an earlier stage it reads and where it says so, for the order of tables.
    pub reads: Vec<(TableName, Place)>,
    pub sql: &'a File,
    /// None when there were problems.
    pub definition: Option<Definition>,
}

/// Checks the expectations and the SQL of a silver or gold table.
pub(super) fn define<'a>(draft: &Draft<'a>, planner: &Planner, problems: &mut Vec<Problem>) -> Option<Defined<'a>> {
    let Kind::Derived(raw) = &draft.kind else {
        return None;
    };
    if draft.schema.is_some() {
        check_conditions(draft, raw, planner, problems);
    }
    let file = draft.sql?;
    let sql = planner.parse(file, problems)?;
    let before = problems.len();
    for unstable in &sql.unstable {
        let problem = file.problem_at(unstable.place, unstable.message.clone());
        problems.push(problem.with_hint(unstable.hint.clone()));
    }
    for (name, place) in &sql.placeholders {
        let hint = "parameters belong to queries/*.sql".to_owned();
        problems.push(file.problem_at(*place, format!("a table's SQL has no parameters: ${name}")).with_hint(hint));
    }
    check_stages(draft, &sql, problems);
    let reads = sql.tables.iter().filter(|(table, _)| table.stage <= draft.name.stage).cloned().collect();
    let mut defined = Defined { reads, sql: file, definition: None };
    if draft.schema.is_some()
        && problems.len() == before
        && let Some(plan) = planner.plan(&sql, problems)
        && let Some(plan) = planner.analyse(&sql, plan, problems)
    {
        check_columns(draft, raw, &sql, &plan, problems);
        if problems.len() == before && draft.sound {
            defined.definition = strategy(draft, raw, &sql, &plan, planner, problems);
        }
        if problems.len() == before {
            planner.check_runs(&sql, &plan, problems);
        }
    }
    Some(defined)
}

fn check_conditions(draft: &Draft<'_>, raw: &RawTable, planner: &Planner, problems: &mut Vec<Problem>) {
    let schema = schema_of(&surrogate::given_by_sql(raw, &draft.columns));
    for expectation in &raw.expectations {
        if let Some(condition) = &expectation.condition {
            let name = format!("expectation '{}'", expectation.name.value);
            check_condition(draft, &name, condition, &schema, planner, problems);
        }
    }
}

/// Checks one condition on the rows of a schema.
fn check_condition(
    draft: &Draft<'_>,
    name: &str,
    At { value, at }: &At<String>,
    schema: &SchemaRef,
    planner: &Planner,
    problems: &mut Vec<Problem>,
) {
    let Err(faults) = planner.check_condition(schema, value) else {
        return;
    };
    for fault in faults {
        let offset = fault.place.map_or(0, |place| {
            let line: usize =
                value.split_inclusive('\n').take(place.line.saturating_sub(1) as usize).map(str::len).sum();
            let inside =
                value.get(line..).unwrap_or_default().char_indices().nth(place.column.saturating_sub(1) as usize);
            line + inside.map_or(0, |(offset, _)| offset)
        });
        let message = format!("{name}: {}", fault.message);
        let at = inside(draft.contract, *at, value, offset);
        problems.push(draft.contract.problem(at, message).with_hint(fault.hint));
    }
}

fn check_stages(draft: &Draft<'_>, sql: &Sql<'_>, problems: &mut Vec<Problem>) {
    for (table, place) in &sql.tables {
        if table.stage > draft.name.stage {
            let message = format!("{} reads {table}, which is a later stage", draft.name);
            let hint = "a stage reads itself and those before it: bronze, silver, gold".to_owned();
            problems.push(sql.file.problem_at(*place, message).with_hint(hint));
        }
    }
}

/// The output's columns against the declared ones, by name.
fn check_columns(draft: &Draft<'_>, raw: &RawTable, sql: &Sql<'_>, plan: &LogicalPlan, problems: &mut Vec<Problem>) {
    let outputs = plan.schema().fields();
    let system = record_columns().map(|column| column.name);
    let is_record = raw.strategy.as_ref().is_some_and(|at| at.value == Strategy::ByRecord);
    let sequence = raw.sequence.as_ref().filter(|at| sequence_column(&at.value).is_some());
    let is_sequence = |name: &str| sequence.is_some_and(|at| at.value == name);
    let optional = |name: &str| is_record && (system.iter().any(|system| system == name) || is_sequence(name));
    let given = surrogate::given_by_sql(raw, &draft.columns);
    for (at, field) in outputs.iter().enumerate() {
        let name = field.name();
        if outputs[..at].iter().any(|earlier| earlier.name() == name) {
            let message = format!("the SQL gives column '{name}' twice");
            problems.push(sql.file.problem_at(sql.output(name), message));
        } else if !given.iter().any(|column| column.name == *name) && draft.columns.len() > given.len() {
            problems.push(surrogate::not_for_sql(draft, sql, name));
        } else if !given.iter().any(|column| column.name == *name) {
            let hint = suggest(name, draft.columns.iter().map(|column| column.name.as_str()));
            let message = format!("the contract has no column '{name}'");
            problems.push(sql.file.problem_at(sql.output(name), message).with_hint(hint));
        }
    }
    for column in &given {
        let place = raw.columns.iter().find(|raw| raw.name.value == column.name);
        match outputs.iter().find(|field| *field.name() == column.name) {
            None if optional(&column.name) => {}
            None => {
                let at = place.map_or(0, |raw| raw.name.at);
                let hint = suggest(&column.name, outputs.iter().map(|field| field.name().as_str()));
                let message = format!("the SQL gives no column '{}'", column.name);
                problems.push(draft.contract.problem(at, message).with_hint(hint));
            }
            Some(field) if fits(field.data_type(), &column.data_type) => {}
            Some(field) => {
                let at = place.and_then(|raw| raw.data_type.as_ref()).map_or(0, |at| at.at);
                problems.push(misfit(draft, at, column, field.data_type()));
            }
        }
    }
}

fn misfit(draft: &Draft<'_>, at: usize, column: &Column, found: &DataType) -> Problem {
    let (name, declared) = (&column.name, type_name(&column.data_type));
    let message = format!("'{name}' is declared {declared}, but the SQL gives {}", type_name(found));
    let hint = match (found, &column.data_type) {
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(..)) => {
            format!("write CAST(… AS TIMESTAMP(6)) AS {name}: the lake keeps microseconds")
        }
        (_, DataType::Timestamp(..)) => format!("write CAST(… AS TIMESTAMP(6)) AS {name}"),
        (_, declared) if declared.is_nested() => "the fields must have the same names, order and types".to_owned(),
        _ => format!("write CAST(… AS {declared}) AS {name}, or declare another type"),
    };
    draft.contract.problem(at, message).with_hint(hint)
}

/// A table that is said to be broadcast must be one: what it is said for may have been a slip of the pen.
fn check_broadcast(draft: &Draft<'_>, raw: &RawTable, inputs: &[KeyedInput], problems: &mut Vec<Problem>) {
    for At { value, at } in &raw.broadcast {
        if inputs.iter().any(|input| input.is_broadcast() && input.table.to_string() == *value) {
            continue;
        }
        let hint = "name tables that the SQL reads in a side of a join of their own, such as silver.sites".to_owned();
        let message = format!("'{value}' is not broadcast: no side of a join consists of it");
        problems.push(draft.contract.problem(*at, message).with_hint(hint));
    }
}

fn strategy(
    draft: &Draft<'_>,
    raw: &RawTable,
    sql: &Sql<'_>,
    plan: &LogicalPlan,
    planner: &Planner,
    problems: &mut Vec<Problem>,
) -> Option<Definition> {
    let text = sql.file.text.clone();
    let references = sql.references.keys().cloned().collect();
    match raw.strategy.as_ref()?.value {
        Strategy::ByRecord => match record::check(plan) {
            Ok(input) => {
                let sequence = raw.sequence.as_ref().map(|at| at.value.clone());
                if let (Some(condition), Some(schema)) = (&raw.delete_when, planner.schema(&input)) {
                    check_condition(draft, "'delete_when'", condition, &schema, planner, problems);
                }
                let delete_when = raw.delete_when.as_ref().map(|at| at.value.clone());
                Some(Definition::ByRecord { sql: text, sequence, delete_when, input, references })
            }
            Err(shape) => {
                problems.push(sql.file.problem_at(sql.start, shape.message).with_hint(shape.hint));
                None
            }
        },
        Strategy::ByKey => {
            let replace_by: Vec<String> = raw.replace_by.as_ref()?.value.iter().map(|at| at.value.clone()).collect();
            let columns: Vec<&Column> =
                replace_by.iter().filter_map(|name| draft.columns.iter().find(|column| column.name == *name)).collect();
            let broadcast: Vec<TableName> = raw.broadcast.iter().filter_map(|at| at.value.parse().ok()).collect();
            match keys::derive(plan, &columns, &broadcast) {
                Ok(inputs) => {
                    check_broadcast(draft, raw, &inputs, problems);
                    let counts = counts(draft, raw, plan, &broadcast).map(Box::new);
                    Some(Definition::ByKey { sql: text, replace_by, inputs, references, counts })
                }
                Err(refusal) => {
                    let place = refusal.tables.first().map_or(sql.start, |table| sql.mention(table));
                    problems.push(sql.file.problem_at(place, refusal.message).with_hint(refusal.hint));
                    None
                }
            }
        }
        Strategy::Surrogate => surrogate::define(draft, raw, plan, text, references),
        Strategy::Whole => {
            let inputs = keys::tables_in(plan).into_iter().collect();
            Some(Definition::Whole { sql: text, inputs, references })
        }
    }
}

/// What of a table is counted. Rows that an expectation of the contract sets aside are not in the table, so that nothing can
/// be added to them.
fn counts(draft: &Draft<'_>, raw: &RawTable, plan: &LogicalPlan, broadcast: &[TableName]) -> Option<Counts> {
    let sets_aside = raw.expectations.iter().any(|expectation| expectation.severity == Severity::Quarantine);
    if sets_aside { None } else { counts::find(plan, &draft.columns, broadcast) }
}
