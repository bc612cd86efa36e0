//! JSON becomes typed: payloads into Arrow columns, and what does not fit into `_rescued`. Silver reads its records with
//! it, and bronze the rows of databases.
//!
//! A lossless conversion is made (`"1040913"` is 1040913, `"True"` is true). A value that does not fit its declared type,
//! a field that the contract does not know, and all but the last of a field given twice are kept as they came, in a JSON
//! object from path to value. A payload that is no JSON object at all is unreadable, with its reason.
//!
//! It is one pass: a `Cursor` checks the grammar while the values go straight into Arrow columns, since this is most of
//! the work of a first run.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;

use crate::error::Result;
use column::Nested;
use cursor::{Cursor, Kind};
use nested::StructColumn;
use rescue::{Path, Rescue};
use values::Bytes;

mod column;
mod cursor;
mod nested;
mod rescue;
mod value;
mod values;

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
    rescued: Bytes,
    rescue: Rescue,
}

impl Decoder {
    /// A decoder for payloads of these fields.
    ///
    /// # Errors
    /// When a field has a type that no JSON value is read as.
    pub fn new(fields: &Fields) -> Result<Self> {
        let names = fields.iter().map(|field| field.name().clone()).collect();
        Self::with(fields, names, Nested::Rescued)
    }

    /// A decoder for rows of a database, whose columns have the names that are given, a field. A field of type STRING
    /// takes an object or an array as its JSON.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_rows(fields: &Fields, names: Vec<String>) -> Result<Self> {
        Self::with(fields, names, Nested::AsText)
    }

    fn with(fields: &Fields, names: Vec<String>, nested: Nested) -> Result<Self> {
        Ok(Self {
            fields: fields.clone(),
            root: StructColumn::new(fields, names, nested)?,
            rescued: Bytes::default(),
            rescue: Rescue::default(),
        })
    }

    /// Reads one payload as one row. An unreadable payload is no row.
    ///
    /// # Errors
    /// Why it is unreadable.
    pub fn read(&mut self, payload: &str) -> Result<(), Unreadable> {
        let rows = self.root.len();
        let read = self.read_row(payload);
        if read.is_err() {
            self.root.truncate(rows);
            self.rescue.forget_after(0);
        }
        read
    }

    fn read_row(&mut self, payload: &str) -> Result<(), Unreadable> {
        let mut cursor = Cursor::new(payload);
        if cursor.kind()? != Kind::Object {
            cursor.skip()?;
            cursor.end()?;
            return Err(Unreadable::NotAnObject);
        }
        self.root.read(&mut cursor, Path::Root, &mut self.rescue)?;
        cursor.end()?;
        self.end_row();
        Ok(())
    }

    fn end_row(&mut self) {
        self.rescued.append(self.rescue.end_row().as_deref().map(str::as_bytes));
    }

    /// The columns of the rows read so far, those of the payload's fields first, then `_rescued`.
    ///
    /// # Errors
    /// When the columns do not fit together; a defect.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = self.root.finish_children(&self.fields)?;
        columns.push(self.rescued.finish_texts()?);
        Ok(columns)
    }

    /// The rows read so far as one column, without what did not fit; `valid` says of each row whether it is one at all.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_struct(&mut self, valid: Vec<bool>) -> Result<ArrayRef> {
        let mut columns = self.finish()?;
        columns.pop();
        Ok(Arc::new(StructArray::try_new(self.fields.clone(), columns, Some(NullBuffer::from(valid)))?))
    }

    /// Adds a row of nothing.
    pub fn skip(&mut self) {
        self.root.append_null();
        self.end_row();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::parse_type;
    use arrow::array::{Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
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
                r#""_rescued":"{\"id\":{\"x\": 1},\"new\":[1, 2],\"labels[0].d\":\"2021-02-30\",\"labels[1].d\":\"02/05/2021\",\"labels[1].v\":\"maybe\",\"labels[2]\":7}"}]"#
            )
        );
    }

    #[test]
    fn of_a_field_given_twice_the_last_counts_and_the_first_is_rescued() {
        assert_eq!(decode("STRUCT<a BIGINT>", r#"{"a": 1, "a": 2}"#).unwrap(), r#"[{"a":2,"_rescued":"{\"a\":1}"}]"#);
    }

    #[test]
    fn a_map_takes_any_names() {
        let got = decode(
            "STRUCT<m MAP<STRING, DOUBLE>, l ARRAY<DOUBLE>>",
            r#"{"m": {"a": 1.5, "b c": "x", "a": "2", "": null}, "l": [0.5, "no"]}"#,
        );
        let rescued = r#""_rescued":"{\"m.a\":1.5,\"m.b c\":\"x\",\"l[1]\":\"no\"}""#;
        // The writer leaves NULLs out.
        assert_eq!(got.unwrap(), format!(r#"[{{"m":{{"a":2.0}},"l":[0.5,null],{rescued}}}]"#));
        assert_eq!(decode("STRUCT<m MAP<STRING, STRING>>", r#"{"m": {}}"#).unwrap(), r#"[{"m":{}}]"#);
        let rescued = decode("STRUCT<m MAP<STRING, STRING>>", r#"{"m": [1]}"#).unwrap();
        assert_eq!(rescued, r#"[{"_rescued":"{\"m\":[1]}"}]"#);
        let DataType::Struct(fields) = parse_type("STRUCT<m MAP<INT, STRING>>").unwrap() else { panic!("no struct") };
        assert!(Decoder::new(&fields).is_err());
    }

    #[test]
    fn a_member_whose_name_is_no_text_is_rescued() {
        let got = decode(
            "STRUCT<a BIGINT, s STRUCT<b BIGINT, c BIGINT>>",
            r#"{"a": 1, "s": {"new": 1, "b": 2, "\ud800": 3, "c": 4}}"#,
        );
        assert_eq!(got.unwrap(), r#"[{"a":1,"s":{"b":2,"c":4},"_rescued":"{\"s.new\":1,\"s.\\\"\\\\ud800\\\"\":3}"}]"#);
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
