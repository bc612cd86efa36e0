//! Rows on their way from the query to their split: whose they are is replaced by a pseudonym.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::keys::Keys;
use super::recipe::Recipe;
use crate::contract::Share;
use crate::error::{Error, Result};

/// The column that a person's pseudonym stands in.
pub const PERSON: &str = "person";

/// Sends each row to its split.
pub struct Splitter<'a> {
    id: &'a str,
    person: Option<&'a str>,
    shares: Vec<Share>,
    keys: &'a Keys,
    schema: SchemaRef,
    last: Option<String>,
}

impl<'a> Splitter<'a> {
    /// For rows with the columns `input`.
    ///
    /// # Errors
    /// Wrong use when a column has the name of one that the program adds.
    pub fn new(recipe: &'a Recipe, keys: &'a Keys, input: &SchemaRef) -> Result<Self> {
        let person = recipe.person.as_deref();
        let mut fields: Vec<FieldRef> = Vec::new();
        for field in input.fields().iter().filter(|field| Some(field.name().as_str()) != person) {
            // Metadata of fields has no order, and would come out in another one each time.
            fields.push(Arc::new(Field::new(field.name(), field.data_type().clone(), field.is_nullable())));
        }
        if person.is_some() {
            check_free(&fields, PERSON)?;
            fields.push(Arc::new(Field::new(PERSON, DataType::Utf8, true)));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { id: &recipe.id, person, shares: recipe.shares(), keys, schema, last: None })
    }

    /// The columns of the rows after it.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of a batch, for each split those that are its own, in their order.
    ///
    /// # Errors
    /// Wrong use when an id is missing or comes twice: rows come sorted by it.
    pub fn split(&mut self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let ids = texts(batch, self.id)?;
        self.check_ids(&ids)?;
        let persons = self.person.map(|person| texts(batch, person)).transpose()?;
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); self.shares.len()];
        for (row, id) in ids.iter().enumerate() {
            let person = persons.as_ref().filter(|persons| persons.is_valid(row)).map(|persons| persons.value(row));
            places[self.keys.split(person, id.unwrap_or_default(), &self.shares)].push(row as u32);
        }
        let rows = self.without_person(batch, persons.as_ref())?;
        places.into_iter().map(|places| Ok(take_record_batch(&rows, &UInt32Array::from(places))?)).collect()
    }

    fn check_ids(&mut self, ids: &StringArray) -> Result<()> {
        for id in ids {
            let id = id.ok_or_else(|| {
                Error::usage(format!("a row has no '{}'", self.id)).hint("leave such rows out, with IS NOT NULL")
            })?;
            if self.last.as_deref() == Some(id) {
                return Err(Error::usage(format!("two rows have the same '{}'", self.id))
                    .hint("a dataset has one row an id: group by it, or choose another --id"));
            }
            self.last = Some(id.to_owned());
        }
        Ok(())
    }

    fn without_person(&self, batch: &RecordBatch, persons: Option<&StringArray>) -> Result<RecordBatch> {
        let input = batch.schema();
        let kept = input.fields().iter().zip(batch.columns());
        let kept = kept.filter(|(field, _)| Some(field.name().as_str()) != self.person);
        let mut columns: Vec<ArrayRef> = kept.map(|(_, column)| column.clone()).collect();
        if let Some(persons) = persons {
            let pseudonyms = persons.iter().map(|person| Some(self.keys.pseudonym(person?)));
            columns.push(Arc::new(pseudonyms.collect::<StringArray>()));
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// Wrong use when a name that the program gives to a column is taken.
pub fn check_free(fields: &[FieldRef], name: &str) -> Result<()> {
    if fields.iter().any(|field| field.name() == name) {
        return Err(Error::usage(format!("the dataset gets a column '{name}' of its own, and the query has one too"))
            .hint("name it otherwise, with AS"));
    }
    Ok(())
}

/// A column as text.
pub fn texts(batch: &RecordBatch, column: &str) -> Result<StringArray> {
    let found = batch.column_by_name(column).ok_or_else(|| Error::failed(format!("no column '{column}'")))?;
    Ok(cast(found, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// Rows that wait for their file, in order.
#[derive(Default)]
pub struct Waiting {
    batches: VecDeque<RecordBatch>,
    rows: usize,
}

impl Waiting {
    /// How many there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows at the end.
    pub fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.batches.push_back(batch);
        }
    }

    /// Puts rows back to the front.
    pub fn put_back(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.batches.push_front(batch);
        }
    }

    /// Takes the first `count` rows, or all when there are fewer, as one batch: how they came in batches no longer shows.
    ///
    /// # Errors
    /// When the batches have different columns; a defect.
    pub fn pop(&mut self, count: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let (mut taken, mut left) = (Vec::new(), count);
        while left > 0
            && let Some(batch) = self.batches.pop_front()
        {
            let rows = batch.num_rows();
            if rows > left {
                self.batches.push_front(batch.slice(left, rows - left));
            }
            taken.push(batch.slice(0, rows.min(left)));
            left -= rows.min(left);
        }
        self.rows -= count - left;
        Ok(concat_batches(schema, &taken)?)
    }
}
