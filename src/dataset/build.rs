//! A build: rows from the query, sorted by id, into the parts of their splits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use futures::{StreamExt, stream};

use super::card;
use super::manifest::Manifest;
use super::originals::Originals as Fetcher;
use super::part::{Originals, Outcome, PartWriter, file_schema};
use super::progress::Progress;
use super::recipe::{Plan, Recipe};
use super::rows::{Splitter, Waiting, texts};
use crate::error::{Error, Result};
use crate::query::{Reader, fault};
use crate::release;

/// Rows that are written at once. They are counted from a part's start, so that it does not matter how they came.
const CHUNK: usize = 1024;

/// What a build tells while it works.
#[derive(Debug, Clone, Copy)]
pub enum BuildEvent {
    /// So many parts were found finished.
    Resumed { parts: usize },
    /// So many rows more are in their place.
    Rows { rows: usize },
    /// A part is finished.
    Part { rows: usize, bytes: u64 },
}

/// Who is told.
pub type BuildProgress = Arc<dyn Fn(BuildEvent) + Send + Sync>;

/// Where a dataset is built, from what, and who is told.
pub struct Place {
    /// The folder that holds datasets.
    pub into: PathBuf,
    /// Where relative URIs of originals are looked for.
    pub data: String,
    /// Originals that are fetched side by side.
    pub threads: usize,
    /// Who is told of the progress.
    pub progress: BuildProgress,
}

/// Builds a dataset and pins its release; one that was built before by the same recipe is left as it is, and `false`.
///
/// # Errors
/// When another dataset has the name and is not to be replaced, another process builds it, or reading or writing fails.
pub async fn build(plan: Plan, release: &Reader, place: &Place, replace: bool) -> Result<(Manifest, bool)> {
    let target = place.into.join(&plan.recipe.name);
    if let Some(known) = Manifest::find(&target)? {
        if known.recipe == plan.recipe && !replace {
            return Ok((known, false));
        }
        if !replace {
            return Err(taken(&target, &known));
        }
    } else if target.exists() {
        return Err(Error::usage(format!("{}: there is something else in its place", target.display()))
            .hint("choose another name, or another folder with --into"));
    }
    release::pin(release, Some(&format!("dataset {}", plan.recipe.name))).await?;
    let folder = place.into.join(format!(".{}.building", plan.recipe.name));
    let mut progress = Progress::open(&folder, &plan.recipe.digest()?)?;
    (place.progress)(BuildEvent::Resumed { parts: progress.resumed });
    let descriptions = card::descriptions(&plan.answer.schema());
    let recipe = write_parts(plan, place, &mut progress).await?;
    let manifest = card::write(recipe, &descriptions, &progress)?;
    progress.publish(&target)?;
    Ok((manifest, true))
}

fn taken(target: &Path, known: &Manifest) -> Error {
    let message =
        format!("{}: there is another dataset of this name, of release {}", target.display(), known.recipe.release);
    Error::usage(message).hint("--replace builds it anew; --into names another folder, --as-of another release")
}

async fn write_parts(plan: Plan, place: &Place, progress: &mut Progress) -> Result<Recipe> {
    let Plan { recipe, answer, keys } = plan;
    let mut splitter = Splitter::new(&recipe, &keys, &answer.schema())?;
    let rows_schema = splitter.schema().clone();
    let originals = match (&recipe.original, recipe.copy) {
        (None, _) => Originals::None,
        (Some(_), false) => Originals::ByReference,
        (Some(_), true) => Originals::Copied,
    };
    let shape = Shape { rows: rows_schema.clone(), files: file_schema(&rows_schema, originals)?, originals };
    let fetcher = Fetcher::new(&place.data, keys.uids());
    let names: Vec<String> = recipe.splits.iter().map(|split| split.name.clone()).collect();
    let mut splits: Vec<SplitWriter<'_>> =
        names.iter().map(|name| SplitWriter::new(name, &recipe, &shape, &fetcher, place, progress)).collect();
    let mut rows = answer.rows().await?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| fault::of_rows(&error))?;
        for (split, batch) in splits.iter_mut().zip(splitter.split(&batch)?) {
            split.take(batch, progress).await?;
        }
    }
    for split in splits {
        split.end(progress).await?;
    }
    Ok(recipe)
}

/// The columns of rows and files.
struct Shape {
    rows: SchemaRef,
    files: SchemaRef,
    originals: Originals,
}

