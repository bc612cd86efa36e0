//! All that decides the bytes of a dataset.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};
use deltalake::datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use deltalake::datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use serde::{Deserialize, Serialize};

use super::digest::sha256;
use super::keys::Keys;
use crate::contract::{Dataset, DatasetRows, Project, Reference, Share, Shares, Use, check_replays, type_name};
use crate::error::{Error, Place, Result};
use crate::query::{Answer, Reader, Statement, Values, near};

/// Changes when the same recipe gives other bytes.
const FORMAT: u32 = 1;

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its name becomes a folder's.
    pub dataset: Dataset,
    /// Values for `$name` in the SQL.
    pub params: Vec<(String, String)>,
    /// Copy the originals into tar shards.
    pub copy: bool,
    /// Bytes after which a shard ends.
    pub shard_bytes: u64,
    /// Rows after which a Parquet file ends.
    pub file_rows: usize,
}

/// All that decides the bytes of a dataset; it stands in the dataset's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    format: u32,
    /// The dataset's name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Under which others may use it.
    pub license: Option<String>,
    /// The release that it is made from.
    pub release: i64,
    /// When that was published.
    pub published_at: DateTime<Utc>,
    /// The tables that it reads, with their versions.
    pub tables: BTreeMap<String, u64>,
    /// The references that it reads, with the SHA-256 of their content: they stand in the project, not in the release.
    pub references: BTreeMap<String, String>,
    /// The query.
    pub sql: String,
    /// The values of `$name` in it that were given.
    pub params: BTreeMap<String, String>,
    /// The column that tells rows apart.
    pub id: String,
    /// The column that said whose a row is, which itself is not in the dataset.
    pub person: Option<String>,
    /// The column with the URI of the original.
    pub original: Option<String>,
    /// The columns that hold labels.
    pub labels: Vec<String>,
    /// The splits, in order.
    pub splits: Vec<Split>,
    /// Tells one salt from another.
    pub salt_check: String,
    /// Whether originals are copied into shards.
    pub copy: bool,
    /// Bytes after which a shard ends.
    pub shard_bytes: u64,
    /// Rows after which a Parquet file ends.
    pub file_rows: usize,
}

/// A split and its share of all persons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Its name.
    pub name: String,
    /// Between 0 and 1.
    pub share: f64,
}

impl Recipe {
    /// SHA-256 of the recipe: two builds with the same have the same bytes.
    ///
    /// # Errors
    /// None; a defect.
    pub fn digest(&self) -> Result<String> {
        Ok(sha256(&serde_json::to_vec(self)?))
    }

    /// The shares.
    pub fn shares(&self) -> Vec<Share> {
        self.splits.iter().map(|split| Share { name: split.name.clone(), share: split.share }).collect()
    }
}

/// A recipe and what is needed to follow it.
pub struct Plan {
    /// What decides the bytes.
    pub recipe: Recipe,
    /// The rows, sorted by id.
    pub answer: Answer,
    /// The keys of the hashes.
    pub keys: Keys,
}

/// Plans a dataset; nothing is read yet. `release` reads the lake at a release.
///
/// # Errors
/// Wrong use when the SQL does not plan, would not give the same again, or lacks a column that is asked for.
pub async fn plan(request: &Request, salt: &str, release: &Reader, project: Option<&Project>) -> Result<Plan> {
    let dataset = &request.dataset;
    let (sql, values, params) = question(request, project)?;
    check_replays(&sql)?;
    let statement = Statement::parse(&sql)?;
    let (tables, references) = inputs(&statement, release, project).await?;
    let mut answer = release.plan(&statement, references_of(project), &values).await?;
    check_sums(answer.logical_plan())?;
    if matches!(dataset.rows, DatasetRows::Table { .. }) {
        answer = answer.without(DatasetRows::is_bookkeeping)?;
    }
    check_columns(dataset, &answer.schema())?;
    let keys = Keys::new(salt)?;
    let number = crate::release::number(release)?;
    let summary = crate::release::list(release).await?.into_iter().find(|summary| summary.release == number);
    let summary = summary.ok_or_else(|| Error::failed(format!("release {number} is gone from ops.releases")))?;
    let recipe = Recipe {
        format: FORMAT,
        name: dataset.name.clone(),
        description: dataset.description.clone(),
        license: dataset.license.clone(),
        release: number,
        published_at: summary.published_at,
        tables,
        references,
        sql,
        params,
        id: dataset.id.clone(),
        person: dataset.person.clone(),
        original: dataset.original.clone(),
        labels: dataset.labels.clone(),
        splits: splits(&dataset.splits),
        salt_check: keys.check(),
        copy: request.copy,
        shard_bytes: request.shard_bytes,
        file_rows: request.file_rows,
    };
    let answer = answer.sorted_by(&dataset.id)?;
    Ok(Plan { recipe, answer, keys })
}

