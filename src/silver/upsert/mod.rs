//! Upsert by key into a Delta table, in bounded memory and one commit.
//!
//! The run's rows are written into new data files as they come, while a [`Contest`] keeps the best row of each key. At
//! the end the table's own rows of those keys are looked up and enter too. Files with rows that lost are written anew
//! without them, new files and old ones alike: an increment touches the files that hold its keys, no others.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::contest::{Contest, Place, Rank};
use crate::error::{Error, Result};
use crate::lake::{
    Commit, DataFile, KeySet, LakeTable, TableSpec, change_file, lookup, read_file, rewrite_each, side_by_side,
};
pub use entrant::Entrant;
use entrant::{Segment, Written};

mod entrant;

/// The column that breaks ties, see [`super::contest`].
const PAYLOAD_HASH: &str = "_payload_hash";

/// An upsert under way; shared by the tasks that bring rows.
pub struct Upsert {
    table: LakeTable,
    spec: TableSpec,
    key: Vec<String>,
    sequence: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    contest: Contest,
    keys: KeySet,
    files: u32,
}

/// What became of rows when they met those that the table holds.
#[derive(Default)]
struct Met {
    /// Places of new rows that are updates.
    updates: HashSet<(u32, u32)>,
    /// Places of held rows that were deleted.
    deleted: HashSet<(u32, u32)>,
}

impl Met {
    /// The rows that were taken out of a held file, those at `places`, with what happened to them.
    fn taken(&self, file: u32, places: &[u32], taken: Vec<RecordBatch>) -> Result<Vec<(RecordBatch, &'static str)>> {
        let (mut changes, mut places) = (Vec::new(), places.iter());
        for rows in taken {
            let of_rows = places.by_ref().take(rows.num_rows());
            let deleted: BooleanArray = of_rows.map(|row| Some(self.deleted.contains(&(file, *row)))).collect();
            let replaced = arrow::compute::not(&deleted)?;
            changes.push((filter_record_batch(&rows, &replaced)?, "update_preimage"));
            changes.push((filter_record_batch(&rows, &deleted)?, "delete"));
        }
        changes.retain(|(rows, _)| rows.num_rows() > 0);
        Ok(changes)
    }
}

/// What an upsert did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Upserted {
    /// Rows that are new in the table.
    pub written: u64,
    /// Rows of the table that newer ones replaced.
    pub replaced: u64,
}

impl Upsert {
    /// An upsert of about so many rows into a table by the columns of `key`.
    pub fn new(table: &LakeTable, spec: &TableSpec, key: &[String], sequence: Option<&str>, rows: usize) -> Arc<Self> {
        Arc::new(Self {
            table: table.clone(),
            spec: spec.clone(),
            key: key.to_vec(),
            sequence: sequence.map(str::to_owned),
            state: Mutex::new(State { contest: Contest::expecting(rows), ..State::default() }),
        })
    }

    /// A way for one task to bring rows.
    pub fn entrant(self: &Arc<Self>) -> Entrant {
        Entrant::new(self.clone())
    }

    fn with_state<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next_segment(&self) -> Segment {
        let number = self.with_state(|state| {
            state.files += 1;
            state.files - 1
        });
        Segment::new(number)
    }

