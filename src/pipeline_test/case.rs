//! Which cases a project has: `tests/<case>/given/` and `tests/<case>/expect/` below each pipeline.
//!
//! `given/` holds files by the name of the source that delivers them: `<source>.json`, or a folder `<source>/` with any
//! files. Where it holds folders named by numbers, each is given before a run of its own, in order; what was given before
//! stays, and a file of the same name in a `<source>/` replaces the one before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::expect::Expected;
use super::source_folder;
use crate::contract::{Pipeline, Problem, Problems, Project};
use crate::lake::TableSpec;
use crate::ops;
use crate::problem::suggest;
use crate::silver::quarantine;

/// A case, ready to be run.
#[derive(Debug)]
pub struct Case {
    /// The pipeline.
    pub pipeline: String,
    /// The case's folder.
    pub name: String,
    /// What is given before each run.
    pub(super) steps: Vec<Vec<Given>>,
    pub(super) expected: Vec<Expected>,
}

/// A file that is given.
#[derive(Debug)]
pub(super) struct Given {
    pub from: PathBuf,
    /// Below the data folder.
    pub to: PathBuf,
}

impl Case {
    /// `<pipeline>/<case>`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.pipeline, self.name)
    }
}

/// Reads the cases of all pipelines, sorted by name.
///
/// # Errors
/// Every problem of every case, sorted by place.
pub fn load(project: &Project, project_dir: &Path) -> Result<Vec<Case>, Problems> {
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    let tables = tables(project);
    for pipeline in &project.pipelines {
        let mut reader = Reader { root: project_dir, pipeline, tables: &tables, problems: &mut problems };
        cases.extend(reader.cases());
    }
    if problems.is_empty() { Ok(cases) } else { Err(Problems::sorted(problems)) }
}

/// All tables that a run makes.
fn tables(project: &Project) -> BTreeMap<String, TableSpec> {
    let own = ops::all().into_iter().chain([quarantine::spec()]);
    let specs = project.tables.iter().map(TableSpec::of).chain(own);
    specs.map(|spec| (spec.name.clone(), spec)).collect()
}

struct Reader<'a> {
    root: &'a Path,
    pipeline: &'a Pipeline,
    tables: &'a BTreeMap<String, TableSpec>,
    problems: &'a mut Vec<Problem>,
}

struct Entry {
    name: String,
    path: PathBuf,
    is_dir: bool,
}

