//! Column types: their text in contracts, their Arrow form, and which fits into which.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::Column;

/// The columns that SQL sees in a bronze table after the payload's own.
pub(super) const SYSTEM_COLUMNS: [&str; 7] =
    ["payload", "_source", "_row", "_batch", "_ingested_at", "_rescued", "_payload_hash"];
/// Those that it sees besides where the records are rows of a database.
pub(super) const CHANGE_COLUMNS: [&str; 3] = ["_op", "_key", "_row_hash"];

/// What a contract may write for a type.
pub(super) const TYPES: &str = "types: STRING, BOOLEAN, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE, \
     TIMESTAMP, BINARY, ARRAY<T>, STRUCT<name T, …>, MAP<K,V>";

/// Types nest this deep at most, so that a hostile text cannot exhaust the stack.
const MAX_DEPTH: usize = 32;

/// TIMESTAMP: UTC, microseconds.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema that SQL sees of a bronze table: the payload's fields, then the system columns; those of a database's table
/// also say what happened to the row.
pub fn bronze_schema(payload: &Fields, is_database: bool) -> SchemaRef {
    let change: &[&str] = if is_database { &CHANGE_COLUMNS } else { &[] };
    let names = SYSTEM_COLUMNS.iter().chain(change);
    let system = names.map(|name| Arc::new(Field::new(*name, system_type(name), true)));
    Arc::new(Schema::new(payload.iter().cloned().chain(system).collect::<Fields>()))
}

fn system_type(name: &str) -> DataType {
    match name {
        "_row" | "_batch" | "_payload_hash" => DataType::Int64,
        "_ingested_at" => timestamp(),
        _ => DataType::Utf8,
    }
}

/// What the records of a bronze table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BronzeKind {
    /// What files hold.
    Records,
    /// Files themselves.
    Originals,
    /// Rows of a database's table.
    Rows,
}

/// The columns that a bronze table has in the lake. Those of a database's table are followed by `record`, which the
/// database's own types make.
pub fn bronze_columns(kind: BronzeKind) -> Vec<Column> {
    let column = |name: &str, data_type: DataType, required: bool, comment: &str| Column {
        name: name.to_owned(),
        data_type,
        required,
        comment: comment.to_owned(),
    };
    let system = |name: &str, comment: &str| column(name, system_type(name), true, comment);
    let mut columns = vec![
        column("payload", DataType::Utf8, false, "the record as it came; of CSV, its texts by column, as JSON"),
        column(
            "payload_bytes",
            DataType::Binary,
            false,
            "the record byte for byte, where payload is not: CSV, or not UTF-8",
        ),
        column("payload_fault", DataType::Utf8, false, "why the record could not be taken apart, and at which line"),
        system("_source", "URI of the file or object that the record came from"),
        system("_row", "the record's position in its source"),
        system("_batch", "the batch that brought the record, from 1 a source"),
        system("_ingested_at", "when the batch was taken, UTC"),
    ];
    if kind == BronzeKind::Originals {
        columns.extend([
            column("uri", DataType::Utf8, true, "URI of the file"),
            column("size", DataType::Int64, true, "bytes"),
            column("modified_at", timestamp(), false, "when the file was last changed, UTC; NULL where nobody says"),
            column("sha256", DataType::Utf8, false, "SHA-256 of its bytes; NULL when it could not be opened"),
            column("media_type", DataType::Utf8, false, "what it is by its content, whatever its name says"),
        ]);
    }
    if kind == BronzeKind::Rows {
        columns.extend([
            system(
                "_op",
                "insert, update, delete; replace: the row is part of the whole content, of a table without a key",
            ),
            column("_key", DataType::Utf8, false, "JSON of the key's columns; NULL where the table has no key"),
            system("_row_hash", "XXH3, 128 bits, of the row as JSON"),
        ]);
    }
    columns
}

/// A system column that decides which record is later, as a column of a by-record table; none for other names.
pub(super) fn sequence_column(name: &str) -> Option<Column> {
    let comment = match name {
        "_batch" => "the batch that brought the record",
        "_row" => "the record's position in its source",
        _ => return None,
    };
    let comment = comment.to_owned();
    Some(Column { name: name.to_owned(), data_type: system_type(name), required: false, comment })
}

/// The columns that every by-record table has besides its own.
pub(super) fn record_columns() -> [Column; 2] {
    let column = |name: &str, comment: &str| Column {
        name: name.to_owned(),
        data_type: system_type(name),
        required: false,
        comment: comment.to_owned(),
    };
    [
        column("_rescued", "JSON of what did not fit the declared types, and of unknown fields"),
        column("_payload_hash", "hash of the record, breaks ties of equal sequences"),
    ]
}

