//! Datasets: which rows a training set is made of, which of their columns are what, and how it is split.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use deltalake::datafusion::scalar::ScalarValue;
use toml_span::value::{Table, ValueInner};

use super::layout::Named;
use super::plan::Planner;
use super::query::sample;
use super::types::{is_identifier, type_name};
use super::{Query, Reference};
use crate::problem::{File, Problem, suggest};
use crate::toml::{At, Reader, inside};
use crate::variables::Template;

/// The key of the hashes where a dataset names none.
const SALT: &str = "${MEDALHA_SALT}";

/// What a dataset is made of.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: String,
    pub pipeline: String,
    pub description: String,
    /// Under which others may use it; a name or a URL.
    pub license: Option<String>,
    pub rows: DatasetRows,
    /// The column that tells a row from all others.
    pub id: String,
    /// The column that says whose a row is: nobody is in two splits.
    pub person: Option<String>,
    /// The column with the URI of the row's original file.
    pub original: Option<String>,
    /// Columns that hold a label, or a list of labels.
    pub labels: Vec<String>,
    /// The secret key of the hashes of persons.
    pub salt: Template,
    pub splits: Shares,
}

impl Dataset {
    /// A dataset of which only the name is known.
    pub fn unnamed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pipeline: String::new(),
            description: String::new(),
            license: None,
            rows: DatasetRows::Sql(String::new()),
            id: String::new(),
            person: None,
            original: None,
            labels: Vec::new(),
            salt: default_salt(),
            splits: Shares::default(),
        }
    }
}

/// Where a dataset's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetRows {
    /// A table, or those of its rows for which a condition holds.
    Table { table: String, filter: Option<String> },
    /// A named query with the values of its parameters.
    Query { name: String, params: Vec<(String, String)> },
    /// SQL.
    Sql(String),
}

/// The part of all persons that a split gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub name: String,
    pub share: f64,
}

/// Splits, in the order in which they take their shares; together they are 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(Vec<Share>);

impl Default for Shares {
    fn default() -> Self {
        let share = |name: &str, share| Share { name: name.to_owned(), share };
        Self(vec![share("train", 0.8), share("validation", 0.1), share("test", 0.1)])
    }
}

impl Shares {
    /// Splits of these names and shares.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(shares: Vec<Share>) -> Result<Self, String> {
        for (at, Share { name, share }) in shares.iter().enumerate() {
            if !is_identifier(name) {
                return Err(format!("'{name}' cannot be a split's name"));
            }
            if shares[..at].iter().any(|other| other.name == *name) {
                return Err(format!("split '{name}' stands twice"));
            }
            if !(*share > 0.0 && *share <= 1.0) {
                return Err(format!("the share of '{name}' is not between 0 and 1"));
            }
        }
        let sum: f64 = shares.iter().map(|share| share.share).sum();
        if (sum - 1.0).abs() > 1e-6 {
            return Err(format!("the shares add up to {sum}, not to 1"));
        }
        Ok(Self(shares))
    }

    /// The splits.
    pub fn as_slice(&self) -> &[Share] {
        &self.0
    }
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = |part: &str| {
            let (name, share) = part.split_once('=')?;
            Some(Share { name: name.trim().to_owned(), share: share.trim().parse().ok()? })
        };
        let shares: Option<Vec<Share>> = text.split(',').map(share).collect();
        Self::new(shares.ok_or("give names and shares, such as train=0.8,validation=0.1,test=0.1")?)
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|share| format!("{}={}", share.name, share.share)).collect();
        f.write_str(&parts.join(","))
    }
}

/// What a dataset can name.
pub(super) struct Known<'a> {
    pub planner: &'a Planner,
    pub queries: &'a [Query],
    pub references: &'a [Reference],
}

/// A dataset as typed, with the places of what it says.
struct Raw<'a> {
    description: String,
    license: Option<At<String>>,
    table: Option<At<String>>,
    filter: Option<At<String>>,
    query: Option<At<String>>,
    sql: Option<At<String>>,
    id: Option<At<String>>,
    person: Option<At<String>>,
    original: Option<At<String>>,
    labels: Vec<At<String>>,
    salt: Option<At<String>>,
    splits: Option<At<Table<'a>>>,
    params: Option<At<Table<'a>>>,
}

