//! A table's inputs divided by key onto disk, once, so that the rows of some keys are read without those of all others.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{BatchCoalescer, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use deltalake::datafusion::catalog::{Session, TableProvider};
use deltalake::datafusion::common::hash_utils::{RandomState, create_hashes};
use deltalake::datafusion::dataframe::DataFrame;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::datafusion::logical_expr::{ColumnarValue, Expr, TableType, Volatility, cast, create_udf};
use deltalake::datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use deltalake::datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::engine::spill::{Spilled, Spilling};
use crate::error::Result;
use crate::lake::{RowKey, Shared, scan};

/// How many parts inputs are divided into.
const PARTS: u64 = 16;
/// The share of memory that the rows of keys which are computed together may take: the SQL holds more than its input, and an
/// operator that can spill may hold a quarter of the memory.
pub(super) const SHARE: f64 = 0.3;
/// How many portions one becomes that was too large, and the smallest, as a share of a part's keys: what does not fit then
/// is a single key.
const STEP: u64 = 4;
const SMALLEST: u64 = 256;
/// Rows that are collected of each part before they are written.
const ROWS: usize = 2048;

/// Of the hash that divides keys. The engine's own, by which it divides rows among tasks, has another, or all keys of a part
/// would go to the same few.
const SEED: u64 = 0x006d_6564_616c_6861;

fn hashes_of(key: &[ArrayRef]) -> Result<Vec<u64>, DataFusionError> {
    let mut hashes = vec![0; key.first().map_or(0, |column| column.len())];
    create_hashes(key, &RandomState::with_seed(SEED), &mut hashes)?;
    Ok(hashes)
}

/// Some of the keys: those of some parts, or of one part those whose hash has a remainder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Portion {
    parts: Range<usize>,
    index: u64,
    of: u64,
}

impl Portion {
    fn of_parts(parts: Range<usize>) -> Self {
        Self { parts, index: 0, of: 1 }
    }

    /// What is to be computed where this portion was too large, and `others` are left: it in smaller ones, and the parts of the
    /// others each for itself, since keys are spread evenly among parts. `None` where it may be a single key.
    fn smaller(self, others: Vec<Self>) -> Option<Vec<Self>> {
        let smaller = self.split()?;
        Some(others.into_iter().flat_map(Self::into_parts).chain(smaller).collect())
    }

    fn into_parts(self) -> Vec<Self> {
        if self.parts.len() == 1 {
            return vec![self];
        }
        self.parts.map(|part| Self::of_parts(part..part + 1)).collect()
    }

    /// Smaller portions that are the same together; `None` of what may be a single key.
    fn split(&self) -> Option<Vec<Self>> {
        if self.parts.len() > 1 {
            return Some(self.clone().into_parts());
        }
        let smaller = |step| Self { parts: self.parts.clone(), index: self.index + step * self.of, of: self.of * STEP };
        (self.of < SMALLEST).then(|| (0..STEP).map(smaller).collect())
    }

    /// Whether a key of its parts is one of it.
    fn has(&self, hash: u64) -> bool {
        hash / PARTS % self.of == self.index
    }

    /// The condition that the key of a row of its parts is one of it. Keys are compared as the table stores them.
    fn holds(&self, key: &[Expr], types: &[DataType]) -> Expr {
        let key = key.iter().zip(types).map(|(expr, data_type)| cast(expr.clone(), data_type.clone())).collect();
        let portion = self.clone();
        let among = move |columns: &[ColumnarValue]| {
            let hashes = hashes_of(&ColumnarValue::values_to_arrays(columns)?)?;
            let among: BooleanArray = hashes.into_iter().map(|hash| Some(portion.has(hash))).collect();
            Ok(ColumnarValue::Array(Arc::new(among)))
        };
        create_udf("_is_of_portion", types.to_vec(), DataType::Boolean, Volatility::Immutable, Arc::new(among))
            .call(key)
    }
}

/// Inputs that were divided, by their names.
#[derive(Default)]
pub(super) struct Divided {
    inputs: BTreeMap<String, Input>,
    bytes: usize,
}

/// One input: the files of each part, and how its rows' keys are told.
struct Input {
    schema: SchemaRef,
    files: Vec<Vec<Spilled>>,
    key: Vec<Expr>,
    types: Vec<DataType>,
}

impl Divided {
    /// Divides an input by the key of its rows.
    ///
    /// # Errors
    /// When the rows cannot be read, or there is no room for them.
    #[tracing::instrument(level = "trace", skip_all, name = "divide")]
    pub async fn add(
        &mut self,
        ctx: &SessionContext,
        name: &str,
        rows: DataFrame,
        key: &[Expr],
        types: &SchemaRef,
    ) -> Result<()> {
        let schema: SchemaRef = Arc::new(rows.schema().as_arrow().clone());
        let row_key = RowKey::of_columns(ctx, &schema, key, types)?;
        let tasks = rows.execute_stream_partitioned().await?.into_iter();
        let tasks = tasks.map(|rows| tokio::spawn(divide(rows, row_key.clone(), ctx.runtime_env())));
        let mut files = vec![Vec::new(); PARTS as usize];
        for ended in futures::future::join_all(tasks).await {
            files.iter_mut().zip(ended??).for_each(|(files, file)| files.extend(file));
        }
        self.bytes += files.iter().flatten().map(Spilled::bytes).sum::<u64>() as usize;
        let types = types.fields().iter().map(|field| field.data_type().clone()).collect();
        self.inputs.insert(name.to_owned(), Input { schema, files, key: key.to_vec(), types });
        Ok(())
    }