/// Whether SQL can name it without quotes: small letters, digits and `_`, a letter or `_` first.
pub(super) fn is_identifier(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    starts_well && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Reads a type such as `ARRAY<STRUCT<name STRING, at TIMESTAMP>>`; a field's name may stand in backquotes.
///
/// # Errors
/// The byte offset in `text` and what is wrong there.
pub fn parse_type(text: &str) -> Result<DataType, (usize, String)> {
    let mut parser = Parser { text, at: 0 };
    let data_type = parser.data_type(0)?;
    match parser.peek() {
        None => Ok(data_type),
        Some(found) => Err((parser.at, format!("'{found}' after the end of the type"))),
    }
}

type Parsed<T> = Result<T, (usize, String)>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn expect(&mut self, wanted: char) -> Parsed<()> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.at += wanted.len_utf8();
                Ok(())
            }
            Some(found) => Err((self.at, format!("'{found}' where '{wanted}' belongs"))),
            None => Err((self.at, format!("the type ends where '{wanted}' belongs"))),
        }
    }

    /// Whether another element follows in a list that `close` ends.
    fn more(&mut self, close: char) -> Parsed<bool> {
        if self.peek() == Some(',') {
            self.at += 1;
            return Ok(true);
        }
        self.expect(close).map(|()| false)
    }

    fn word(&mut self, what: &str) -> Parsed<(usize, String)> {
        self.peek();
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length == 0 {
            return Err((start, format!("{what} is missing")));
        }
        self.at += length;
        Ok((start, rest[..length].to_owned()))
    }

    fn data_type(&mut self, depth: usize) -> Parsed<DataType> {
        let (start, word) = self.word("a type")?;
        if depth > MAX_DEPTH {
            return Err((start, format!("types nest more than {MAX_DEPTH} deep")));
        }
        Ok(match word.to_ascii_uppercase().as_str() {
            "STRING" => DataType::Utf8,
            "BOOLEAN" => DataType::Boolean,
            "SMALLINT" => DataType::Int16,
            "INT" => DataType::Int32,
            "BIGINT" => DataType::Int64,
            "FLOAT" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DATE" => DataType::Date32,
            "TIMESTAMP" => timestamp(),
            "BINARY" => DataType::Binary,
            "DECIMAL" => self.decimal()?,
            "ARRAY" => self.array(depth)?,
            "STRUCT" => self.structure(depth)?,
            "MAP" => self.map(depth)?,
            _ => return Err((start, format!("unknown type '{word}'"))),
        })
    }

    fn decimal(&mut self) -> Parsed<DataType> {
        self.expect('(')?;
        let (at, precision) = self.word("a precision")?;
        self.expect(',')?;
        let (scale_at, scale) = self.word("a scale")?;
        self.expect(')')?;
        let precision = precision
            .parse()
            .ok()
            .filter(|p| (1..=38).contains(p))
            .ok_or((at, "precision is from 1 to 38".to_owned()))?;
        let scale = scale
            .parse()
            .ok()
            .filter(|s| (0..=precision as i8).contains(s))
            .ok_or((scale_at, "scale is from 0 to the precision".to_owned()))?;
        Ok(DataType::Decimal128(precision, scale))
    }

    fn array(&mut self, depth: usize) -> Parsed<DataType> {
        self.expect('<')?;
        let element = self.data_type(depth + 1)?;
        self.expect('>')?;
        Ok(DataType::List(Arc::new(Field::new("element", element, true))))
    }

    fn structure(&mut self, depth: usize) -> Parsed<DataType> {
        self.expect('<')?;
        let mut fields: Vec<FieldRef> = Vec::new();
        loop {
            let (at, name) = self.field_name()?;
            if fields.iter().any(|field| *field.name() == name) {
                return Err((at, format!("field '{name}' stands twice")));
            }
            fields.push(Arc::new(Field::new(name, self.data_type(depth + 1)?, true)));
            if !self.more('>')? {
                return Ok(DataType::Struct(fields.into()));
            }
        }
    }

    fn field_name(&mut self) -> Parsed<(usize, String)> {
        if self.peek() != Some('`') {
            return self.word("a field's name");
        }
        let start = self.at;
        let quoted = &self.text[start + 1..];
        let length = quoted.find('`').ok_or((start, "the backquote is not closed".to_owned()))?;
        self.at += length + 2;
        Ok((start, quoted[..length].to_owned()))
    }

    fn map(&mut self, depth: usize) -> Parsed<DataType> {
        self.expect('<')?;
        let key = self.data_type(depth + 1)?;
        self.expect(',')?;
        let value = self.data_type(depth + 1)?;
        self.expect('>')?;
        // Arrow and Delta know no NULL as a map's key.
        let entries = vec![Field::new("key", key, false), Field::new("value", value, true)];
        Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries.into()), false)), false))
    }
}

