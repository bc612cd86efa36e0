//! A part of a split: rows in a Parquet file and, where originals are copied, the same rows in a tar shard.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use deltalake::parquet::arrow::ArrowWriter;
use deltalake::parquet::arrow::arrow_writer::ArrowWriterOptions;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};

use super::digest::{FileHash, Hashing};
use super::originals::{Original, Status};
use super::rows::check_free;
use crate::error::{Place, Result};
use crate::original::media;

/// Rows of a row group: few enough that long texts of an open one fit in memory.
const ROW_GROUP_ROWS: usize = 16 * 1024;
/// The time that all members of a shard bear, seconds since the epoch: a tar needs one, and some readers refuse 0.
const MEMBER_TIME: u64 = 1;

/// The columns that tell of a row's original.
pub const STATUS: &str = "original_status";
const SHA256: &str = "original_sha256";
const BYTES: &str = "original_bytes";
const MEDIA_TYPE: &str = "original_media_type";
const MEMBER: &str = "original_member";

/// What a dataset says of originals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Originals {
    /// It has none.
    None,
    /// Where they are.
    ByReference,
    /// Where they are, and copies in shards.
    Copied,
}

/// The columns of a dataset's files: those of its rows and those that tell of originals.
///
/// # Errors
/// Wrong use when one of these is taken.
pub fn file_schema(rows: &SchemaRef, originals: Originals) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = rows.fields().to_vec();
    let text = |name: &str, nullable| Arc::new(Field::new(name, DataType::Utf8, nullable));
    let added: Vec<FieldRef> = match originals {
        Originals::None => Vec::new(),
        Originals::ByReference => vec![text(STATUS, false)],
        Originals::Copied => {
            let bytes = Arc::new(Field::new(BYTES, DataType::Int64, true));
            vec![text(STATUS, false), text(MEDIA_TYPE, true), text(SHA256, true), bytes, text(MEMBER, true)]
        }
    };
    for field in added {
        check_free(&fields, field.name())?;
        fields.push(field);
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A part that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its rows.
    pub rows: usize,
    /// Its Parquet file, then its shard.
    pub files: Vec<FileHash>,
}

/// What became of a row's original, as the Parquet file tells it.
pub struct Outcome {
    status: Status,
    media_type: Option<&'static str>,
    copied: Option<(String, u64, String)>,
}

impl Outcome {
    /// Of an original that was not looked at.
    pub fn of_reference(uri: Option<&str>) -> Self {
        let status = if uri.is_some() { Status::Referenced } else { Status::None };
        Self { status, media_type: None, copied: None }
    }
}

type FileWriter = Hashing<BufWriter<File>>;

/// Writes a part.
pub struct PartWriter {
    folder: PathBuf,
    schema: SchemaRef,
    originals: Originals,
    parquet: (String, ArrowWriter<FileWriter>),
    shard: Option<(String, Builder<FileWriter>)>,
    rows: usize,
}

impl PartWriter {
    /// Begins the part `number` of a split below the dataset's folder.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn new(folder: &Path, split: &str, number: usize, schema: &SchemaRef, originals: Originals) -> Result<Self> {
        let name = format!("data/{split}-{number:05}.parquet");
        let options = ArrowWriterOptions::new().with_properties(properties()?).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(create(folder, &name)?, schema.clone(), options).at(&name)?;
        let shard = match originals {
            Originals::Copied => {
                let name = format!("shards/{split}-{number:06}.tar");
                Some((name.clone(), Builder::new(create(folder, &name)?)))
            }
            Originals::None | Originals::ByReference => None,
        };
        let (folder, schema) = (folder.to_owned(), schema.clone());
        Ok(Self { folder, schema, originals, parquet: (name, writer), shard, rows: 0 })
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the shard so far.
    pub fn shard_bytes(&self) -> u64 {
        self.shard.as_ref().map_or(0, |(_, shard)| shard.get_ref().bytes())
    }

