//! `croissant.json`: the dataset as Croissant 1.1 JSON-LD, for programs.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};

use super::digest::FileHash;
use super::manifest::SplitCounts;
use super::recipe::Recipe;
use super::scan;
use crate::error::Result;

/// The standard context of Croissant 1.1, name by name.
const CONTEXT: &str = include_str!("croissant_context.json");

const PARQUET: &str = "application/x-parquet";

/// The document. `descriptions` are those of columns; `files` all that the dataset has so far.
///
/// # Errors
/// When a Parquet file cannot be read.
pub fn document(
    recipe: &Recipe,
    descriptions: &BTreeMap<String, String>,
    splits: &[SplitCounts],
    files: &[FileHash],
    folder: &Path,
) -> Result<Value> {
    let context: Value = serde_json::from_str(CONTEXT)?;
    let mut document = json!({
        "@context": context,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": recipe.name,
        "description": description(recipe, splits),
        "version": format!("{}.0.0", recipe.release),
        "datePublished": recipe.published_at.format("%Y-%m-%d").to_string(),
        "citeAs": format!("{}, release {} of {}", recipe.name, recipe.release, recipe.published_at.format("%Y-%m-%d")),
        // The folder that this file lies in.
        "url": "./",
        "creator": {"@type": "Organization", "name": "pipeline dataset build"},
        "license": recipe.license.as_deref().unwrap_or("not stated"),
        "distribution": files.iter().map(file_object).collect::<Vec<_>>(),
        "isBasedOn": sources(recipe),
    });
    let mut records = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("data/")) {
        records.push(record_set(recipe, descriptions, file, folder)?);
    }
    if let Some(members) = document.as_object_mut() {
        members.insert("recordSet".to_owned(), Value::from(records));
    }
    Ok(document)
}

fn description(recipe: &Recipe, splits: &[SplitCounts]) -> String {
    let sizes: Vec<String> = splits.iter().map(|split| format!("{} {} rows", split.name, split.rows)).collect();
    let head = if recipe.description.is_empty() { &recipe.name } else { &recipe.description };
    format!("{head} Splits: {}. Made from release {} by: {}", sizes.join(", "), recipe.release, recipe.sql.trim())
}

/// The tables and references that the rows are from, each with what tells it from its other versions.
fn sources(recipe: &Recipe) -> Vec<Value> {
    let source = |name: &str, version: String| json!({"@type": "sc:CreativeWork", "name": name, "version": version});
    let tables = recipe.tables.iter().map(|(table, version)| source(table, version.to_string()));
    let references =
        recipe.references.iter().map(|(name, sha256)| source(&format!("reference.{name}"), sha256.clone()));
    tables.chain(references).collect()
}

fn file_object(file: &FileHash) -> Value {
    let format = match file.path.rsplit_once('.').map(|(_, end)| end) {
        Some("parquet") => PARQUET,
        Some("tar") => "application/x-tar",
        Some("svg") => "image/svg+xml",
        _ => "text/markdown",
    };
    json!({
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path.replace('/', "-"),
        "contentUrl": file.path,
        "contentSize": format!("{} B", file.bytes),
        "encodingFormat": format,
        "sha256": file.sha256,
    })
}

/// A record set a Parquet file: its name says the split and the part.
fn record_set(
    recipe: &Recipe,
    descriptions: &BTreeMap<String, String>,
    file: &FileHash,
    folder: &Path,
) -> Result<Value> {
    let name = file.path.trim_start_matches("data/").trim_end_matches(".parquet");
    let schema = scan::schema(&folder.join(&file.path))?;
    // A struct is none of Croissant's types; whoever opens the file sees it all the same.
    let columns = schema.fields().iter().filter(|column| is_plain(column.data_type()));
    let fields: Vec<Value> =
        columns.map(|column| field(name, column, descriptions.get(column.name()), &file.path)).collect();
    Ok(json!({
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": format!("Split {}.", name.rsplit_once('-').map_or(name, |(split, _)| split)),
        "key": {"@id": format!("{name}/{}", recipe.id)},
        "field": fields,
    }))
}

fn field(record_set: &str, column: &Field, description: Option<&String>, file: &str) -> Value {
    let (data_type, is_list) = match column.data_type() {
        DataType::List(item) => (croissant_type(item.data_type()), true),
        other => (croissant_type(other), false),
    };
    let mut members = Map::new();
    members.insert("@type".to_owned(), Value::from("cr:Field"));
    members.insert("@id".to_owned(), Value::from(format!("{record_set}/{}", column.name())));
    members.insert("name".to_owned(), Value::from(column.name().as_str()));
    if let Some(description) = description {
        members.insert("description".to_owned(), Value::from(description.as_str()));
    }
    members.insert("dataType".to_owned(), Value::from(data_type));
    if is_list {
        members.insert("isArray".to_owned(), Value::from(true));
        members.insert("arrayShape".to_owned(), Value::from("-1"));
    }
    members.insert("source".to_owned(), json!({"fileObject": {"@id": file}, "extract": {"column": column.name()}}));
    Value::Object(members)
}

fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => !item.data_type().is_nested(),
        other => !other.is_nested(),
    }
}

fn croissant_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "sc:Boolean",
        other if other.is_integer() => "sc:Integer",
        other if other.is_floating() => "sc:Float",
        DataType::Date32 | DataType::Date64 => "sc:Date",
        DataType::Timestamp(..) => "sc:DateTime",
        _ => "sc:Text",
    }
}