/// The type as a contract writes it; Arrow's own name for types that contracts do not know.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "TIMESTAMP".into(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "TIMESTAMP(9)".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("ARRAY<{}>", type_name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("MAP<{}, {}>", type_name(pair[0].data_type()), type_name(pair[1].data_type()))
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// Whether every value of `from` is a value of the declared type `to`, so that a cast loses nothing.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        _ if from == to => true,
        (Null, _) => true,
        (Dictionary(_, value), _) => fits(value, to),
        (LargeUtf8 | Utf8View, Utf8) | (LargeBinary | BinaryView | FixedSizeBinary(_), Binary) => true,
        (Int8 | UInt8, Int16) | (Int8 | UInt8 | Int16 | UInt16, Int32) => true,
        (Int8 | UInt8 | Int16 | UInt16 | Int32 | UInt32, Int64) => true,
        (Int8 | UInt8 | Int16 | UInt16 | Float16, Float32) => true,
        (Int8 | UInt8 | Int16 | UInt16 | Int32 | UInt32 | Float16 | Float32, Float64) => true,
        (Decimal128(p, s), Decimal128(to_p, to_s)) => {
            to_s >= s && i16::from(*to_p) - i16::from(*to_s) >= i16::from(*p) - i16::from(*s)
        }
        // The lake knows UTC only, so a timestamp without a zone is UTC.
        (Timestamp(unit, _), Timestamp(TimeUnit::Microsecond, _)) => *unit != TimeUnit::Nanosecond,
        (List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item), List(to)) => {
            fits(item.data_type(), to.data_type())
        }
        (Struct(fields), Struct(to)) => {
            fields.len() == to.len()
                && fields.iter().zip(to).all(|(a, b)| a.name() == b.name() && fits(a.data_type(), b.data_type()))
        }
        (Map(entries, _), Map(to, _)) => match (entries.data_type(), to.data_type()) {
            (Struct(pair), Struct(to)) => pair.iter().zip(to).all(|(a, b)| fits(a.data_type(), b.data_type())),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the values of the type have an order that decides which row is later.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Boolean | DataType::Binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_and_print_the_same() {
        for text in [
            "STRING",
            "DECIMAL(10,2)",
            "ARRAY<STRUCT<a STRING, b ARRAY<DATE>>>",
            "MAP<STRING, STRUCT<x DOUBLE, y TIMESTAMP>>",
            "STRUCT<id SMALLINT, n INT, big BIGINT, f FLOAT, b BINARY, t BOOLEAN>",
        ] {
            assert_eq!(type_name(&parse_type(text).unwrap()), text);
        }
    }

    #[test]
    fn a_field_may_have_any_name_in_backquotes() {
        let DataType::Struct(fields) = parse_type("struct<`a-b c` string>").unwrap() else { panic!("no struct") };
        assert_eq!(fields[0].name(), "a-b c");
    }

    #[test]
    fn mistakes_are_told_where_they_are() {
        for (text, at, message) in [
            ("STRNG", 0, "unknown type 'STRNG'"),
            ("ARRAY<STRNG>", 6, "unknown type 'STRNG'"),
            ("ARRAY<STRING", 12, "the type ends where '>' belongs"),
            ("STRUCT<a STRING, a INT>", 17, "field 'a' stands twice"),
            ("STRUCT<a: STRING>", 8, "a type is missing"),
            ("STRUCT<`a STRING>", 7, "the backquote is not closed"),
            ("DECIMAL(40,2)", 8, "precision is from 1 to 38"),
            ("DECIMAL(4,5)", 10, "scale is from 0 to the precision"),
            ("STRING STRING", 7, "'S' after the end of the type"),
            ("", 0, "a type is missing"),
        ] {
            assert_eq!(parse_type(text), Err((at, message.to_owned())), "{text}");
        }
        let deep = format!("{}STRING{}", "ARRAY<".repeat(40), ">".repeat(40));
        assert!(parse_type(&deep).unwrap_err().1.contains("deep"));
    }

    #[test]
    fn only_lossless_conversions_fit() {
        let fit = |from: &DataType, to: &str| fits(from, &parse_type(to).unwrap());
        let item = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
        assert!(fit(&DataType::Int32, "BIGINT"));
        assert!(fit(&DataType::Utf8View, "STRING"));
        assert!(fit(&item(DataType::Int32), "ARRAY<BIGINT>"));
        assert!(fit(&DataType::Timestamp(TimeUnit::Second, None), "TIMESTAMP"));
        assert!(fit(&DataType::Decimal128(5, 1), "DECIMAL(6,2)"));
        assert!(!fit(&DataType::Decimal128(5, 1), "DECIMAL(5,2)"));
        assert!(!fit(&DataType::Int64, "INT"));
        assert!(!fit(&DataType::UInt64, "BIGINT"));
        assert!(!fit(&DataType::Int64, "DOUBLE"));
        assert!(!fit(&DataType::Timestamp(TimeUnit::Nanosecond, None), "TIMESTAMP"));
        assert!(!fit(&item(DataType::Utf8), "ARRAY<DATE>"));
    }

    #[test]
    fn sql_sees_the_payload_and_then_the_system_columns() {
        let DataType::Struct(payload) = parse_type("STRUCT<id STRING, at DATE>").unwrap() else { panic!("no struct") };
        let schema = bronze_schema(&payload, false);
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names[..2], ["id", "at"]);
        assert_eq!(names[2..], SYSTEM_COLUMNS);
    }
}
