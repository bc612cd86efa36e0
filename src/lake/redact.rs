//! Takes rows out of a table for good: out of every file, whichever version names it.
//!
//! Versions keep their numbers and stay readable; they only lack the rows. New files are written first, then the log names
//! them in place of the old ones, entry by entry, then the old ones go: a reader meets one or the other, and what was
//! killed in between is done again from the start.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::compute::{cast, filter_record_batch, not};
use arrow::datatypes::{DataType, Int64Type};
use deltalake::Path;
use deltalake::kernel::Add;
use deltalake::parquet::arrow::ArrowWriter;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde_json::Value;

use super::log::LOG;
use super::{FileWriter, Lake, LakeTable, TableSpec, reader};
use crate::error::{Error, Place, Result};

/// Where readers of a table begin; it counts actions and bytes, which change.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// What stands in for the rows of a batch; none when they stay as they are.
pub type Redaction = dyn Fn(&RecordBatch) -> Result<Option<RecordBatch>> + Send + Sync;

/// The rows of a batch but for some; none when these are none.
///
/// # Errors
/// When the rows are not those of the batch; a defect.
pub fn without_rows(rows: &RecordBatch, gone: &BooleanArray) -> Result<Option<RecordBatch>> {
    Ok(if gone.true_count() == 0 { None } else { Some(filter_record_batch(rows, &not(gone)?)?) })
}

/// Data files by path, and what stands in for each; nothing where no row is left.
pub type Replacements = HashMap<String, Option<Add>>;

impl LakeTable {
    /// Writes each file anew that holds rows to be redacted, those of old versions and of changed rows too. Nothing names the
    /// new files yet.
    ///
    /// # Errors
    /// When a file cannot be read, or storage fails.
    pub async fn write_redacted(&self, spec: &TableSpec, redaction: &Redaction) -> Result<Replacements> {
        let mut replaced = Replacements::new();
        for file in self.objects().await? {
            let path = file.location.to_string();
            if !path.starts_with(LOG)
                && path.ends_with(".parquet")
                && let Some(new) = self.redacted(spec, &path, file.size, redaction).await.at(&self.name)?
            {
                replaced.insert(path, new);
            }
        }
        Ok(replaced)
    }

    /// Shows all rows that are stored, those of old versions and of changed rows too.
    ///
    /// # Errors
    /// When a file cannot be read, or what they are shown to fails.
    pub async fn each_stored(&self, show: &mut (dyn FnMut(&RecordBatch) -> Result<()> + Send)) -> Result<()> {
        for file in self.objects().await? {
            let path = file.location.to_string();
            if !path.starts_with(LOG) && path.ends_with(".parquet") {
                let mut rows = reader::open(self, &path, file.size, None).await?.build().at(&path)?;
                while let Some(batch) = rows.try_next().await.at(&path)? {
                    show(&batch)?;
                }
            }
        }
        Ok(())
    }

    async fn objects(&self) -> Result<Vec<ObjectMeta>> {
        self.store().list(None).try_collect().await.at(&self.name)
    }

    /// What stands in for a file; `None` when all of its rows stay.
    async fn redacted(
        &self,
        spec: &TableSpec,
        path: &str,
        size: u64,
        redaction: &Redaction,
    ) -> Result<Option<Option<Add>>> {
        if !self.is_concerned(path, size, redaction).await? {
            return Ok(None);
        }
        let builder = reader::open(self, path, size, None).await?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut writer = FileWriter::like(self, spec, builder.schema().clone(), folder)?;
        let mut rows = builder.build().at(path)?;
        while let Some(batch) = rows.try_next().await.at(path)? {
            let kept = redaction(&batch)?.unwrap_or(batch);
            if kept.num_rows() > 0 {
                writer.write(&kept).await?;
            }
        }
        Ok(Some(writer.close().await?))
    }

