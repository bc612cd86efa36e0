//! A small project, its data, and what its tables hold: what the sweeps disturb.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medalha::contract::{self, Project};
use medalha::engine::Limits;
use medalha::erase::erase;
use medalha::error::{Error, Result};
use medalha::lake::{Durability, Lake, read_file};
use medalha::query::AsOf;
use medalha::restore::{Target, restore};
use medalha::run::{Inputs, Options, Run};
use medalha::{fsck, maintain};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::faults::Faults;
use crate::harness::{QUARANTINED, Sandbox, assert_same, project, sorted, to_json};

/// Stays of patients: bronze, silver by record with a rule, gold by key.
const PROJECT: [(&str, &str); 6] = [
    (
        "ward/pipeline.toml",
        "name = \"ward\"\ndescription = \"Stays.\"\n\n[sources.stays]\ndescription = \"Stays.\"\nkind = \"files\"\n\
         path = \"stays\"\nformat = \"json\"\n",
    ),
    (
        "ward/bronze/stay_events.toml",
        "description = \"Stays as they came.\"\nsource = \"stays\"\n\
         payload = \"STRUCT<id STRING, ward STRING, days BIGINT, at BIGINT>\"\n",
    ),
    (
        "ward/silver/stays.toml",
        r#"
description = "Stays."
strategy = "by_record"
subject = "stay"
key = ["stay_id"]
sequence = "at"

[columns.stay_id]
type = "STRING"
required = true
comment = "The stay."

[columns.ward]
type = "STRING"
comment = "Where."

[columns.days]
type = "BIGINT"
comment = "How long."

[columns.at]
type = "BIGINT"
required = true
comment = "When."

[expectations.short]
condition = "days < 10"
severity = "quarantine"
"#,
    ),
    (
        "ward/silver/stays.sql",
        "SELECT e.id AS stay_id, e.ward AS ward, e.days AS days, e.at AS at FROM bronze.stay_events AS e",
    ),
    (
        "ward/gold/wards.toml",
        r#"
description = "Wards with their stays."
strategy = "by_key"
key = ["ward"]
replace_by = ["ward"]

[columns.ward]
type = "STRING"
required = true
comment = "The ward."

[columns.stays]
type = "BIGINT"
required = true
comment = "How many."
"#,
    ),
    ("ward/gold/wards.sql", "SELECT ward, COUNT(*) AS stays FROM silver.stays WHERE ward IS NOT NULL GROUP BY ward"),
];

/// Columns that say when and by which run, not what.
const WHEN: [&str; 4] = ["_ingested_at", "_quarantined_at", "run", "released_by"];

/// The rows of tables, as bags; a table without rows is none.
pub type State = BTreeMap<String, Vec<Value>>;

