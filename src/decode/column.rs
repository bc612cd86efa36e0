//! Columns that are built from JSON values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, ListArray, MapArray, StringBuilder, StructArray,
    TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue};

use super::rescue::{Rescue, element, member};
use super::value;
use crate::error::{Error, Result};

/// What becomes of an object or an array where a STRING belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nested {
    /// It does not fit.
    Rescued,
    /// Its JSON is the text.
    AsText,
}

/// A column that is being built. Reading a value always adds exactly one row.
pub(super) enum Column {
    String(StringBuilder, Nested),
    Boolean(BooleanBuilder),
    SmallInt(Int16Builder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    List(ListColumn),
    Struct(StructColumn),
    Map(MapColumn),
}

impl Column {
    fn new(data_type: &DataType, nested: Nested) -> Result<Self> {
        Ok(match data_type {
            DataType::Utf8 => Self::String(StringBuilder::new(), nested),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Self::SmallInt(Int16Builder::new()),
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::BigInt(Int64Builder::new()),
            DataType::Float32 => Self::Float(Float32Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::new().with_data_type(data_type.clone());
                Self::Decimal(builder, *precision, *scale)
            }
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(zone.clone()))
            }
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

    fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
        let fitted = match self {
            Self::List(list) if json.is_array() => return list.read(json, rescue),
            Self::Struct(structure) if json.is_object() => return structure.read(json, rescue),
            Self::Map(map) if json.is_object() => return map.read(json, rescue),
            Self::String(builder, Nested::AsText) if json.is_array() || json.is_object() => {
                fit(Some(value::raw(&json)), |text| builder.append_value(text))
            }
            Self::String(builder, _) => fit(value::string(&json), |text| builder.append_value(text)),
            Self::Boolean(builder) => fit(value::boolean(&json), |flag| builder.append_value(flag)),
            Self::SmallInt(builder) => {
                fit(value::integer(&json).and_then(|n| i16::try_from(n).ok()), |n| builder.append_value(n))
            }
            Self::Int(builder) => {
                fit(value::integer(&json).and_then(|n| i32::try_from(n).ok()), |n| builder.append_value(n))
            }
            Self::BigInt(builder) => fit(value::integer(&json), |n| builder.append_value(n)),
            Self::Float(builder) => fit(value::float(&json), |x| builder.append_value(x)),
            Self::Double(builder) => fit(value::double(&json), |x| builder.append_value(x)),
            Self::Decimal(builder, precision, scale) => {
                fit(value::decimal(&json, *precision, *scale), |number| builder.append_value(number))
            }
            Self::Binary(builder) => fit(value::binary(&json), |bytes| builder.append_value(bytes)),
            Self::Date(builder) => fit(value::date(&json), |days| builder.append_value(days)),
            Self::Timestamp(builder) => fit(value::timestamp(&json), |micros| builder.append_value(micros)),
            Self::List(_) | Self::Struct(_) | Self::Map(_) => false,
        };
        if !fitted {
            if json.get_type() != JsonType::Null {
                rescue.keep(&json);
            }
            self.append_null();
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::String(builder, _) => builder.append_null(),
            Self::SmallInt(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::List(list) => list.append_null(),
            Self::Struct(structure) => structure.append_null(),
            Self::Map(map) => map.append_null(),
        }
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match (self, data_type) {
            (Self::SmallInt(builder), _) => Arc::new(builder.finish()),
            (Self::Float(builder), _) => Arc::new(builder.finish()),
            (Self::Decimal(builder, ..), _) => Arc::new(builder.finish()),
            (Self::Binary(builder), _) => Arc::new(builder.finish()),
            (Self::String(builder, _), _) => Arc::new(builder.finish()),
            (Self::Boolean(builder), _) => Arc::new(builder.finish()),
            (Self::Int(builder), _) => Arc::new(builder.finish()),
            (Self::BigInt(builder), _) => Arc::new(builder.finish()),
            (Self::Double(builder), _) => Arc::new(builder.finish()),
            (Self::Date(builder), _) => Arc::new(builder.finish()),
            (Self::Timestamp(builder), _) => Arc::new(builder.finish()),
            (Self::List(list), DataType::List(element)) => list.finish(element)?,
            (Self::Struct(structure), DataType::Struct(fields)) => structure.finish(fields)?,
            (Self::Map(map), DataType::Map(entries, sorted)) => map.finish(entries, *sorted)?,
            (_, other) => new_null_array(other, 0),
        })
    }
}

fn fit<T>(value: Option<T>, append: impl FnOnce(T)) -> bool {
    value.map(append).is_some()
}

pub(super) struct ListColumn {
    element: Box<Column>,
    ends: Vec<i32>,
    valid: Vec<bool>,
    length: i32,
}

impl ListColumn {
    fn new(element: &FieldRef, nested: Nested) -> Result<Self> {
        let element = Box::new(Column::new(element.data_type(), nested)?);
        Ok(Self { element, ends: Vec::new(), valid: Vec::new(), length: 0 })
    }

    fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
        for (index, item) in json.into_array_iter().into_iter().flatten().flatten().enumerate() {
            rescue.within(element(index), |rescue| self.element.read(item, rescue));
            self.length += 1;
        }
        self.ends.push(self.length);
        self.valid.push(true);
    }

    fn append_null(&mut self) {
        self.ends.push(self.length);
        self.valid.push(false);
    }

