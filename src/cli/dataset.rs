//! `pipeline dataset`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::Cell;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use super::output::{self, Format};
use super::query::{is_name, parse_param};
use crate::contract::{Dataset, DatasetRows, Project, Shares};
use crate::dataset::{self, BuildEvent, BuildProgress, Difference, Ids, Manifest, Place, Request, Summary, Verified};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::query::{AsOf, Reader, near, newest_release};

/// Training sets that can be built again: rows of a release by split, with their originals
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline dataset build exams --copy
  pipeline dataset build chest --like exams --filter \"body_part = 'CHEST'\" --as-of 3
  pipeline dataset build mine --query 'SELECT exam_id, body_part FROM silver.exams' --id exam_id --label body_part
  pipeline dataset verify exams
  pipeline dataset diff exams exams_of_june

What a dataset is made of stands in pipelines/*/datasets/NAME.toml; options override it. The hashes that split persons have
a secret key, in the environment: MEDALHA_SALT, where the dataset names no other variable.")]
pub struct DatasetArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder that holds datasets
    #[arg(long, global = true, default_value = "datasets", value_name = "DIR")]
    into: PathBuf,
    /// How it is written
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build a dataset, or go on with a build that was killed; its release is pinned
    Build(Box<BuildArgs>),
    /// The datasets that there are
    List,
    /// Check all hashes, and that nobody is in two splits; exit code 1 when something is wrong
    Verify {
        /// The dataset
        name: String,
    },
    /// Which rows came, went, changed a label or their split
    Diff {
        /// The first dataset
        #[arg(value_name = "A")]
        a: String,
        /// The second dataset
        #[arg(value_name = "B")]
        b: String,
        /// Ids that are shown of each kind
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The dataset's name
    name: String,
    /// Take what is not given here from this dataset of the project; the one of the same name where there is one
    #[arg(long, value_name = "DATASET")]
    like: Option<String>,
    /// The rows: SQL, or the name of a query
    #[arg(long, value_name = "SQL|NAME", conflicts_with_all = ["table", "filter"])]
    query: Option<String>,
    /// The rows: those of a table
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Only rows of the table for which this condition holds
    #[arg(long, value_name = "SQL")]
    filter: Option<String>,
    /// The value of $K in the SQL; may be given again
    #[arg(long = "param", value_name = "K=V", value_parser = parse_param)]
    params: Vec<(String, String)>,
    /// The column that tells a row from all others
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// The column that says whose a row is
    #[arg(long, value_name = "COLUMN")]
    person: Option<String>,
    /// The column with the URI of the original
    #[arg(long, value_name = "COLUMN")]
    original: Option<String>,
    /// A column that holds a label or a list of labels; may be given again
    #[arg(long = "label", value_name = "COLUMN")]
    labels: Vec<String>,
    /// Splits and their shares, such as train=0.8,validation=0.1,test=0.1
    #[arg(long, value_name = "SHARES")]
    split: Option<Shares>,
    /// The release, or a time that it was the newest at; the newest release where it is not given
    #[arg(long, value_name = "R")]
    as_of: Option<AsOf>,
    /// Copy the originals into tar shards
    #[arg(long)]
    copy: bool,
    /// Size after which a shard ends
    #[arg(long, default_value = "256MB", value_name = "SIZE", value_parser = crate::units::parse_size)]
    shard_size: usize,
    /// Rows after which a Parquet file ends
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    file_rows: u32,
    /// Tasks that run side by side; the dataset does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Build anew in the place of a dataset of this name
    #[arg(long)]
    replace: bool,
}

/// Builds, lists, checks or compares datasets.
///
/// # Errors
/// Wrong use when the dataset, its columns or its release are wrong; else when reading or writing fails.
pub async fn dataset(global: &Global, args: &DatasetArgs) -> Result<()> {
    match &args.action {
        Action::Build(build_args) => build(global, args, build_args).await,
        Action::List => {
            let found = dataset::list(&args.into)?;
            print(args.format, &found, |found| list(found))
        }
        Action::Verify { name } => {
            let verified = dataset::verify(&args.into.join(name))?;
            print(args.format, &verified, verify_text)?;
            dataset::failure(&verified).map_or(Ok(()), Err)
        }
        Action::Diff { a, b, limit } => {
            let found = dataset::diff(&args.into.join(a), &args.into.join(b), *limit)?;
            print(args.format, &found, diff_text)
        }
    }
}

fn print<T: serde::Serialize>(format: Format, value: &T, text: impl Fn(&T) -> String) -> Result<()> {
    match format {
        Format::Json => output::print_json(value),
        Format::Text => output::print(&text(value)),
    }
}

async fn build(global: &Global, args: &DatasetArgs, build: &BuildArgs) -> Result<()> {
    let name = &build.name;
    let is_good = is_name(name) && !name.starts_with('-');
    if !is_good {
        return Err(Error::usage(format!("'{name}' cannot be a dataset's name")).hint("letters, digits, _ and -"));
    }
    let project = global.project()?;
    let request = request(build, &project)?;
    let salt = request.dataset.salt.resolve(&global.inputs()?.variables)?;
    let threads = build.threads.map(usize::from);
    let limits = Limits { threads: threads.unwrap_or(global.limits().threads), ..global.limits() };
    let now = Reader::new(global.lake()?, limits);
    let release = now.at_release(&point(&now, build).await?).await?;
    let plan = dataset::plan(&request, &salt, &release, Some(&*project)).await?;
    let (progress, bar) = progress();
    let place = Place { into: args.into.clone(), data: global.data.clone(), threads: limits.threads, progress };
    let built = dataset::build(plan, &release, &place, build.replace).await;
    bar.finish_and_clear();
    let (manifest, is_new) = built?;
    print(args.format, &manifest, |manifest| built_text(manifest, &args.into, is_new))
}

/// The release that is asked for, or the newest.
async fn point(now: &Reader, build: &BuildArgs) -> Result<AsOf> {
    if let Some(point) = &build.as_of {
        return Ok(point.clone());
    }
    if now.tables().await?.is_empty() {
        return Err(now.no_lake());
    }
    let newest = newest_release(now).await?;
    newest.map(|newest| AsOf::Release(newest.release)).ok_or_else(|| {
        Error::usage("the lake has no release yet, and a dataset is made from one")
            .hint("`pipeline run` publishes one when all tables succeed")
    })
}

/// What the project says of the dataset, and what the options say otherwise.
fn request(build: &BuildArgs, project: &Project) -> Result<Request> {
    let mut dataset = definition(build, project)?;
    dataset.name.clone_from(&build.name);
    if let Some(rows) = rows(build, &dataset.rows)? {
        dataset.rows = rows;
    }
    if let Some(id) = &build.id {
        dataset.id.clone_from(id);
    }
    dataset.person = build.person.clone().or(dataset.person);
    dataset.original = build.original.clone().or(dataset.original);
    if !build.labels.is_empty() {
        dataset.labels.clone_from(&build.labels);
    }
    if let Some(splits) = &build.split {
        dataset.splits = splits.clone();
    }
    if dataset.id.is_empty() {
        return Err(Error::usage("which column tells one row from another?").hint("name it with --id"));
    }
    if build.copy && dataset.original.is_none() {
        return Err(Error::usage("--copy: the dataset has no originals").hint("name their column with --original"));
    }
    let params = build.params.clone();
    let (shard_bytes, file_rows) = (build.shard_size as u64, build.file_rows as usize);
    Ok(Request { dataset, params, copy: build.copy, shard_bytes, file_rows })
}

fn definition(build: &BuildArgs, project: &Project) -> Result<Dataset> {
    let wanted = build.like.as_ref().unwrap_or(&build.name);
    match project.dataset(wanted) {
        Some(dataset) => Ok(dataset.clone()),
        None if build.like.is_none() && (build.query.is_some() || build.table.is_some()) => {
            Ok(Dataset::unnamed(&build.name))
        }
        None => {
            let names: Vec<String> = project.datasets.iter().map(|dataset| dataset.name.clone()).collect();
            let or = "write pipelines/<pipeline>/datasets/NAME.toml, or give --query or --table, and --id";
            Err(near::unknown(&format!("the project has no dataset '{wanted}'"), wanted, &names, or))
        }
    }
}

fn rows(build: &BuildArgs, known: &DatasetRows) -> Result<Option<DatasetRows>> {
    if let Some(query) = &build.query {
        return Ok(Some(match is_name(query) {
            true => DatasetRows::Query { name: query.clone(), params: Vec::new() },
            false => DatasetRows::Sql(query.clone()),
        }));
    }
    match (&build.table, &build.filter, known) {
        (None, None, _) => Ok(None),
        (Some(table), filter, _) => Ok(Some(DatasetRows::Table { table: table.clone(), filter: filter.clone() })),
        (None, filter, DatasetRows::Table { table, .. }) => {
            Ok(Some(DatasetRows::Table { table: table.clone(), filter: filter.clone() }))
        }
        (None, Some(_), _) => Err(Error::usage("--filter: the dataset is not made from a table").hint("add --table")),
    }
}

/// A spinner for a person, lines for a file.
fn progress() -> (BuildProgress, ProgressBar) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {pos} rows  {per_sec}  {elapsed}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let interactive = output::is_interactive();
    if interactive {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let fed = bar.clone();
    let progress = move |event: BuildEvent| match event {
        BuildEvent::Resumed { parts: 0 } => {}
        BuildEvent::Resumed { parts } => {
            let text = format!("{parts} parts were finished before");
            if interactive { fed.set_message(text) } else { output::tell(&text) }
        }
        BuildEvent::Rows { rows } => fed.inc(rows as u64),
        BuildEvent::Part { rows, bytes } if !interactive => {
            output::tell(&format!("{} rows, {}", output::thousands(rows as u64), output::bytes(bytes)));
        }
        BuildEvent::Part { .. } => {}
    };
    (Arc::new(progress), bar)
}

fn built_text(manifest: &Manifest, into: &std::path::Path, is_new: bool) -> String {
    let mut table = output::table(&["split", "rows", "persons"]);
    for split in &manifest.splits {
        let persons = split.persons.map_or_else(|| Cell::new("not known"), output::number);
        table.add_row(vec![Cell::new(&split.name), output::number(split.rows), persons]);
    }
    let mut text = table.to_string();
    for status in ["missing", "unreadable", "refused"] {
        let rows: u64 = manifest.splits.iter().filter_map(|split| split.originals.get(status)).sum();
        if rows > 0 {
            text.push_str(&format!("\noriginals that are {status}: {}", output::thousands(rows)));
        }
    }
    let place = into.join(&manifest.recipe.name);
    let verb = if is_new { "built" } else { "built before" };
    format!(
        "{text}\n{verb} from release {} in {}\ndigest {}",
        manifest.recipe.release,
        place.display(),
        manifest.digest
    )
}

fn list(found: &[Summary]) -> String {
    if found.is_empty() {
        return "no dataset yet".to_owned();
    }
    let mut table = output::table(&["dataset", "release", "rows", "digest", "built"]);
    for row in found {
        table.add_row(vec![
            Cell::new(&row.name),
            Cell::new(row.release),
            output::number(row.rows),
            Cell::new(row.digest.get(..16).unwrap_or(&row.digest)),
            Cell::new(row.built_at.map(output::time).unwrap_or_default()),
        ]);
    }
    table.to_string()
}

fn verify_text(verified: &Verified) -> String {
    let Verified { name, digest, files, rows, problems } = verified;
    match problems.is_empty() {
        true => format!("{name}: {files} files and {} rows are right\ndigest {digest}", output::thousands(*rows)),
        false => problems.join("\n"),
    }
}

fn diff_text(found: &Difference) -> String {
    let line = |what: &str, Ids { count, ids }: &Ids| {
        let more = if (ids.len() as u64) < *count && !ids.is_empty() { ", …" } else { "" };
        let shown = if ids.is_empty() { String::new() } else { format!(": {}{more}", ids.join(", ")) };
        format!("{what} {}{shown}", output::thousands(*count))
    };
    let lines = [
        line("came", &found.came),
        line("went", &found.went),
        line("changed a label", &found.labels),
        line("changed their split", &found.splits),
        format!("same {}", output::thousands(found.same)),
    ];
    lines.join("\n")
}
