//! What the tests share: a directory and a command for each of them, and the rows of a lake as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use medalha::contract;
use medalha::engine::Limits;
use medalha::lake::{Durability, Lake, LakeTable, read_file};
use medalha::run::{Inputs, Options, Run, RunReport};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// The repository.
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The pipeline that the tests run, in a project; other pipelines have tests of their own.
const PIPELINE: &str = "pipelines/imaging";

/// Tables whose rows do not say when and how often the program ran.
pub const STAGES: [&str; 3] = ["bronze", "silver", "gold"];

/// A directory with data, a lake and, if it has one of its own, a project; gone when dropped.
pub struct Sandbox {
    root: TempDir,
    project: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// What a command left.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    /// An empty lake, and no data but the sources' folders, for the repository's own pipeline of exams.
    pub fn new() -> Self {
        Self::with_pipeline(|from, to| std::os::unix::fs::symlink(from, to).unwrap())
    }

    /// The same with a copy of the pipeline, to be changed.
    pub fn with_own_project() -> Self {
        Self::with_pipeline(copy_folder)
    }

    /// The same with a project of these files, each a path below `pipelines/` and its text.
    pub fn with_files(files: &[(&str, &str)]) -> Self {
        let sandbox = Self::with_pipeline(|_, _| {});
        for (path, text) in files {
            let path = sandbox.project.join("pipelines").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        sandbox
    }

    fn with_pipeline(put: impl FnOnce(&Path, &Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["data/exam", "data/medical_report", "project/pipelines"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let project = root.path().join("project");
        put(&Path::new(REPOSITORY).join(PIPELINE), &project.join(PIPELINE));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { root, project, runtime }
    }

    /// A place in the directory.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The `file://` URI of the data folder, with its links resolved as the program does; ends with a slash.
    pub fn data_uri(&self) -> String {
        url::Url::from_directory_path(self.path("data").canonicalize().unwrap()).unwrap().into()
    }

    /// Delivers a file: `relative` is below the data folder.
    pub fn deliver(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("data").join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A file of the sandbox's own project.
    pub fn project_file(&self, relative: &str) -> PathBuf {
        let folder = self.project.join(PIPELINE);
        assert!(!folder.is_symlink(), "the repository's pipelines are not to be changed");
        folder.join(relative)
    }

    /// Writes a file of the sandbox's own project.
    pub fn write_project_file(&self, relative: &str, content: &str) {
        fs::write(self.project_file(relative), content).unwrap();
    }

    /// Changes a file of the sandbox's own project.
    pub fn edit_project_file(&self, relative: &str, from: &str, to: &str) {
        let path = self.project_file(relative);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{relative} has no {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// The program, with the sandbox's folders, and arguments after them.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
        command.arg("--lake").arg(self.path("lake")).arg("--data").arg(self.path("data"));
        command.arg("--project").arg(&self.project).args(args);
        // What the caller's environment says of logs must not decide a test.
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end, which is no panic.
    pub fn pipeline(&self, args: &[&str]) -> Outcome {
        let outcome = Outcome::of(self.command(args).output().unwrap());
        assert!(!outcome.stderr.contains("panicked"), "{args:?}: {}", outcome.stderr);
        outcome
    }

    /// Runs the program to its end and expects an exit code.
    pub fn expect(&self, code: i32, args: &[&str]) -> Outcome {
        let outcome = self.pipeline(args);
        assert_eq!(outcome.code, Some(code), "{args:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    /// `pipeline run`, which must succeed: its report.
    pub fn run(&self) -> Value {
        self.run_with(&[])
    }

    /// `pipeline run` with further arguments, which must succeed: its report.
    pub fn run_with(&self, args: &[&str]) -> Value {
        let args = [&["run", "--format", "json"], args].concat();
        self.expect(0, &args).json()
    }

    /// A run within the test's own process, which is faster; it must succeed.
    pub fn run_in_process(&self, options: &Options) -> RunReport {
        self.run_in_tasks(options, 2)
    }

    /// The same in so many tasks.
    pub fn run_in_tasks(&self, options: &Options, threads: usize) -> RunReport {
        let project = Arc::new(contract::load(&self.project).unwrap());
        let inputs = Inputs { data: self.path("data").display().to_string(), ..Inputs::default() };
        let limits = Limits { memory: 64 << 20, threads };
        let run = Run::new(self.lake(), project, inputs, limits, Arc::new(|_| {}));
        // Unoptimised, the planning of SQL takes more stack than a test's thread has.
        let report = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(16 << 20);
            let report = thread.spawn_scoped(scope, || self.runtime.block_on(run.execute(options)));
            report.unwrap().join().unwrap().unwrap()
        });
        assert!(report.errors.is_empty(), "{}", report.errors[0]);
        report
    }

    /// The lake.
    pub fn lake(&self) -> Lake {
        Lake::at(&self.path("lake").display().to_string(), Durability::None).unwrap()
    }

    /// The names of the lake's tables of some stages.
    pub fn tables(&self, stages: &[&str]) -> Vec<String> {
        let names = self.block_on(self.lake().tables()).unwrap().into_iter();
        names.filter(|name| stages.iter().any(|stage| name.starts_with(&format!("{stage}.")))).collect()
    }

    /// A table at its newest version, or at another one.
    pub fn table(&self, name: &str, version: Option<u64>) -> LakeTable {
        let lake = self.lake();
        let table = self.block_on(async {
            match version {
                None => lake.open(name).await,
                Some(version) => lake.open_at(name, version).await,
            }
        });
        table.unwrap().unwrap_or_else(|| panic!("no table {name}"))
    }

    /// Runs what has to wait.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// All rows of a table, sorted: a bag.
    pub fn rows(&self, name: &str) -> Vec<Value> {
        self.rows_at(name, None)
    }

    /// All rows of a table at a version, sorted.
    pub fn rows_at(&self, name: &str, version: Option<u64>) -> Vec<Value> {
        let table = self.table(name, version);
        let mut rows = Vec::new();
        for file in table.files().unwrap() {
            rows.extend(to_json(&self.block_on(read_file(&table, &file)).unwrap()));
        }
        sorted(rows)
    }

    /// What is in quarantine and why, of the rows that were not taken in since.
    pub fn set_aside(&self) -> Vec<Value> {
        let open = |row: &Value| row["status"] == "open";
        self.columns("silver.quarantine", &QUARANTINED).into_iter().filter(open).collect()
    }

    /// How many rows a table has, without reading them.
    pub fn count(&self, name: &str) -> u64 {
        self.table(name, None).row_count().unwrap()
    }

    /// Some columns of all rows of a table, sorted.
    pub fn columns(&self, name: &str, columns: &[&str]) -> Vec<Value> {
        sorted(self.rows(name).iter().map(|row| project(row, columns)).collect())
    }

    /// The versions of all tables, those of ops too.
    pub fn versions(&self) -> BTreeMap<String, u64> {
        let names = self.block_on(self.lake().tables()).unwrap().into_iter();
        names.map(|name| (name.clone(), self.table(&name, None).version())).collect()
    }

    /// Every file of the lake with the hash of its bytes, but for the lease, which names its last owner.
    pub fn listing(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(self.path("lake")) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() && entry.file_name() != "_lease" {
                let hash = blake3::hash(&fs::read(entry.path()).unwrap()).to_hex().to_string();
                files.insert(entry.into_path(), hash);
            }
        }
        files
    }

    /// Checks that a run finds nothing new and changes no file of the lake.
    pub fn assert_up_to_date(&self) {
        let before = self.listing();
        let report = self.run();
        assert_eq!(report["release"], Value::Null, "there was something new: {report}");
        self.assert_files_are(&before, "a run with nothing new");
    }

    /// Checks that the files of the lake are those of an earlier listing.
    pub fn assert_files_are(&self, before: &BTreeMap<PathBuf, String>, what: &str) {
        let now = self.listing();
        let differs = |file: &&PathBuf| before.get(*file) != now.get(*file);
        let mut differ: Vec<&PathBuf> = before.keys().chain(now.keys()).filter(differs).collect();
        differ.dedup();
        assert!(differ.is_empty(), "{what} changed {differ:#?}");
    }

    /// A row as any sandbox has it: places of files are told from the data folder on, and no batch, for batches are cut
    /// otherwise.
    fn anywhere(&self, mut row: Value) -> Value {
        row.as_object_mut().unwrap().remove("_batch");
        let (text, folder) = (row.to_string(), self.data_uri());
        if !text.contains(&folder) {
            return row;
        }
        let mut row: Value = serde_json::from_str(&text.replace(&folder, "data/")).unwrap();
        // Of a payload that names the place.
        row.as_object_mut().unwrap().remove("_payload_hash");
        row
    }

    /// Checks that two lakes hold the same rows in silver and gold, whatever the way there; of the quarantine what does
    /// not depend on the cut into files and runs.
    pub fn assert_same_rows(&self, other: &Self, what: &str) {
        let tables = self.tables(&["silver", "gold"]);
        assert_eq!(tables, other.tables(&["silver", "gold"]), "{what}");
        for table in tables {
            let rows = |sandbox: &Self| {
                let rows = match table.as_str() {
                    "silver.quarantine" => sandbox.set_aside(),
                    _ => sandbox.rows(&table),
                };
                rows.into_iter().map(|row| sandbox.anywhere(row)).collect::<Vec<_>>()
            };
            assert_same(&rows(self), &rows(other), &format!("{what}: {table}"));
        }
    }
}

/// The columns of the quarantine that say what was set aside and why.
pub const QUARANTINED: [&str; 6] = ["table", "reasons", "payload", "payload_bytes", "key", "status"];

impl Outcome {
    /// What an ended process left.
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Rows as JSON objects, NULL as null.
pub fn to_json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sorts rows, so that bags can be compared.
pub fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_cached_key(Value::to_string);
    rows
}

/// Some members of an object, in the order asked for.
pub fn project(row: &Value, columns: &[&str]) -> Value {
    let value = |name: &&str| {
        let value = row.get(*name).unwrap_or_else(|| panic!("no column {name} in {row}"));
        ((*name).to_owned(), value.clone())
    };
    Value::Object(columns.iter().map(value).collect::<Map<_, _>>())
}

/// Compares two bags of rows; tells only the rows that differ.
pub fn assert_same(got: &[Value], expected: &[Value], what: &str) {
    let count = |rows: &[Value]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(row.to_string()).or_default() += 1);
        counts
    };
    let (got, expected) = (count(got), count(expected));
    let more = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| -> Vec<String> {
        let times = |row: &String| b.get(row).copied().unwrap_or_default();
        a.iter().filter(|(row, count)| **count > times(row)).map(|(row, _)| row.clone()).collect()
    };
    let (unexpected, missing) = (more(&got, &expected), more(&expected, &got));
    assert!(
        unexpected.is_empty() && missing.is_empty(),
        "{what}\nunexpected:\n  {}\nmissing:\n  {}",
        unexpected.join("\n  "),
        missing.join("\n  ")
    );
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(place).unwrap();
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}