/// Writes the parts of one split.
struct SplitWriter<'a> {
    name: &'a str,
    recipe: &'a Recipe,
    shape: &'a Shape,
    fetcher: &'a Fetcher,
    place: &'a Place,
    /// Rows that are in finished parts already.
    skip: usize,
    waiting: Waiting,
    part: Option<PartWriter>,
}

impl<'a> SplitWriter<'a> {
    fn new(
        name: &'a str,
        recipe: &'a Recipe,
        shape: &'a Shape,
        fetcher: &'a Fetcher,
        place: &'a Place,
        progress: &Progress,
    ) -> Self {
        let skip = progress.parts(name).iter().map(|part| part.rows).sum();
        Self { name, recipe, shape, fetcher, place, skip, waiting: Waiting::default(), part: None }
    }

    async fn take(&mut self, batch: RecordBatch, progress: &mut Progress) -> Result<()> {
        let known = self.skip.min(batch.num_rows());
        self.skip -= known;
        (self.place.progress)(BuildEvent::Rows { rows: known });
        self.waiting.push(batch.slice(known, batch.num_rows() - known));
        while self.waiting.rows() >= CHUNK {
            self.write_chunk(progress).await?;
        }
        Ok(())
    }

    async fn end(mut self, progress: &mut Progress) -> Result<()> {
        while self.waiting.rows() > 0 {
            self.write_chunk(progress).await?;
        }
        // A split without rows has a file nevertheless: readers ask for it by its name.
        if self.part.is_none() && progress.parts(self.name).is_empty() {
            self.part = Some(self.new_part(progress)?);
        }
        self.end_part(progress)
    }

    fn new_part(&self, progress: &Progress) -> Result<PartWriter> {
        let number = progress.parts(self.name).len();
        PartWriter::new(progress.folder(), self.name, number, &self.shape.files, self.shape.originals)
    }

    fn end_part(&mut self, progress: &mut Progress) -> Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let part = part.finish()?;
        let bytes = part.files.iter().map(|file| file.bytes).sum();
        (self.place.progress)(BuildEvent::Part { rows: part.rows, bytes });
        progress.add(self.name, part)
    }

    /// Writes the next rows; those that the part has no room for wait again.
    async fn write_chunk(&mut self, progress: &mut Progress) -> Result<()> {
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.new_part(progress)?,
        };
        let room = self.recipe.file_rows - part.rows();
        let chunk = self.waiting.pop(CHUNK.min(room), &self.shape.rows)?;
        let outcomes = self.outcomes(&chunk, &mut part).await?;
        let rows = if self.shape.originals == Originals::None { chunk.num_rows() } else { outcomes.len() };
        part.write(&chunk.slice(0, rows), &outcomes)?;
        (self.place.progress)(BuildEvent::Rows { rows });
        self.waiting.put_back(chunk.slice(rows, chunk.num_rows() - rows));
        let is_full = part.rows() >= self.recipe.file_rows || self.is_full(&part);
        self.part = Some(part);
        if is_full { self.end_part(progress) } else { Ok(()) }
    }

    fn is_full(&self, part: &PartWriter) -> bool {
        part.shard_bytes() >= self.recipe.shard_bytes
    }

    /// What became of the rows' originals: of as many rows as the part's shard has room for.
    async fn outcomes(&self, chunk: &RecordBatch, part: &mut PartWriter) -> Result<Vec<Outcome>> {
        let Some(column) = &self.recipe.original else { return Ok(Vec::new()) };
        let uris = texts(chunk, column)?;
        if self.shape.originals == Originals::ByReference {
            return Ok(uris.iter().map(Outcome::of_reference).collect());
        }
        let (ids, lines) = (texts(chunk, &self.recipe.id)?, as_lines(chunk)?);
        let fetch = uris.iter().map(|uri| self.fetcher.fetch(uri));
        // In the order of the rows, whichever comes first.
        let mut fetched = stream::iter(fetch).buffered(self.place.threads.max(1));
        let mut outcomes = Vec::with_capacity(chunk.num_rows());
        while let Some(original) = fetched.next().await {
            let row = outcomes.len();
            let json = lines.get(row).map(Vec::as_slice).unwrap_or_default();
            outcomes.push(part.add_sample(ids.value(row), original?, json)?);
            if self.is_full(part) {
                break;
            }
        }
        Ok(outcomes)
    }
}

/// Each row as the text of a JSON object.
fn as_lines(batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    // A line break inside a text is escaped.
    Ok(writer.into_inner().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}
