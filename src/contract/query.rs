//! Named queries: TOML front matter in `---` lines, then SQL with `$name` parameters.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use deltalake::datafusion::scalar::ScalarValue;

use super::layout::Named;
use super::plan::Planner;
use super::raw::data_type;
use super::types::{is_identifier, type_name};
use super::{Param, Query, Reference};
use crate::problem::{File, Problem, suggest};
use crate::toml::{At, Reader};

/// A value that a parameter does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// The text is not of the parameter's type.
    #[error("'{value}' is not {expected}")]
    NotOfType {
        /// What was given.
        value: String,
        /// The type's name in contracts.
        expected: String,
    },
    /// The reference does not know it.
    #[error("'{value}' is not in reference.{reference}")]
    NotInReference {
        /// What was given.
        value: String,
        /// The reference's name.
        reference: String,
        /// Keys of the reference that resemble it.
        nearest: Vec<String>,
    },
}

impl Param {
    /// The value that a text stands for: looked up in the parameter's reference if it has one, then read as its type.
    ///
    /// # Errors
    /// The reference does not know the text, or it is not of the parameter's type.
    pub fn value(&self, text: &str, references: &[Reference]) -> Result<ScalarValue, BadValue> {
        let mut text = text.to_owned();
        if let Some((name, column)) = &self.reference {
            let reference = references.iter().find(|reference| reference.name == *name);
            let at = reference.and_then(|found| found.columns.iter().position(|known| known == column));
            let found = reference.zip(at).and_then(|(found, at)| found.lookup(&text)?.get(at).cloned());
            text = found.ok_or_else(|| BadValue::NotInReference {
                nearest: reference
                    .map(|found| found.nearest(&text, 3).into_iter().map(str::to_owned).collect())
                    .unwrap_or_default(),
                value: text,
                reference: name.clone(),
            })?;
        }
        match ScalarValue::try_from_string(text.clone(), &self.data_type) {
            Ok(value) if !value.is_null() => Ok(value),
            _ => Err(BadValue::NotOfType { value: text, expected: type_name(&self.data_type) }),
        }
    }
}

/// A parameter with the places of what it says.
struct Declared {
    name: At<String>,
    data_type: Option<At<DataType>>,
    reference: Option<At<String>>,
    column: Option<At<String>>,
    default: Option<At<String>>,
    comment: String,
}

/// Reads a query and checks it; `None` when there were problems.
pub(super) fn read(
    pipeline: &str,
    named: &Named,
    planner: &Planner,
    references: &[Reference],
    problems: &mut Vec<Problem>,
) -> Option<Query> {
    let before = problems.len();
    let file = &named.file;
    let front = front_matter(&file.text);
    let mut reader = Reader::open(file, &front, problems)?;
    let description = reader.description();
    let tables = reader.tables("params");
    reader.finish();
    let mut params = Vec::new();
    for (name, table) in tables {
        let mut reader = Reader::nested(file, name.at, table, problems);
        let declared = Declared {
            data_type: data_type(&mut reader, "type"),
            reference: reader.optional("reference"),
            column: reader.optional("column"),
            default: reader.optional("default"),
            comment: reader.required("comment").map_or_else(String::new, |at| at.value),
            name,
        };
        reader.finish();
        params.push(check_param(file, declared, references, problems));
    }
    check_sql(file, &params, planner, problems);
    let params = params.into_iter().flat_map(|(_, param)| param).collect();
    (problems.len() == before).then(|| Query {
        name: named.name.clone(),
        pipeline: pipeline.to_owned(),
        description,
        sql: file.text.clone(),
        params,
    })
}

/// The text with the dashes of the front matter, and all that is not front matter, made blank: places stay true.
fn front_matter(text: &str) -> String {
    let lines = text.split_inclusive('\n').take_while(|line| line.starts_with("---"));
    lines.map(|line| line.replacen("---", "   ", 1)).collect()
}

fn check_param(
    file: &File,
    declared: Declared,
    references: &[Reference],
    problems: &mut Vec<Problem>,
) -> (At<String>, Option<Param>) {
    let before = problems.len();
    let Declared { name, data_type, reference, column, default, comment } = declared;
    if !is_identifier(&name.value) {
        problems.push(file.problem(name.at, format!("'{}' cannot be a parameter's name", name.value)));
    }
    if let Some(At { value, at }) = data_type.as_ref().filter(|at| at.value.is_nested()) {
        problems.push(file.problem(*at, format!("a parameter is one value, not {}", type_name(value))));
    }
    let reference = match (reference, column) {
        (Some(reference), Some(column)) => check_reference(file, reference, column, references, problems),
        (None, None) => None,
        (one, other) => {
            let at = one.or(other).map_or(name.at, |at| at.at);
            problems.push(file.problem(at, "'reference' and 'column' go together"));
            None
        }
    };
    let Some(data_type) = data_type else {
        return (name, None);
    };
    let param = Param {
        name: name.value.clone(),
        data_type: data_type.value,
        reference,
        default: default.as_ref().map(|at| at.value.clone()),
        comment,
    };
    if problems.len() == before
        && let Some(At { value, at }) = &default
        && let Err(bad) = param.value(value, references)
    {
        let hint = match &bad {
            BadValue::NotInReference { nearest, .. } => nearest.first().map(|near| format!("did you mean '{near}'?")),
            BadValue::NotOfType { .. } => None,
        };
        problems.push(file.problem(*at, format!("default {bad}")).with_hint(hint));
    }
    (name, Some(param))
}

