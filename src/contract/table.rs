//! A table's contract on its own: do its parts name each other rightly, before any SQL is looked at.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::layout::TableFiles;
use super::raw::{self, RawBronze, RawTable, Strategy};
use super::types::{
    BronzeKind, CHANGE_COLUMNS, SYSTEM_COLUMNS, bronze_columns, bronze_schema, is_identifier, is_ordered,
    record_columns, sequence_column, type_name,
};
use super::{Column, Expectation, Severity, Stage, TableName, surrogate};
use crate::problem::{File, Problem, suggest};
use crate::toml::At;

/// A contract that was read; its SQL is not yet planned.
pub(super) struct Draft<'a> {
    pub name: &'a TableName,
    pub pipeline: String,
    pub description: String,
    pub contract: &'a File,
    pub sql: Option<&'a File>,
    pub columns: Vec<Column>,
    pub key: Vec<String>,
    pub statistics: Vec<String>,
    pub subject: Option<String>,
    /// See [`super::erased_with`].
    pub erased_with: Option<At<String>>,
    pub expectations: Vec<Expectation>,
    pub kind: Kind,
    /// What SQL sees of it; none while the columns have mistakes.
    pub schema: Option<SchemaRef>,
    /// No problem was found so far.
    pub sound: bool,
}

pub(super) enum Kind {
    Bronze { source: Option<At<String>>, relation: Option<At<String>>, payload: At<Fields> },
    Derived(Box<RawTable>),
}

/// Reads a contract and checks it; `None` when it is no TOML at all. `originals` are the pipeline's sources of originals.
pub(super) fn draft<'a>(
    pipeline: &str,
    files: &'a TableFiles,
    originals: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<Draft<'a>> {
    let before = problems.len();
    let contract = &files.contract;
    let mut draft = Draft {
        name: &files.name,
        pipeline: pipeline.to_owned(),
        description: String::new(),
        contract,
        sql: files.sql.as_ref(),
        columns: bronze_columns(BronzeKind::Records),
        key: Vec::new(),
        subject: None,
        erased_with: None,
        statistics: vec!["_batch".to_owned(), "_ingested_at".to_owned()],
        expectations: Vec::new(),
        kind: Kind::Bronze { source: None, relation: None, payload: At { value: Fields::empty(), at: 0 } },
        schema: None,
        sound: false,
    };
    if files.name.to_string() == "silver.quarantine" {
        let problem = Problem::of_file(&contract.path, "'silver.quarantine' is kept by the engine");
        problems.push(problem.with_hint("choose another name".to_owned()));
    }
    if files.name.stage == Stage::Bronze {
        draft.fill_bronze(raw::bronze(contract, problems)?, originals, problems);
    } else {
        draft.fill_derived(raw::table(contract, problems)?, problems);
    }
    draft.sound = problems.len() == before;
    Some(draft)
}