    /// Adds a row's original and the row as JSON to the shard.
    ///
    /// # Errors
    /// When the shard cannot be written.
    pub fn add_sample(&mut self, id: &str, original: Original, json: &[u8]) -> Result<Outcome> {
        let Original { status, media_type, copy } = original;
        let Some((name, shard)) = &mut self.shard else { return Ok(Outcome { status, media_type, copied: None }) };
        let key = member_key(id);
        let mut copied = None;
        if let (Some(copy), Some(kind)) = (copy, media_type) {
            let member = format!("{key}.{}", media::extension(kind));
            add(shard, &member, copy.bytes, copy.content).at(name.as_str())?;
            copied = Some((copy.sha256, copy.bytes, member));
        }
        add(shard, &format!("{key}.json"), json.len() as u64, json).at(name.as_str())?;
        Ok(Outcome { status, media_type, copied })
    }

    /// Writes rows with what became of their originals. Batches must always be cut in the same way: pages end with them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, rows: &RecordBatch, outcomes: &[Outcome]) -> Result<()> {
        let mut columns = rows.columns().to_vec();
        columns.extend(columns_of(outcomes, self.originals));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.rows += batch.num_rows();
        self.parquet.1.write(&batch).at(self.parquet.0.as_str())
    }

    /// Ends both files; they have their names once their bytes are on the disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(self) -> Result<Part> {
        let (name, writer) = self.parquet;
        let mut files = vec![finish(&self.folder, name.clone(), writer.into_inner().at(&name)?)?];
        if let Some((name, shard)) = self.shard {
            files.push(finish(&self.folder, name.clone(), shard.into_inner().at(&name)?)?);
        }
        Ok(Part { rows: self.rows, files })
    }
}

fn properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(3)?;
    Ok(WriterProperties::builder()
        .set_created_by("medalha".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

fn create(folder: &Path, name: &str) -> Result<FileWriter> {
    let path = unfinished(folder, name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at(parent.display())?;
    }
    Ok(Hashing::new(BufWriter::new(File::create(&path).at(path.display())?)))
}

fn unfinished(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.part"))
}

fn finish(folder: &Path, name: String, file: FileWriter) -> Result<FileHash> {
    let (mut writer, (sha256, bytes)) = file.finish();
    writer.flush().and_then(|()| writer.get_ref().sync_all()).at(&name)?;
    fs::rename(unfinished(folder, &name), folder.join(&name)).at(&name)?;
    Ok(FileHash { path: name, sha256, bytes })
}

/// Adds a member that says nothing of where and when it was made.
fn add(shard: &mut Builder<FileWriter>, name: &str, bytes: u64, content: impl Read) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MEMBER_TIME);
    header.set_size(bytes);
    Ok(shard.append_data(&mut header, name, content)?)
}

/// An id as the name of a member: readers of shards cut a name at its first dot, so all but letters, digits, `-` and `_`
/// stands as `=` and two hexadecimal digits a byte.
fn member_key(id: &str) -> String {
    let mut key = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(byte)),
            _ => key.push_str(&format!("={byte:02X}")),
        }
    }
    key
}

fn columns_of(outcomes: &[Outcome], originals: Originals) -> Vec<ArrayRef> {
    let texts = |text: fn(&Outcome) -> Option<&str>| -> ArrayRef {
        Arc::new(outcomes.iter().map(text).collect::<StringArray>())
    };
    let status = texts(|outcome| Some(outcome.status.as_str()));
    match originals {
        Originals::None => Vec::new(),
        Originals::ByReference => vec![status],
        Originals::Copied => {
            let bytes = outcomes.iter().map(|outcome| i64::try_from(outcome.copied.as_ref()?.1).ok());
            vec![
                status,
                texts(|outcome| outcome.media_type),
                texts(|outcome| outcome.copied.as_ref().map(|(sha256, ..)| sha256.as_str())),
                Arc::new(bytes.collect::<Int64Array>()),
                texts(|outcome| outcome.copied.as_ref().map(|(.., member)| member.as_str())),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_one_dot_and_an_id_one_member() {
        assert_eq!(member_key("exam_1-a"), "exam_1-a");
        assert_eq!(member_key("2.25.1/../é"), "2=2E25=2E1=2F=2E=2E=2F=C3=A9");
        assert_ne!(member_key("a=2E"), member_key("a."));
    }
}