fn splits(shares: &Shares) -> Vec<Split> {
    shares.as_slice().iter().map(|share| Split { name: share.name.clone(), share: share.share }).collect()
}

fn references_of(project: Option<&Project>) -> &[Reference] {
    project.map_or(&[], |project| &project.references)
}

/// The SQL, the values of its parameters, and those values as text.
fn question(request: &Request, project: Option<&Project>) -> Result<(String, Values, BTreeMap<String, String>)> {
    let given = |params: &[(String, String)]| params.iter().cloned().collect();
    match &request.dataset.rows {
        DatasetRows::Table { table, filter } => {
            let sql = DatasetRows::select(table, filter.as_deref());
            Ok((sql, Values::of_sql(&request.params), given(&request.params)))
        }
        DatasetRows::Sql(sql) => Ok((sql.clone(), Values::of_sql(&request.params), given(&request.params))),
        DatasetRows::Query { name, params } => {
            let project = project.ok_or_else(|| Error::usage(format!("query '{name}' needs a project")))?;
            let query = project.query(name).ok_or_else(|| unknown_query(project, name))?;
            let all = [params.as_slice(), &request.params].concat();
            let values = Values::of_query(query, &all, &project.references)?;
            let defaults = query.params.iter().filter_map(|param| Some((param.name.clone(), param.default.clone()?)));
            Ok((query.sql.clone(), values, defaults.chain(all.iter().cloned()).collect()))
        }
    }
}

fn unknown_query(project: &Project, name: &str) -> Error {
    let names: Vec<String> = project.queries.iter().map(|query| query.name.clone()).collect();
    near::unknown(&format!("there is no query '{name}'"), name, &names, "`pipeline query --list` lists them")
}

type Inputs = (BTreeMap<String, u64>, BTreeMap<String, String>);

/// The tables and references that a statement reads, each as it is told apart from its other states.
async fn inputs(statement: &Statement, release: &Reader, project: Option<&Project>) -> Result<Inputs> {
    let (mut tables, mut references) = Inputs::default();
    let members = release.versions().members();
    for name in statement.staged_tables() {
        if let Some(reference) = name.strip_prefix("reference.") {
            let found = project.and_then(|project| project.reference(reference));
            let found = found.ok_or_else(|| Error::usage(format!("unknown reference '{reference}'")))?;
            references.insert(reference.to_owned(), sha256(&serde_json::to_vec(&(&found.columns, &found.rows))?));
        } else if let Some(version) = members.get(&name) {
            tables.insert(name, *version);
        } else if name.starts_with("ops.") || name.starts_with("information_schema.") {
            return Err(Error::usage(format!(
                "{name} is no part of a release, so the dataset could not be built again"
            ))
            .hint("read tables of bronze, silver or gold"));
        } else {
            return Err(release.unknown_table(&name, &[]).await);
        }
    }
    Ok((tables, references))
}

/// Aggregates of DOUBLE whose last bits depend on the order in which threads bring their parts.
const INEXACT: [&str; 12] = [
    "sum",
    "avg",
    "mean",
    "var",
    "var_samp",
    "var_pop",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "corr",
    "covar_samp",
    "covar_pop",
];

fn check_sums(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(TreeNodeRecursion::Continue) };
        for expr in &aggregate.aggr_expr {
            expr.apply(|expr| {
                if let Expr::AggregateFunction(call) = expr
                    && INEXACT.contains(&call.func.name())
                    && call
                        .params
                        .args
                        .iter()
                        .any(|arg| arg.get_type(aggregate.input.schema()).is_ok_and(|t| t.is_floating()))
                {
                    found = Some(call.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!("the last bits of '{name}' of DOUBLE depend on the number of threads"))
            .hint("compute it in a table of gold and read that, or CAST to DECIMAL")),
    }
}

fn check_columns(dataset: &Dataset, schema: &SchemaRef) -> Result<()> {
    if let Some(twice) = twice(schema) {
        return Err(Error::usage(format!("column '{twice}' stands twice")).hint("give each its own name with AS"));
    }
    let optional = [(dataset.person.as_ref(), Use::Person), (dataset.original.as_ref(), Use::Original)];
    let labels = dataset.labels.iter().map(|label| (Some(label), Use::Label));
    for (column, wanted) in [(Some(&dataset.id), Use::Id)].into_iter().chain(optional).chain(labels) {
        let Some(column) = column else { continue };
        let known: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let field = schema.field_with_name(column).map_err(|_| {
            near::unknown(&format!("the rows have no column '{column}'"), column, &known, "name one that they have")
        })?;
        if !wanted.takes(field.data_type()) {
            let found = type_name(field.data_type());
            return Err(Error::usage(format!("'{column}' is {found}, not {}", wanted.wanted()))).at("dataset");
        }
    }
    Ok(())
}

fn twice(schema: &Schema) -> Option<&str> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
}
