//! Columns that are built from JSON values.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

use super::Unreadable;
use super::cursor::{Cursor, Kind, Scalar};
use super::nested::{ListColumn, MapColumn, StructColumn};
use super::rescue::{Path, Rescue};
use super::value;
use super::values::{Bytes, Fixed, Flags};
use crate::error::{Error, Result};

/// What becomes of an object or an array where a STRING belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nested {
    /// It does not fit.
    Rescued,
    /// Its JSON is the text.
    AsText,
}

/// A column that is being built. Reading a value adds exactly one row, unless it is no JSON.
pub(super) enum Column {
    String(Bytes, Nested),
    Boolean(Flags),
    SmallInt(Fixed<Int16Type>),
    Int(Fixed<Int32Type>),
    BigInt(Fixed<Int64Type>),
    Float(Fixed<Float32Type>),
    Double(Fixed<Float64Type>),
    Decimal(Fixed<Decimal128Type>, u8, i8),
    Binary(Bytes),
    Date(Fixed<Date32Type>),
    Timestamp(Fixed<TimestampMicrosecondType>),
    List(ListColumn),
    Struct(StructColumn),
    Map(MapColumn),
}

impl Column {
    pub fn new(data_type: &DataType, nested: Nested) -> Result<Self> {
        Ok(match data_type {
            DataType::Utf8 => Self::String(Bytes::default(), nested),
            DataType::Boolean => Self::Boolean(Flags::default()),
            DataType::Int16 => Self::SmallInt(Fixed::default()),
            DataType::Int32 => Self::Int(Fixed::default()),
            DataType::Int64 => Self::BigInt(Fixed::default()),
            DataType::Float32 => Self::Float(Fixed::default()),
            DataType::Float64 => Self::Double(Fixed::default()),
            DataType::Decimal128(precision, scale) => Self::Decimal(Fixed::default(), *precision, *scale),
            DataType::Binary => Self::Binary(Bytes::default()),
            DataType::Date32 => Self::Date(Fixed::default()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Timestamp(Fixed::default()),
            DataType::List(element) => Self::List(ListColumn::new(element, nested)?),
            DataType::Struct(fields) => {
                let names = fields.iter().map(|field| field.name().clone()).collect();
                Self::Struct(StructColumn::new(fields, names, nested)?)
            }
            DataType::Map(entries, _) => Self::Map(MapColumn::new(entries, nested)?),
            other => {
                return Err(Error::usage(format!("a payload cannot have a field of type {other}"))
                    .hint("use a type of one value, ARRAY, STRUCT or MAP"));
            }
        })
    }

    /// Reads the value that follows.
    pub fn read(&mut self, cursor: &mut Cursor, path: Path, rescue: &mut Rescue) -> Result<(), Unreadable> {
        match (&mut *self, cursor.kind()?) {
            (Self::List(list), Kind::Array) => return list.read(cursor, path, rescue),
            (Self::Struct(structure), Kind::Object) => return structure.read(cursor, path, rescue),
            (Self::Map(map), Kind::Object) => return map.read(cursor, path, rescue),
            (Self::String(texts, Nested::AsText), Kind::Object | Kind::Array) => {
                texts.append(Some(cursor.skip()?.as_bytes()));
            }
            (_, Kind::Object | Kind::Array) => {
                rescue.keep(path, cursor.skip()?);
                self.append_null();
            }
            _ => {
                let json = cursor.scalar()?;
                if !self.append(&json) && json.kind != Kind::Null {
                    rescue.keep(path, json.raw);
                }
            }
        }
        Ok(())
    }

    /// Adds a row of the value, or of NULL where it does not fit; says whether it fits.
    fn append(&mut self, json: &Scalar) -> bool {
        match self {
            Self::String(texts, _) => {
                let text = value::string(json);
                texts.append(text.as_deref().map(str::as_bytes));
                text.is_some()
            }
            Self::Binary(bytes) => {
                let value = value::binary(json);
                bytes.append(value.as_deref());
                value.is_some()
            }
            Self::Boolean(flags) => {
                let value = value::boolean(json);
                flags.append(value);
                value.is_some()
            }
            Self::SmallInt(values) => put(values, value::integer(json).and_then(|n| i16::try_from(n).ok())),
            Self::Int(values) => put(values, value::integer(json).and_then(|n| i32::try_from(n).ok())),
            Self::BigInt(values) => put(values, value::integer(json)),
            Self::Float(values) => put(values, value::float(json)),
            Self::Double(values) => put(values, value::double(json)),
            Self::Decimal(values, precision, scale) => put(values, value::decimal(json, *precision, *scale)),
            Self::Date(values) => put(values, value::date(json)),
            Self::Timestamp(values) => put(values, value::timestamp(json)),
            Self::List(_) | Self::Struct(_) | Self::Map(_) => {
                self.append_null();
                false
            }
        }
    }

    pub fn append_null(&mut self) {
        match self {
            Self::String(values, _) | Self::Binary(values) => values.append(None),
            Self::Boolean(values) => values.append(None),
            Self::SmallInt(values) => values.append(None),
            Self::Int(values) => values.append(None),
            Self::BigInt(values) => values.append(None),
            Self::Float(values) => values.append(None),
            Self::Double(values) => values.append(None),
            Self::Decimal(values, ..) => values.append(None),
            Self::Date(values) => values.append(None),
            Self::Timestamp(values) => values.append(None),
            Self::List(list) => list.append_null(),
            Self::Struct(structure) => structure.append_null(),
            Self::Map(map) => map.append_null(),
        }
    }

    /// The rows so far.
    pub fn len(&self) -> usize {
        match self {
            Self::String(values, _) | Self::Binary(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::SmallInt(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::BigInt(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Decimal(values, ..) => values.len(),
            Self::Date(values) => values.len(),
            Self::Timestamp(values) => values.len(),
            Self::List(list) => list.len(),
            Self::Struct(structure) => structure.len(),
            Self::Map(map) => map.len(),
        }
    }

    /// Gives up later rows.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Self::String(values, _) | Self::Binary(values) => values.truncate(rows),
            Self::Boolean(values) => values.truncate(rows),
            Self::SmallInt(values) => values.truncate(rows),
            Self::Int(values) => values.truncate(rows),
            Self::BigInt(values) => values.truncate(rows),
            Self::Float(values) => values.truncate(rows),
            Self::Double(values) => values.truncate(rows),
            Self::Decimal(values, ..) => values.truncate(rows),
            Self::Date(values) => values.truncate(rows),
            Self::Timestamp(values) => values.truncate(rows),
            Self::List(list) => list.truncate(rows),
            Self::Struct(structure) => structure.truncate(rows),
            Self::Map(map) => map.truncate(rows),
        }
    }

    /// The rows so far as an array.
    pub fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match (self, data_type) {
            (Self::String(values, _), _) => values.finish_texts()?,
            (Self::Binary(values), _) => values.finish_bytes()?,
            (Self::Boolean(values), _) => values.finish(),
            (Self::SmallInt(values), _) => Arc::new(values.finish()?),
            (Self::Int(values), _) => Arc::new(values.finish()?),
            (Self::BigInt(values), _) => Arc::new(values.finish()?),
            (Self::Float(values), _) => Arc::new(values.finish()?),
            (Self::Double(values), _) => Arc::new(values.finish()?),
            (Self::Decimal(values, ..), _) => Arc::new(values.finish()?.with_data_type(data_type.clone())),
            (Self::Date(values), _) => Arc::new(values.finish()?),
            (Self::Timestamp(values), _) => Arc::new(values.finish()?.with_data_type(data_type.clone())),
            (Self::List(list), DataType::List(element)) => list.finish(element)?,
            (Self::Struct(structure), DataType::Struct(fields)) => structure.finish(fields)?,
            (Self::Map(map), DataType::Map(entries, sorted)) => map.finish(entries, *sorted)?,
            (_, other) => new_null_array(other, 0),
        })
    }
}

fn put<T: arrow::array::ArrowPrimitiveType>(values: &mut Fixed<T>, value: Option<T::Native>) -> bool {
    values.append(value);
    value.is_some()
}
