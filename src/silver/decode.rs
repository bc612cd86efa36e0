//! Typed reading: JSON payloads into Arrow columns, and what does not fit into `_rescued`.
//!
//! A lossless conversion is made (`"1040913"` is 1040913, `"True"` is true). A value that does not fit its declared type,
//! a field that the contract does not know, and all but the last of a field given twice are kept as they came, in a JSON
//! object from path to value. A payload that is no JSON object at all is unreadable, with its reason.

use std::fmt::Write;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray, StringBuilder,
    StructArray, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue};
use std::sync::Arc;

use super::value;
use crate::error::{Error, Result};

/// Levels of nesting, beyond which a payload is unreadable: reading deeper ones could exhaust the stack.
pub const MAX_DEPTH: usize = 256;

/// Why a payload could not be read as a JSON object. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON; the byte at which that shows.
    NotJson(usize),
    /// It is JSON, but no object.
    NotAnObject,
    /// It is nested deeper than [`MAX_DEPTH`] levels.
    TooDeep,
    /// It is not UTF-8.
    NotUtf8,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotJson(at) => write!(f, "not JSON at byte {at}"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
        }
    }
}

/// Reads payloads into the columns of a payload type.
pub struct Decoder {
    fields: Fields,
    root: StructColumn,
    rescued: StringBuilder,
    rescue: Rescue,
}

impl Decoder {
    /// A decoder for payloads of these fields.
    ///
    /// # Errors
    /// When a field has a type that no JSON value is read as.
    pub fn new(fields: &Fields) -> Result<Self> {
        Ok(Self {
            fields: fields.clone(),
            root: StructColumn::new(fields)?,
            rescued: StringBuilder::new(),
            rescue: Rescue::default(),
        })
    }

    /// Reads one payload as one row. An unreadable payload is no row.
    ///
    /// # Errors
    /// Why it is unreadable.
    pub fn read(&mut self, payload: &str) -> Result<(), Unreadable> {
        if is_too_deep(payload.as_bytes()) {
            return Err(Unreadable::TooDeep);
        }
        let value: LazyValue =
            sonic_rs::from_str(payload).map_err(|error| Unreadable::NotJson(error.offset().min(payload.len())))?;
        if !value.is_object() {
            return Err(Unreadable::NotAnObject);
        }
        self.root.read(value, &mut self.rescue);
        self.rescue.end_row(&mut self.rescued);
        Ok(())
    }

    /// The columns of the rows read so far, those of the payload's fields first, then `_rescued`.
    ///
    /// # Errors
    /// When the columns do not fit together; a defect.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = self.root.finish_children(&self.fields)?;
        columns.push(Arc::new(self.rescued.finish()));
        Ok(columns)
    }
}

