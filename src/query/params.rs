//! `--param`: texts become the values of `$name`.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::DataType;
use deltalake::datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::logical_expr::{Expr, LogicalPlan};
use deltalake::datafusion::scalar::ScalarValue;

use super::{fault, near};
use crate::contract::type_name;
use crate::contract::{BadValue, Param, Query, Reference};
use crate::error::{Error, Result};

/// The values of a statement's parameters.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<String, Value>);

#[derive(Debug, Clone)]
enum Value {
    /// What the statement makes of it decides its type.
    Text(String),
    Typed(ScalarValue),
}

impl<const N: usize> From<[(&str, ScalarValue); N]> for Values {
    fn from(values: [(&str, ScalarValue); N]) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.to_owned(), Value::Typed(value))).collect())
    }
}

impl Values {
    /// Values for SQL that declares no parameters: each gets the type of what it is compared with.
    pub fn of_sql(given: &[(String, String)]) -> Self {
        Self(given.iter().map(|(name, text)| (name.clone(), Value::Text(text.clone()))).collect())
    }

    /// Values for a named query: typed as declared, looked up in references, defaults filled in.
    ///
    /// # Errors
    /// Wrong use: a parameter that the query does not have, one that is missing, or a value that it does not take.
    pub fn of_query(query: &Query, given: &[(String, String)], references: &[Reference]) -> Result<Self> {
        let names: Vec<String> = query.params.iter().map(|param| param.name.clone()).collect();
        if let Some((name, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
            return Err(unknown_param(name, &names).at(&query.name));
        }
        let mut values = BTreeMap::new();
        for param in &query.params {
            // As with other options of the command line, the last of several counts.
            let text = given.iter().rev().find(|(name, _)| *name == param.name).map(|(_, text)| text);
            let text = text.or(param.default.as_ref()).ok_or_else(|| {
                missing_param(&param.name).hint(format!("--param {}=…: {}", param.name, param.comment)).at(&query.name)
            })?;
            let value = declared(param, text, references).map_err(|error| error.at(&query.name))?;
            values.insert(param.name.clone(), Value::Typed(value));
        }
        Ok(Self(values))
    }

    /// Puts the values where a plan has `$name`.
    pub(super) fn bind(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let types = parameters(&plan).map_err(|error| fault::of_sql(&error))?;
        let names: Vec<String> = types.keys().cloned().collect();
        if let Some(name) = self.0.keys().find(|name| !types.contains_key(*name)) {
            return Err(unknown_param(name, &names));
        }
        let mut values: HashMap<String, ScalarValue> = HashMap::new();
        for (name, found) in types {
            let value = match self.0.get(&name) {
                None => return Err(missing_param(&name).hint(format!("--param {name}=…"))),
                Some(Value::Typed(value)) => value.clone(),
                Some(Value::Text(text)) => {
                    let wanted = found.unwrap_or_else(|| guess(text));
                    scalar(text, &wanted).ok_or_else(|| misfit(&name, text, &type_name(&wanted)))?
                }
            };
            values.insert(name, value);
        }
        if values.is_empty() {
            return Ok(plan);
        }
        plan.with_param_values(values).map_err(|error| fault::of_sql(&error))
    }
}

/// The parameters of a plan, each with the type of what it is first compared with, where that is known.
///
/// DataFusion's own `get_parameter_types` takes two columns for two types when their comments differ.
fn parameters(plan: &LogicalPlan) -> Result<BTreeMap<String, Option<DataType>>, DataFusionError> {
    let mut found: BTreeMap<String, Option<DataType>> = BTreeMap::new();
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(placeholder) = expr {
                    let data_type = placeholder.field.as_ref().map(|field| field.data_type().clone());
                    let known = found.entry(placeholder.id.trim_start_matches('$').to_owned()).or_default();
                    *known = known.take().or(data_type);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The value of a declared parameter.
fn declared(param: &Param, text: &str, references: &[Reference]) -> Result<ScalarValue> {
    param.value(&readable(text, &param.data_type), references).map_err(|bad| match bad {
        BadValue::NotOfType { expected, .. } => misfit(&param.name, text, &expected).hint(param.comment.clone()),
        BadValue::NotInReference { reference, .. } => {
            let known = references.iter().filter(|known| known.name == reference).flat_map(|found| &found.rows);
            let known: Vec<String> = known.filter_map(|row| row.first()).cloned().collect();
            let message = format!("parameter '{}': '{text}' is not in reference.{reference}", param.name);
            let all = format!("`pipeline query \"SELECT * FROM reference.{reference}\"` lists what it knows");
            near::unknown(&message, text, &known, &all)
        }
    })
}

/// The value that a text stands for.
fn scalar(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let value = ScalarValue::try_from_string(readable(text, data_type), data_type).ok()?;
    (!value.is_null() || text.is_empty()).then_some(value)
}

/// The type of a text that is compared with nothing, as after LIMIT.
fn guess(text: &str) -> DataType {
    if text.parse::<i64>().is_ok() { DataType::Int64 } else { DataType::Utf8 }
}

/// A month, such as `2021-12`, is the date of its first day.
fn readable(text: &str, data_type: &DataType) -> String {
    let month = || text.len() == 7 && text.as_bytes().get(4) == Some(&b'-');
    if matches!(data_type, DataType::Date32 | DataType::Date64) && month() {
        return format!("{text}-01");
    }
    text.to_owned()
}

fn unknown_param(name: &str, known: &[String]) -> Error {
    near::unknown(&format!("there is no parameter '{name}'"), name, known, "the query has no parameters")
}

fn missing_param(name: &str) -> Error {
    Error::usage(format!("parameter '{name}' is not given"))
}

fn misfit(name: &str, text: &str, expected: &str) -> Error {
    let form = match expected {
        "DATE" => "a DATE such as 2021-12-31, or 2021-12 for the first of a month".to_owned(),
        other => format!("of the type {other}"),
    };
    Error::usage(format!("parameter '{name}': '{text}' is not {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(params: Vec<Param>) -> Query {
        Query { name: "q".to_owned(), pipeline: "p".to_owned(), description: String::new(), sql: String::new(), params }
    }

    fn param(name: &str, data_type: DataType, default: Option<&str>) -> Param {
        let default = default.map(str::to_owned);
        Param { name: name.to_owned(), data_type, reference: None, default, comment: "what it is".to_owned() }
    }

    fn references() -> [Reference; 1] {
        let row = |key: &str, class: &str| vec![key.to_owned(), class.to_owned()];
        [Reference {
            name: "classes".to_owned(),
            pipeline: "p".to_owned(),
            columns: row("spelling", "class"),
            rows: vec![row("covid", "covid19"), row("covid19", "covid19"), row("edema", "edema")],
        }]
    }

    fn values(params: Vec<Param>, given: &[(&str, &str)]) -> Result<Values> {
        let given: Vec<(String, String)> = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Values::of_query(&query(params), &given, &references())
    }

    fn value(values: &Values, name: &str) -> ScalarValue {
        match &values.0[name] {
            Value::Typed(value) => value.clone(),
            Value::Text(text) => panic!("{text} has no type"),
        }
    }

    #[test]
    fn a_month_is_its_first_day() {
        let values = values(vec![param("month", DataType::Date32, None)], &[("month", "2021-12")]).unwrap();
        assert_eq!(value(&values, "month").to_string(), "2021-12-01");
    }

    #[test]
    fn a_wrong_month_is_told_as_it_was_written() {
        for wrong in ["2021-13", "2021-1", "Dez 2021", "2021/12", ""] {
            let error = values(vec![param("month", DataType::Date32, None)], &[("month", wrong)]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("q: parameter 'month': '{wrong}' is not a DATE such as")), "{text}");
        }
    }

    #[test]
    fn spelling_is_the_users_and_what_no_reference_knows_lists_the_near_ones() {
        let mut class = param("with", DataType::Utf8, Some("edema"));
        class.reference = Some(("classes".to_owned(), "class".to_owned()));
        let found = values(vec![class.clone()], &[("with", " COVID ")]).unwrap();
        assert_eq!(value(&found, "with"), ScalarValue::from("covid19"));
        let default = values(vec![class.clone()], &[]).unwrap();
        assert_eq!(value(&default, "with"), ScalarValue::from("edema"));
        let error = values(vec![class], &[("with", "covid1")]).unwrap_err().to_string();
        assert!(error.contains("'covid1' is not in reference.classes"), "{error}");
        assert!(error.contains("did you mean one of covid19, covid?"), "{error}");
    }

    #[test]
    fn missing_and_unknown_parameters_are_told() {
        let params = || vec![param("exam_id", DataType::Utf8, None)];
        let missing = values(params(), &[]).unwrap_err().to_string();
        assert_eq!(missing, "q: parameter 'exam_id' is not given\n  hint: --param exam_id=…: what it is");
        let unknown = values(params(), &[("examid", "1")]).unwrap_err().to_string();
        assert_eq!(unknown, "q: there is no parameter 'examid'\n  hint: did you mean 'exam_id'?");
    }
}