    async fn is_concerned(&self, path: &str, size: u64, redaction: &Redaction) -> Result<bool> {
        let mut rows = reader::open(self, path, size, None).await?.build().at(path)?;
        while let Some(batch) = rows.try_next().await.at(path)? {
            if redaction(&batch)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the table's log, checkpoints too, name new files in place of old ones, those of other tables that its commits
    /// carry included.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub async fn rename_in_log(&self, lake: &Lake, replaced: &Replacements) -> Result<()> {
        for file in self.objects().await? {
            // Entries are replaced whatever they are by then, so nobody else may have come meanwhile.
            lake.check_lease().await?;
            let path = file.location.to_string();
            let Some(name) = path.strip_prefix(LOG).map(|name| name.trim_start_matches('/')) else { continue };
            let new = if name == LAST_CHECKPOINT {
                self.store().delete(&file.location).await.at(&path)?;
                None
            } else if name.contains(".checkpoint.") && name.ends_with(".parquet") {
                self.checkpoint_with(&path, file.size, replaced).await?
            } else if name.ends_with(".json") {
                let bytes = self.store().get(&file.location).await.at(&path)?.bytes().await.at(&path)?;
                entry_with(&bytes, replaced).at(&path)?
            } else {
                None
            };
            if let Some(new) = new {
                self.store().put(&file.location, new.into()).await.at(&path)?;
            }
        }
        Ok(())
    }

    /// Takes files away that were replaced.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn delete_replaced(&self, lake: &Lake, replaced: &Replacements) -> Result<()> {
        for path in replaced.keys() {
            lake.check_lease().await?;
            match self.store().delete(&Path::parse(path).at(&self.name)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error).at(path),
            }
        }
        Ok(())
    }

    async fn checkpoint_with(&self, path: &str, size: u64, replaced: &Replacements) -> Result<Option<Vec<u8>>> {
        let builder = reader::open(self, path, size, None).await?;
        let mut writer = ArrowWriter::try_new(Vec::new(), builder.schema().clone(), None).at(path)?;
        let mut rows = builder.build().at(path)?;
        let mut changed = false;
        while let Some(batch) = rows.try_next().await.at(path)? {
            let new = actions_with(&batch, replaced).at(path)?;
            changed |= new.is_some();
            writer.write(&new.unwrap_or(batch)).at(path)?;
        }
        let bytes = writer.into_inner().at(path)?;
        Ok(changed.then_some(bytes))
    }
}

/// A log entry with other files; `None` when it names none of them.
fn entry_with(bytes: &[u8], replaced: &Replacements) -> Result<Option<Vec<u8>>> {
    let (mut lines, mut changed) = (Vec::new(), false);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut action: Value = serde_json::from_slice(line)?;
        let before = action.clone();
        if amend(&mut action, replaced) {
            changed |= action != before;
            serde_json::to_writer(&mut lines, &action)?;
            lines.push(b'\n');
        } else {
            changed = true;
        }
    }
    Ok(changed.then_some(lines))
}

/// Names new files in an action and whatever it carries; whether it is still of use.
fn amend(value: &mut Value, replaced: &Replacements) -> bool {
    match value {
        Value::Array(items) => {
            items.retain_mut(|item| amend(item, replaced));
            true
        }
        Value::Object(members) => {
            let new = members.get("path").and_then(Value::as_str).and_then(|path| replaced.get(path));
            match new {
                Some(None) => false,
                Some(Some(add)) => {
                    members.insert("path".to_owned(), add.path.as_str().into());
                    for (key, new) in [("size", Value::from(add.size)), ("stats", Value::from(add.stats.clone()))] {
                        if members.contains_key(key) {
                            members.insert(key.to_owned(), new);
                        }
                    }
                    true
                }
                None => members.iter_mut().all(|(_, member)| amend(member, replaced)),
            }
        }
        _ => true,
    }
}

