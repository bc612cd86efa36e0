//! One SQL file, parsed: what it reads and where, and what in it would not replay.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use deltalake::datafusion::common::TableReference;
use deltalake::datafusion::execution::SessionState;
use deltalake::datafusion::logical_expr::Volatility;
use deltalake::datafusion::sql::parser::{DFParser, Statement as DfStatement};
use deltalake::datafusion::sql::planner::object_name_to_table_reference;
use deltalake::datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Query, Select,
    SelectItem, SetExpr, Spanned, Statement, TableFactor, Value, ValueWithSpan, Visit, Visitor, WindowType,
};
use deltalake::datafusion::sql::sqlparser::tokenizer::Location;

use super::TableName;
use crate::error::Error;
use crate::problem::{File, Place};

/// Aggregates whose result depends on the order of rows.
const ORDERED_AGGREGATES: [&str; 5] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];
/// Window functions whose result depends on the order of rows.
const ORDERED_WINDOWS: [&str; 4] = ["row_number", "ntile", "lag", "lead"];

/// A statement that is one query.
pub(super) struct Sql<'a> {
    pub file: &'a File,
    pub statement: DfStatement,
    /// Where the query begins, after comments.
    pub start: Place,
    /// Each table of the project that it reads, at its first mention.
    pub tables: Vec<(TableName, Place)>,
    /// Each reference that it reads, at its first mention.
    pub references: BTreeMap<String, Place>,
    /// Relations that are no table of a stage and no reference, by name as written.
    pub strangers: Vec<(String, Place)>,
    /// `$name`, at its first mention.
    pub placeholders: Vec<(String, Place)>,
    /// What could give another answer when it runs again.
    pub unstable: Vec<Unstable>,
    /// Where the output's columns are named.
    outputs: HashMap<String, Place>,
}

/// Something whose result is not decided by the input rows.
pub(super) struct Unstable {
    pub place: Place,
    pub message: String,
    pub hint: String,
}

impl<'a> Sql<'a> {
    /// Looks through a parsed statement; `None` when it is not a query.
    pub fn new(file: &'a File, statement: DfStatement, state: &SessionState) -> Option<Self> {
        let DfStatement::Statement(inner) = &statement else {
            return None;
        };
        let Statement::Query(query) = inner.as_ref() else {
            return None;
        };
        let mut scan = Scan::new(state);
        let _ = inner.visit(&mut scan);
        let start = place(query.span().start).unwrap_or(Place::START);
        let outputs = outputs(&query.body);
        // The visitor sees names of common table expressions too; only DataFusion's resolver knows their scopes.
        let outside: BTreeSet<TableReference> =
            state.resolve_table_references(&statement).unwrap_or_default().into_iter().collect();
        let mut sql = Sql {
            file,
            start,
            tables: Vec::new(),
            references: BTreeMap::new(),
            strangers: Vec::new(),
            placeholders: scan.placeholders,
            unstable: scan.unstable,
            outputs,
            statement,
        };
        for (relation, place) in scan.relations {
            if outside.contains(&relation) {
                sql.add_relation(&relation, place.unwrap_or(start));
            }
        }
        Some(sql)
    }

    fn add_relation(&mut self, relation: &TableReference, place: Place) {
        let name = relation.to_string();
        match relation {
            TableReference::Partial { schema, table } if schema.as_ref() == "reference" => {
                self.references.entry(table.to_string()).or_insert(place);
            }
            TableReference::Partial { .. } => match name.parse::<TableName>() {
                Ok(table) if self.tables.iter().any(|(known, _)| *known == table) => {}
                Ok(table) => self.tables.push((table, place)),
                Err(_) => self.strangers.push((name, place)),
            },
            _ => self.strangers.push((name, place)),
        }
    }

    /// Where an output column is named, or the query's start.
    pub fn output(&self, column: &str) -> Place {
        self.outputs.get(column).copied().unwrap_or(self.start)
    }

    /// Where a table is first mentioned, or the query's start.
    pub fn mention(&self, table: &TableName) -> Place {
        self.tables.iter().find(|(known, _)| known == table).map_or(self.start, |(_, place)| *place)
    }
}

/// A place of the SQL parser; it has none for what it made up itself.
pub(super) fn place(location: Location) -> Option<Place> {
    (location.line > 0).then_some(Place { line: location.line as u32, column: location.column as u32 })
}

/// What in an expression on its own would not replay.
pub(super) fn unstable_in(expr: &Expr, state: &SessionState) -> Vec<Unstable> {
    let mut scan = Scan::new(state);
    let _ = expr.visit(&mut scan);
    scan.unstable
}

