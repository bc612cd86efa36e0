//! The records of a bronze table as SQL sees them: payloads read as typed columns, streamed, batch by batch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StringViewArray, UInt32Array,
};
use arrow::compute::{filter_record_batch, kernels::cmp, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::catalog::streaming::StreamingTable;
use futures::{Stream, TryStreamExt};
use xxhash_rust::xxh3::xxh3_64;

use super::quarantine::{Places, SharedQuarantine};
use crate::contract::bronze_schema;
use crate::decode::{Decoder, Unreadable};
use crate::error::{Error, Result};
use crate::lake::{DataFile, LakeTable, RowGroup, Shared, row_groups, shares};

/// Which records of a bronze table are read.
#[derive(Debug)]
pub enum Part {
    /// Those of the batches after this one.
    After(i64),
    /// Those that were set aside.
    Places(Places),
}

impl Part {
    /// The data files of a bronze table that may hold some of them.
    ///
    /// # Errors
    /// When the table's snapshot is not loaded.
    pub fn files(&self, bronze: &LakeTable) -> Result<Vec<DataFile>> {
        let after = match self {
            Self::After(batch) => *batch,
            Self::Places(places) => places.first_batch() - 1,
        };
        let newer = |file: &DataFile| file.max_integer("_batch").is_none_or(|batch| batch > after);
        Ok(bronze.files()?.into_iter().filter(newer).collect())
    }
}

/// What of a bronze table is to be read, and where unreadable records go.
pub struct Records {
    bronze: LakeTable,
    payload: Fields,
    part: Part,
    work: Mutex<VecDeque<RowGroup>>,
    quarantine: SharedQuarantine,
    schema: SchemaRef,
    stored: SchemaRef,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "records of {}, {:?}", self.bronze.name, self.part)
    }
}

impl Records {
    /// The records of a part; `is_database` where they are rows of a database.
    ///
    /// # Errors
    /// When a data file's footer cannot be read.
    pub async fn of(
        bronze: LakeTable,
        payload: &Fields,
        is_database: bool,
        part: Part,
        quarantine: SharedQuarantine,
    ) -> Result<Arc<Self>> {
        let work = row_groups(&bronze, &part.files(&bronze)?).await?.into();
        let (schema, stored) = (record_schema(payload, is_database), stored_schema(is_database));
        let (payload, work) = (payload.clone(), Mutex::new(work));
        Ok(Arc::new(Self { bronze, payload, part, work, quarantine, schema, stored }))
    }

    /// The records as a table that is read once, by so many tasks.
    ///
    /// # Errors
    /// When the schemas do not fit; a defect.
    pub fn table(self: &Arc<Self>, threads: usize) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(StreamingTable::try_new(self.schema.clone(), shares(self, threads))?))
    }

    fn next(&self) -> Option<RowGroup> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Reads the payloads of a stored batch; those that cannot be read are set aside.
    #[tracing::instrument(level = "trace", skip_all)]
    async fn decode(&self, stored: RecordBatch, decoder: &mut Decoder) -> Result<RecordBatch> {
        let wanted = match &self.part {
            Part::After(batch) => cmp::gt(stored.column(BATCH), &Int64Array::new_scalar(*batch))?,
            Part::Places(places) => places.contain([SOURCE, ROW, BATCH].map(|index| stored.column(index)))?.into(),
        };
        let stored =
            if wanted.true_count() == stored.num_rows() { stored } else { filter_record_batch(&stored, &wanted)? };
        let Read { rows, hashes, unreadable } = read_payloads(&stored, decoder);
        if !unreadable.is_empty() {
            self.set_aside(&stored, &unreadable).await?;
        }
        let stored = if unreadable.is_empty() { stored } else { take_record_batch(&stored, &UInt32Array::from(rows))? };
        let mut columns = decoder.finish()?;
        let rescued = columns.pop().ok_or_else(|| Error::failed("a payload without columns"))?;
        columns.extend([PAYLOAD, SOURCE, ROW, BATCH, INGESTED_AT].map(|index| stored.column(index).clone()));
        columns.extend([rescued, Arc::new(Int64Array::from(hashes)) as ArrayRef]);
        columns.extend(stored.columns()[CHANGES..].iter().cloned());
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    async fn set_aside(&self, stored: &RecordBatch, unreadable: &[(u32, String)]) -> Result<()> {
        let rows: Vec<u32> = unreadable.iter().map(|(row, _)| *row).collect();
        let rows = take_record_batch(stored, &UInt32Array::from(rows))?;
        let reasons = unreadable.iter().map(|(_, reason)| vec![format!("unreadable: {reason}")]).collect::<Vec<_>>();
        let bytes: &BinaryArray = rows.column(PAYLOAD_BYTES).as_binary();
        let mut quarantine = self.quarantine.lock().await;
        quarantine.count_unreadable(unreadable.len() as u64);
        quarantine
            .add_records(
                rows.column(PAYLOAD),
                Some(bytes),
                [SOURCE, ROW, BATCH].map(|index| rows.column(index)),
                &reasons,
            )
            .await
    }
}

