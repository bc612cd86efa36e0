//! DataFusion's errors as ours: place, fact, hint.

use arrow::error::ArrowError;
use deltalake::datafusion::common::SchemaError;
use deltalake::datafusion::error::DataFusionError;

use super::near;
use crate::error::Error;

/// What is wrong with SQL that was not yet executed: the user's own text, which may be shown.
pub fn of_sql(error: &DataFusionError) -> Error {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let place = span.map(|span| format!("SQL, line {}, column {}", span.start.line, span.start.column));
    let place = place.unwrap_or_else(|| "SQL".to_owned());
    let error = error.iter().next().unwrap_or(error).find_root();
    match error {
        DataFusionError::SchemaError(schema, _) => of_schema(schema).at(place),
        DataFusionError::SQL(parser, _) => {
            let text = parser.to_string();
            let text = text.trim_start_matches("sql parser error: ");
            let (fact, at) = text.split_once(" at Line: ").unwrap_or((text, ""));
            let place =
                if at.is_empty() { "SQL".to_owned() } else { format!("SQL, line {}", at.replace("Column:", "column")) };
            Error::usage(fact).at(place)
        }
        DataFusionError::Plan(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Execution(_)
        | DataFusionError::Configuration(_) => of_plan(&error.message()).at(place),
        DataFusionError::ArrowError(arrow, _) => of_constant(arrow).at(place),
        other => Error::failed(first_line(&other.strip_backtrace())),
    }
}

/// What went wrong with rows that were read: without their values.
pub fn of_rows(error: &DataFusionError) -> Error {
    let error = error.find_root();
    let text = match error {
        DataFusionError::ArrowError(arrow, _) => arrow.to_string(),
        // Its text goes on with whatever was at hand, rows too.
        DataFusionError::Internal(text) => format!("the engine failed: {}", text.split(':').next().unwrap_or_default()),
        DataFusionError::ResourcesExhausted(text) => {
            let error = Error::failed(format!("out of memory: {}", first_line(text)));
            return error.hint("--memory gives the engine more; or ask for fewer rows or columns");
        }
        other => other.strip_backtrace(),
    };
    let error = crate::store::of_text(&text);
    if error.to_string() != text {
        return error;
    }
    Error::failed(first_line(&error.without_values()))
}

fn of_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known: Vec<String> = valid_fields.iter().map(|field| field.name.clone()).collect();
            let message = format!("unknown column '{}'", field.flat_name());
            near::unknown(&message, &field.name, &known, "`pipeline describe TABLE` lists the columns")
        }
        SchemaError::AmbiguousReference { field } => {
            let name = &field.name;
            Error::usage(format!("column '{name}' may be one of several")).hint(format!("write <table>.{name}"))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::usage(format!("column '{name}' stands twice")).hint("give each its own name with AS")
        }
    }
}

/// The first sentence says what is wrong; the rest lists candidates and where to file bugs against DataFusion.
fn of_plan(text: &str) -> Error {
    let essence = text.find("No function matches").map_or(text, |at| &text[at..]);
    let message = first_line(essence.trim_start_matches("Error during planning: "));
    let error = Error::usage(message.trim_end_matches('.'));
    match text.lines().find(|line| line.starts_with("Did you mean")) {
        Some(hint) => error.hint(hint.replacen('D', "d", 1)),
        None => error,
    }
}

fn of_constant(error: &ArrowError) -> Error {
    match error {
        ArrowError::CastError(text) | ArrowError::ParseError(text) | ArrowError::ComputeError(text) => {
            Error::usage(first_line(text))
        }
        other => Error::failed(first_line(&other.to_string())),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rows_are_not_told() {
        let cast = ArrowError::CastError("Cannot cast string 'Maria' to value of Int32 type".to_owned());
        let text = of_rows(&DataFusionError::from(cast)).to_string();
        assert!(text.contains("Cannot cast string '…' to value of Int32") && !text.contains("Maria"), "{text}");
        let internal = DataFusionError::Internal("Uncomparable values: List([{text: Maria}])".to_owned());
        assert_eq!(of_rows(&internal).to_string(), "the engine failed: Uncomparable values");
    }

    #[test]
    fn what_the_user_wrote_is_told_with_its_place() {
        let error = DataFusionError::Plan("Error during planning: table 'x' not found.\nmore".to_owned());
        assert_eq!(of_sql(&error).to_string(), "SQL: table 'x' not found");
        let cast = ArrowError::CastError("Cannot cast string 'x' to value of Int32 type".to_owned());
        assert!(of_sql(&DataFusionError::from(cast)).to_string().contains("'x'"));
    }
}