fn check_reference(
    file: &File,
    reference: At<String>,
    column: At<String>,
    references: &[Reference],
    problems: &mut Vec<Problem>,
) -> Option<(String, String)> {
    let Some(found) = references.iter().find(|known| known.name == reference.value) else {
        let hint = suggest(&reference.value, references.iter().map(|known| known.name.as_str()));
        problems.push(file.problem(reference.at, format!("unknown reference '{}'", reference.value)).with_hint(hint));
        return None;
    };
    if !found.columns.contains(&column.value) {
        let hint = suggest(&column.value, found.columns.iter().map(String::as_str));
        let message = format!("reference '{}' has no column '{}'", reference.value, column.value);
        problems.push(file.problem(column.at, message).with_hint(hint));
    }
    Some((reference.value, column.value))
}

fn check_sql(file: &File, params: &[(At<String>, Option<Param>)], planner: &Planner, problems: &mut Vec<Problem>) {
    let Some(sql) = planner.parse(file, problems) else {
        return;
    };
    let before = problems.len();
    for (used, place) in &sql.placeholders {
        if !params.iter().any(|(name, _)| name.value == *used) {
            let hint = match suggest(used, params.iter().map(|(name, _)| name.value.as_str())) {
                Some(hint) => hint,
                None => format!("declare it in a line `--- [params.{used}]`"),
            };
            problems.push(file.problem_at(*place, format!("parameter '${used}' is not declared")).with_hint(hint));
        }
    }
    for (name, _) in params {
        if !sql.placeholders.iter().any(|(used, _)| *used == name.value) {
            let message = format!("the SQL does not use parameter '${}'", name.value);
            problems.push(file.problem(name.at, message));
        }
    }
    let Some(plan) = planner.plan(&sql, problems).filter(|_| problems.len() == before) else {
        return;
    };
    let samples: HashMap<String, ScalarValue> = params
        .iter()
        .filter_map(|(_, param)| param.as_ref())
        .filter_map(|param| Some((param.name.clone(), sample(&param.data_type)?)))
        .collect();
    if samples.len() < params.len() {
        return;
    }
    if let Some(plan) = planner.bind(&sql, plan, samples, problems)
        && let Some(plan) = planner.analyse(&sql, plan, problems)
    {
        planner.check_runs(&sql, &plan, problems);
    }
}

/// Some value of the type, to plan with.
pub(super) fn sample(data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Utf8 => Some(ScalarValue::from("x")),
        DataType::Binary => Some(ScalarValue::Binary(Some(Vec::new()))),
        other => ScalarValue::new_one(other).or_else(|_| ScalarValue::try_from(other)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(data_type: DataType, reference: Option<(&str, &str)>) -> Param {
        let reference = reference.map(|(name, column)| (name.to_owned(), column.to_owned()));
        Param { name: "p".into(), data_type, reference, default: None, comment: String::new() }
    }

    fn classes() -> [Reference; 1] {
        let rows = vec![vec!["Covid".to_owned(), "covid19".to_owned()]];
        let columns = vec!["spelling".to_owned(), "class".to_owned()];
        [Reference { name: "classes".into(), pipeline: "p".into(), columns, rows }]
    }

    #[test]
    fn a_value_is_read_as_the_type_of_its_parameter() {
        assert_eq!(param(DataType::Int64, None).value("12", &[]), Ok(ScalarValue::Int64(Some(12))));
        let bad = param(DataType::Date32, None).value("2021-02-30", &[]).unwrap_err();
        assert_eq!(bad.to_string(), "'2021-02-30' is not DATE");
    }

    #[test]
    fn a_value_is_looked_up_in_the_reference_of_its_parameter() {
        let param = param(DataType::Utf8, Some(("classes", "class")));
        assert_eq!(param.value(" COVID ", &classes()), Ok(ScalarValue::from("covid19")));
        let BadValue::NotInReference { nearest, .. } = param.value("covit", &classes()).unwrap_err() else {
            panic!("it is in the reference")
        };
        assert_eq!(nearest, ["Covid"]);
    }

    #[test]
    fn front_matter_keeps_its_places() {
        let text = "--- description = \"x\"\n---[params.a]\n-- a comment\nSELECT 1\n";
        assert_eq!(front_matter(text), "    description = \"x\"\n   [params.a]\n");
    }
}
