//! Data files: there, of their size, and with the rows that the log says they have.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use serde_json::Value;

use super::Check;
use crate::error::Result;
use crate::lake::{DataFile, LakeTable, Needed, file_rows, read_file};

impl Check<'_> {
    /// Looks at the files of the newest version, and at those that no version names.
    pub(super) async fn files(&mut self, table: &LakeTable) -> Result<()> {
        for file in table.files()? {
            self.report.files += 1;
            self.file(table, &file).await;
        }
        // As if everything had to be kept: what is left is named by no version that the log still has.
        let all = Needed { now: chrono::Utc::now(), pinned: self.log_bases(&table.name), ..Needed::default() };
        let orphans = table.waste(self.lake, &all).await?;
        if orphans.bytes > 0 || !orphans.staged.is_empty() {
            self.report.note_at(
                &table.name,
                format!(
                    "{} files of {} bytes belong to no version: left by runs that were killed, or by older versions",
                    orphans.files.len() + orphans.staged.len(),
                    orphans.bytes
                ),
                "`pipeline maintain` takes them away",
            );
        }
        Ok(())
    }

    /// The versions that stand on their own, each with a checkpoint.
    fn log_bases(&self, name: &str) -> BTreeSet<u64> {
        self.logs.get(name).map(|log| log.checkpoints.keys().copied().collect()).unwrap_or_default()
    }

    /// Looks at a file; what is wrong with it goes into the report.
    pub(super) async fn file(&mut self, table: &LakeTable, file: &DataFile) {
        let place = format!("{}: {}", table.name, file.path);
        let hint = lost(table);
        let rows = match file_rows(table, file).await {
            Ok(rows) => rows,
            Err(error) => return self.report.wrong_at(place, error.message(), hint),
        };
        self.report.rows += rows;
        match file.rows {
            Some(told) if told != rows => {
                self.report.wrong_at(&place, format!("it has {rows} rows, the log says {told}"), hint.clone());
            }
            None => {
                self.report.note_at(&place, "the log does not say how many rows it has", "another program wrote it")
            }
            Some(_) => {}
        }
        if !self.options.deep {
            return;
        }
        match read_file(table, file).await {
            Err(error) => self.report.wrong_at(&place, error.message(), hint),
            Ok(batches) => {
                for fact in differences(file, rows, &batches) {
                    self.report.wrong_at(&place, fact, hint.clone());
                }
            }
        }
    }
}

/// What the rows of a file say against its footer and its statistics.
fn differences(file: &DataFile, rows: u64, batches: &[RecordBatch]) -> Vec<String> {
    let mut facts = Vec::new();
    let read: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    if read != rows {
        facts.push(format!("{read} rows can be read, the footer says {rows}"));
    }
    let stats: Value =
        file.add().stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default();
    for (column, told) in stats["nullCount"].as_object().into_iter().flatten() {
        let nulls: usize =
            batches.iter().filter_map(|batch| batch.column_by_name(column)).map(|column| column.null_count()).sum();
        if told.as_u64().is_some_and(|told| told != nulls as u64) {
            facts.push(format!("column '{column}' has {nulls} nulls, the log says {told}"));
        }
    }
    for (end, is_outside) in [("minValues", i64::lt as fn(&i64, &i64) -> bool), ("maxValues", i64::gt)] {
        for (column, told) in stats[end].as_object().into_iter().flatten() {
            let Some(told) = told.as_i64() else { continue };
            let columns =
                batches.iter().filter_map(|batch| batch.column_by_name(column)?.as_primitive_opt::<Int64Type>());
            if columns.flat_map(|column| column.iter().flatten()).any(|value| is_outside(&value, &told)) {
                facts.push(format!("column '{column}' has values beyond the log's {end}"));
            }
        }
    }
    facts
}

fn lost(table: &LakeTable) -> String {
    match table.name.split_once('.') {
        Some(("silver" | "gold", _)) => {
            "put it back from a backup; or `pipeline run --full-refresh` computes the table anew".to_owned()
        }
        _ => format!(
            "put it back from a backup; or go back to a version without it: `pipeline history {0}`, `pipeline restore {0}`",
            table.name
        ),
    }
}