/// Checks that a query gives the same answer whenever it runs on the same rows.
///
/// # Errors
/// Wrong use: not one query, or something in it is not decided by its input rows.
pub fn check_replays(sql: &str) -> Result<(), Error> {
    let state = crate::engine::planning_session().state();
    let file = File { path: "SQL".to_owned(), text: sql.to_owned() };
    let mut statements = DFParser::parse_sql(sql).map_err(|error| Error::usage(format!("not SQL: {error}")))?;
    let parsed = statements.pop_front().and_then(|statement| Sql::new(&file, statement, &state));
    let parsed = parsed.ok_or_else(|| Error::usage("the SQL is not one query"))?;
    match parsed.unstable.into_iter().next() {
        None => Ok(()),
        Some(found) => {
            let place = format!("SQL, line {}, column {}", found.place.line, found.place.column);
            Err(Error::usage(found.message).at(place).hint(found.hint))
        }
    }
}

fn outputs(body: &SetExpr) -> HashMap<String, Place> {
    match body {
        SetExpr::Select(select) => named_outputs(select),
        SetExpr::Query(query) => outputs(&query.body),
        SetExpr::SetOperation { left, .. } => outputs(left),
        _ => HashMap::new(),
    }
}

fn named_outputs(select: &Select) -> HashMap<String, Place> {
    let names = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last(),
        _ => None,
    });
    names
        .filter_map(|name| {
            let written = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            Some((written, place(name.span.start)?))
        })
        .collect()
}

struct Scan<'a> {
    state: &'a SessionState,
    relations: Vec<(TableReference, Option<Place>)>,
    placeholders: Vec<(String, Place)>,
    unstable: Vec<Unstable>,
    /// Where lists are collected that are sorted right away: the order of rows does not show in them.
    sorted: HashSet<Location>,
}

impl<'a> Scan<'a> {
    fn new(state: &'a SessionState) -> Self {
        Self { state, relations: Vec::new(), placeholders: Vec::new(), unstable: Vec::new(), sorted: HashSet::new() }
    }

    fn report(&mut self, at: Location, message: String, hint: String) {
        self.unstable.push(Unstable { place: place(at).unwrap_or(Place::START), message, hint });
    }

    fn function(&mut self, function: &Function) {
        let Some(name) = function.name.0.last().and_then(|part| part.as_ident()) else {
            return;
        };
        let at = name.span.start;
        let name = name.value.to_lowercase();
        let scalar = self.state.scalar_functions().get(&name);
        if scalar.is_some_and(|udf| udf.signature().volatility != Volatility::Immutable) || name == "any_value" {
            let hint = "use a column of the input: what is computed again must be the same".to_owned();
            self.report(at, format!("'{name}' gives another answer in a replay"), hint);
        }
        if name == "array_sort" {
            self.sorted.extend(collected_list(function));
        }
        let message = || format!("'{name}' without ORDER BY gives another answer in a replay");
        match &function.over {
            None if ORDERED_AGGREGATES.contains(&name.as_str())
                && !has_order(function)
                && !self.sorted.contains(&at) =>
            {
                self.report(at, message(), format!("write {name}(… ORDER BY …)"));
            }
            Some(WindowType::WindowSpec(window))
                if window.order_by.is_empty()
                    && (ORDERED_WINDOWS.contains(&name.as_str()) || ORDERED_AGGREGATES.contains(&name.as_str())) =>
            {
                self.report(at, message(), "write OVER (… ORDER BY …)".to_owned());
            }
            _ => {}
        }
    }
}

/// Where `array_agg` stands in `array_sort(array_agg(…))`.
fn collected_list(sort: &Function) -> Option<Location> {
    let FunctionArguments::List(list) = &sort.args else { return None };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(collected)))) = list.args.first() else {
        return None;
    };
    let name = collected.name.0.last()?.as_ident()?;
    name.value.eq_ignore_ascii_case("array_agg").then_some(name.span.start)
}

fn has_order(function: &Function) -> bool {
    let inside = match &function.args {
        FunctionArguments::List(list) => {
            list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
        }
        _ => false,
    };
    inside || !function.within_group.is_empty()
}

impl Visitor for Scan<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // A name with arguments is a table function, not a table.
        if let TableFactor::Table { name, args: None, .. } = factor
            && let Ok(relation) = object_name_to_table_reference(name.clone(), true)
        {
            self.relations.push((relation, place(name.span().start)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.function(function);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let cut = query.limit_clause.is_some() || query.fetch.is_some();
        let picks = matches!(query.body.as_ref(),
            SetExpr::Select(select) if matches!(select.distinct, Some(Distinct::On(_))));
        if (cut || picks) && query.order_by.is_none() {
            let what = if cut { "LIMIT" } else { "DISTINCT ON" };
            let hint = "order the rows by something that no two share".to_owned();
            self.report(query.span().start, format!("{what} without ORDER BY gives another answer in a replay"), hint);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value {
            let name = name.trim_start_matches('$').to_owned();
            if !self.placeholders.iter().any(|(known, _)| *known == name) {
                self.placeholders.push((name, place(value.span.start).unwrap_or(Place::START)));
            }
        }
        ControlFlow::Continue(())
    }
}