    fn finish(&mut self, field: &FieldRef) -> Result<ArrayRef> {
        let mut offsets = vec![0];
        offsets.append(&mut self.ends);
        self.length = 0;
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let values = self.element.finish(field.data_type())?;
        Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::new(offsets.into()), values, Some(valid))?))
    }
}

pub(super) struct StructColumn {
    names: Vec<String>,
    children: Vec<Column>,
    valid: Vec<bool>,
}

impl StructColumn {
    /// `names` has the name that each field has in JSON.
    pub fn new(fields: &Fields, names: Vec<String>, nested: Nested) -> Result<Self> {
        Ok(Self {
            names,
            children: fields.iter().map(|field| Column::new(field.data_type(), nested)).collect::<Result<_>>()?,
            valid: Vec::new(),
        })
    }

    pub fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
        let mut found: Vec<Option<LazyValue>> = vec![None; self.children.len()];
        let (whole, kept, mut expected) = (json.clone(), rescue.members.len(), 0);
        for entry in json.into_object_iter().into_iter().flatten() {
            let Ok((name, item)) = entry else {
                // A name that is no text, such as half of a surrogate pair: the reader goes no further, and of the
                // object nothing must be lost.
                rescue.members.truncate(kept);
                rescue.keep(&whole);
                return self.append_null();
            };
            match self.index_of(&name, expected) {
                Some(index) => {
                    expected = index + 1;
                    // A field given twice: the last counts, as in most readers, and the others are not lost.
                    if let Some(earlier) = found[index].replace(item) {
                        rescue.within(member(&name), |rescue| rescue.keep(&earlier));
                    }
                }
                None => rescue.within(member(&name), |rescue| rescue.keep(&item)),
            }
        }
        for ((child, name), item) in self.children.iter_mut().zip(&self.names).zip(found) {
            match item {
                Some(item) => rescue.within(member(name), |rescue| child.read(item, rescue)),
                None => child.append_null(),
            }
        }
        self.valid.push(true);
    }

    /// The field of a name; fields mostly come in the same order, so the expected one is tried first.
    fn index_of(&self, name: &str, expected: usize) -> Option<usize> {
        if self.names.get(expected).is_some_and(|known| known == name) {
            return Some(expected);
        }
        self.names.iter().position(|known| known == name)
    }

    pub fn append_null(&mut self) {
        self.children.iter_mut().for_each(Column::append_null);
        self.valid.push(false);
    }

    pub fn finish_children(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>> {
        self.valid.clear();
        self.children.iter_mut().zip(fields).map(|(child, field)| child.finish(field.data_type())).collect()
    }

    fn finish(&mut self, fields: &Fields) -> Result<ArrayRef> {
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let children = self.finish_children(fields)?;
        let fields: Fields = fields.iter().map(|field| Field::clone(field)).collect();
        Ok(Arc::new(StructArray::try_new(fields, children, Some(valid))?))
    }
}

/// A JSON object whose names are values: keys of any number.
pub(super) struct MapColumn {
    keys: StringBuilder,
    values: Box<Column>,
    ends: Vec<i32>,
    valid: Vec<bool>,
    length: i32,
}

impl MapColumn {
    fn new(entries: &FieldRef, nested: Nested) -> Result<Self> {
        let DataType::Struct(pair) = entries.data_type() else {
            return Err(Error::failed("a map without entries"));
        };
        if *pair[0].data_type() != DataType::Utf8 {
            let message = format!("the keys of a payload's map cannot be of type {}", pair[0].data_type());
            return Err(Error::usage(message).hint("names in JSON are texts: write MAP<STRING, …>"));
        }
        let values = Box::new(Column::new(pair[1].data_type(), nested)?);
        Ok(Self { keys: StringBuilder::new(), values, ends: Vec::new(), valid: Vec::new(), length: 0 })
    }

    fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
        let mut found: Vec<(String, LazyValue)> = Vec::new();
        let (whole, kept) = (json.clone(), rescue.members.len());
        for entry in json.into_object_iter().into_iter().flatten() {
            let Ok((name, item)) = entry else {
                rescue.members.truncate(kept);
                rescue.keep(&whole);
                return self.append_null();
            };
            match found.iter_mut().find(|(known, _)| *known == *name) {
                Some((_, known)) => {
                    let earlier = std::mem::replace(known, item);
                    rescue.within(member(&name), |rescue| rescue.keep(&earlier));
                }
                None => found.push((name.to_string(), item)),
            }
        }
        for (name, item) in found {
            rescue.within(member(&name), |rescue| self.values.read(item, rescue));
            self.keys.append_value(name);
            self.length += 1;
        }
        self.ends.push(self.length);
        self.valid.push(true);
    }

    fn append_null(&mut self) {
        self.ends.push(self.length);
        self.valid.push(false);
    }

    fn finish(&mut self, entries: &FieldRef, sorted: bool) -> Result<ArrayRef> {
        let DataType::Struct(pair) = entries.data_type() else {
            return Err(Error::failed("a map without entries"));
        };
        let mut offsets = vec![0];
        offsets.append(&mut self.ends);
        self.length = 0;
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let columns = vec![Arc::new(self.keys.finish()) as ArrayRef, self.values.finish(pair[1].data_type())?];
        let values = StructArray::try_new(pair.clone(), columns, None)?;
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, values, Some(valid), sorted)?))
    }
}
