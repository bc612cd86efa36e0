//! When a run is done with a source's database: right after the last of its tables, so that its snapshot is not held while
//! silver and gold are computed.

use super::Options;
use crate::contract::{Definition, Project, Source, SourceKind, Stage, Table};

/// The databases of the sources that a run reads.
pub(super) struct Ends<'a> {
    databases: Vec<(&'a str, &'a Source)>,
    /// Whether the run takes tables that no contract declares, too.
    pub with_rest: bool,
}

impl<'a> Ends<'a> {
    pub fn of(project: &'a Project, tables: &[&Table], options: &Options) -> Self {
        let with_rest = options.select.is_empty() && options.stage.is_none_or(|stage| stage == Stage::Bronze);
        let databases =
            project.pipelines.iter().filter(|pipeline| options.takes_pipeline(&pipeline.name)).flat_map(|pipeline| {
                let databases = pipeline.sources.iter().filter(|source| matches!(source.kind, SourceKind::Postgres(_)));
                databases.map(|source| (pipeline.name.as_str(), source))
            });
        let is_read = |pipeline: &str, source: &Source| tables.iter().any(|table| reads(table, pipeline, source));
        Self {
            databases: databases.filter(|(pipeline, source)| with_rest || is_read(pipeline, source)).collect(),
            with_rest,
        }
    }

    /// The database that a table was the last to read, of those that are still to come.
    pub fn after(&self, table: &Table, rest: &[&Table]) -> Option<(&'a str, &'a Source)> {
        let is_last = |(pipeline, source): &&(&str, &Source)| {
            reads(table, pipeline, source) && !rest.iter().any(|other| reads(other, pipeline, source))
        };
        self.databases.iter().find(is_last).copied()
    }

    /// The databases of which only tables without a contract are taken.
    pub fn without_tables(&self, tables: &[&Table]) -> Vec<(&'a str, &'a Source)> {
        let is_unread =
            |(pipeline, source): &&(&str, &Source)| !tables.iter().any(|table| reads(table, pipeline, source));
        self.databases.iter().filter(is_unread).copied().collect()
    }
}

fn reads(table: &Table, pipeline: &str, source: &Source) -> bool {
    table.pipeline == pipeline
        && matches!(&table.definition, Definition::Bronze { source: name, .. } if *name == source.name)
}
