//! A database of a test case: a file `<schema>.<table>.json` a table, with its rows.
//!
//! A column's type is STRING, and the first column is the key where its values differ: files have no catalog.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;

use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Map, Value};

use super::super::{Shape, read_records};
use super::{Relation, RelationColumn, Row};
use crate::contract::Format;
use crate::error::{Error, Place, Result};

/// The tables that a folder has files of, sorted by name.
///
/// # Errors
/// When a file's name is no table's, or its content no rows.
pub(super) fn relations(folder: &Path) -> Result<Vec<Relation>> {
    let mut relations = Vec::new();
    for entry in fs::read_dir(folder).at(folder.display())? {
        let path = entry.at(folder.display())?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".json").filter(|name| name.contains('.')) else {
            return Err(Error::usage(format!("{file}: not <schema>.<table>.json")));
        };
        relations.push(relation(name, &file, &rows(&path).at(&file)?));
    }
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(relations)
}

/// The rows of a table.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read(folder: &Path, relation: &Relation) -> Result<BoxStream<'static, Result<Row>>> {
    let mut given = Vec::new();
    for (payload, row) in rows(&folder.join(&relation.from))? {
        let key = relation.key.as_ref().map(|key| {
            let value = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or_default());
            Value::Object(key.iter().map(value).collect())
        });
        given.push(Ok(Row { payload, key: key.map(|key| Bytes::from(key.to_string())) }));
    }
    Ok(futures::stream::iter(given).boxed())
}

fn relation(name: &str, file: &str, rows: &[(Bytes, Map<String, Value>)]) -> Relation {
    let mut columns: Vec<RelationColumn> = Vec::new();
    for name in rows.iter().flat_map(|(_, row)| row.keys()) {
        if !columns.iter().any(|column| column.name == *name) {
            let (name, type_name) = (name.clone(), "text".to_owned());
            columns.push(RelationColumn { name, type_name, data_type: DataType::Utf8 });
        }
    }
    // Of a table without rows it is not known: all that was there is gone, which needs no name.
    let key = match columns.first() {
        None => Some(Vec::new()),
        Some(first) => {
            let mut seen = HashSet::new();
            let differ =
                rows.iter().all(|(_, row)| row.get(&first.name).is_some_and(|key| seen.insert(key.to_string())));
            differ.then(|| vec![first.name.clone()])
        }
    };
    let uri = format!("given:{name}");
    Relation { name: name.to_owned(), uri, columns, key, from: file.to_owned(), is_readable: true }
}

/// The rows of a file, as they are written and as objects.
fn rows(path: &Path) -> Result<Vec<(Bytes, Map<String, Value>)>> {
    let shape = Shape { format: Format::Json, columns: Vec::new(), person_key: None };
    let mut rows = Vec::new();
    let read = read_records(File::open(path)?, &shape, |record| {
        let text = record.payload.unwrap_or_default();
        let row = serde_json::from_str(text).map_err(|error| Error::usage(format!("row {}: {error}", rows.len())))?;
        rows.push((Bytes::copy_from_slice(text.as_bytes()), row));
        Ok::<_, Error>(())
    });
    read.map_err(|error| Error::usage(error.to_string()))?;
    Ok(rows)
}
