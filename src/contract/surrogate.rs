//! Tables of strategy `surrogate`: a number for each key, which the engine gives. What their contract must say.

use arrow::datatypes::DataType;
use deltalake::datafusion::logical_expr::LogicalPlan;

use super::raw::{RawColumn, RawTable, Strategy};
use super::sql::Sql;
use super::table::Draft;
use super::types::{is_ordered, type_name};
use super::{Column, Definition, KeyedInput, keys};
use crate::problem::Problem;
use crate::toml::At;

/// The columns that the SQL has to give: all but the number.
pub(super) fn given_by_sql(raw: &RawTable, columns: &[Column]) -> Vec<Column> {
    let is_number = |column: &&Column| raw.columns.iter().any(|raw| raw.surrogate && raw.name.value == column.name);
    columns.iter().filter(|column| !is_number(column)).cloned().collect()
}

/// What is wrong with a column that the SQL of such a table gives.
pub(super) fn not_for_sql(draft: &Draft<'_>, sql: &Sql<'_>, name: &str) -> Problem {
    let place = sql.output(name);
    if draft.columns.iter().any(|column| column.name == name) {
        let problem = sql.file.problem_at(place, format!("the SQL gives '{name}', which the engine numbers"));
        return problem.with_hint(format!("leave '{name}' out of the SELECT list"));
    }
    let problem = sql.file.problem_at(place, format!("the contract has no column '{name}'"));
    problem.with_hint("a surrogate table has its key, 'inherits' and its number".to_owned())
}

/// Checks what the contract says of numbers.
pub(super) fn check(draft: &Draft<'_>, raw: &RawTable, strategy: &At<Strategy>, problems: &mut Vec<Problem>) {
    let numbers: Vec<&RawColumn> = raw.columns.iter().filter(|column| column.surrogate).collect();
    if strategy.value != Strategy::Surrogate {
        let only = |at: usize, what: &str| draft.problem(at, format!("'{what}' belongs to strategy surrogate only"));
        problems.extend(numbers.iter().map(|column| only(column.name.at, "surrogate")));
        problems.extend(raw.inherits.iter().map(|inherits| only(inherits.at, "inherits")));
        return;
    }
    if raw.key.is_none() {
        let hint = "name the columns that get a number".to_owned();
        problems.push(draft.problem(strategy.at, "surrogate needs a 'key'".to_owned()).with_hint(hint));
    }
    check_numbers(draft, &numbers, strategy, problems);
    check_key(draft, raw, problems);
    check_inherits(draft, raw, problems);
    check_others(draft, raw, problems);
}

fn check_numbers(draft: &Draft<'_>, numbers: &[&RawColumn], strategy: &At<Strategy>, problems: &mut Vec<Problem>) {
    let hint = "write `surrogate = true` in one [columns.<name>] of type INT or BIGINT".to_owned();
    match numbers {
        [] => problems.push(draft.problem(strategy.at, "no column has the number".to_owned()).with_hint(hint)),
        [_, more @ ..] => problems.extend(more.iter().map(|column| {
            let message = format!("'{}' is a second column for the number", column.name.value);
            draft.problem(column.name.at, message).with_hint(hint.clone())
        })),
    }
    for At { value, at } in numbers.iter().filter_map(|column| column.data_type.as_ref()) {
        if !matches!(value, DataType::Int32 | DataType::Int64) {
            let message = format!("a number is INT or BIGINT, not {}", type_name(value));
            problems.push(draft.problem(*at, message));
        }
    }
}

fn check_key(draft: &Draft<'_>, raw: &RawTable, problems: &mut Vec<Problem>) {
    for At { value, at } in raw.key.iter().flat_map(|key| &key.value) {
        let Some(column) = raw.columns.iter().find(|column| column.name.value == *value) else { continue };
        if column.surrogate {
            problems.push(draft.problem(*at, format!("'{value}' is the number, not part of the key")));
        } else if let Some(At { value: data_type, .. }) = &column.data_type
            && !is_ordered(data_type)
        {
            let message = format!("key column '{value}' is {}", type_name(data_type));
            let hint = "a number is given to texts, numbers, dates and timestamps".to_owned();
            problems.push(draft.problem(*at, message).with_hint(hint));
        }
    }
}

/// A key that is taken over from must be comparable with the key.
fn check_inherits(draft: &Draft<'_>, raw: &RawTable, problems: &mut Vec<Problem>) {
    let Some(At { value, at }) = &raw.inherits else { return };
    let Some(column) = draft.columns.iter().find(|column| column.name == *value) else {
        problems.push(draft.unknown_column("inherits", value, *at));
        return;
    };
    let [key] = draft.key.as_slice() else {
        problems.push(draft.problem(*at, "'inherits' needs a key of one column".to_owned()));
        return;
    };
    let of_key = draft.columns.iter().find(|column| column.name == *key);
    if *key == *value {
        problems.push(draft.problem(*at, format!("'{value}' is the key itself")));
    } else if of_key.is_some_and(|key| key.data_type != column.data_type) {
        problems.push(draft.problem(*at, format!("'{value}' has another type than the key '{key}'")));
    } else if column.required {
        let hint = "a key that takes over nothing has NULL there".to_owned();
        problems.push(draft.problem(*at, format!("'{value}' cannot be required")).with_hint(hint));
    }
}

fn check_others(draft: &Draft<'_>, raw: &RawTable, problems: &mut Vec<Problem>) {
    let is_known = |column: &RawColumn| {
        let name = &column.name.value;
        column.surrogate || draft.key.contains(name) || raw.inherits.as_ref().is_some_and(|at| at.value == *name)
    };
    if raw.key.is_none() {
        return;
    }
    for column in raw.columns.iter().filter(|column| !is_known(column)) {
        let hint = "a row is never changed: keep what may change in a table of its own".to_owned();
        let message = format!("'{}' is neither key nor number", column.name.value);
        problems.push(draft.problem(column.name.at, message).with_hint(hint));
    }
}

/// The definition of a table whose contract and columns are sound.
pub(super) fn define(
    draft: &Draft<'_>,
    raw: &RawTable,
    plan: &LogicalPlan,
    sql: String,
    references: Vec<String>,
) -> Option<Definition> {
    let number = raw.columns.iter().find(|column| column.surrogate)?.name.value.clone();
    let inherits = raw.inherits.as_ref().map(|at| at.value.clone());
    let key: Vec<&Column> =
        draft.key.iter().filter_map(|name| draft.columns.iter().find(|column| column.name == *name)).collect();
    // Where the keys that changed cannot be told, the SQL runs whole: the numbers are the same.
    let inputs = keys::derive(plan, &key, &[]).unwrap_or_else(|_| {
        keys::tables_in(plan).into_iter().map(|table| KeyedInput { table, key: Vec::new() }).collect()
    });
    Some(Definition::Surrogate { sql, number, inherits, inputs, references })
}
