//! A project with a database as its source: a folder, a command, and the rows of its lake.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use medalha::lake::{Durability, Lake, LakeTable, read_file};
use serde_json::Value;
use tempfile::TempDir;

use super::cluster::{Cluster, READER_PASSWORD, block_on};

pub struct Clinic<'a> {
    pub cluster: &'a Cluster,
    pub database: String,
    root: TempDir,
}

pub struct Outcome {
    pub code: i32,
    pub text: String,
}

impl<'a> Clinic<'a> {
    /// A project whose database has been made with `sql`, and whose source takes all of its tables.
    pub fn new(cluster: &'a Cluster, sql: &str) -> Self {
        let database = cluster.database();
        cluster.sql(&database, sql);
        let clinic = Self { cluster, database, root: tempfile::tempdir().unwrap() };
        clinic.source("", "");
        fs::create_dir_all(clinic.path("data")).unwrap();
        clinic
    }

    /// Writes the source anew, with parameters of the URL and further keys.
    pub fn source(&self, parameters: &str, keys: &str) {
        let (port, database) = (self.cluster.port, &self.database);
        let url = format!("postgresql://reader@${{CLINIC_HOST:-127.0.0.1}}:{port}/{database}{parameters}");
        self.write(
            "pipeline.toml",
            &format!(
                "name = \"p\"\ndescription = \"d\"\n[sources.clinic]\ndescription = \"d\"\nkind = \"postgres\"\n\
                 url = \"{url}\"\npassword_variable = \"CLINIC_PASSWORD\"\n{keys}\n"
            ),
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file of the pipeline.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path("pipelines/p").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn sql(&self, sql: &str) {
        self.cluster.sql(&self.database, sql);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
        command.arg("--lake").arg(self.path("lake")).arg("--data").arg(self.path("data"));
        command.arg("--project").arg(self.root.path()).args(args);
        for name in ["RUST_LOG", "PGPASSWORD", "PGPASSFILE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.root.path()).env("CLINIC_PASSWORD", READER_PASSWORD);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end, which is no panic, and nothing of which shows a password.
    pub fn pipeline(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    /// A run that must succeed.
    pub fn run(&self) -> Outcome {
        let outcome = self.pipeline(&["run"]);
        assert_eq!(outcome.code, 0, "{}", outcome.text);
        outcome
    }

    /// A run that must fail: what it says.
    pub fn fails(&self) -> String {
        let outcome = self.pipeline(&["run"]);
        assert!(outcome.code == 1 || outcome.code == 2, "{}: {}", outcome.code, outcome.text);
        outcome.text
    }

    pub fn table(&self, name: &str) -> LakeTable {
        let lake = Lake::at(&self.path("lake").display().to_string(), Durability::None).unwrap();
        block_on(lake.open(name)).unwrap().unwrap_or_else(|| panic!("no table {name}"))
    }

    /// A column's values of all rows of a table, sorted.
    pub fn column(&self, table: &str, column: &str) -> Vec<Value> {
        let mut values: Vec<Value> = self.rows(table).into_iter().map(|mut row| row[column].take()).collect();
        values.sort_by_cached_key(Value::to_string);
        values
    }

    /// All rows of a table.
    pub fn rows(&self, name: &str) -> Vec<Value> {
        let table = self.table(name);
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
        for file in table.files().unwrap() {
            for batch in block_on(read_file(&table, &file)).unwrap() {
                writer.write(&batch).unwrap();
            }
        }
        writer.finish().unwrap();
        let text = String::from_utf8(writer.into_inner()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Rows as `[_batch, _op, payload]`, in that order.
    pub fn changes(&self, table: &str) -> Vec<String> {
        let change = |row: Value| {
            let text = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
            format!("{} {} {}", row["_batch"], text("_op"), text("payload"))
        };
        let mut changes: Vec<String> = self.rows(table).into_iter().map(change).collect();
        changes.sort();
        changes
    }

    /// The rows that a query gives.
    pub fn query(&self, sql: &str) -> Value {
        let output = self.command(&["query", sql, "--format", "json"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{sql}: {error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// All files of the lake, but for the lease.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.path("lake")).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().is_file() && entry.file_name() != "_lease");
        files.map(walkdir::DirEntry::into_path).collect()
    }
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "{text}");
        assert!(!text.contains("s3cret"), "a password is shown: {text}");
        Self { code: output.status.code().unwrap_or(-1), text }
    }
}