/// Reads a dataset and checks it; `None` when there were problems.
pub(super) fn read(pipeline: &str, named: &Named, known: &Known<'_>, problems: &mut Vec<Problem>) -> Option<Dataset> {
    let before = problems.len();
    let file = &named.file;
    let mut reader = Reader::open(file, &file.text, problems)?;
    let raw = Raw {
        description: reader.description(),
        license: reader.optional("license"),
        table: reader.optional("table"),
        filter: reader.optional("filter"),
        query: reader.optional("query"),
        sql: reader.optional("sql"),
        id: reader.required("id"),
        person: reader.optional("person"),
        original: reader.optional("original"),
        labels: reader.names("labels").map_or_else(Vec::new, |at| at.value),
        salt: reader.optional("salt"),
        splits: reader.table("splits"),
        params: reader.table("params"),
    };
    reader.finish();
    let mut draft = Draft { file, known, problems };
    let salt = raw.salt.as_ref().map_or_else(default_salt, |salt| draft.salt(salt));
    let splits = raw.splits.map_or_else(Shares::default, |splits| draft.splits(splits));
    let params = raw.params.map_or_else(Vec::new, |params| draft.params(params));
    let (rows, schema) = draft.rows([&raw.table, &raw.filter, &raw.query, &raw.sql], params)?;
    let columns = [(&raw.id, Use::Id), (&raw.person, Use::Person), (&raw.original, Use::Original)];
    for (column, wanted) in columns.into_iter().filter_map(|(column, wanted)| Some((column.as_ref()?, wanted))) {
        draft.column(column, wanted, &schema);
    }
    raw.labels.iter().for_each(|label| draft.column(label, Use::Label, &schema));
    (problems.len() == before).then(|| Dataset {
        name: named.name.clone(),
        pipeline: pipeline.to_owned(),
        description: raw.description,
        license: raw.license.map(|at| at.value),
        rows,
        id: raw.id.map_or_else(String::new, |at| at.value),
        person: raw.person.map(|at| at.value),
        original: raw.original.map(|at| at.value),
        labels: raw.labels.into_iter().map(|at| at.value).collect(),
        salt,
        splits,
    })
}

fn default_salt() -> Template {
    Template::parse(SALT).unwrap_or_else(|_| Template::literal(SALT))
}

/// What a dataset uses a column for, which decides the types that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Tells rows apart.
    Id,
    /// Says whose a row is.
    Person,
    /// Says where the original file is.
    Original,
    /// One label or a list of them.
    Label,
}

impl Use {
    /// Whether a column of this type can be used so.
    pub fn takes(self, data_type: &DataType) -> bool {
        match self {
            Use::Id | Use::Person => matches!(data_type, DataType::Utf8) || data_type.is_integer(),
            Use::Original => matches!(data_type, DataType::Utf8),
            Use::Label => match data_type {
                DataType::List(item) => !item.data_type().is_nested(),
                other => !other.is_nested(),
            },
        }
    }

    /// The types that can, in words.
    pub fn wanted(self) -> &'static str {
        match self {
            Use::Id | Use::Person => "a STRING or a whole number",
            Use::Original => "a STRING",
            Use::Label => "one value or a list of values",
        }
    }
}

struct Draft<'a, 'p> {
    file: &'a File,
    known: &'a Known<'a>,
    problems: &'p mut Vec<Problem>,
}

impl Draft<'_, '_> {
    fn report(&mut self, at: usize, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(self.file.problem(at, message).with_hint(hint));
    }

    fn salt(&mut self, salt: &At<String>) -> Template {
        Template::parse(&salt.value).unwrap_or_else(|(offset, message)| {
            self.report(inside(self.file, salt.at, &salt.value, offset), message, None);
            Template::literal("")
        })
    }

    fn splits(&mut self, splits: At<Table<'_>>) -> Shares {
        let mut shares = Vec::new();
        for (name, mut value) in splits.value {
            let share = match value.take() {
                ValueInner::Float(share) => share,
                ValueInner::Integer(share) => share as f64,
                other => {
                    self.report(name.span.start, format!("a share is a number, not {}", other.type_str()), None);
                    return Shares::default();
                }
            };
            shares.push((name.span.start, Share { name: name.name.into_owned(), share }));
        }
        shares.sort_by_key(|(at, _)| *at);
        Shares::new(shares.into_iter().map(|(_, share)| share).collect()).unwrap_or_else(|message| {
            self.report(splits.at, message, None);
            Shares::default()
        })
    }

    fn params(&mut self, params: At<Table<'_>>) -> Vec<At<(String, String)>> {
        let mut values = Vec::new();
        for (name, mut value) in params.value {
            match value.take() {
                ValueInner::String(text) => {
                    values.push(At { value: (name.name.into_owned(), text.into_owned()), at: name.span.start });
                }
                other => {
                    let message = format!("'{}' is of type {}, not string", name.name, other.type_str());
                    self.report(name.span.start, message, None);
                }
            }
        }
        values.sort_by_key(|at| at.at);
        values
    }

    /// Where the rows come from, with the columns that they have.
    fn rows(
        &mut self,
        [table, filter, query, sql]: [&Option<At<String>>; 4],
        params: Vec<At<(String, String)>>,
    ) -> Option<(DatasetRows, SchemaRef)> {
        if let (None, Some(at)) = (table, filter) {
            self.report(at.at, "'filter' is a condition on the rows of a 'table'", None);
        }
        if let (None, Some(at)) = (query, params.first()) {
            self.report(at.at, "'params' are those of a 'query'", None);
        }
        match (table, query, sql) {
            (Some(table), None, None) => {
                let filter = filter.as_ref();
                let place = filter.map_or(table.at, |filter| filter.at);
                let rows = DatasetRows::Table { table: table.value.clone(), filter: filter.map(|at| at.value.clone()) };
                let schema = self.plan(
                    place,
                    &DatasetRows::select(&table.value, filter.map(|at| at.value.as_str())),
                    &HashMap::new(),
                );
                Some((rows, DatasetRows::own_columns(&schema?)))
            }
            (None, Some(query), None) => self.query(query, params),
            (None, None, Some(sql)) => {
                let schema = self.plan(sql.at, &sql.value, &HashMap::new())?;
                Some((DatasetRows::Sql(sql.value.clone()), schema))
            }
            (one, two, three) => {
                let at = [one, two, three].into_iter().flatten().map(|at| at.at).max().unwrap_or(0);
                self.report(at, "a dataset has one of 'table', 'query' and 'sql'", None);
                None
            }
        }
    }

