//! `erased_with`: rows that do not say whose they are, and that rows of another table name which do.

use super::TableName;
use super::raw::{RawTable, Strategy};
use super::table::{Draft, Kind};
use crate::problem::{Problem, suggest};
use crate::toml::At;

/// Checks that the other table is there and has the key of this one as a column; and that this one's rows come from records,
/// which can be found.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Vec<Problem>) {
    for draft in drafts {
        let Some(At { value, at }) = &draft.erased_with else { continue };
        if let Err((message, hint)) = check_one(draft, value, drafts) {
            problems.push(draft.problem(*at, message).with_hint(hint));
        }
    }
}

fn check_one(draft: &Draft<'_>, value: &str, drafts: &[Draft<'_>]) -> Result<(), (String, String)> {
    let [key] = draft.key.as_slice() else {
        return Err(("erased_with needs a key of one column".to_owned(), "rows are found by that column".to_owned()));
    };
    let is_record = |raw: &RawTable| raw.strategy.as_ref().is_some_and(|at| at.value == Strategy::ByRecord);
    if !matches!(&draft.kind, Kind::Derived(raw) if is_record(raw)) {
        let hint = "put it where the records become rows".to_owned();
        return Err(("erased_with is for tables of strategy by_record".to_owned(), hint));
    }
    let other = value.parse::<TableName>().ok().and_then(|name| drafts.iter().find(|other| *other.name == name));
    let Some(other) = other else {
        let names: Vec<String> = drafts.iter().map(|draft| draft.name.to_string()).collect();
        let near = suggest(value, names.iter().map(String::as_str));
        return Err((format!("there is no table '{value}'"), near.unwrap_or_else(|| "name a table".to_owned())));
    };
    if !other.columns.iter().any(|column| column.name == *key) {
        return Err((format!("{value} has no column '{key}'"), format!("its rows must name those of {}", draft.name)));
    }
    Ok(())
}
