//! Records what a run did in the tables of `ops`, and publishes releases.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use chrono::Utc;
use serde::Serialize;

use super::{Run, TableReport};
use crate::contract::{Definition, Severity, Table};
use crate::error::{Error, Result};
use crate::lake::{Commit, Follower, TableSpec, signed};
use crate::ops::{self, ExpectationRow, ReleaseRow, RunRow};
use crate::replay::contracts;

impl Run {
    /// What a table's expectations found, for its commit to carry.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn expectation_rows(&self, table: &Table, report: &TableReport) -> Result<Option<Follower>> {
        let row = |expectation: &str, severity: Severity, input: u64, failed: u64| ExpectationRow {
            run: self.id.clone(),
            table: table.name.to_string(),
            expectation: expectation.to_owned(),
            severity: severity.as_str().to_owned(),
            input: signed(input),
            passed: signed(input - failed),
            failed: signed(failed),
            checked_at: self.started_micros(),
        };
        let mut rows = vec![row("*", Severity::Quarantine, report.input, report.quarantined)];
        if matches!(table.definition, Definition::ByRecord { .. }) {
            rows.push(row("readable", Severity::Quarantine, report.input, report.unreadable));
        }
        let judged: HashMap<&str, u64> = report.expectations.iter().map(|e| (e.name.as_str(), e.failed)).collect();
        for expectation in &table.expectations {
            let failed = judged.get(expectation.name.as_str()).copied().unwrap_or_default();
            rows.push(row(&expectation.name, expectation.severity, report.input - report.unreadable, failed));
        }
        Ok(Some(ops::follower(&self.lake, &ops::expectations(), &rows).await?))
    }

    /// Records what the run did, and publishes a release when all of it succeeded. A run of all tables also publishes what
    /// a run before it left unpublished, because it was killed or failed at another table.
    pub(super) async fn record(&self, reports: &[TableReport], succeeded: bool, whole: bool) -> Result<Option<i64>> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut rows = Vec::new();
        for report in reports.iter().filter(|report| committed.contains(&report.table) || report.error.is_some()) {
            rows.push(self.run_row(report).await?);
        }
        if !rows.is_empty() {
            self.append(&ops::runs(), &rows, BTreeMap::new()).await?;
        }
        if !succeeded || (rows.is_empty() && !whole) {
            return Ok(None);
        }
        let versions = self.versions().await?;
        if rows.is_empty() && self.is_published(&versions).await? {
            return Ok(None);
        }
        self.publish(versions).await.map(Some)
    }

    async fn run_row(&self, report: &TableReport) -> Result<RunRow> {
        let version = self.lake.open(&report.table).await?.map(|table| table.version());
        // Of the error only what holds no values: this table is read by people who may not see the data.
        let error = report.error.as_ref().map(|error| Error::failed(error.as_str()).without_values());
        Ok(RunRow {
            run: self.id.clone(),
            table: report.table.clone(),
            stage: report.stage.to_owned(),
            status: report.status.as_str().to_owned(),
            cause: report.why.map(|why| why.as_str().to_owned()),
            input: signed(report.input),
            passed: signed(report.passed),
            quarantined: signed(report.quarantined),
            written: signed(report.written),
            replaced: signed(report.replaced),
            version: version.map(signed),
            error,
            started_at: self.started_micros(),
            ended_at: Utc::now().timestamp_micros(),
        })
    }

    /// The versions that all tables of the lake have now, those of ops aside.
    async fn versions(&self) -> Result<BTreeMap<String, i64>> {
        let mut versions = BTreeMap::new();
        for name in self.lake.tables()?.into_iter().filter(|name| !name.starts_with("ops.")) {
            if let Some(table) = self.lake.open(&name).await? {
                versions.insert(name, signed(table.version()));
            }
        }
        Ok(versions)
    }

    /// Whether the newest release has these versions.
    async fn is_published(&self, versions: &BTreeMap<String, i64>) -> Result<bool> {
        let Some(releases) = self.lake.open(&ops::releases().name).await? else { return Ok(versions.is_empty()) };
        for (table, version) in versions {
            if releases.position(table).await? != Some(*version) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Publishes versions as a release; the commit records them as positions too, where they are found without reading.
    async fn publish(&self, versions: BTreeMap<String, i64>) -> Result<i64> {
        let spec = ops::releases();
        let releases = self.lake.open_or_create(&spec).await?;
        // Each release is one commit, and creating the table is the commit before the first.
        let release = signed(releases.version()) + 1;
        // Not when the run began: until now, readers could not see what it holds.
        let published_at = Utc::now().timestamp_micros();
        let contracts = contracts::store(&self.lake, &self.project.files, &self.id, published_at).await?;
        let row = |(table, version): (&String, &i64)| ReleaseRow {
            release,
            run: self.id.clone(),
            table: table.clone(),
            version: *version,
            contracts: contracts.clone(),
            published_at,
        };
        let rows: Vec<ReleaseRow> = versions.iter().map(row).collect();
        self.append(&spec, &rows, versions).await?;
        Ok(release)
    }

    async fn append<T: Serialize>(&self, spec: &TableSpec, rows: &[T], positions: BTreeMap<String, i64>) -> Result<()> {
        let adds = ops::write(&self.lake, spec, rows).await?;
        let mut table = self.lake.open_or_create(spec).await?;
        table.commit(&self.lake, Commit { adds, positions, run: self.id.clone(), ..Commit::default() }).await
    }
}
