//! Plans SQL against the contracts' own schemas, with no lake and no row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use deltalake::datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use deltalake::datafusion::common::tree_node::TreeNode;
use deltalake::datafusion::common::{DFSchema, SchemaError};
use deltalake::datafusion::datasource::empty::EmptyTable;
use deltalake::datafusion::datasource::provider_as_source;
use deltalake::datafusion::error::{DataFusionError, Result as DfResult};
use deltalake::datafusion::execution::SessionState;
use deltalake::datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use deltalake::datafusion::scalar::ScalarValue;
use deltalake::datafusion::sql::parser::DFParserBuilder;
use deltalake::datafusion::sql::sqlparser::ast::Spanned;
use futures::FutureExt;
use tokio::task::coop::unconstrained;

use super::TableName;
use super::sql::{Sql, place, unstable_in};
use super::types::type_name;
use crate::problem::{File, Place, Problem, suggest};

/// Plans SQL over the tables and references of a project.
pub(super) struct Planner {
    state: SessionState,
    /// What SQL sees of the tables that have no mistakes.
    schemas: HashMap<String, SchemaRef>,
    /// All that is declared, such as `silver.exams` and `reference.body_parts`.
    known: BTreeSet<String>,
    /// Declared, but with mistakes of its own: SQL that reads it cannot be judged yet.
    broken: BTreeSet<String>,
}

/// What is wrong with a piece of SQL, and where in it when that is known.
#[derive(Debug)]
pub(super) struct SqlFault {
    pub place: Option<Place>,
    pub message: String,
    pub hint: Option<String>,
}

impl Planner {
    /// `relations`: the schema that SQL sees of each name, or none where the declaration is broken.
    pub fn new(relations: BTreeMap<String, Option<SchemaRef>>) -> DfResult<Self> {
        let catalog = MemoryCatalogProvider::new();
        let mut known = BTreeSet::new();
        let mut broken = BTreeSet::new();
        let mut schemas = HashMap::new();
        for (name, schema) in relations {
            schemas.extend(schema.clone().map(|schema| (name.clone(), schema)));
            match (schema, name.split_once('.')) {
                (Some(schema), Some((stage, table))) => {
                    let tables = match catalog.schema(stage) {
                        Some(tables) => tables,
                        None => {
                            let tables: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                            catalog.register_schema(stage, Arc::clone(&tables))?;
                            tables
                        }
                    };
                    tables.register_table(table.to_owned(), Arc::new(EmptyTable::new(schema)))?;
                }
                _ => {
                    broken.insert(name.clone());
                }
            }
            known.insert(name);
        }
        let context = crate::engine::planning_session();
        let name = context.state().config_options().catalog.default_catalog.clone();
        context.register_catalog(name, Arc::new(catalog));
        Ok(Self { state: context.state(), schemas, known, broken })
    }

    /// What SQL sees of a table; none where its declaration is broken.
    pub fn schema(&self, table: &TableName) -> Option<SchemaRef> {
        self.schemas.get(&table.to_string()).cloned()
    }

