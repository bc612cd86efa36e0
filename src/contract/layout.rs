//! Which files a project has: walks `pipelines/` and sorts what it finds.

use std::fs;
use std::path::{Path, PathBuf};

use super::types::is_identifier;
use super::{Stage, TableName};
use crate::problem::{File, Problem, suggest};

/// The folders of a pipeline; `tests` is read by the test runner only.
const FOLDERS: [&str; 7] = ["bronze", "silver", "gold", "reference", "queries", "datasets", "tests"];

/// The files of one folder of `pipelines/`.
#[derive(Debug)]
pub(super) struct Folder {
    /// The folder's own name.
    pub name: String,
    pub dir: PathBuf,
    pub manifest: Option<File>,
    pub tables: Vec<TableFiles>,
    pub references: Vec<Named>,
    pub queries: Vec<Named>,
    pub datasets: Vec<Named>,
}

/// A table's contract and its SQL.
#[derive(Debug)]
pub(super) struct TableFiles {
    pub name: TableName,
    pub contract: File,
    pub sql: Option<File>,
}

/// A file that stands for what its name says.
#[derive(Debug)]
pub(super) struct Named {
    pub name: String,
    pub file: File,
}

/// Reads every file below `<project_dir>/pipelines`.
pub(super) fn read(project_dir: &Path, problems: &mut Vec<Problem>) -> Vec<Folder> {
    if !project_dir.join("pipelines").is_dir() {
        let hint = "a project is a folder that holds pipelines/; --project names another one".to_owned();
        problems.push(Problem::of_file("pipelines", "there is no such folder").with_hint(hint));
        return Vec::new();
    }
    let mut reader = Reader { root: project_dir, problems };
    let mut folders = Vec::new();
    for entry in reader.list("pipelines") {
        if entry.is_dir {
            folders.push(reader.folder(&entry));
        } else if !entry.is_readme() {
            reader.unknown(&entry, None);
        }
    }
    if folders.is_empty() && problems.is_empty() {
        let hint = "a pipeline is a folder with a pipeline.toml".to_owned();
        problems.push(Problem::of_file("pipelines", "there is no pipeline").with_hint(hint));
    }
    folders
}

struct Reader<'a> {
    root: &'a Path,
    problems: &'a mut Vec<Problem>,
}

struct Entry {
    /// Relative to the project, with `/`.
    path: String,
    name: String,
    is_dir: bool,
}

impl Entry {
    fn is_readme(&self) -> bool {
        !self.is_dir && self.name == "README.md"
    }

    fn split(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or((&self.name, ""))
    }
}

