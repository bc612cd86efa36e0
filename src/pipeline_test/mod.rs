//! The cases of `pipelines/<p>/tests/`: each is given files and says what rows the tables then hold. A case runs for real,
//! in a lake of its own that is gone afterwards.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use serde::Serialize;

use crate::contract::{DatabasePlace, Project, SourceKind, TableName};
use crate::engine::Limits;
use crate::error::{Error, Place, Result};
use crate::lake::{Durability, Lake, read_file};
use crate::problem::suggest;
use crate::run::{Inputs, Options, Run};
use crate::variables::{Template, Variables};

pub use case::{Case, load};
pub use expect::Difference;

mod case;
mod csv;
mod expect;
#[cfg(test)]
mod tests;

/// Differences of one case beyond which its text only counts them.
const SHOWN: usize = 20;

/// What became of a case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// `<pipeline>/<case>`.
    pub case: String,
    /// Whether the tables hold what was expected.
    pub passed: bool,
    /// How long it ran.
    pub seconds: f64,
    /// Why it could not be run to its end.
    pub error: Option<String>,
    /// Rows that are missing, and rows that nobody expected.
    pub differences: Vec<Difference>,
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        write!(f, "{}: {verdict}, {:.2} s", self.case, self.seconds)?;
        if let Some(error) = &self.error {
            write!(f, "\n  {error}")?;
        }
        for difference in self.differences.iter().take(SHOWN) {
            write!(f, "\n  {difference}")?;
        }
        match self.differences.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, "\n  and {more} more differences"),
            _ => Ok(()),
        }
    }
}

/// The cases that are named, by `<case>` or `<pipeline>/<case>`; all of them when none is.
///
/// # Errors
/// When a name is no case's.
pub fn select(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>> {
    let is_named = |case: &Case, name: &str| case.name == name || case.full_name() == name;
    for name in names {
        if !cases.iter().any(|case| is_named(case, name)) {
            let hint = suggest(name, cases.iter().map(|case| case.name.as_str()));
            let error = Error::usage(format!("there is no case '{name}'"));
            return Err(
                error.hint(hint.unwrap_or_else(|| "a case is a folder pipelines/<pipeline>/tests/<case>".into()))
            );
        }
    }
    let wanted = |case: &Case| names.is_empty() || names.iter().any(|name| is_named(case, name));
    Ok(cases.into_iter().filter(wanted).collect())
}

/// Runs cases side by side and tells of each, in their order, when it and those before it have ended. Whatever is wrong
/// with a case is in its report.
pub async fn run(project: &Project, cases: Vec<Case>, limits: Limits, tell: impl Fn(&CaseReport)) -> Vec<CaseReport> {
    let project = Arc::new(with_own_data(project));
    let running = cases.iter().map(|case| report(project.clone(), case, limits));
    futures::stream::iter(running).buffered(limits.threads).inspect(|report| tell(report)).collect().await
}

async fn report(project: Arc<Project>, case: &Case, limits: Limits) -> CaseReport {
    let start = Instant::now();
    let (error, differences) = match differences(project, case, limits).await {
        Ok(differences) => (None, differences),
        Err(error) => (Some(error.to_string()), Vec::new()),
    };
    CaseReport {
        case: case.full_name(),
        passed: error.is_none() && differences.is_empty(),
        seconds: start.elapsed().as_secs_f64(),
        error,
        differences,
    }
}

/// The project with every source in a folder of its own, so that a case sees no data but its own.
fn with_own_data(project: &Project) -> Project {
    let mut project = project.clone();
    for pipeline in &mut project.pipelines {
        for source in &mut pipeline.sources {
            match &mut source.kind {
                SourceKind::Files(files) => {
                    files.path = Template::literal(&source_folder(&pipeline.name, &source.name))
                }
                SourceKind::Postgres(database) => {
                    database.place = DatabasePlace::Given { path: source_folder(&pipeline.name, &source.name) }
                }
            }
        }
    }
    project
}

/// Where a source's files lie below a case's data folder.
fn source_folder(pipeline: &str, source: &str) -> String {
    format!("{pipeline}/{source}")
}

async fn differences(project: Arc<Project>, case: &Case, limits: Limits) -> Result<Vec<Difference>> {
    let place = tempfile::tempdir().at("a folder for the case")?;
    let data = place.path().join("data");
    for pipeline in &project.pipelines {
        for source in &pipeline.sources {
            let folder = data.join(source_folder(&pipeline.name, &source.name));
            std::fs::create_dir_all(&folder).at(folder.display())?;
        }
    }
    // Gone after the case, so nothing needs to survive a power cut.
    let lake = Lake::at(&place.path().join("lake").to_string_lossy(), Durability::None)?;
    let select = tables_of(&project, &case.pipeline).map(|name| format!("+{name}")).collect();
    let options = Options { select, ..Options::default() };
    for (number, step) in (1..).zip(&case.steps) {
        deliver(step, &data)?;
        let inputs = Inputs { data: data.to_string_lossy().into_owned(), variables: Variables::default() };
        let run = Run::new(lake.clone(), project.clone(), inputs, limits, Arc::new(|_| {}));
        let ended = run.execute(&options).await.and_then(|report| report.errors.into_iter().next().map_or(Ok(()), Err));
        ended.at(format!("run {number}"))?;
    }
    let mut differences = Vec::new();
    for expected in &case.expected {
        let table = lake.open(&expected.table).await?;
        let table = table.ok_or_else(|| Error::failed(format!("{}: no run made the table", expected.table)))?;
        let mut rows = Vec::new();
        for file in table.files()? {
            rows.extend(read_file(&table, &file).await?);
        }
        differences.extend(expected.compare(&rows).at(&expected.table)?);
    }
    Ok(differences)
}

fn tables_of<'a>(project: &'a Project, pipeline: &'a str) -> impl Iterator<Item = &'a TableName> {
    project.tables.iter().filter(move |table| table.pipeline == pipeline).map(|table| &table.name)
}

/// Puts the files of a step where the sources look for them.
fn deliver(step: &[case::Given], data: &Path) -> Result<()> {
    for given in step {
        let to = data.join(&given.to);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).at(folder.display())?;
        }
        std::fs::copy(&given.from, &to).at(given.from.display())?;
    }
    Ok(())
}
