//! Records what a run did in the tables of `ops`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;

use chrono::Utc;

use super::publish::{is_published, publish};
use super::{Options, Run, TableReport};
use crate::contract::{Definition, Severity, Table, TableName};
use crate::error::{Error, Result};
use crate::lake::{Commit, Follower, signed};
use crate::ops::{self, ExpectationRow, RunRow};

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

    /// Records what the run did, and publishes a release when all of it succeeded and no table is behind: one that was not
    /// looked at, and reads one that was. What a run before it left unpublished, because it was killed, failed at another
    /// table or was for one stage, is published too.
    #[tracing::instrument(level = "trace", skip_all, fields(table = "ops.runs"))]
    pub(super) async fn record(
        &self,
        reports: &[TableReport],
        succeeded: bool,
        options: &Options,
    ) -> Result<Option<i64>> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut rows = Vec::new();
        for report in reports.iter().filter(|report| committed.contains(&report.table) || report.error.is_some()) {
            rows.push(self.run_row(report).await?);
        }
        if !rows.is_empty() {
            let adds = ops::write(&self.lake, &ops::runs(), &rows).await?;
            let mut table = self.lake.open_or_create(&ops::runs()).await?;
            table.commit(&self.lake, Commit { adds, run: self.id.clone(), ..Commit::default() }).await?;
        }
        if !succeeded || self.leaves_behind(reports, options) {
            return Ok(None);
        }
        let versions = self.versions(options).await?;
        if rows.is_empty() && is_published(&self.lake, &versions).await? {
            return Ok(None);
        }
        publish(&self.lake, &self.id, versions, Some(&self.project.files), Utc::now()).await.map(Some)
    }

    /// Whether a table of the pipelines that the run is for was not looked at, though one that it reads was.
    fn leaves_behind(&self, reports: &[TableReport], options: &Options) -> bool {
        let seen: HashSet<&str> = reports.iter().map(|report| report.table.as_str()).collect();
        let is_seen = |name: &TableName| seen.contains(name.to_string().as_str());
        let tables = self.project.tables.iter().filter(|table| options.takes_pipeline(&table.pipeline));
        tables.into_iter().any(|table| !is_seen(&table.name) && table.inputs().into_iter().any(is_seen))
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

    /// The versions that belong together, of all tables but those of ops: what they have now. A table of a pipeline that
    /// the run did not look at may be in the middle of a failed run, and keeps the version that was last published.
    async fn versions(&self, options: &Options) -> Result<BTreeMap<String, i64>> {
        let published = self.lake.open(&ops::releases().name).await?;
        let mut versions = BTreeMap::new();
        for name in self.lake.tables().await?.into_iter().filter(|name| !name.starts_with("ops.")) {
            let version = match &published {
                _ if self.concerns(&name, options) => self.lake.open(&name).await?.map(|table| signed(table.version())),
                Some(releases) => releases.position(&name).await?,
                None => None,
            };
            versions.extend(version.map(|version| (name, version)));
        }
        Ok(versions)
    }

    /// Whether a table is of the pipelines that the run is for, or of none.
    fn concerns(&self, name: &str, options: &Options) -> bool {
        let table = name.parse::<TableName>().ok().and_then(|name| self.project.table(&name));
        table.is_none_or(|table| options.takes_pipeline(&table.pipeline))
    }
}
