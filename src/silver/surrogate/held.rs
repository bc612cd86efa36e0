//! The numbers that a table holds, read as far as a run needs them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use deltalake::datafusion::prelude::{SessionContext, ident};
use futures::TryStreamExt;

use super::numbers::{Numbers, identities};
use crate::contract::{Definition, Table};
use crate::error::{Error, Place, Result};
use crate::lake::{KeySet, LakeTable, lookup};

/// The columns of a table that numbers keys.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The columns that are numbered.
    pub key: Vec<String>,
    /// The column of the number.
    pub number: String,
    /// Its type: 32 or 64 bits.
    pub number_type: DataType,
    /// The column of the key that the number was taken over from.
    pub inherits: Option<String>,
}

impl Layout {
    /// The columns of a table.
    ///
    /// # Errors
    /// When the table is of another strategy; a defect.
    pub fn of(table: &Table) -> Result<Self> {
        let Definition::Surrogate { number, inherits, .. } = &table.definition else {
            return Err(Error::failed(format!("{}: not a surrogate table", table.name)));
        };
        let number_type = table.column(number).map_or(DataType::Int64, |column| column.data_type.clone());
        Ok(Self { key: table.key.clone(), number: number.clone(), number_type, inherits: inherits.clone() })
    }

    /// The largest number that the column can hold.
    pub fn max(&self) -> i64 {
        if self.number_type == DataType::Int32 { i64::from(i32::MAX) } else { i64::MAX }
    }

    /// The keys of some rows.
    ///
    /// # Errors
    /// When a column is missing; a defect.
    pub fn keys(&self, rows: &RecordBatch) -> Result<Vec<u128>> {
        let columns = self.key.iter().map(|name| column(rows, name)).collect::<Result<Vec<_>>>()?;
        identities(&columns)
    }

    /// The keys that some rows may take a number over from, or did.
    ///
    /// # Errors
    /// When a column's type has no text; a defect.
    pub fn previous(&self, rows: &RecordBatch) -> Result<Vec<Option<u128>>> {
        let previous = self.inherits.as_ref().and_then(|name| rows.column_by_name(name));
        let Some(previous) = previous else { return Ok(vec![None; rows.num_rows()]) };
        let hashes = identities(std::slice::from_ref(previous))?.into_iter().enumerate();
        Ok(hashes.map(|(row, hash)| previous.is_valid(row).then_some(hash)).collect())
    }

    fn hold(&self, rows: &RecordBatch, numbers: &mut Numbers) -> Result<()> {
        let given = cast(&column(rows, &self.number)?, &DataType::Int64)?;
        let given = given.as_primitive::<Int64Type>();
        for (row, (key, from)) in self.keys(rows)?.into_iter().zip(self.previous(rows)?).enumerate() {
            numbers.hold(key, given.value(row), from);
        }
        Ok(())
    }

    /// Reads all numbers: 32 bytes a key in memory, and the number once more.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn read(&self, ctx: &SessionContext, target: &LakeTable) -> Result<Numbers> {
        let mut numbers = Numbers::new(self.max());
        let rows = ctx.read_table(target.provider(ctx).await?)?;
        let names = self.key.iter().chain([&self.number]).chain(&self.inherits);
        let there = names.filter(|name| target.schema().column_with_name(name).is_some());
        let mut rows = rows.select(there.map(ident).collect::<Vec<_>>())?.execute_stream().await.at(&target.name)?;
        while let Some(rows) = rows.try_next().await.at(&target.name)? {
            self.hold(&rows, &mut numbers)?;
        }
        numbers.sort();
        Ok(numbers)
    }

    /// Looks up the rows that have some values in the columns `by`.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn look_up(
        &self,
        target: &LakeTable,
        values: Arc<KeySet>,
        by: &[String],
        numbers: &mut Numbers,
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = self.key.iter().chain([&self.number]).chain(&self.inherits).cloned().collect();
        for found in lookup(target, &target.files()?, values, by, &all).await? {
            self.hold(&found.columns, numbers)?;
        }
        numbers.sort();
        Ok(())
    }

    /// Which of some numbers the table holds.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn held_of(&self, target: &LakeTable, numbers: Vec<i64>) -> Result<Vec<i64>> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = KeySet::default();
        values.add(&[self.as_numbers(numbers)?])?;
        let by = [self.number.clone()];
        let mut held = Vec::new();
        for found in lookup(target, &target.files()?, Arc::new(values), &by, &[]).await? {
            let numbers = cast(&column(&found.columns, &self.number)?, &DataType::Int64)?;
            held.extend(numbers.as_primitive::<Int64Type>().values());
        }
        Ok(held)
    }

    /// Numbers as the column holds them.
    ///
    /// # Errors
    /// When Arrow fails; a defect.
    pub fn as_numbers(&self, numbers: Vec<i64>) -> Result<ArrayRef> {
        Ok(cast(&Int64Array::from(numbers), &self.number_type)?)
    }
}

/// A column of some rows.
///
/// # Errors
/// When there is none; a defect.
pub fn column(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    rows.column_by_name(name).cloned().ok_or_else(|| Error::failed(format!("no column '{name}'")))
}