impl Reader<'_> {
    /// What a folder holds, sorted by name, without hidden files.
    fn list(&mut self, path: &str) -> Vec<Entry> {
        let entries = fs::read_dir(self.root.join(path)).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(Problem::of_file(path, format!("cannot be read: {error}")));
                return Vec::new();
            }
        };
        let mut found: Vec<Entry> = entries
            .into_iter()
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                Entry { path: format!("{path}/{name}"), is_dir: entry.path().is_dir(), name }
            })
            .filter(|entry| !entry.name.starts_with('.'))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn text(&mut self, entry: &Entry) -> Option<File> {
        File::read(self.root, &entry.path).map_err(|problem| self.problems.push(problem)).ok()
    }

    fn unknown(&mut self, entry: &Entry, hint: Option<String>) {
        let kind = if entry.is_dir { "folder" } else { "file" };
        self.problems.push(Problem::of_file(&entry.path, format!("unknown {kind}")).with_hint(hint));
    }

    fn folder(&mut self, pipeline: &Entry) -> Folder {
        let mut folder = Folder {
            name: pipeline.name.clone(),
            dir: self.root.join(&pipeline.path),
            manifest: None,
            tables: Vec::new(),
            references: Vec::new(),
            queries: Vec::new(),
            datasets: Vec::new(),
        };
        let mut has_manifest = false;
        for entry in self.list(&pipeline.path) {
            match entry.name.as_str() {
                "pipeline.toml" if !entry.is_dir => {
                    has_manifest = true;
                    folder.manifest = self.text(&entry);
                }
                "reference" if entry.is_dir => folder.references = self.named(&entry, "csv"),
                "queries" if entry.is_dir => folder.queries = self.named(&entry, "sql"),
                "datasets" if entry.is_dir => folder.datasets = self.named(&entry, "toml"),
                "tests" if entry.is_dir => {}
                name if entry.is_dir => match name.parse::<Stage>() {
                    Ok(stage) => folder.tables.extend(self.tables(stage, &entry)),
                    Err(_) => self.unknown(&entry, suggest(name, FOLDERS)),
                },
                // What `pipeline generate` makes: no part of the contracts.
                "generate.toml" => {}
                _ if entry.is_readme() => {}
                name => self.unknown(&entry, suggest(name, ["pipeline.toml", "generate.toml"])),
            }
        }
        if !has_manifest {
            let path = format!("{}/pipeline.toml", pipeline.path);
            self.problems.push(Problem::of_file(path, "the file is missing"));
        }
        folder
    }

    fn named(&mut self, folder: &Entry, extension: &str) -> Vec<Named> {
        let mut found = Vec::new();
        for entry in self.list(&folder.path) {
            let (stem, kind) = entry.split();
            if entry.is_readme() {
                continue;
            }
            if entry.is_dir || kind != extension {
                self.unknown(&entry, Some(format!("this folder holds .{extension} files")));
            } else if self.good_name(&entry, stem)
                && let Some(file) = self.text(&entry)
            {
                found.push(Named { name: stem.to_owned(), file });
            }
        }
        found
    }

    fn good_name(&mut self, entry: &Entry, stem: &str) -> bool {
        let good = is_identifier(stem);
        if !good {
            let hint = "small letters, digits and _, a letter first".to_owned();
            self.problems.push(Problem::of_file(&entry.path, format!("'{stem}' cannot be a name")).with_hint(hint));
        }
        good
    }

    fn tables(&mut self, stage: Stage, folder: &Entry) -> Vec<TableFiles> {
        let mut contracts: Vec<(String, Option<File>)> = Vec::new();
        let mut queries: Vec<(String, Option<File>)> = Vec::new();
        for entry in self.list(&folder.path) {
            let (stem, kind) = entry.split();
            match kind {
                _ if entry.is_readme() => {}
                "toml" if !entry.is_dir && self.good_name(&entry, stem) => {
                    contracts.push((stem.to_owned(), self.text(&entry)));
                }
                "sql" if !entry.is_dir && stage == Stage::Bronze => {
                    let hint = "bronze keeps records as they came; SQL starts in silver".to_owned();
                    self.problems.push(Problem::of_file(&entry.path, "a bronze table has no SQL").with_hint(hint));
                }
                "sql" if !entry.is_dir && self.good_name(&entry, stem) => {
                    queries.push((stem.to_owned(), self.text(&entry)));
                }
                "toml" | "sql" if !entry.is_dir => {}
                _ => self.unknown(&entry, Some("this folder holds .toml and .sql files".to_owned())),
            }
        }
        self.pair(stage, &folder.path, contracts, queries)
    }

    fn pair(
        &mut self,
        stage: Stage,
        folder: &str,
        contracts: Vec<(String, Option<File>)>,
        mut queries: Vec<(String, Option<File>)>,
    ) -> Vec<TableFiles> {
        let mut tables = Vec::new();
        for (name, contract) in contracts {
            let at = queries.iter().position(|(query, _)| *query == name);
            let sql = at.map(|at| queries.swap_remove(at).1);
            if sql.is_none() && stage != Stage::Bronze {
                let hint = format!("write {folder}/{name}.sql");
                let path = format!("{folder}/{name}.toml");
                self.problems.push(Problem::of_file(path, "the contract has no SQL").with_hint(hint));
            }
            if let Some(contract) = contract {
                tables.push(TableFiles { name: TableName { stage, name }, contract, sql: sql.flatten() });
            }
        }
        for (name, _) in queries {
            let hint = format!("write {folder}/{name}.toml");
            let path = format!("{folder}/{name}.sql");
            self.problems.push(Problem::of_file(path, "the SQL has no contract").with_hint(hint));
        }
        tables
    }
}
