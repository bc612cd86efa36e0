//! Finds, for a table that is kept up to date by key, which rows of each input an output key depends on.
//!
//! For every input the result is the expression over its own columns that equals the output's `replace_by` columns.
//! If it exists, running the SQL over the input rows of some keys gives exactly the output rows of those keys.

use std::collections::BTreeSet;

use deltalake::datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use deltalake::datafusion::common::{Column as DfColumn, DFSchema};
use deltalake::datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, Join, JoinType, LogicalPlan, TableScan, Unnest, Window, cast,
};

use super::equal::{self, Equality, bare, is_decided_by, is_over, rewrite, translate};
use super::{Column, KeyedInput, TableName};

/// Why a table cannot be kept up to date by key.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The inputs for which the key cannot be told.
    pub tables: Vec<TableName>,
    pub message: String,
    pub hint: Option<String>,
}

/// Derives the key of every input from the analysed plan of a table. A side of a join that reads only tables of `broadcast`
/// is the same for every key: these have none.
pub(super) fn derive(
    plan: &LogicalPlan,
    replace_by: &[&Column],
    broadcast: &[TableName],
) -> Result<Vec<KeyedInput>, Refusal> {
    let names: Vec<&str> = replace_by.iter().map(|column| column.name.as_str()).collect();
    let mut derivation = Derivation { names: &names, broadcast, found: Vec::new() };
    if has_subquery(plan) {
        return Err(derivation.refuse(plan, None, "a subquery may look at rows of any key"));
    }
    let tables = tables_in(plan);
    if tables.is_empty() {
        return Err(derivation.refuse(plan, None, "it reads no table"));
    }
    let keys = replace_by.iter().map(|column| key_expression(plan, column)).collect();
    derivation.descend(plan, keys, &[])?;
    Ok(derivation.found)
}

/// The key of every input on whose rows those rows of a plan depend in which an expression over its output has some value;
/// `None` where that cannot be told.
pub(super) fn derive_from(plan: &LogicalPlan, expr: Expr, broadcast: &[TableName]) -> Option<Vec<KeyedInput>> {
    let name = expr.to_string();
    let mut derivation = Derivation { names: &[&name], broadcast, found: Vec::new() };
    derivation.descend(plan, vec![expr], &[]).ok()?;
    Some(derivation.found)
}

/// A `replace_by` column over the plan's output, as the table stores it.
fn key_expression(plan: &LogicalPlan, column: &Column) -> Expr {
    let schema = plan.schema();
    let at = schema.fields().iter().position(|field| *field.name() == column.name);
    let output = at.map_or_else(|| Expr::Column(DfColumn::from_name(&column.name)), |at| column_of(schema, at));
    match at {
        Some(at) if *schema.field(at).data_type() != column.data_type => cast(output, column.data_type.clone()),
        _ => output,
    }
}

fn column_of(schema: &DFSchema, at: usize) -> Expr {
    Expr::Column(DfColumn::from(schema.qualified_field(at)))
}

