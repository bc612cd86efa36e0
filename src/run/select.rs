//! Which tables a run is for.

use std::collections::HashSet;

use super::Options;
use crate::contract::{Definition, Project, Source, SourceKind, Stage, Table, TableName};
use crate::error::{Error, Result};
use crate::problem::suggest;

/// The tables that the options name, inputs before their users. A selection is a table's name; `T+` takes what depends on
/// it too, `+T` what it depends on.
///
/// # Errors
/// When a selection names no table.
pub fn selected(project: &Project, options: &Options) -> Result<Vec<TableName>> {
    let mut wanted: HashSet<TableName> = HashSet::new();
    for text in &options.select {
        let (up, down) = (text.starts_with('+'), text.ends_with('+'));
        let name = text.trim_matches('+');
        let table = project.tables.iter().find(|table| table.name.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = project.tables.iter().map(|table| table.name.to_string()).collect();
            let error = Error::usage(format!("--select {text}: no table '{name}'"));
            match suggest(name, names.iter().map(String::as_str)) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        wanted.insert(table.name.clone());
        if down {
            add_users(project, &table.name, &mut wanted);
        }
        if up {
            add_inputs(project, table, &mut wanted);
        }
    }
    let takes = |table: &&Table| {
        (options.select.is_empty() || wanted.contains(&table.name))
            && options.stage.is_none_or(|stage| stage == table.name.stage)
    };
    Ok(project.tables.iter().filter(takes).map(|table| table.name.clone()).collect())
}

fn add_users(project: &Project, name: &TableName, wanted: &mut HashSet<TableName>) {
    for user in project.tables.iter().filter(|table| table.inputs().contains(&name)) {
        if wanted.insert(user.name.clone()) {
            add_users(project, &user.name, wanted);
        }
    }
}

fn add_inputs(project: &Project, table: &Table, wanted: &mut HashSet<TableName>) {
    for input in table.inputs() {
        if wanted.insert(input.clone())
            && let Some(table) = project.table(input)
        {
            add_inputs(project, table, wanted);
        }
    }
}

/// A step of a run.
pub(super) enum Step<'a> {
    /// A table is brought up to date.
    Table(&'a Table),
    /// The work on a source's database ends, for some runs with the tables that have no contract.
    Database(&'a str, &'a Source, bool),
}

/// The steps of a run over the selected tables. A database ends right after the last of its tables, so that its snapshot is
/// not held while silver and gold are computed; one without selected tables comes first.
pub(super) fn steps<'a>(project: &'a Project, tables: &[TableName], options: &Options) -> Vec<Step<'a>> {
    let with_rest = options.select.is_empty() && options.stage.is_none_or(|stage| stage == Stage::Bronze);
    let tables: Vec<&Table> = tables.iter().filter_map(|name| project.table(name)).collect();
    let mut steps: Vec<Step<'a>> = tables.iter().map(|table| Step::Table(table)).collect();
    for pipeline in &project.pipelines {
        for source in pipeline.sources.iter().filter(|source| matches!(source.kind, SourceKind::Postgres(_))) {
            let is_of =
                |step: &Step<'_>| matches!(step, Step::Table(table) if reads(table, &pipeline.name, &source.name));
            let last = steps.iter().rposition(is_of);
            if with_rest || last.is_some() {
                steps.insert(last.map_or(0, |last| last + 1), Step::Database(&pipeline.name, source, with_rest));
            }
        }
    }
    steps
}

fn reads(table: &Table, pipeline: &str, name: &str) -> bool {
    table.pipeline == pipeline && matches!(&table.definition, Definition::Bronze { source, .. } if source == name)
}