/// The actions of a checkpoint with other files; `None` when it names none of them.
fn actions_with(actions: &RecordBatch, replaced: &Replacements) -> Result<Option<RecordBatch>> {
    let mut columns = actions.columns().to_vec();
    let mut keep = vec![true; actions.num_rows()];
    let mut changed = false;
    for name in ["add", "remove"] {
        let Ok(index) = actions.schema().index_of(name) else { continue };
        let files = columns[index].as_struct();
        let new = of_files(files, replaced)?;
        for (row, new) in new.iter().enumerate() {
            changed |= new.is_some();
            keep[row] &= !matches!(new, Some(None));
        }
        columns[index] = Arc::new(with_files(files, &new)?);
    }
    if !changed {
        return Ok(None);
    }
    let batch = RecordBatch::try_new(actions.schema(), columns)?;
    Ok(Some(filter_record_batch(&batch, &BooleanArray::from(keep))?))
}

/// What stands in for the file of each row, where something does.
fn of_files<'a>(files: &StructArray, replaced: &'a Replacements) -> Result<Vec<Option<&'a Option<Add>>>> {
    let paths = files.column_by_name("path").ok_or_else(|| Error::failed("a checkpoint without paths"))?;
    let paths = cast(paths, &DataType::Utf8)?;
    let paths = paths.as_string::<i32>();
    let of = |row: usize| files.is_valid(row).then(|| replaced.get(paths.value(row))).flatten();
    Ok((0..files.len()).map(of).collect())
}

fn with_files(files: &StructArray, new: &[Option<&Option<Add>>]) -> Result<StructArray> {
    let new = |row: usize| new[row].and_then(Option::as_ref);
    let text = |column: &ArrayRef, of: &dyn Fn(&Add) -> Option<String>| -> Result<ArrayRef> {
        let old = cast(column, &DataType::Utf8)?;
        let old = old.as_string::<i32>();
        let value = |row: usize| match new(row) {
            Some(add) => of(add),
            None => old.is_valid(row).then(|| old.value(row).to_owned()),
        };
        let texts: StringArray = (0..old.len()).map(value).collect();
        Ok(cast(&(Arc::new(texts) as ArrayRef), column.data_type())?)
    };
    let mut columns = files.columns().to_vec();
    for (field, column) in files.fields().iter().zip(&mut columns) {
        match field.name().as_str() {
            "path" => *column = text(column, &|add| Some(add.path.clone()))?,
            "stats" => *column = text(column, &|add| add.stats.clone())?,
            "size" => {
                let old = column.as_primitive::<Int64Type>();
                let size = |row: usize| new(row).map(|add| add.size).or(old.is_valid(row).then(|| old.value(row)));
                *column = Arc::new((0..old.len()).map(size).collect::<Int64Array>());
            }
            _ => {}
        }
    }
    Ok(StructArray::try_new(files.fields().clone(), columns, files.nulls().cloned())?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new() -> Add {
        Add { path: "new.parquet".to_owned(), size: 7, stats: Some("{}".to_owned()), ..Add::default() }
    }

    #[test]
    fn an_entry_names_new_files_and_leaves_out_empty_ones() {
        let replaced = Replacements::from([("a".to_owned(), Some(new())), ("b".to_owned(), None)]);
        let lines = [
            json!({"add": {"path": "a", "size": 9, "stats": "{\"max\": \"x\"}"}}),
            json!({"remove": {"path": "b", "size": 9}}),
            json!({"commitInfo": {"medalha.followers": [{"adds": [{"path": "b"}, {"path": "c"}, {"path": "a", "size": 1}]}]}}),
        ];
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        let got = entry_with(text.join("\n").as_bytes(), &replaced).unwrap().unwrap();
        let got: Vec<Value> =
            got.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
        let expected = [
            json!({"add": {"path": "new.parquet", "size": 7, "stats": "{}"}}),
            json!({"commitInfo": {"medalha.followers": [{"adds": [{"path": "c"}, {"path": "new.parquet", "size": 7}]}]}}),
        ];
        assert_eq!(got, expected);
        assert_eq!(entry_with(b"{\"add\":{\"path\":\"z\"}}", &replaced).unwrap(), None);
    }
}
