//! `pipeline generate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Global;
use super::output;
use crate::error::{Error, Place, Result};
use crate::generate::{self, Defects, GenerateError, Options, Report, days};

/// Make sample data in the shape of a pipeline's input, with defects on purpose and the truth beside it
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The pipeline whose generate.toml says what is made
    #[arg(default_value = "imaging")]
    pipeline: String,
    /// Where the files go; the default is the folder of --data. Data of days may go to s3://bucket/prefix, too
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
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
    /// For data of days: the day; 0 fills the tables
    #[arg(long, default_value_t = 0, value_name = "D")]
    day: u64,
    /// For data of days: the database to fill, a URL without a password (PGPASSWORD has it)
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

/// Makes the data.
///
/// # Errors
/// When the template has problems or a file cannot be written.
pub async fn generate(global: &Global, args: &GenerateArgs) -> Result<()> {
    let path = global.project.join("pipelines").join(&args.pipeline).join("generate.toml");
    let template = std::fs::read_to_string(&path).at(path.display())?;
    let out = args.out.clone().unwrap_or_else(|| global.data.clone());
    let place = path.display().to_string();
    let made = match days::wanted(&template, &place) {
        Ok(true) => of_day(args, &template, &place, &out).await,
        Ok(false) => of_files(args, &template, &place, &out),
        Err(error) => Err(error),
    };
    let report = made.map_err(|error| match error {
        GenerateError::Template(_) | GenerateError::Option(_) => Error::usage(error.to_string()),
        GenerateError::Write { .. } | GenerateError::Image { .. } | GenerateError::Store { .. } => {
            Error::failed(error.to_string())
        }
    })?;
    output::print(&format!("{report} in {out}"))
}

async fn of_day(args: &GenerateArgs, template: &str, place: &str, out: &str) -> Result<Report, GenerateError> {
    let options = days::Options {
        out: out.to_owned(),
        database: args.database.clone(),
        records: args.records,
        seed: args.seed,
        day: args.day,
        defects: args.defects,
    };
    days::make(template, place, &options).await
}

fn of_files(args: &GenerateArgs, template: &str, place: &str, out: &str) -> Result<Report, GenerateError> {
    if args.database.is_some() || args.day > 0 || out.contains("://") {
        let fact = "--database, --day and URIs are for templates with [days]".to_owned();
        return Err(GenerateError::Option(fact));
    }
    let options = Options {
        out: PathBuf::from(out),
        records: args.records,
        seed: args.seed,
        per_file: args.per_file,
        start: args.start,
        defects: args.defects,
        images: args.images,
        threads: 0,
    };
    generate::generate(template, place, &options, &|_| {})
}
