//! Pipelines that a run of all of them leaves out: a checkout may have more than a place has sources for.

use std::path::PathBuf;

use super::{BATCH, Options, Run};
use crate::contract::{Definition, Pipeline, Source, SourceKind};
use crate::error::Result;
use crate::source::Place;

impl Run {
    /// The options of a run that asks for no pipeline or table by name, without the pipelines that have no place here:
    /// none of their folders is there, and the lake never had anything of them. It is said of each. Where it once had, a
    /// folder that is gone stays an error.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) async fn without_absent(&self, options: &Options) -> Result<Options> {
        let mut options = options.clone();
        if !options.pipelines.is_empty() || !options.select.is_empty() {
            return Ok(options);
        }
        let mut present = Vec::new();
        for pipeline in &self.project.pipelines {
            match self.missing_folder(pipeline) {
                Some(folder) if !self.has_records_of(pipeline).await? => {
                    let name = &pipeline.name;
                    tracing::warn!(
                        "pipeline '{name}' is left out: there is no folder {folder}; `--pipeline {name}` asks for it"
                    );
                }
                _ => present.push(pipeline.name.clone()),
            }
        }
        // Where none is left, each shall tell what it lacks.
        if !present.is_empty() && present.len() < self.project.pipelines.len() {
            options.pipelines = present;
        }
        Ok(options)
    }

    /// The first of the folders that the pipeline has to find, where it finds none of them.
    fn missing_folder(&self, pipeline: &Pipeline) -> Option<String> {
        let folders: Vec<PathBuf> = pipeline.sources.iter().filter_map(|source| self.folder_of(source)).collect();
        let is_missing = folders.iter().all(|folder| !folder.exists());
        folders.first().filter(|_| is_missing).map(|folder| folder.display().to_string())
    }

    fn folder_of(&self, source: &Source) -> Option<PathBuf> {
        let SourceKind::Files(files) = &source.kind else { return None };
        // What is wrong with a path is told by whoever reads it.
        let path = files.path.resolve(&self.inputs.variables).ok()?;
        match Place::resolve(&self.inputs.data, &path).ok()? {
            Place::Local(folder) if !files.optional => Some(folder),
            _ => None,
        }
    }

    async fn has_records_of(&self, pipeline: &Pipeline) -> Result<bool> {
        for table in self.project.tables.iter().filter(|table| table.pipeline == pipeline.name) {
            if matches!(table.definition, Definition::Bronze { .. })
                && let Some(held) = self.lake.open(&table.name.to_string()).await?
                && held.position(BATCH).await?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
