//! `pipeline generate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Global;
use super::output;
use crate::error::{Error, Place, Result};
use crate::generate::{self, Defects, GenerateError, Options};

/// Make sample data in the shape of a pipeline's input, with defects on purpose and the truth beside it
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The pipeline whose generate.toml says what is made
    #[arg(default_value = "imaging")]
    pipeline: String,
    /// Where the files go; the default is the folder of --data
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many records of the main stream
    #[arg(long, visible_alias = "exams", default_value_t = 10_000, value_name = "N")]
    records: u64,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Records a file
    #[arg(long, default_value_t = 10_000, value_name = "K")]
    per_file: u64,
    /// The first id
    #[arg(long, default_value_t = 1, value_name = "ID")]
    start: u64,
    /// 'none', 'sample' (a file for each kind), or the share of records that have one
    #[arg(long, default_value = "0.001", value_name = "HOW", value_parser = Defects::from_str)]
    defects: Defects,
    /// How many of the first records get an image
    #[arg(long, default_value_t = 0, value_name = "N")]
    images: u64,
}

/// Makes the data.
///
/// # Errors
/// When the template has problems or a file cannot be written.
pub fn generate(global: &Global, args: &GenerateArgs) -> Result<()> {
    let path = global.project.join("pipelines").join(&args.pipeline).join("generate.toml");
    let template = std::fs::read_to_string(&path).at(path.display())?;
    let options = Options {
        out: args.out.clone().unwrap_or_else(|| PathBuf::from(&global.data)),
        records: args.records,
        seed: args.seed,
        per_file: args.per_file,
        start: args.start,
        defects: args.defects,
        images: args.images,
        threads: 0,
    };
    let report = generate::generate(&template, &path.display().to_string(), &options, &|_| {});
    let report = report.map_err(|error| match error {
        GenerateError::Template(_) | GenerateError::Option(_) => Error::usage(error.to_string()),
        GenerateError::Write { .. } | GenerateError::Image { .. } => Error::failed(error.to_string()),
    })?;
    output::print(&format!("{report} in {}", options.out.display()))
}