impl Draft<'_> {
    fn fill_bronze(&mut self, raw: RawBronze, originals: &[&str], problems: &mut Vec<Problem>) {
        self.description = raw.description;
        let is_database = raw.relation.is_some();
        let is_original = raw.source.as_ref().is_some_and(|at| originals.contains(&at.value.as_str()));
        self.columns = bronze_columns(match () {
            () if is_database => BronzeKind::Rows,
            () if is_original => BronzeKind::Originals,
            () => BronzeKind::Records,
        });
        let payload = match raw.payload {
            Some(At { value: DataType::Struct(fields), at }) => {
                let is_system =
                    |name: &str| SYSTEM_COLUMNS.contains(&name) || (is_database && CHANGE_COLUMNS.contains(&name));
                let clash = fields.iter().find(|field| is_system(field.name()));
                if let Some(field) = clash {
                    let message = format!("payload field '{}' has the name of a system column", field.name());
                    problems.push(self.contract.problem(at, message));
                } else {
                    self.schema = Some(bronze_schema(&fields, is_database));
                }
                At { value: fields, at }
            }
            Some(At { value, at }) => {
                let message = format!("the payload is {}, not STRUCT<…>", type_name(&value));
                problems.push(self.contract.problem(at, message));
                At { value: Fields::empty(), at }
            }
            None => At { value: Fields::empty(), at: 0 },
        };
        self.kind = Kind::Bronze { source: raw.source, relation: raw.relation, payload };
    }

    fn fill_derived(&mut self, raw: RawTable, problems: &mut Vec<Problem>) {
        self.description = raw.description.clone();
        let columns_before = problems.len();
        self.columns = self.read_columns(&raw, problems);
        let columns_sound = problems.len() == columns_before && raw.columns.iter().all(|raw| raw.data_type.is_some());
        if columns_sound && !self.columns.is_empty() {
            self.schema = Some(schema_of(&self.columns));
        }
        self.key = self.known_columns("key", raw.key.as_ref().map(|at| &at.value), problems);
        self.check_key(&raw, problems);
        self.check_strategy(&raw, problems);
        self.subject = self.read_subject(&raw, problems);
        self.erased_with = raw.erased_with.clone();
        self.statistics = self.key.clone();
        for column in self.known_columns("statistics", Some(&raw.statistics), problems) {
            if !self.statistics.contains(&column) {
                self.statistics.push(column);
            }
        }
        self.expectations = self.read_expectations(&raw, problems);
        self.kind = Kind::Derived(Box::new(raw));
    }

    fn read_subject(&self, raw: &RawTable, problems: &mut Vec<Problem>) -> Option<String> {
        let At { value, at } = raw.subject.as_ref()?;
        if !is_identifier(value) {
            let hint = "small letters, digits and _, a letter first".to_owned();
            problems.push(self.problem(*at, format!("'{value}' cannot be a subject's name")).with_hint(hint));
        } else if self.key.len() != 1 {
            let message = "a subject is told by a key of one column".to_owned();
            problems.push(self.problem(*at, message).with_hint("its rows are found by that column".to_owned()));
        }
        Some(value.clone())
    }

    pub(super) fn problem(&self, at: usize, message: String) -> Problem {
        self.contract.problem(at, message)
    }

    fn read_columns(&self, raw: &RawTable, problems: &mut Vec<Problem>) -> Vec<Column> {
        if raw.columns.is_empty() {
            let hint = "add [columns.<name>] with type and comment".to_owned();
            problems.push(self.problem(0, "the table has no columns".to_owned()).with_hint(hint));
        }
        let mut columns = Vec::new();
        for column in &raw.columns {
            let name = &column.name;
            if !is_identifier(&name.value) {
                let hint = "small letters, digits and _, a letter first".to_owned();
                let message = format!("'{}' cannot be a column's name", name.value);
                problems.push(self.problem(name.at, message).with_hint(hint));
            }
            columns.push(Column {
                name: name.value.clone(),
                data_type: column.data_type.as_ref().map_or(DataType::Null, |at| at.value.clone()),
                required: column.required || column.surrogate,
                comment: column.comment.clone(),
            });
        }
        if raw.strategy.as_ref().map(|at| at.value) == Some(Strategy::ByRecord) {
            self.add_record_columns(raw, &mut columns, problems);
        }
        columns
    }

    fn add_record_columns(&self, raw: &RawTable, columns: &mut Vec<Column>, problems: &mut Vec<Problem>) {
        let sequence = raw.sequence.as_ref().and_then(|at| sequence_column(&at.value));
        for system in record_columns().into_iter().chain(sequence) {
            match raw.columns.iter().find(|column| column.name.value == system.name) {
                None => columns.push(system),
                Some(own) => {
                    if let Some(At { value, at }) = own.data_type.as_ref().filter(|at| at.value != system.data_type) {
                        let wanted = type_name(&system.data_type);
                        let message =
                            format!("'{}' is {}, but the engine writes {wanted}", system.name, type_name(value));
                        problems.push(self.problem(*at, message));
                    }
                }
            }
        }
    }

    /// The names that are columns; the others are reported.
    fn known_columns(&self, what: &str, names: Option<&Vec<At<String>>>, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut known = Vec::new();
        for At { value, at } in names.into_iter().flatten() {
            if self.columns.iter().any(|column| column.name == *value) {
                known.push(value.clone());
            } else {
                problems.push(self.unknown_column(what, value, *at));
            }
        }
        known
    }

    pub(super) fn unknown_column(&self, what: &str, name: &str, at: usize) -> Problem {
        let hint = suggest(name, self.columns.iter().map(|column| column.name.as_str()));
        self.problem(at, format!("unknown column '{name}' in '{what}'")).with_hint(hint)
    }

    fn check_key(&self, raw: &RawTable, problems: &mut Vec<Problem>) {
        for At { value, at } in raw.key.iter().flat_map(|key| &key.value) {
            if let Some(column) = self.columns.iter().find(|column| column.name == *value)
                && !column.required
            {
                let hint = format!("add `required = true` to [columns.{value}]");
                problems.push(self.problem(*at, format!("key column '{value}' may be NULL")).with_hint(hint));
            }
        }
    }

    fn check_strategy(&self, raw: &RawTable, problems: &mut Vec<Problem>) {
        let Some(strategy) = &raw.strategy else {
            return;
        };
        let by_record = strategy.value == Strategy::ByRecord;
        let by_key = strategy.value == Strategy::ByKey;
        if by_record && raw.key.is_none() {
            let hint = "name the columns that tell one row from another".to_owned();
            problems.push(self.problem(strategy.at, "by_record needs a 'key'".to_owned()).with_hint(hint));
        }
        if by_key && raw.replace_by.is_none() {
            let hint = "name the columns of which a value is recomputed as a whole".to_owned();
            problems.push(self.problem(strategy.at, "by_key needs 'replace_by'".to_owned()).with_hint(hint));
        }
        if let Some(At { at, .. }) = raw.broadcast.first().filter(|_| !by_key) {
            problems.push(self.problem(*at, "'broadcast' belongs to by_key only".to_owned()));
        }
        if let Some(replace_by) = &raw.replace_by {
            if by_key {
                self.known_columns("replace_by", Some(&replace_by.value), problems);
            } else {
                problems.push(self.problem(replace_by.at, "'replace_by' belongs to by_key only".to_owned()));
            }
        }
        if let Some(sequence) = &raw.sequence {
            self.check_sequence(sequence, by_record, problems);
        }
        surrogate::check(self, raw, strategy, problems);
        if let Some(delete_when) = &raw.delete_when {
            self.check_delete(delete_when, raw.sequence.as_ref(), by_record, problems);
        }
    }

    fn check_sequence(&self, sequence: &At<String>, by_record: bool, problems: &mut Vec<Problem>) {
        let At { value, at } = sequence;
        if !by_record {
            problems.push(self.problem(*at, "'sequence' belongs to by_record only".to_owned()));
            return;
        }
        match self.columns.iter().find(|column| column.name == *value) {
            None => problems.push(self.unknown_column("sequence", value, *at)),
            Some(column) if !is_ordered(&column.data_type) => {
                let hint = "use a number, a date, a timestamp or a string".to_owned();
                let message = format!("sequence '{value}' is {}, which has no order", type_name(&column.data_type));
                problems.push(self.problem(*at, message).with_hint(hint));
            }
            Some(_) => {}
        }
    }

    /// A deletion leaves nothing behind that a record of an earlier sequence could lose to, so that only a sequence which
    /// grows from run to run keeps increments equal to a full refresh.
    fn check_delete(
        &self,
        delete_when: &At<String>,
        sequence: Option<&At<String>>,
        by_record: bool,
        problems: &mut Vec<Problem>,
    ) {
        if !by_record {
            problems.push(self.problem(delete_when.at, "'delete_when' belongs to by_record only".to_owned()));
        } else if sequence.is_none_or(|at| at.value != "_batch") {
            let hint = "a record that comes late must not bring back a row that a newer one deleted".to_owned();
            let message = "'delete_when' needs sequence = \"_batch\"".to_owned();
            problems.push(self.problem(sequence.map_or(delete_when.at, |at| at.at), message).with_hint(hint));
        }
    }

    fn read_expectations(&self, raw: &RawTable, problems: &mut Vec<Problem>) -> Vec<Expectation> {
        let mut expectations: Vec<Expectation> =
            surrogate::given_by_sql(raw, &self.columns).iter().filter(|column| column.required).map(required).collect();
        for expectation in &raw.expectations {
            let At { value: name, at } = &expectation.name;
            if !is_identifier(name) {
                problems.push(self.problem(*at, format!("'{name}' cannot be an expectation's name")));
            } else if expectations.iter().any(|known| known.name == *name) {
                let hint = "`required = true` already expects it".to_owned();
                problems.push(self.problem(*at, format!("expectation '{name}' is there twice")).with_hint(hint));
            }
            expectations.push(Expectation {
                name: name.clone(),
                condition: expectation.condition.as_ref().map_or_else(String::new, |at| at.value.clone()),
                severity: expectation.severity,
                comment: expectation.comment.clone(),
            });
        }
        expectations
    }
}

/// What `required = true` expects.
fn required(column: &Column) -> Expectation {
    Expectation {
        name: format!("{}_required", column.name),
        condition: format!("\"{}\" IS NOT NULL", column.name),
        severity: Severity::Quarantine,
        comment: format!("'{}' is required", column.name),
    }
}

/// The columns as SQL sees them. All may be NULL there: whether a required one is, is for its expectation to find out.
pub(super) fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields: Fields =
        columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}