impl Shared for Records {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn stream(self: Arc<Self>) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let groups = futures::stream::unfold(self.clone(), |records| async move {
            let group = records.next()?;
            let stream = group.read(&records.stored).await;
            Some((stream, records))
        });
        let stored = Box::pin(groups.try_flatten());
        futures::stream::try_unfold((self, stored, None), |(records, mut stored, decoder)| async move {
            let Some(batch) = stored.try_next().await? else { return Ok(None) };
            let mut decoder = match decoder {
                Some(decoder) => decoder,
                None => Decoder::new(&records.payload)?,
            };
            let batch = records.decode(batch, &mut decoder).await?;
            Ok(Some((batch, (records, stored, Some(decoder)))))
        })
    }
}

/// What became of the payloads of a batch.
#[derive(Default)]
struct Read {
    /// Those that were read.
    rows: Vec<u32>,
    /// Their hashes.
    hashes: Vec<i64>,
    /// Those that cannot be read, and why.
    unreadable: Vec<(u32, String)>,
}

fn read_payloads(stored: &RecordBatch, decoder: &mut Decoder) -> Read {
    let texts: &StringViewArray = stored.column(PAYLOAD).as_string_view();
    let faults: &StringArray = stored.column(PAYLOAD_FAULT).as_string();
    let mut read = Read::default();
    for (row, text) in texts.iter().enumerate() {
        // A record with a fault is not looked at: its text might by chance be JSON.
        if faults.is_valid(row) {
            read.unreadable.push((row as u32, faults.value(row).to_owned()));
            continue;
        }
        match text.map_or(Err(Unreadable::NotUtf8), |text| decoder.read(text).map(|()| text)) {
            Ok(text) => {
                read.rows.push(row as u32);
                read.hashes.push(xxh3_64(text.as_bytes()) as i64);
            }
            Err(reason) => read.unreadable.push((row as u32, reason.to_string())),
        }
    }
    read
}

/// Places of the columns of [`stored_schema`].
const PAYLOAD: usize = 0;
const PAYLOAD_BYTES: usize = 1;
const PAYLOAD_FAULT: usize = 2;
const SOURCE: usize = 3;
const ROW: usize = 4;
const BATCH: usize = 5;
const INGESTED_AT: usize = 6;
/// Where the columns of changes begin, which rows of a database have.
const CHANGES: usize = 7;

/// How a bronze file is read: payloads as views, so that they pass through SQL without being copied.
fn stored_schema(is_database: bool) -> SchemaRef {
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("payload", DataType::Utf8View, true),
        Field::new("payload_bytes", DataType::Binary, true),
        Field::new("payload_fault", DataType::Utf8, true),
        Field::new("_source", DataType::Utf8, false),
        Field::new("_row", DataType::Int64, false),
        Field::new("_batch", DataType::Int64, false),
        Field::new("_ingested_at", time, false),
    ];
    if is_database {
        fields.push(Field::new("_op", DataType::Utf8, false));
        fields.push(Field::new("_key", DataType::Utf8, true));
        fields.push(Field::new("_row_hash", DataType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

/// [`bronze_schema`] with payloads as views.
fn record_schema(payload: &Fields, is_database: bool) -> SchemaRef {
    let fields = bronze_schema(payload, is_database);
    let viewed = fields.fields().iter().map(|field| match field.name().as_str() {
        "payload" => Field::new("payload", DataType::Utf8View, true),
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(viewed.collect::<Vec<_>>()))
}