/// What is done to a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Run,
    FullRefresh,
    Maintain,
    Restore(&'static str, u64),
    RestoreRelease(i64),
    Retry,
    Erase(&'static str),
}

/// The project with data; lakes of it lie side by side.
pub struct Ward {
    root: PathBuf,
    project: Arc<Project>,
    _sandbox: Option<Sandbox>,
}

impl Ward {
    pub fn new() -> Self {
        let sandbox = Sandbox::with_files(&PROJECT);
        std::fs::create_dir_all(sandbox.path("data/stays")).unwrap();
        let ward = Self::at(&sandbox.path(""));
        Self { _sandbox: Some(sandbox), ..ward }
    }

    /// That of another process.
    pub fn at(root: &Path) -> Self {
        let project = Arc::new(contract::load(&root.join("project")).unwrap());
        Self { root: root.to_owned(), project, _sandbox: None }
    }

    /// A place in its folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Another rule for how long a stay may last.
    pub fn allow_days(&mut self, days: u32) {
        let path = self.path("project/pipelines/ward/silver/stays.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("days < 10", &format!("days < {days}"))).unwrap();
        self.project = Arc::new(contract::load(&self.path("project")).unwrap());
    }

    /// Delivers some stays: new ones, one that moves to another ward, one that is set aside, and one that cannot be read.
    pub fn deliver(&self, number: u32) {
        let stay = |id: u32, ward: u32, days: u32| {
            format!(r#"{{"id": "{id}", "ward": "w{ward}", "days": {days}, "at": {number}}}"#)
        };
        let first = number * 4;
        let mut stays: Vec<String> = (first..first + 3).map(|id| stay(id, id % 3, 1)).collect();
        stays.push(stay(first / 2, 7, 2));
        stays.push(stay(first + 3, 1, 12));
        stays.push(format!(r#"{{"id": {number}x}}"#));
        std::fs::write(self.path(&format!("data/stays/{number:03}.json")), stays.join("\n")).unwrap();
    }

    /// Delivers what came of one stay: a row, one that is set aside, and one that cannot be read.
    pub fn deliver_of(&self, stay: &str) {
        let events = format!(
            r#"{{"id": "{stay}", "ward": "w1", "days": 1, "at": 1}}
{{"id": "{stay}", "ward": "w1", "days": 12, "at": 2}}
{{"id": "{stay}" x}}"#
        );
        std::fs::write(self.path("data/stays/one.json"), events).unwrap();
    }

    /// Does something to a lake: an error where any part of it failed.
    pub async fn act(&self, lake: Lake, action: &Action) -> Result<()> {
        let target = match action {
            Action::Run => return self.run(lake, false).await.map(drop),
            Action::FullRefresh => return self.run(lake, true).await.map(drop),
            Action::Maintain => {
                let options = maintain::Options {
                    budget: None,
                    keep: Duration::ZERO,
                    dry_run: false,
                    limits: limits(),
                    tables: Vec::new(),
                };
                return maintain::maintain(&lake, self.project.clone(), &options).await.map(drop);
            }
            Action::Retry => {
                let report = self.new_run(lake).retry(&[]).await?;
                return report.errors.into_iter().next().map_or(Ok(()), Err);
            }
            Action::Erase(stay) => return erase(self.new_run(lake), "stay", stay).await.map(drop),
            Action::Restore(table, version) => Target::Table { name: (*table).to_owned(), version: *version },
            Action::RestoreRelease(release) => Target::Release(AsOf::Release(*release)),
        };
        restore(&lake, self.project.clone(), limits(), &target).await.map(drop)
    }

    fn new_run(&self, lake: Lake) -> Run {
        let inputs = Inputs { data: self.path("data").display().to_string(), ..Inputs::default() };
        Run::new(lake, self.project.clone(), inputs, limits(), Arc::new(|_| {}))
    }

    /// A run; the release that it published.
    async fn run(&self, lake: Lake, full_refresh: bool) -> Result<Option<i64>> {
        let options = Options { full_refresh, ..Options::default() };
        let report = self.new_run(lake).execute(&options).await?;
        report.errors.into_iter().next().map_or(Ok(report.release), Err::<_, Error>)
    }

    /// Nothing is left to do.
    pub async fn assert_up_to_date(&self, folder: &Path, what: &str) {
        let release = self.run(lake(folder), false).await.unwrap();
        assert_eq!(release, None, "{what}: there was still something to do");
    }

    /// A plain run must make good whatever was done: nothing is wrong then.
    pub async fn recover(&self, folder: &Path, what: &str) {
        if let Err(error) = self.run(lake(folder), false).await {
            panic!("{what}: the run after it: {error}");
        }
        let options = fsck::Options { deep: true, limits: limits() };
        let report = fsck::fsck(&lake(folder), Some(self.project.clone()), &options).await.unwrap();
        assert_eq!(report.wrong(), 0, "{what}: {:#?}", report.findings);
        assert_released(&lake(folder), what).await;
    }
}

fn limits() -> Limits {
    Limits { memory: 64 << 20, threads: 2 }
}

/// A runtime whose tasks have the stack that planning takes where nothing is optimised.
pub fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_stack_size(16 << 20).enable_all().build().unwrap()
}

/// A lake that nothing happens to: it need not wait for the disk.
pub fn lake(folder: &Path) -> Lake {
    Lake::at(&folder.display().to_string(), Durability::None).unwrap()
}

/// A lake as it is by default, with faults.
pub fn disturbed(folder: &Path, faults: &Arc<Faults>) -> Lake {
    faults.over(Lake::at(&folder.display().to_string(), Durability::Full).unwrap())
}

/// All rows of a table, at its newest or another version, without what no two runs share.
pub async fn rows(lake: &Lake, name: &str, version: Option<u64>) -> Vec<Value> {
    let table = match version {
        None => lake.open(name).await,
        Some(version) => lake.open_at(name, version).await,
    };
    let table = table.unwrap_or_else(|error| panic!("{name}: {error}"));
    let table = table.unwrap_or_else(|| panic!("no table {name}"));
    let mut rows = Vec::new();
    for file in table.files().unwrap() {
        rows.extend(to_json(&read_file(&table, &file).await.unwrap_or_else(|error| panic!("{name}: {error}"))));
    }
    for row in &mut rows {
        row.as_object_mut().unwrap().retain(|column, _| !WHEN.contains(&column.as_str()));
        if name == "silver.quarantine" {
            *row = project(row, &QUARANTINED);
        }
    }
    sorted(rows)
}

/// What a reader meets in the tables of all stages, and in those of the lake's own history.
pub async fn state(lake: &Lake) -> State {
    let mut state = State::new();
    for name in lake.tables().await.unwrap() {
        let rows = rows(lake, &name, None).await;
        if !rows.is_empty() && !name.starts_with("ops.") {
            state.insert(name, rows);
        }
    }
    state
}

/// What a reader of the newest release meets, and how its tables stand to the newest versions.
pub async fn release(lake: &Lake) -> State {
    let mut state = State::new();
    for (name, version) in newest_release(lake).await {
        let rows = rows(lake, &name, Some(version)).await;
        if !rows.is_empty() {
            state.insert(name, rows);
        }
    }
    state
}

async fn newest_release(lake: &Lake) -> BTreeMap<String, u64> {
    if !lake.tables().await.unwrap().iter().any(|name| name == "ops.releases") {
        return BTreeMap::new();
    }
    let rows = rows(lake, "ops.releases", None).await;
    let newest = rows.iter().map(|row| row["release"].as_u64().unwrap()).max();
    let members = rows.iter().filter(|row| row["release"].as_u64() == newest);
    members.map(|row| (row["table"].as_str().unwrap().to_owned(), row["version"].as_u64().unwrap())).collect()
}

/// The newest release names what is there.
async fn assert_released(lake: &Lake, what: &str) {
    for (name, version) in newest_release(lake).await {
        let now = lake.open(&name).await.unwrap().unwrap().version();
        assert_eq!(version, now, "{what}: the newest release and {name}");
    }
}

/// What the lake's history tells of files and counts, each once.
pub async fn history(lake: &Lake) -> State {
    let mut state = State::new();
    for (name, columns) in [
        ("ops.files", &["uri", "event", "records", "batch"][..]),
        ("ops.expectations", &["table", "expectation", "input", "passed", "failed"]),
    ] {
        let rows = rows(lake, name, None).await;
        state.insert(name.to_owned(), sorted(rows.iter().map(|row| project(row, columns)).collect()));
    }
    state
}

/// Compares what tables hold.
pub fn assert_state(got: &State, expected: &State, what: &str) {
    let names: Vec<&String> = got.keys().chain(expected.keys()).collect();
    for name in names {
        let of = |state: &State| state.get(name).cloned().unwrap_or_default();
        assert_same(&of(got), &of(expected), &format!("{what}: {name}"));
    }
}

/// Where a lake lies that was made before.
pub fn copy(from: &Path, to: PathBuf) -> PathBuf {
    if to.exists() {
        std::fs::remove_dir_all(&to).unwrap();
    }
    if from.exists() {
        crate::harness::copy_folder(from, &to);
    }
    to
}
