//! Records what a run did in the tables of `ops`.

use std::collections::HashMap;
use std::sync::PoisonError;

use chrono::Utc;

use super::publish::{is_published, publish, versions};
use super::{Run, TableReport};
use crate::contract::{Definition, Severity, Table};
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

    /// Records what the run did, and publishes a release when all of it succeeded. A run of all tables also publishes what
    /// a run before it left unpublished, because it was killed or failed at another table.
    pub(super) async fn record(&self, reports: &[TableReport], succeeded: bool, whole: bool) -> Result<Option<i64>> {
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
        if !succeeded || (rows.is_empty() && !whole) {
            return Ok(None);
        }
        let versions = versions(&self.lake).await?;
        if rows.is_empty() && is_published(&self.lake, &versions).await? {
            return Ok(None);
        }
        publish(&self.lake, &self.id, versions, Some(&self.project.files), Utc::now()).await.map(Some)
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
}