    fn query(&mut self, name: &At<String>, params: Vec<At<(String, String)>>) -> Option<(DatasetRows, SchemaRef)> {
        let known = self.known;
        let Some(query) = known.queries.iter().find(|query| query.name == name.value) else {
            let hint = suggest(&name.value, known.queries.iter().map(|query| query.name.as_str()));
            self.report(name.at, format!("unknown query '{}'", name.value), hint);
            return None;
        };
        for At { value: (param, value), at } in &params {
            match query.params.iter().find(|known| known.name == *param) {
                None => {
                    let hint = suggest(param, query.params.iter().map(|known| known.name.as_str()));
                    self.report(*at, format!("query '{}' has no parameter '{param}'", query.name), hint);
                }
                Some(found) => {
                    if let Err(bad) = found.value(value, known.references) {
                        self.report(*at, format!("{param}: {bad}"), None);
                    }
                }
            }
        }
        let samples = query.params.iter().filter_map(|param| Some((param.name.clone(), sample(&param.data_type)?)));
        let schema = self.plan(name.at, &query.sql, &samples.collect())?;
        let params = params.into_iter().map(|at| at.value).collect();
        Some((DatasetRows::Query { name: name.value.clone(), params }, schema))
    }

    /// The columns of a query; what is wrong with it is told at one place of the dataset.
    fn plan(&mut self, at: usize, sql: &str, samples: &HashMap<String, ScalarValue>) -> Option<SchemaRef> {
        let file = File { path: self.file.path.clone(), text: sql.to_owned() };
        let mut found = Vec::new();
        let schema = plan(self.known.planner, &file, samples, &mut found);
        for problem in found {
            self.report(at, problem.message, problem.hint);
        }
        schema
    }

    fn column(&mut self, column: &At<String>, wanted: Use, schema: &SchemaRef) {
        match schema.field_with_name(&column.value) {
            Err(_) => {
                let hint = suggest(&column.value, schema.fields().iter().map(|field| field.name().as_str()));
                self.report(column.at, format!("the rows have no column '{}'", column.value), hint);
            }
            Ok(field) if !wanted.takes(field.data_type()) => {
                let found = type_name(field.data_type());
                self.report(column.at, format!("'{}' is {found}, not {}", column.value, wanted.wanted()), None);
            }
            Ok(_) => {}
        }
    }
}

impl DatasetRows {
    /// The SQL for the rows of a table for which a condition holds.
    pub fn select(table: &str, filter: Option<&str>) -> String {
        match filter {
            // The line break ends a comment that the condition may end with.
            Some(filter) => format!("SELECT * FROM {table} WHERE ({filter}\n)"),
            None => format!("SELECT * FROM {table}"),
        }
    }

    /// Whether a column of a table is the lake's own: it says where the row came from, and what did not fit its columns.
    pub fn is_bookkeeping(column: &str) -> bool {
        column.starts_with('_')
    }

    fn own_columns(schema: &SchemaRef) -> SchemaRef {
        let own = schema.fields().iter().filter(|field| !Self::is_bookkeeping(field.name())).cloned();
        Arc::new(Schema::new(own.collect::<Vec<_>>()))
    }
}

fn plan(
    planner: &Planner,
    file: &File,
    samples: &HashMap<String, ScalarValue>,
    problems: &mut Vec<Problem>,
) -> Option<SchemaRef> {
    let sql = planner.parse(file, problems)?;
    for (name, _) in sql.placeholders.iter().filter(|(name, _)| !samples.contains_key(name)) {
        let hint = "write a query in queries/ that declares it, and name that".to_owned();
        problems.push(Problem::of_file(&file.path, format!("parameter '${name}' is not declared")).with_hint(hint));
    }
    for unstable in &sql.unstable {
        problems.push(Problem::of_file(&file.path, &unstable.message).with_hint(unstable.hint.clone()));
    }
    let is_declared = sql.placeholders.iter().all(|(name, _)| samples.contains_key(name));
    let before = problems.len();
    let plan = planner.plan(&sql, problems).filter(|_| is_declared)?;
    let plan = planner.bind(&sql, plan, samples.clone(), problems)?;
    let plan = planner.analyse(&sql, plan, problems).filter(|_| problems.len() == before)?;
    Some(plan.schema().inner().clone())
}