/// The tables of the project that a plan scans; references are no input, they do not change with the data.
pub(super) fn tables_in(plan: &LogicalPlan) -> BTreeSet<TableName> {
    let mut tables = BTreeSet::new();
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(name) = scan.table_name.to_string().parse()
        {
            tables.insert(name);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    tables
}

/// Whether an expression or a lateral join looks at another query.
pub(super) fn has_subquery(plan: &LogicalPlan) -> bool {
    let found = plan.exists(|node| {
        let mut inside = matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            inside |= expr.exists(|part| {
                Ok(matches!(
                    part,
                    Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
                ))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(inside)
    });
    found.unwrap_or(true)
}

struct Derivation<'a> {
    names: &'a [&'a str],
    broadcast: &'a [TableName],
    found: Vec<KeyedInput>,
}

type Derived = Result<(), Refusal>;

impl Derivation<'_> {
    /// `keys` are over the plan's output; `facts` are equalities that a filter or inner join above demands.
    fn descend(&mut self, plan: &LogicalPlan, keys: Vec<Expr>, facts: &[Equality]) -> Derived {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(plan, scan, keys),
            LogicalPlan::Filter(filter) => self.filter(filter, keys, facts),
            LogicalPlan::Join(join) => self.join(plan, join, keys, facts),
            LogicalPlan::Projection(projection) => {
                let keys = self.substitute(plan, keys, |at| Ok(bare(&projection.expr[at])))?;
                self.descend(&projection.input, keys, &[])
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let keys = self.substitute(plan, keys, |at| Ok(column_of(alias.input.schema(), at)))?;
                self.descend(&alias.input, keys, &[])
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(plan, aggregate, keys),
            LogicalPlan::Window(window) => self.window(plan, window, keys),
            LogicalPlan::Unnest(unnest) => self.unnest(plan, unnest, keys),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.descend(&sort.input, keys, facts),
            LogicalPlan::Distinct(Distinct::All(input)) => self.descend(input, keys, &[]),
            LogicalPlan::Union(union) => {
                for input in &union.inputs {
                    if tables_in(input).is_empty() {
                        return Err(self.refuse(plan, None, "a branch of the UNION reads no table"));
                    }
                    let keys = self.substitute(plan, keys.clone(), |at| Ok(column_of(input.schema(), at)))?;
                    self.descend(input, keys, &[])?;
                }
                Ok(())
            }
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => {
                Err(self.refuse(plan, None, "LIMIT picks among the rows of all keys"))
            }
            LogicalPlan::Distinct(Distinct::On(_)) => {
                Err(self.refuse(plan, None, "DISTINCT ON picks among rows that may have other keys"))
            }
            LogicalPlan::RecursiveQuery(_) => Err(self.refuse(plan, None, "a recursive query may reach any key")),
            other => Err(self.refuse(plan, None, &format!("{} is not supported here", node_name(other)))),
        }
    }

    fn scan(&mut self, plan: &LogicalPlan, scan: &TableScan, keys: Vec<Expr>) -> Derived {
        let Ok(table) = scan.table_name.to_string().parse::<TableName>() else {
            return Ok(());
        };
        if keys.iter().all(|key| key.column_refs().is_empty()) {
            return Err(self.refuse(plan, None, "no column of it decides the key"));
        }
        let unqualified = |key: &Expr| {
            rewrite(key, |part| match part {
                Expr::Column(column) => Some(Some(Expr::Column(DfColumn::from_name(&column.name)))),
                _ => None,
            })
        };
        let key: Vec<Expr> = keys.iter().filter_map(unqualified).collect();
        match self.found.iter().find(|input| input.table == table) {
            Some(input) if input.key == key => {}
            Some(_) => {
                return Err(self.refuse(plan, None, "it is read twice, with different keys"));
            }
            None => self.found.push(KeyedInput { table, key }),
        }
        Ok(())
    }

    fn filter(&mut self, filter: &Filter, keys: Vec<Expr>, facts: &[Equality]) -> Derived {
        let mut facts = facts.to_vec();
        facts.extend(equal::of_condition(&filter.predicate));
        self.descend(&filter.input, keys, &facts)
    }

    /// All rows of a group must have one key, so the key must be computable from what is grouped by.
    fn aggregate(&mut self, plan: &LogicalPlan, aggregate: &Aggregate, keys: Vec<Expr>) -> Derived {
        let sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
        if sets || aggregate.group_expr.is_empty() {
            return Err(self.refuse(plan, None, "it is aggregated over all keys"));
        }
        let keys = self.substitute(plan, keys, |at| {
            let group = aggregate.group_expr.get(at).ok_or("it is the result of an aggregate")?;
            Ok(bare(group))
        })?;
        self.descend(&aggregate.input, keys, &[])
    }

    /// All rows of a partition must have one key.
    fn window(&mut self, plan: &LogicalPlan, window: &Window, keys: Vec<Expr>) -> Derived {
        let input = window.input.schema();
        let keys = self.substitute(plan, keys, |at| {
            if at < input.fields().len() { Ok(column_of(input, at)) } else { Err("it is the result of a window") }
        })?;
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = bare(expr) else {
                continue;
            };
            for (key, name) in keys.iter().zip(self.names) {
                if !is_decided_by(key, &function.params.partition_by) {
                    let why = "a window's PARTITION BY does not contain it";
                    let hint = format!("add '{name}' to PARTITION BY, or use strategy = \"whole\"");
                    return Err(Refusal { hint: Some(hint), ..self.refuse(plan, Some(name), why) });
                }
            }
        }
        self.descend(&window.input, keys, &[])
    }

    fn unnest(&mut self, plan: &LogicalPlan, unnest: &Unnest, keys: Vec<Expr>) -> Derived {
        let opened = |input: usize| {
            unnest.list_type_columns.iter().any(|(list, _)| *list == input)
                || unnest.struct_type_columns.contains(&input)
        };
        let keys = self.substitute(plan, keys, |at| match unnest.dependency_indices.get(at) {
            Some(input) if !opened(*input) => Ok(column_of(unnest.input.schema(), *input)),
            _ => Err("it comes out of unnest"),
        })?;
        self.descend(&unnest.input, keys, &[])
    }

    fn join(&mut self, plan: &LogicalPlan, join: &Join, keys: Vec<Expr>, facts: &[Equality]) -> Derived {
        use JoinType::*;
        if join.null_aware || matches!(join.join_type, LeftMark | RightMark) {
            return Err(self.refuse(plan, None, "this join is not supported here"));
        }
        if join.join_type == Full {
            return self.full_join(plan, join, keys);
        }
        let (left, right) = (join.left.as_ref(), join.right.as_ref());
        // The side whose rows all stay decides the key: on the other side it may be missing.
        let keeper = match join.join_type {
            Left | LeftSemi | LeftAnti => Some(left),
            Right | RightSemi | RightAnti => Some(right),
            _ => None,
        };
        if let Some(keeper) = keeper {
            self.check_keeper(plan, keeper, &keys)?;
        }
        let mut equal = equal::of_join(join);
        equal.extend(equal::of_plan(left));
        equal.extend(equal::of_plan(right));
        let mut below: &[Equality] = &[];
        if keeper.is_none() {
            equal.extend_from_slice(facts);
            below = &equal;
        }
        for side in [left, right] {
            if self.is_same_for_all(side) {
                self.add_broadcast(side);
            } else {
                let keys = self.translate_keys(side, &keys, &equal)?;
                self.descend(side, keys, below)?;
            }
        }
        Ok(())
    }

    /// What reads no table is the same for every key, and so is a table whose change makes everything be computed anew.
    fn is_same_for_all(&self, side: &LogicalPlan) -> bool {
        tables_in(side).iter().all(|table| self.broadcast.contains(table))
    }

    fn add_broadcast(&mut self, side: &LogicalPlan) {
        for table in tables_in(side) {
            if !self.found.iter().any(|input| input.table == table) {
                self.found.push(KeyedInput { table, key: Vec::new() });
            }
        }
    }

    fn check_keeper(&self, plan: &LogicalPlan, keeper: &LogicalPlan, keys: &[Expr]) -> Derived {
        if self.is_same_for_all(keeper) {
            return Err(self.refuse(
                plan,
                None,
                "the join keeps rows of a reference or broadcast table that match no row",
            ));
        }
        match keys.iter().zip(self.names).find(|(key, _)| !is_over(key, keeper.schema())) {
            None => Ok(()),
            Some((_, name)) => {
                let why = "it comes from the side of an outer join that may be missing";
                Err(self.refuse(plan, Some(name), why))
            }
        }
    }

    fn translate_keys(&self, side: &LogicalPlan, keys: &[Expr], equal: &[Equality]) -> Result<Vec<Expr>, Refusal> {
        let mut translated = Vec::new();
        for (key, name) in keys.iter().zip(self.names) {
            match translate(key, side.schema(), equal) {
                Some(key) => translated.push(key),
                None => {
                    let hint = format!("join on '{name}', or use strategy = \"whole\"");
                    let refusal =
                        self.refuse(side, Some(name), "the join does not equate it with a column of that side");
                    return Err(Refusal { hint: Some(hint), ..refusal });
                }
            }
        }
        Ok(translated)
    }

    /// In a full join either side may be missing, so the key must be `coalesce(left, right)` of a pair that is joined on.
    fn full_join(&mut self, plan: &LogicalPlan, join: &Join, keys: Vec<Expr>) -> Derived {
        let pairs = equal::of_join(join);
        for side in [join.left.as_ref(), join.right.as_ref()] {
            if self.is_same_for_all(side) {
                return Err(self.refuse(
                    plan,
                    None,
                    "the join keeps rows of a reference or broadcast table that match no row",
                ));
            }
            let mut own = Vec::new();
            for (key, name) in keys.iter().zip(self.names) {
                let key = rewrite(key, |part| Some(Some(coalesced(part, side.schema(), &pairs)?)));
                match key.filter(|key| is_over(key, side.schema())) {
                    Some(key) => own.push(key),
                    None => {
                        let why = "in a full join it must be coalesce(left, right) of a pair that is joined on";
                        return Err(self.refuse(plan, Some(name), why));
                    }
                }
            }
            self.descend(side, own, &[])?;
        }
        Ok(())
    }

    /// Replaces the columns of a plan's output, by position, with what they are in its input.
    fn substitute(
        &self,
        plan: &LogicalPlan,
        keys: Vec<Expr>,
        by: impl Fn(usize) -> Result<Expr, &'static str>,
    ) -> Result<Vec<Expr>, Refusal> {
        let mut substituted = Vec::new();
        for (key, name) in keys.iter().zip(self.names) {
            let mut why = "its column is not known";
            let replaced = rewrite(key, |part| {
                let Expr::Column(column) = part else {
                    return None;
                };
                let replaced = plan.schema().maybe_index_of_column(column).ok_or(why).and_then(&by);
                Some(replaced.map_err(|reason| why = reason).ok())
            });
            match replaced {
                Some(key) => substituted.push(bare(&key)),
                None => return Err(self.refuse(plan, Some(name), why)),
            }
        }
        Ok(substituted)
    }

    fn refuse(&self, plan: &LogicalPlan, name: Option<&str>, why: &str) -> Refusal {
        let names = name.map_or_else(|| self.names.join("', '"), str::to_owned);
        let tables: Vec<TableName> = tables_in(plan).into_iter().collect();
        let from: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let from = if from.is_empty() { String::new() } else { format!(" from {}", from.join(", ")) };
        Refusal {
            tables,
            message: format!("'{names}' cannot be derived{from}: {why}"),
            hint: Some("use strategy = \"whole\"".to_owned()),
        }
    }
}

/// The side's own part of `coalesce(left, right)`.
fn coalesced(expr: &Expr, side: &DFSchema, pairs: &[Equality]) -> Option<Expr> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    let [a, b] = function.args.as_slice() else {
        return None;
    };
    let joined = pairs.iter().any(|(left, right)| (left == a && right == b) || (left == b && right == a));
    if function.func.name() != "coalesce" || !joined {
        return None;
    }
    [a, b].into_iter().find(|expr| is_over(expr, side)).cloned()
}

/// A plan node's name as its first word of DataFusion's own display.
pub(super) fn node_name(plan: &LogicalPlan) -> String {
    let text = plan.display().to_string();
    text.split([':', ' ']).next().unwrap_or_default().to_owned()
}
