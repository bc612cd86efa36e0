//! `silver.quarantine`: rows set aside, with all that is needed to try them again.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};
use tokio::sync::Mutex;

use crate::contract::Column;
use crate::error::Result;
use crate::lake::{Follower, Lake, LakeTable, TableSpec, TableWriter};
pub use places::Places;
pub use replace::without_later;

mod places;
mod replace;

/// The status of a row that was not taken in.
pub const OPEN: &str = "open";
/// The status of a row whose record was taken in after all.
pub const RELEASED: &str = "released";
/// The table's name.
pub const QUARANTINE: &str = "silver.quarantine";

/// A quarantine that several tasks write to.
pub type SharedQuarantine = Arc<Mutex<Quarantine>>;

/// The table's columns.
pub fn spec() -> TableSpec {
    let column = |name: &str, data_type: DataType, required: bool, comment: &str| Column {
        name: name.to_owned(),
        data_type,
        required,
        comment: comment.to_owned(),
    };
    let reasons = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TableSpec {
        name: QUARANTINE.to_owned(),
        description: "Rows that were set aside, with the reason and all that is needed to try them again.".to_owned(),
        columns: vec![
            column("table", DataType::Utf8, true, "The table that the row was meant for."),
            column("reasons", reasons, true, "The expectations that it failed, or why it could not be read."),
            column("payload", DataType::Utf8, false, "The record as in bronze; of a derived table, the row as JSON."),
            column(
                "payload_bytes",
                DataType::Binary,
                false,
                "The record byte for byte, when it could not be read and payload is not.",
            ),
            column("_source", DataType::Utf8, true, "Where the record came from: a URI, or the input table."),
            column("_row", DataType::Int64, false, "The record's position in its source, from 0."),
            column("_batch", DataType::Int64, false, "The batch that brought the record."),
            column("key", DataType::Utf8, false, "Of a derived table: the key that the row was computed for, as JSON."),
            column(
                "status",
                DataType::Utf8,
                true,
                "open; released: the record was taken in after all, by later rules.",
            ),
            column("released_by", DataType::Utf8, false, "The run that took the record in after all."),
            column("_quarantined_at", time, true, "When the row was set aside."),
        ],
        statistics: vec!["table".to_owned(), "_batch".to_owned()],
        lookup: vec!["key".to_owned()],
        sought: vec!["key".to_owned()],
        rising: Vec::new(),
        change_feed: true,
    }
}

/// Collects the rows that one run sets aside for one table.
pub struct Quarantine {
    table: LakeTable,
    writer: Option<TableWriter>,
    for_table: String,
    run: String,
    at: i64,
    rows: u64,
    unreadable: u64,
    places: HashSet<u64>,
}

impl Quarantine {
    /// Opens the quarantine for a table's rows in a run that began at `at`, microseconds since the epoch.
    ///
    /// # Errors
    /// When the quarantine cannot be opened or made.
    pub async fn open(lake: &Lake, for_table: &str, run: &str, at: i64) -> Result<Self> {
        let spec = spec();
        let table = lake.open_or_create(&spec).await?;
        let writer = Some(TableWriter::new(&table, &spec));
        Ok(Self {
            table,
            writer,
            for_table: for_table.to_owned(),
            run: run.to_owned(),
            at,
            rows: 0,
            unreadable: 0,
            places: HashSet::new(),
        })
    }

    /// A quarantine that keeps nothing, for whoever only looks at records.
    ///
    /// # Errors
    /// As [`Quarantine::open`].
    pub async fn nowhere(lake: &Lake, for_table: &str) -> Result<Self> {
        Ok(Self { writer: None, ..Self::open(lake, for_table, "", 0).await? })
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.writer {
            Some(writer) => writer.write(rows).await,
            None => Ok(()),
        }
    }

    /// Counts records that never became rows.
    pub fn count_unreadable(&mut self, rows: u64) {
        self.unreadable += rows;
    }