impl Reader<'_> {
    fn problem(&mut self, path: &Path, message: impl Into<String>, hint: Option<String>) {
        let path = path.strip_prefix(self.root).unwrap_or(path).display().to_string();
        self.problems.push(Problem::of_file(path, message).with_hint(hint));
    }

    /// What a folder holds, sorted by name; hidden files and a README.md are no part of a case.
    fn list(&mut self, folder: &Path) -> Vec<Entry> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.problem(folder, format!("cannot be read: {error}"), None);
                return Vec::new();
            }
        };
        let entry = |entry: fs::DirEntry| {
            let path = entry.path();
            Entry { name: entry.file_name().to_string_lossy().into_owned(), is_dir: path.is_dir(), path }
        };
        let mut entries: Vec<Entry> = entries.into_iter().map(entry).collect();
        entries.retain(|entry| !entry.name.starts_with('.') && entry.name != "README.md");
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn cases(&mut self) -> Vec<Case> {
        let folder = self.pipeline.dir.join("tests");
        if !folder.is_dir() {
            return Vec::new();
        }
        let mut cases = Vec::new();
        for entry in self.list(&folder) {
            if entry.is_dir {
                cases.extend(self.case(&entry));
            } else {
                self.problem(
                    &entry.path,
                    "unknown file",
                    Some("a case is a folder with given/ and expect/".to_owned()),
                );
            }
        }
        cases
    }

    fn case(&mut self, case: &Entry) -> Option<Case> {
        let before = self.problems.len();
        let (mut steps, mut expected) = (None, Vec::new());
        for entry in self.list(&case.path) {
            match entry.name.as_str() {
                "given" if entry.is_dir => steps = Some(self.steps(&entry.path)),
                "expect" if entry.is_dir => expected = self.expected(&entry.path),
                _ => self.problem(&entry.path, "no part of a case", Some("a case has given/ and expect/".to_owned())),
            }
        }
        let sound = self.problems.len() == before;
        if sound && steps.is_none() {
            self.problem(&case.path, "the case has no given/", None);
        }
        if sound && expected.is_empty() {
            let hint = "write expect/<stage>.<table>.csv: a case that expects nothing cannot fail".to_owned();
            self.problem(&case.path, "the case has no expect/*.csv", Some(hint));
        }
        if self.problems.len() > before {
            return None;
        }
        Some(Case { pipeline: self.pipeline.name.clone(), name: case.name.clone(), steps: steps?, expected })
    }

    fn steps(&mut self, folder: &Path) -> Vec<Vec<Given>> {
        let mut entries = self.list(folder);
        let number = |entry: &Entry| entry.name.parse::<u32>().ok().filter(|_| entry.is_dir);
        if !entries.iter().any(|entry| number(entry).is_some()) {
            return vec![self.step(entries, 1)];
        }
        entries.sort_by_key(number);
        let mut steps = Vec::new();
        for entry in entries {
            match number(&entry) {
                Some(number) => {
                    let files = self.list(&entry.path);
                    steps.push(self.step(files, number));
                }
                None => {
                    let hint = "where given/ has folders named by numbers, all of it stands in them".to_owned();
                    self.problem(&entry.path, "in no run", Some(hint));
                }
            }
        }
        steps
    }

    fn step(&mut self, entries: Vec<Entry>, number: u32) -> Vec<Given> {
        let mut given = Vec::new();
        for entry in entries {
            let (source, ending) = match entry.name.split_once('.') {
                Some((source, ending)) if !entry.is_dir => (source, ending),
                _ => (entry.name.as_str(), ""),
            };
            if !self.pipeline.sources.iter().any(|known| known.name == source) {
                self.unknown_source(&entry.path, source);
                continue;
            }
            let folder = PathBuf::from(source_folder(&self.pipeline.name, source));
            if entry.is_dir {
                given.extend(self.files_below(&entry.path, &folder));
            } else {
                given.push(Given { from: entry.path, to: folder.join(format!("{number}.{ending}")) });
            }
        }
        given
    }

    fn unknown_source(&mut self, path: &Path, name: &str) {
        let hint = suggest(name, self.pipeline.sources.iter().map(|source| source.name.as_str()));
        self.problem(path, format!("'{name}' is no source of the pipeline"), hint);
    }

    fn files_below(&mut self, folder: &Path, to: &Path) -> Vec<Given> {
        let mut files = Vec::new();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => {
                    let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                    files.push(Given { from: entry.path().to_owned(), to: to.join(name) });
                }
                Err(error) => self.problem(folder, format!("cannot be read: {error}"), None),
            }
        }
        files
    }

    fn expected(&mut self, folder: &Path) -> Vec<Expected> {
        let mut expected = Vec::new();
        for entry in self.list(folder) {
            let Some(table) = entry.name.strip_suffix(".csv").filter(|_| !entry.is_dir) else {
                let hint = "this folder holds <stage>.<table>.csv files".to_owned();
                self.problem(&entry.path, "unknown file", Some(hint));
                continue;
            };
            let Some(spec) = self.tables.get(table) else {
                let hint = suggest(table, self.tables.keys().map(String::as_str));
                self.problem(&entry.path, format!("there is no table '{table}'"), hint);
                continue;
            };
            match fs::read_to_string(&entry.path) {
                Err(error) => self.problem(&entry.path, format!("cannot be read: {error}"), None),
                Ok(text) => {
                    let file = entry.path.strip_prefix(self.root).unwrap_or(&entry.path).display().to_string();
                    match Expected::parse(&file, &text, spec) {
                        Ok(rows) => expected.push(rows),
                        Err(problems) => self.problems.extend(problems),
                    }
                }
            }
        }
        expected
    }
}