    /// The columns of some rows that decide which of them stay.
    fn what_decides(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let schema = rows.schema();
        let names = self.key.iter().chain(&self.sequence).map(String::as_str).chain([PAYLOAD_HASH]);
        let mut columns: Vec<usize> = names.filter_map(|name| schema.index_of(name).ok()).collect();
        columns.sort_unstable();
        columns.dedup();
        Ok(rows.project(&columns)?)
    }

    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.key.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect()
    }

    /// Ends the upsert: what the table's commit must hold. `anew` takes out all that the table held.
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, name = "settle")]
    pub async fn finish(self: Arc<Self>, entrants: Vec<Entrant>, anew: bool) -> Result<(Commit, Upserted)> {
        let held = self.table.files()?;
        let first_held = self.with_state(|state| state.files);
        let met = if anew || held.is_empty() { Met::default() } else { self.meet_held(&held, first_held).await? };
        let mut written = Vec::new();
        let closing: Vec<_> = entrants.into_iter().map(|entrant| tokio::spawn(entrant.close())).collect();
        for closed in futures::future::join_all(closing).await {
            written.extend(closed??);
        }
        let mut commit = Commit::default();
        let mut result = Upserted::default();
        let mut changes = Vec::new();
        if anew {
            commit.removes = held.iter().map(DataFile::remove).collect();
        } else {
            let losers = |number| self.with_state(|state| state.contest.losers(number));
            let touched = (first_held..).zip(&held).map(|(number, file)| (number, file.clone(), losers(number)));
            let touched: Vec<_> = touched.filter(|(_, _, losers)| !losers.is_empty()).collect();
            let files = touched.iter().map(|(_, file, losers)| (file.clone(), losers.clone()));
            let rewritten = rewrite_each(&self.table, &self.spec, files).await?;
            for ((number, _, losers), rewrite) in touched.iter().zip(rewritten) {
                result.replaced += losers.len() as u64;
                commit.removes.push(rewrite.remove);
                commit.adds.extend(rewrite.add);
                changes.extend(met.taken(*number, losers, rewrite.taken)?);
            }
        }
        let shortened = written.into_iter().map(|file| {
            let upsert = self.clone();
            async move { upsert.without_losers(file).await }
        });
        for file in side_by_side(shortened).await?.into_iter().flatten() {
            if let Some(data) = file.file {
                result.written += data.rows.unwrap_or_default();
                if result.replaced > 0 {
                    changes.extend(self.changes_of(&data, file.number, &file.left_out, &met.updates).await?);
                }
                commit.adds.push(data.add().clone());
            }
        }
        commit.changes.extend(change_file(&self.table, &self.spec, &changes).await?);
        Ok((commit, result))
    }

    /// Enters the table's own rows of the keys.
    async fn meet_held(&self, held: &[DataFile], first_held: u32) -> Result<Met> {
        let keys = self.with_state(|state| {
            let mut keys = std::mem::take(&mut state.keys);
            keys.add_hashed(state.contest.keys(), &[]);
            Arc::new(keys)
        });
        let also: Vec<String> = self.sequence.iter().cloned().chain([PAYLOAD_HASH.to_owned()]).collect();
        let found = lookup(&self.table, held, keys, &self.key, &also).await?;
        let mut met = Met::default();
        for rows in found {
            let ranks = self.ranks(&rows.columns)?;
            self.with_state(|state| {
                for ((row, hash), rank) in rows.rows.iter().zip(&rows.hashes).zip(ranks) {
                    let place = Place { file: first_held + rows.file as u32, row: *row };
                    match state.contest.enter_held(*hash, rank, place) {
                        Some(Place::NOWHERE) => met.deleted.insert((place.file, place.row)),
                        Some(update) => met.updates.insert((update.file, update.row)),
                        None => false,
                    };
                }
            });
        }
        Ok(met)
    }

    fn ranks(&self, batch: &RecordBatch) -> Result<Vec<Rank>> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::failed(format!("{}: no column '{name}'", self.table.name)))
        };
        let hashes = column(PAYLOAD_HASH)?.as_primitive::<Int64Type>().clone();
        let sequences = match &self.sequence {
            Some(name) => ordered(column(name)?)?,
            None => Int64Array::from(vec![0; batch.num_rows()]),
        };
        let rank = |row| Rank {
            sequence: if sequences.is_null(row) { i64::MIN } else { sequences.value(row) },
            hash: hashes.value(row),
        };
        Ok((0..batch.num_rows()).map(rank).collect())
    }

    /// A new data file without those of its rows that lost after they were written.
    async fn without_losers(&self, written: Written) -> Result<Option<Written>> {
        let Some(file) = written.file else { return Ok(None) };
        let losers = self.with_state(|state| state.contest.losers(written.number));
        let late: Vec<u32> =
            losers.iter().copied().filter(|row| written.left_out.binary_search(row).is_err()).collect();
        if late.is_empty() {
            return Ok(Some(Written { file: Some(file), ..written }));
        }
        let dead: Vec<u32> =
            late.iter().map(|row| row - written.left_out.partition_point(|left_out| left_out < row) as u32).collect();
        let file = self.table.shrink(&self.spec, file, &dead).await?;
        let mut left_out = [written.left_out, late].concat();
        left_out.sort_unstable();
        Ok(Some(Written { number: written.number, left_out, file }))
    }

    /// The rows of a new file, as inserts and updates.
    async fn changes_of(
        &self,
        file: &DataFile,
        number: u32,
        left_out: &[u32],
        updates: &HashSet<(u32, u32)>,
    ) -> Result<Vec<(RecordBatch, &'static str)>> {
        let mut numbers = (0_u32..).filter(|row| left_out.binary_search(row).is_err());
        let mut changes = Vec::new();
        for batch in read_file(&self.table, file).await? {
            let updated: BooleanArray =
                numbers.by_ref().take(batch.num_rows()).map(|row| Some(updates.contains(&(number, row)))).collect();
            let inserted = arrow::compute::not(&updated)?;
            changes.push((filter_record_batch(&batch, &updated)?, "update_postimage"));
            changes.push((filter_record_batch(&batch, &inserted)?, "insert"));
        }
        changes.retain(|(rows, _)| rows.num_rows() > 0);
        Ok(changes)
    }
}

/// A sequence column as whole numbers of the same order.
fn ordered(column: &ArrayRef) -> Result<Int64Array> {
    if column.data_type() == &DataType::Float64 {
        let bits = |x: f64| {
            let bits = x.to_bits() as i64;
            // The order of IEEE 754 totalOrder: negative numbers count downwards.
            bits ^ (((bits >> 63) as u64) >> 1) as i64
        };
        return Ok(column.as_primitive::<Float64Type>().unary(bits));
    }
    Ok(cast(&cast_time(column)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn cast_time(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Date32 => cast(column, &DataType::Int32)?,
        _ => column.clone(),
    })
}