    /// Parses a file that must hold one query over known tables; `None` when there is nothing to plan.
    pub fn parse<'a>(&self, file: &'a File, problems: &mut Vec<Problem>) -> Option<Sql<'a>> {
        let parsed = DFParserBuilder::new(file.text.as_str()).build().and_then(|mut parser| parser.parse_statements());
        let mut statements = match parsed {
            Ok(statements) => statements,
            Err(error) => {
                report(file, Place::START, faults(&error), problems);
                return None;
            }
        };
        let Some(statement) = statements.pop_front() else {
            problems.push(Problem::of_file(&file.path, "the SQL is empty"));
            return None;
        };
        if let Some(second) = statements.front() {
            let at = match second {
                deltalake::datafusion::sql::parser::Statement::Statement(second) => place(second.span().start),
                _ => None,
            };
            problems
                .push(file.problem_at(at.unwrap_or(Place::START), "a file holds one statement, this is the second"));
            return None;
        }
        let Some(sql) = Sql::new(file, statement, &self.state) else {
            problems.push(no_query(file));
            return None;
        };
        let before = problems.len();
        self.report_strangers(&sql, problems);
        let mut read = sql.tables.iter().map(|(table, _)| table.to_string());
        let waits = read.any(|table| self.broken.contains(&table))
            || sql.references.keys().any(|name| self.broken.contains(&format!("reference.{name}")));
        (problems.len() == before && !waits).then_some(sql)
    }

    fn report_strangers(&self, sql: &Sql<'_>, problems: &mut Vec<Problem>) {
        let tables = sql.tables.iter().map(|(table, place)| (table.to_string(), *place));
        let references = sql.references.iter().map(|(name, place)| (format!("reference.{name}"), *place));
        for (name, place) in tables.chain(references).chain(sql.strangers.iter().cloned()) {
            if self.known.contains(&name) {
                continue;
            }
            let same = self.known.iter().find(|known| known.split('.').next_back() == Some(name.as_str()));
            let hint = match same {
                Some(full) => Some(format!("write {full}")),
                None => suggest(&name, self.known.iter().map(String::as_str)),
            };
            problems.push(sql.file.problem_at(place, format!("unknown table '{name}'")).with_hint(hint));
        }
    }

    /// Plans a query and resolves its types; nothing is optimised.
    pub fn plan(&self, sql: &Sql<'_>, problems: &mut Vec<Problem>) -> Option<LogicalPlan> {
        let planned = ready(self.state.statement_to_plan(sql.statement.clone()));
        let plan = self.keep(sql, planned, problems)?;
        // SELECT … INTO is a query to the parser and a statement that makes a table to the planner.
        if matches!(plan, LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_)) {
            problems.push(no_query(sql.file));
            return None;
        }
        Some(plan)
    }

    /// Puts values for `$name`.
    pub fn bind(
        &self,
        sql: &Sql<'_>,
        plan: LogicalPlan,
        values: HashMap<String, ScalarValue>,
        problems: &mut Vec<Problem>,
    ) -> Option<LogicalPlan> {
        self.keep(sql, plan.with_param_values(values), problems)
    }

    /// Resolves types, `$name` replaced beforehand.
    pub fn analyse(&self, sql: &Sql<'_>, plan: LogicalPlan, problems: &mut Vec<Problem>) -> Option<LogicalPlan> {
        let analysed = self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {});
        self.keep(sql, analysed, problems)
    }

    /// Whether the engine can run the plan: some SQL plans well and has no implementation.
    pub fn check_runs(&self, sql: &Sql<'_>, plan: &LogicalPlan, problems: &mut Vec<Problem>) {
        let physical = ready(self.state.create_physical_plan(plan));
        match physical.as_ref().map_err(DataFusionError::find_root) {
            // Its text is the debug form of an expression.
            Err(DataFusionError::NotImplemented(text)) if text.contains("OuterReferenceColumn") => {
                let hint = "write unnest(…) in the SELECT list, or a JOIN for the subquery".to_owned();
                let message =
                    "the engine cannot run a FROM item or subquery that uses columns of the outer query like this";
                problems.push(sql.file.problem_at(sql.start, message).with_hint(hint));
            }
            _ => {
                self.keep(sql, physical, problems);
            }
        }
    }

    fn keep<T>(&self, sql: &Sql<'_>, result: DfResult<T>, problems: &mut Vec<Problem>) -> Option<T> {
        result.map_err(|error| report(sql.file, sql.start, faults(&error), problems)).ok()
    }

    /// Checks a condition on one row of a table with this schema.
    pub fn check_condition(&self, schema: &SchemaRef, text: &str) -> Result<(), Vec<SqlFault>> {
        let data_type = self.condition_type(schema, text)?;
        if data_type == DataType::Boolean {
            return Ok(());
        }
        let hint = Some("compare it with something".to_owned());
        Err(vec![SqlFault {
            place: None,
            message: format!("the condition is {}, not BOOLEAN", type_name(&data_type)),
            hint,
        }])
    }

    fn condition_type(&self, schema: &SchemaRef, text: &str) -> Result<DataType, Vec<SqlFault>> {
        let fault = |message: &str| vec![SqlFault { place: None, message: message.to_owned(), hint: None }];
        let dialect = self.state.config_options().sql_parser.dialect;
        let parsed = self.state.sql_to_expr_with_alias(text, &dialect).map_err(|error| faults(&error))?;
        if parsed.alias.is_some() {
            return Err(fault("the condition goes on after its end"));
        }
        let unstable = unstable_in(&parsed.expr, &self.state);
        if !unstable.is_empty() {
            let faults = unstable.into_iter();
            return Err(faults
                .map(|found| SqlFault { place: Some(found.place), message: found.message, hint: Some(found.hint) })
                .collect());
        }
        let planned = DFSchema::try_from(Arc::clone(schema))
            .and_then(|schema| self.state.create_logical_expr_from_sql_expr(parsed, &schema));
        let expr = planned.map_err(|error| faults(&error))?;
        let about_more = expr.exists(|expr| {
            Ok(matches!(
                expr,
                Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::Unnest(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::Placeholder(_)
            ))
        });
        if about_more.map_err(|error| faults(&error))? {
            return Err(fault("the condition is about more than one row"));
        }
        let source = provider_as_source(Arc::new(EmptyTable::new(Arc::clone(schema))));
        LogicalPlanBuilder::scan("row", source, None)
            .and_then(|scan| scan.project([expr.alias("condition")])?.build())
            .and_then(|plan| self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {}))
            .map(|plan| plan.schema().field(0).data_type().clone())
            .map_err(|error| faults(&error))
    }
}