    /// Sets records aside; `place` holds their source, row and batch.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn add_records(
        &mut self,
        payload: &ArrayRef,
        bytes: Option<&BinaryArray>,
        place: [&ArrayRef; 3],
        reasons: &[Vec<String>],
    ) -> Result<()> {
        let rows = payload.len();
        let bytes: ArrayRef =
            bytes.map_or_else(|| new_null_array(&DataType::Binary, rows), |bytes| Arc::new(bytes.clone()));
        let [source, row, batch] = place.map(Clone::clone);
        self.places.extend(places::hashes([&source, &row, &batch])?);
        self.add(
            cast(payload, &DataType::Utf8)?,
            bytes,
            [source, row, batch],
            new_null_array(&DataType::Utf8, rows),
            reasons,
        )
        .await
    }

    /// Sets rows of a derived table aside, each as JSON, with the key that it was computed for.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn add_derived(&mut self, rows: Vec<String>, keys: Vec<String>, reasons: &[Vec<String>]) -> Result<()> {
        let count = rows.len();
        let source = Arc::new(StringArray::from(vec![self.for_table.as_str(); count])) as ArrayRef;
        let none = new_null_array(&DataType::Int64, count);
        let (payload, keys) = (StringArray::from(rows), StringArray::from(keys));
        let bytes = new_null_array(&DataType::Binary, count);
        self.add(Arc::new(payload), bytes, [source, none.clone(), none], Arc::new(keys), reasons).await
    }

    async fn add(
        &mut self,
        payload: ArrayRef,
        bytes: ArrayRef,
        [source, row, batch]: [ArrayRef; 3],
        key: ArrayRef,
        reasons: &[Vec<String>],
    ) -> Result<()> {
        let rows = payload.len();
        self.rows += rows as u64;
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
        for row in reasons {
            for reason in row {
                list.values().append_value(reason);
            }
            list.append(true);
        }
        let same = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
        let at = TimestampMicrosecondArray::from(vec![self.at; rows]).with_timezone("UTC");
        let columns = vec![
            same(&self.for_table),
            Arc::new(list.finish()),
            payload,
            bytes,
            source,
            row,
            batch,
            key,
            same(OPEN),
            new_null_array(&DataType::Utf8, rows),
            Arc::new(at),
        ];
        self.write(&RecordBatch::try_new(spec().arrow_schema(), columns)?).await
    }

    /// Ends the collection; `bronze` is where the records come from, if they are no derived rows.
    ///
    /// # Errors
    /// When storage fails.
    #[tracing::instrument(level = "trace", skip_all, fields(table = "silver.quarantine"))]
    pub async fn close(mut self, replace: &Replace, bronze: Option<&LakeTable>) -> Result<SetAside> {
        let replaced = replace::replaced(&self.table, &self.for_table, replace).await?;
        let batches = match bronze {
            Some(bronze) if !replaced.taken.is_empty() => replace::batches(bronze).await?,
            _ => HashSet::new(),
        };
        for rows in &replaced.taken {
            if let Some(kept) = replace::kept(rows, &batches, &self.places, &self.run)? {
                self.write(&kept).await?;
            }
        }
        let adds = match self.writer {
            Some(writer) => writer.close().await?,
            None => Vec::new(),
        };
        let mut follower = Follower { table: QUARANTINE.to_owned(), adds, removes: replaced.removes };
        follower.adds.extend(replaced.adds);
        let follower = (!follower.adds.is_empty() || !follower.removes.is_empty()).then_some(follower);
        Ok(SetAside { rows: self.rows, unreadable: self.unreadable, follower })
    }
}

/// Which rows of the quarantine the new ones stand in for.
pub enum Replace {
    /// None: what was set aside before stays.
    Nothing,
    /// All of the table's: it is computed anew.
    All,
    /// Those that were computed for these keys, as JSON.
    Keys(Vec<String>),
}

/// What was set aside.
pub struct SetAside {
    /// Rows, unreadable records included.
    pub rows: u64,
    /// Records that never became rows.
    pub unreadable: u64,
    /// What the table's commit must carry.
    pub follower: Option<Follower>,
}