/// Whether a text may nest deeper than [`MAX_DEPTH`]. Brackets inside strings do not count.
fn is_too_deep(text: &[u8]) -> bool {
    if memchr::memchr2_iter(b'[', b'{', text).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The rescued values of the row that is being read.
#[derive(Default)]
struct Rescue {
    /// Where the reader stands, as in `content.labels[0].value`.
    path: String,
    /// The members of the JSON object, without its braces.
    members: String,
}

impl Rescue {
    fn keep(&mut self, json: &LazyValue) {
        let separator = if self.members.is_empty() { "" } else { "," };
        let path = serde_json::Value::from(self.path.as_str());
        // Writing to a String cannot fail.
        let _ = write!(self.members, "{separator}{path}:{}", value::raw(json));
    }

    /// Runs with a step added to the path.
    fn within<T>(&mut self, step: impl FnOnce(&mut String), run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        step(&mut self.path);
        let result = run(self);
        self.path.truncate(length);
        result
    }

    fn end_row(&mut self, column: &mut StringBuilder) {
        if self.members.is_empty() {
            column.append_null();
        } else {
            column.append_value(format!("{{{}}}", self.members));
            self.members.clear();
        }
    }
}

fn member(name: &str) -> impl FnOnce(&mut String) {
    move |path| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

fn element(index: usize) -> impl FnOnce(&mut String) {
    move |path| {
        let _ = write!(path, "[{index}]");
    }
}

/// A column that is being built. Reading a value always adds exactly one row.
enum Column {
    String(StringBuilder),
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    List(ListColumn),
    Struct(StructColumn),
}

impl Column {
    fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Utf8 => Self::String(StringBuilder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::BigInt(Int64Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(zone.clone()))
            }
            DataType::List(element) => Self::List(ListColumn::new(element)?),
            DataType::Struct(fields) => Self::Struct(StructColumn::new(fields)?),
            other => {
                return Err(Error::usage(format!("a payload cannot have a field of type {other}"))
                    .hint("use STRING, BOOLEAN, INT, BIGINT, DOUBLE, DATE, TIMESTAMP, ARRAY or STRUCT"));
            }
        })
    }

    fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
        let fitted = match self {
            Self::List(list) if json.is_array() => return list.read(json, rescue),
            Self::Struct(structure) if json.is_object() => return structure.read(json, rescue),
            Self::String(builder) => fit(value::string(&json), |text| builder.append_value(text)),
            Self::Boolean(builder) => fit(value::boolean(&json), |flag| builder.append_value(flag)),
            Self::Int(builder) => {
                fit(value::integer(&json).and_then(|n| i32::try_from(n).ok()), |n| builder.append_value(n))
            }
            Self::BigInt(builder) => fit(value::integer(&json), |n| builder.append_value(n)),
            Self::Double(builder) => fit(value::double(&json), |x| builder.append_value(x)),
            Self::Date(builder) => fit(value::date(&json), |days| builder.append_value(days)),
            Self::Timestamp(builder) => fit(value::timestamp(&json), |micros| builder.append_value(micros)),
            Self::List(_) | Self::Struct(_) => false,
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
            Self::String(builder) => builder.append_null(),
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::List(list) => list.append_null(),
            Self::Struct(structure) => structure.append_null(),
        }
    }

    fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(match (self, data_type) {
            (Self::String(builder), _) => Arc::new(builder.finish()),
            (Self::Boolean(builder), _) => Arc::new(builder.finish()),
            (Self::Int(builder), _) => Arc::new(builder.finish()),
            (Self::BigInt(builder), _) => Arc::new(builder.finish()),
            (Self::Double(builder), _) => Arc::new(builder.finish()),
            (Self::Date(builder), _) => Arc::new(builder.finish()),
            (Self::Timestamp(builder), _) => Arc::new(builder.finish()),
            (Self::List(list), DataType::List(element)) => list.finish(element)?,
            (Self::Struct(structure), DataType::Struct(fields)) => structure.finish(fields)?,
            (_, other) => new_null_array(other, 0),
        })
    }
}

fn fit<T>(value: Option<T>, append: impl FnOnce(T)) -> bool {
    value.map(append).is_some()
}

struct ListColumn {
    element: Box<Column>,
    ends: Vec<i32>,
    valid: Vec<bool>,
    length: i32,
}