/// Planning awaits catalogs only, and those of this module are in memory: it is done when first polled, however much the task
/// that checks the contracts has done before.
fn ready<T>(planning: impl Future<Output = DfResult<T>>) -> DfResult<T> {
    unconstrained(planning)
        .now_or_never()
        .unwrap_or_else(|| Err(DataFusionError::Internal("planning waited for something outside".to_owned())))
}

fn no_query(file: &File) -> Problem {
    let problem = Problem::of_file(&file.path, "the statement is not a query");
    problem.with_hint("write one SELECT, without INTO".to_owned())
}

fn report(file: &File, start: Place, faults: Vec<SqlFault>, problems: &mut Vec<Problem>) {
    for fault in faults {
        let problem = file.problem_at(fault.place.unwrap_or(start), fault.message);
        problems.push(problem.with_hint(fault.hint));
    }
}

/// DataFusion's errors, one fault each, with the place where it knows one.
fn faults(error: &DataFusionError) -> Vec<SqlFault> {
    error.iter().map(fault).collect()
}

fn fault(error: &DataFusionError) -> SqlFault {
    let diagnosed = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let diagnosed = diagnosed.map(|span| Place { line: span.start.line as u32, column: span.start.column as u32 });
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => schema_fault(schema, diagnosed),
        DataFusionError::SQL(parser, _) => parser_fault(&parser.to_string()),
        other => planning_fault(&other.message(), diagnosed),
    }
}

fn schema_fault(error: &SchemaError, diagnosed: Option<Place>) -> SqlFault {
    let (field, valid_fields) = match error {
        SchemaError::FieldNotFound { field, valid_fields } => (field, valid_fields),
        SchemaError::AmbiguousReference { field } => return ambiguous(&field.name, diagnosed),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            return ambiguous(name, diagnosed);
        }
    };
    let own = field.spans.first().map(|span| Place { line: span.start.line as u32, column: span.start.column as u32 });
    SqlFault {
        place: diagnosed.or(own),
        message: format!("unknown column '{}'", field.flat_name()),
        hint: suggest(&field.name, valid_fields.iter().map(|field| field.name.as_str())),
    }
}

fn ambiguous(name: &str, place: Option<Place>) -> SqlFault {
    SqlFault {
        place,
        message: format!("column '{name}' may be one of several"),
        hint: Some(format!("write <table>.{name} where it is read, and give each output its own name with AS")),
    }
}

/// The parser writes places into its text: `Expected: …, found: x at Line: 1, Column: 5`.
fn parser_fault(text: &str) -> SqlFault {
    let text = text.trim_start_matches("sql parser error: ");
    let (message, at) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
    let numbers = at.split_once(", Column: ").and_then(|(line, column)| {
        Some(Place { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    SqlFault { place: numbers, message: format!("not SQL: {message}"), hint: None }
}

/// The first sentence says what is wrong; the rest lists candidates and where to file bugs against DataFusion.
fn planning_fault(text: &str, place: Option<Place>) -> SqlFault {
    let essence = text.find("No function matches").map_or(text, |at| &text[at..]);
    let message = essence.lines().next().unwrap_or(essence).trim_start_matches("Error during planning: ");
    let message = message.trim_end_matches('.').to_owned();
    let hint = text.lines().find(|line| line.starts_with("Did you mean")).map(|line| line.replacen('D', "d", 1));
    SqlFault { place, message, hint }
}