    /// Portions of all keys, each of as many parts as fit into so many bytes.
    fn portions(&self, memory: usize) -> Vec<Portion> {
        let of_part = (self.bytes / PARTS as usize).max(1);
        let parts = ((memory as f64 * SHARE) as usize / of_part).clamp(1, PARTS as usize);
        (0..PARTS as usize)
            .step_by(parts)
            .map(|from| Portion::of_parts(from..(from + parts).min(PARTS as usize)))
            .collect()
    }

    /// Computes one portion of the keys after the other, in smaller ones where memory is short.
    ///
    /// # Errors
    /// When the rows of a single key do not fit into memory, or what computes them fails otherwise.
    pub async fn each(
        mut self,
        memory: usize,
        mut compute: impl AsyncFnMut(&Self, &Portion) -> Result<()>,
    ) -> Result<()> {
        let mut open = self.portions(memory);
        while let Some(portion) = open.pop() {
            match compute(&self, &portion).await {
                Ok(()) => self.forget(&portion),
                Err(error) if error.is_out_of_memory() => {
                    open = portion.smaller(open).ok_or_else(|| error.or_hint("give it more --memory"))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the rows of a portion that was computed off the disk, mostly before the system has written them there. Those of a
    /// part that portions share stay until all are computed.
    fn forget(&mut self, portion: &Portion) {
        if portion.of == 1 {
            let inputs = self.inputs.values_mut();
            inputs.flat_map(|input| &mut input.files[portion.parts.clone()]).for_each(Vec::clear);
        }
    }

    /// The rows of an input that a portion of the keys depends on; `None` of one that was not divided.
    ///
    /// # Errors
    /// When a key's expression does not fit its rows; a defect.
    pub fn rows(&self, ctx: &SessionContext, name: &str, portion: &Portion) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(input) = self.inputs.get(name) else { return Ok(None) };
        let files = input.files[portion.parts.clone()].concat();
        let rows = Arc::new(Rows { schema: input.schema.clone(), files });
        if portion.of == 1 {
            return Ok(Some(rows));
        }
        let condition = portion.holds(&input.key, &input.types);
        Ok(Some(ctx.read_table(rows)?.filter(condition)?.into_view()))
    }
}

/// Rows of a part that are collected, and the file that they are written into once there is one.
struct Part {
    collected: BatchCoalescer,
    file: Option<Spilling>,
}

impl Part {
    fn write(&mut self, runtime: &RuntimeEnv) -> Result<()> {
        while let Some(rows) = self.collected.next_completed_batch() {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(Spilling::create(runtime, &self.collected.schema())?),
            };
            file.append(&rows)?;
        }
        Ok(())
    }
}

/// Writes a task's share of the rows into a file a part.
async fn divide(
    mut rows: SendableRecordBatchStream,
    key: RowKey,
    runtime: Arc<RuntimeEnv>,
) -> Result<Vec<Option<Spilled>>> {
    let part = |_| Part { collected: BatchCoalescer::new(rows.schema(), ROWS), file: None };
    let mut parts: Vec<Part> = (0..PARTS).map(part).collect();
    while let Some(batch) = rows.try_next().await? {
        let mut places = vec![Vec::new(); PARTS as usize];
        for (row, hash) in (0_u32..).zip(hashes_of(&key.of_rows(&batch)?)?) {
            places[(hash % PARTS) as usize].push(row);
        }
        for (part, places) in parts.iter_mut().zip(places) {
            part.collected.push_batch(take_record_batch(&batch, &UInt32Array::from(places))?)?;
            part.write(&runtime)?;
        }
    }
    let mut files = Vec::new();
    for mut part in parts {
        part.collected.finish_buffered_batch()?;
        part.write(&runtime)?;
        files.push(part.file.map(Spilling::finish).transpose()?);
    }
    Ok(files)
}

/// The rows of some files, as a table.
struct Rows {
    schema: SchemaRef,
    files: Vec<Spilled>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows of {} files", self.files.len())
    }
}

#[async_trait]
impl TableProvider for Rows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let files = Mutex::new(self.files.clone().into());
        scan(Scan { schema: self.schema.clone(), files }, session, projection)
    }
}

/// One reading of them, by several tasks.
struct Scan {
    schema: SchemaRef,
    files: Mutex<VecDeque<Spilled>>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files of rows by key")
    }
}

impl Shared for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn stream(self: Arc<Self>) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let files = futures::stream::unfold(self, async |scan| {
            let file = scan.files.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
            Some((file.read(), scan))
        });
        files.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_have_each_key_once() {
        for parts_at_once in [1, 3, 16] {
            let divided = Divided { bytes: 1600, ..Divided::default() };
            let portions = divided.portions((parts_at_once as f64 * 100.0 / SHARE).ceil() as usize);
            assert_eq!(portions.len(), 16_usize.div_ceil(parts_at_once));
            let single: Vec<Portion> = portions
                .iter()
                .flat_map(|portion| match portion.parts.len() {
                    1 => vec![portion.clone()],
                    _ => portion.split().unwrap(),
                })
                .collect();
            let smaller: Vec<Portion> = single.iter().flat_map(|portion| portion.split().unwrap()).collect();
            assert_eq!((single.len(), smaller.len()), (16, 64));
            for hash in 0..1000_u64 {
                for all in [&portions, &single, &smaller] {
                    let of =
                        |portion: &&Portion| portion.parts.contains(&((hash % PARTS) as usize)) && portion.has(hash);
                    assert_eq!(all.iter().filter(of).count(), 1, "{hash}");
                }
            }
        }
    }

    #[test]
    fn what_may_be_a_single_key_is_not_split() {
        let mut portion = Portion::of_parts(3..4);
        let mut times = 0;
        while let Some(smaller) = portion.split() {
            portion = smaller[1].clone();
            times += 1;
        }
        assert_eq!(times, 4);
    }
}
