//! The columns of a database's table as fields of `record`, and what changed among them.
//!
//! A field is never taken away and never changes its type: a column that goes leaves NULL, and values of a changed type
//! that do not fit stand in `payload` only.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};

use super::history::{Columns, Known, TABLE};
use crate::contract::Column;
use crate::ops::ColumnRow;
use crate::run::Run;
use crate::source::postgres::{Relation, RelationColumn};

/// The column of typed values.
const RECORD: &str = "record";
/// Characters that a column's name cannot have in Delta.
const FORBIDDEN: [char; 9] = [' ', ',', ';', '{', '}', '(', ')', '=', '.'];

/// The fields of `record`, and how the table's columns changed.
#[derive(Debug)]
pub(super) struct Shape {
    /// The fields, those that are stored first.
    pub fields: Fields,
    /// The column that each field has its values from.
    pub names: Vec<String>,
    /// There are fields that the stored table has not.
    pub is_wider: bool,
    is_first: bool,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    column: String,
    field: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Event {
    fn as_str(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "appeared",
            (_, None) => "gone",
            _ => "changed",
        }
    }
}

impl Shape {
    /// Fits a table's columns to the schema that is stored and to what is known of them.
    pub fn of(relation: &Relation, stored: Option<&SchemaRef>, known: Option<&Columns>) -> Self {
        let empty = Columns::new();
        let columns = known.unwrap_or(&empty);
        let mut fields = stored.map(stored_fields).unwrap_or_default();
        let before = fields.len();
        let mut names: Vec<String> = fields.iter().map(|field| owner(columns, field.name())).collect();
        let mut events: Vec<Event> =
            columns.get(TABLE).filter(|table| table.type_name.is_none()).map(reappeared).into_iter().collect();
        for column in &relation.columns {
            let field = match field_of(column, columns, &fields, &names) {
                Some(index) => {
                    names[index].clone_from(&column.name);
                    fields[index].name().clone()
                }
                None => {
                    let name = unique(&column.name, &fields);
                    fields.push(Arc::new(Field::new(&name, column.data_type.clone(), true)));
                    names.push(column.name.clone());
                    name
                }
            };
            events.extend(event(column, field, columns.get(&column.name)));
        }
        events.extend(gone(relation, columns));
        Self {
            is_wider: fields.len() > before && stored.is_some(),
            fields: fields.into(),
            names,
            is_first: known.is_none(),
            events,
        }
    }

    /// `record` as a column; none when the table has no columns, which Parquet cannot hold.
    pub fn column(&self) -> Option<Column> {
        (!self.fields.is_empty()).then(|| Column {
            name: RECORD.to_owned(),
            data_type: DataType::Struct(self.fields.clone()),
            required: false,
            comment: "the row, typed from the database's own types; NULL where a value does not fit".to_owned(),
        })
    }

    /// The events, for `ops.columns`.
    pub fn rows(&self, run: &Run, source: &str, relation: &Relation) -> Vec<ColumnRow> {
        let row = |event: &Event| ColumnRow {
            run: run.id.clone(),
            source: source.to_owned(),
            table: relation.name.clone(),
            column: event.column.clone(),
            field: event.field.clone(),
            event: event.as_str().to_owned(),
            type_before: event.before.clone(),
            type_after: event.after.clone(),
            seen_at: run.started_micros(),
        };
        self.events.iter().map(row).collect()
    }

    /// The events in words; those of a table that is seen for the first time go without saying.
    pub fn told(&self, relation: &Relation) -> Vec<(String, String)> {
        let told = |event: &Event| {
            let types: Vec<&str> = [&event.before, &event.after].into_iter().flatten().map(String::as_str).collect();
            (relation.uri.clone(), format!("column '{}' {}: {}", event.column, event.as_str(), types.join(" to ")))
        };
        self.events.iter().filter(|_| !self.is_first).map(told).collect()
    }
}

fn stored_fields(schema: &SchemaRef) -> Vec<FieldRef> {
    match schema.field_with_name(RECORD).map(Field::data_type) {
        Ok(DataType::Struct(fields)) => fields.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The column that a stored field belongs to.
fn owner(columns: &Columns, field: &str) -> String {
    let found = columns.iter().find(|(_, known)| known.field.as_deref() == Some(field));
    found.map_or_else(|| field.to_owned(), |(name, _)| name.clone())
}

/// The place of a column's field; none when it has none yet.
fn field_of(column: &RelationColumn, columns: &Columns, fields: &[FieldRef], names: &[String]) -> Option<usize> {
    match columns.get(&column.name).and_then(|known| known.field.as_ref()) {
        Some(field) => fields.iter().position(|known| known.name() == field),
        None => names.iter().position(|name| *name == column.name),
    }
}

/// A name that Delta allows and no other field has, in whatever case.
fn unique(column: &str, fields: &[FieldRef]) -> String {
    let is_allowed = |c: char| !FORBIDDEN.contains(&c) && !c.is_control();
    let plain: String = column.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    let taken: HashSet<String> = fields.iter().map(|field| field.name().to_lowercase()).collect();
    let numbered = (2..).map(|number| format!("{plain}_{number}"));
    let mut names = std::iter::once(plain.clone()).chain(numbered);
    names.find(|name| !taken.contains(&name.to_lowercase())).unwrap_or(plain)
}

fn event(column: &RelationColumn, field: String, known: Option<&Known>) -> Option<Event> {
    let before = known.and_then(|known| known.type_name.clone());
    let after = Some(column.type_name.clone());
    (before != after).then(|| Event { column: column.name.clone(), field: Some(field), before, after })
}

fn reappeared(_: &Known) -> Event {
    Event { column: TABLE.to_owned(), field: None, before: None, after: Some("table".to_owned()) }
}

fn gone(relation: &Relation, columns: &Columns) -> Vec<Event> {
    let is_there = |name: &str| name == TABLE || relation.columns.iter().any(|column| column.name == name);
    let gone = columns.iter().filter(|(name, known)| known.type_name.is_some() && !is_there(name));
    let event = |(name, known): (&String, &Known)| Event {
        column: name.clone(),
        field: known.field.clone(),
        before: known.type_name.clone(),
        after: None,
    };
    gone.map(event).collect()
}