impl ListColumn {
    fn new(element: &FieldRef) -> Result<Self> {
        let element = Box::new(Column::new(element.data_type())?);
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

struct StructColumn {
    names: Vec<String>,
    children: Vec<Column>,
    valid: Vec<bool>,
}

impl StructColumn {
    fn new(fields: &Fields) -> Result<Self> {
        Ok(Self {
            names: fields.iter().map(|field| field.name().clone()).collect(),
            children: fields.iter().map(|field| Column::new(field.data_type())).collect::<Result<_>>()?,
            valid: Vec::new(),
        })
    }

    fn read(&mut self, json: LazyValue, rescue: &mut Rescue) {
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

    fn append_null(&mut self) {
        self.children.iter_mut().for_each(Column::append_null);
        self.valid.push(false);
    }

    fn finish_children(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::parse_type;
    use arrow::array::{Array, RecordBatch};
    use arrow::datatypes::Schema;
    use arrow::json::ArrayWriter;

    fn decode(payload_type: &str, payload: &str) -> Result<String, Unreadable> {
        let DataType::Struct(fields) = parse_type(payload_type).unwrap() else { panic!("not a struct") };
        let mut decoder = Decoder::new(&fields).unwrap();
        decoder.read(payload)?;
        let columns = decoder.finish().unwrap();
        let mut names: Vec<Field> = fields.iter().map(|field| field.as_ref().clone()).collect();
        names.push(Field::new("_rescued", DataType::Utf8, true));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(names)), columns).unwrap();
        let mut writer = ArrayWriter::new(Vec::new());
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        Ok(String::from_utf8(writer.into_inner()).unwrap())
    }

    #[test]
    fn lossless_conversions_are_made() {
        let got = decode(
            "STRUCT<id STRING, n BIGINT, ok BOOLEAN, d DATE, at TIMESTAMP, x DOUBLE>",
            r#"{"id": 12, "n": "1040913", "ok": "True", "d": "2021-05-02T00:00:00", "at": 1626971804.163436, "x": "2.5"}"#,
        );
        assert_eq!(
            got.unwrap(),
            r#"[{"id":"12","n":1040913,"ok":true,"d":"2021-05-02","at":"2021-07-22T16:36:44.163436Z","x":2.5}]"#
        );
    }

    #[test]
    fn white_space_around_values_does_not_count() {
        let payload = "{ \"n\" : 1 ,\n \"at\" : 1626971804.5\n  , \"l\": [ 1 , 2 ] , \"u\" : 3\n }\n";
        assert_eq!(
            decode("STRUCT<n BIGINT, at TIMESTAMP, l ARRAY<STRING>>", payload).unwrap(),
            r#"[{"n":1,"at":"2021-07-22T16:36:44.500Z","l":["1","2"],"_rescued":"{\"u\":3}"}]"#
        );
    }

    #[test]
    fn what_does_not_fit_is_rescued_with_its_path() {
        let got = decode(
            "STRUCT<id STRING, labels ARRAY<STRUCT<d DATE, v BOOLEAN>>>",
            r#"{"id": {"x": 1}, "new": [1, 2], "labels": [{"d": "2021-02-30", "v": true}, {"d": "02/05/2021", "v": "maybe"}, 7]}"#,
        );
        assert_eq!(
            got.unwrap(),
            concat!(
                r#"[{"labels":[{"v":true},{},null],"#,
                r#""_rescued":"{\"new\":[1, 2],\"id\":{\"x\": 1},\"labels[0].d\":\"2021-02-30\",\"labels[1].d\":\"02/05/2021\",\"labels[1].v\":\"maybe\",\"labels[2]\":7}"}]"#
            )
        );
    }

    #[test]
    fn of_a_field_given_twice_the_last_counts_and_the_first_is_rescued() {
        assert_eq!(decode("STRUCT<a BIGINT>", r#"{"a": 1, "a": 2}"#).unwrap(), r#"[{"a":2,"_rescued":"{\"a\":1}"}]"#);
    }

    #[test]
    fn an_object_with_a_name_that_is_no_text_is_rescued_whole() {
        let got = decode(
            "STRUCT<a BIGINT, s STRUCT<b BIGINT, c BIGINT>>",
            r#"{"a": 1, "s": {"new": 1, "b": 2, "\ud800": 3, "c": 4}}"#,
        );
        assert_eq!(got.unwrap(), r#"[{"a":1,"_rescued":"{\"s\":{\"new\": 1, \"b\": 2, \"\\ud800\": 3, \"c\": 4}}"}]"#);
    }

    #[test]
    fn unreadable_payloads_have_a_reason_and_make_no_row() {
        let ty = "STRUCT<a BIGINT>";
        assert_eq!(decode(ty, "[1]"), Err(Unreadable::NotAnObject));
        assert!(matches!(decode(ty, r#"{"a": 1,}"#), Err(Unreadable::NotJson(_))));
        assert!(matches!(decode(ty, r#"{"a": {"b": tru}}"#), Err(Unreadable::NotJson(_))));
        assert!(matches!(decode(ty, r#"{"a": 1} x"#), Err(Unreadable::NotJson(_))));
        assert!(matches!(decode(ty, ""), Err(Unreadable::NotJson(_))));
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(decode(ty, &deep), Err(Unreadable::TooDeep));
        let brackets_in_text = format!("{{\"a\": 1, \"t\": \"{}\"}}", "[".repeat(10_000));
        assert!(decode(ty, &brackets_in_text).is_ok());
    }

    #[test]
    fn an_unreadable_payload_between_others_leaves_columns_of_equal_length() {
        let DataType::Struct(fields) = parse_type("STRUCT<a BIGINT, l ARRAY<STRING>>").unwrap() else { panic!() };
        let mut decoder = Decoder::new(&fields).unwrap();
        decoder.read(r#"{"a": 1, "l": ["x"]}"#).unwrap();
        decoder.read(r#"{"a": 1, "l": ["x"}"#).unwrap_err();
        decoder.read(r#"{"l": null}"#).unwrap();
        assert!(decoder.finish().unwrap().iter().all(|column| column.len() == 2));
        decoder.read(r#"{}"#).unwrap();
        assert!(decoder.finish().unwrap().iter().all(|column| column.len() == 1));
    }
}
