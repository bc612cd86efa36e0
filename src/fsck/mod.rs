//! Whether a lake is whole: logs, files, positions, releases. Reads only, and needs no lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::contract::Project;
use crate::engine::Limits;
use crate::erase::is_unfinished;
use crate::error::{Error, Result};
use crate::lake::{Lake, LakeTable, Log};

mod files;
mod positions;
mod releases;

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Options {
    /// Read all data, not only what stands about it in logs and footers.
    pub deep: bool,
    /// What the engine may use.
    pub limits: Limits,
}

/// Something that was found.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is wrong, or only worth knowing.
    pub is_wrong: bool,
    /// Where: a table, or a file of it.
    pub place: String,
    /// What.
    pub fact: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Tables.
    pub tables: u64,
    /// Data files.
    pub files: u64,
    /// Rows, as counted: in footers, or one by one.
    pub rows: u64,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are wrong.
    pub fn wrong(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_wrong).count()
    }

    fn wrong_at(&mut self, place: impl ToString, fact: impl Into<String>, hint: impl Into<String>) {
        let finding = Finding { is_wrong: true, place: place.to_string(), fact: fact.into(), hint: Some(hint.into()) };
        self.findings.push(finding);
    }

    fn note_at(&mut self, place: impl ToString, fact: impl Into<String>, hint: impl Into<String>) {
        let finding = Finding { is_wrong: false, place: place.to_string(), fact: fact.into(), hint: Some(hint.into()) };
        self.findings.push(finding);
    }
}

/// Looks at a lake. Without a project, how far tables have come is not compared.
///
/// # Errors
/// When there is no lake, or its folder cannot be listed; what is wrong with it is in the report.
pub async fn fsck(lake: &Lake, project: Option<Arc<Project>>, options: &Options) -> Result<Report> {
    let names = lake.tables().await?;
    if names.is_empty() {
        return Err(Error::usage("there is no lake to look at").hint("--lake says where the tables are"));
    }
    let mut check = Check { lake, options, report: Report::default(), logs: BTreeMap::new(), tables: BTreeMap::new() };
    for name in &names {
        check.report.tables += 1;
        if let Err(error) = check.table(name).await {
            check.report.wrong_at(name, error.message(), mend(name));
        }
    }
    check.releases().await?;
    if is_unfinished(lake).await.unwrap_or_default() {
        check.report.wrong_at(
            lake,
            "an erasure was begun and not ended: rows of its subject may be left, and tables may still count them",
            "`pipeline erase` ends it",
        );
    }
    if let Some(project) = project {
        check.positions(&project).await?;
    }
    Ok(check.report)
}

/// The work under way.
struct Check<'a> {
    lake: &'a Lake,
    options: &'a Options,
    report: Report,
    logs: BTreeMap<String, Log>,
    /// Those that can be opened.
    tables: BTreeMap<String, LakeTable>,
}

impl Check<'_> {
    async fn table(&mut self, name: &str) -> Result<()> {
        let log = self.lake.log(name).await?;
        let is_whole = self.log(name, &log).await?;
        self.logs.insert(name.to_owned(), log);
        if !is_whole {
            return Ok(());
        }
        let Some(table) = self.lake.open(name).await? else { return Ok(()) };
        self.files(&table).await?;
        self.foreign(&table).await?;
        let waiting = table.waiting_followers(self.lake).await?;
        if !waiting.is_empty() {
            self.report.wrong_at(
                name,
                format!("what its newest commit carries for {} is not there yet: a run was killed", waiting.join(", ")),
                "`pipeline run` goes on where it ended; if that table was deleted, `pipeline run --full-refresh`",
            );
        }
        self.tables.insert(name.to_owned(), table);
        Ok(())
    }

    /// Whether the newest version can be read from its log; each entry is looked at.
    async fn log(&mut self, name: &str, log: &Log) -> Result<bool> {
        let Some(newest) = log.newest() else {
            self.report.wrong_at(name, "its log is empty", mend(name));
            return Ok(false);
        };
        let missing = log.missing(newest);
        for version in &missing {
            self.report.wrong_at(
                format!("{name}: _delta_log/{version:020}.json"),
                format!("the entry of version {version} is missing"),
                mend(name),
            );
        }
        let mut is_whole = missing.is_empty();
        for version in &log.entries {
            if let Err(error) = log.read(*version).await {
                // An entry before the checkpoint is no longer needed for the newest version.
                is_whole &= *version < log.base(newest);
                self.report.wrong_at(name, error.message(), mend(name));
            }
        }
        Ok(is_whole)
    }

    /// Tells of commits that another program made.
    async fn foreign(&mut self, table: &LakeTable) -> Result<()> {
        let held: BTreeSet<String> = table.files()?.into_iter().map(|file| file.path).collect();
        let Some(log) = self.logs.get(&table.name) else { return Ok(()) };
        for version in log.entries.clone() {
            let Some(entry) = table.log_entry(version).await?.filter(|entry| entry.is_foreign()) else { continue };
            let place = format!("{}: version {version}", table.name);
            let still = entry.adds.iter().filter(|file| file.add().data_change && held.contains(&file.path)).count();
            let fact = format!("{}, not written by a run", entry.operation());
            if still > 0 {
                let hint = match version.checked_sub(1) {
                    Some(before) => format!(
                        "`pipeline restore {} --to {before}`, or `pipeline run --full-refresh`, takes them out",
                        table.name
                    ),
                    None => mend(&table.name),
                };
                self.report.wrong_at(place, format!("{fact}; {still} files of it are in the table"), hint);
            } else {
                self.report.note_at(place, fact, "nothing of it is in the table's files now");
            }
        }
        Ok(())
    }
}

/// How a table whose log is broken is mended.
fn mend(name: &str) -> String {
    let backup = "put it back from a backup";
    match name.split_once('.') {
        Some(("silver" | "gold", _)) => {
            format!("{backup}; or remove the folder of {name}, and `pipeline run` computes it anew")
        }
        Some(("bronze", _)) => {
            format!(
                "{backup}; or remove the folder of {name}, and `pipeline run --full-refresh` takes its files in anew"
            )
        }
        _ => backup.to_owned(),
    }
}
