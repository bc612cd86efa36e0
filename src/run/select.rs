//! Which tables a run is for.

use std::collections::HashSet;

use super::Options;
use crate::contract::{Project, Table, TableName};
use crate::error::{Error, Result};
use crate::problem::suggest;

/// The tables that the options name, inputs before their users. A selection is a table's name; `T+` takes what depends on
/// it too, `+T` what it depends on. Of those, only tables of the stage and of the pipelines that are named are taken.
///
/// # Errors
/// When a selection names no table, or no pipeline.
pub fn selected(project: &Project, options: &Options) -> Result<Vec<TableName>> {
    check_pipelines(project, options)?;
    let mut wanted: HashSet<TableName> = HashSet::new();
    for text in &options.select {
        let (up, down) = (text.starts_with('+'), text.ends_with('+'));
        let name = text.trim_matches('+');
        let table = project.tables.iter().find(|table| table.name.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = project.tables.iter().map(|table| table.name.to_string()).collect();
            unknown(format!("--select {text}: no table '{name}'"), name, names.iter().map(String::as_str))
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
            && options.takes_pipeline(&table.pipeline)
    };
    Ok(project.tables.iter().filter(takes).map(|table| table.name.clone()).collect())
}

fn check_pipelines(project: &Project, options: &Options) -> Result<()> {
    for name in &options.pipelines {
        if project.pipeline(name).is_none() {
            let names = project.pipelines.iter().map(|pipeline| pipeline.name.as_str());
            return Err(unknown(format!("--pipeline {name}: no pipeline '{name}'"), name, names));
        }
    }
    Ok(())
}

fn unknown<'a>(message: String, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::usage(message);
    match suggest(name, known) {
        Some(hint) => error.hint(hint),
        None => error,
    }
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
