//! Sample data of any size in the shape of a pipeline's input, with known truth.
//!
//! What is made stands in a template file (`pipelines/<p>/generate.toml`):
//!
//! - `[record.x]` is drawn once a record, `[value.x]` each time that it is written. One key says how:
//!   `choice`, `chance`, `integer`, `digits`, `sequence`, `date`, `after` (a date some days after
//!   another), `words`, `text`, `luhn` (a text and its check digit) or `list`. Texts hold others as `${x}`; `${id}` is the record's number.
//!   What is drawn goes out as it is: a text for JSON is written as JSON wants it.
//! - `[streams.x]` are the files: records (`kind` is `json`, `ndjson` or `csv`) or an image for each of
//!   the first records (`dicom`, `png`). A line break in a JSON template becomes a space.
//! - `[defects.x]` go into a share of the records: another text in the template (`replace`), the same
//!   record twice (`then = "same"`), or another draw of it after the good one (`then = "anew"`).
//! - `[truth.x]` are counters: of a stream's records, of defects, or of the good records that meet
//!   conditions (`where` on the record, `any` and `none` on the items of a list, `sum` of lengths).
//! - `[days]` makes data that goes on from day to day, see [`days`]: a stream may then be a `table` of a database.
//! - `[[files]]` are written as they stand there, to show each defect of a file by hand.

mod calendar;
mod compile;
pub mod days;
mod dice;
mod image;
mod literal;
mod make;
mod maker;
mod parse;
mod plan;
mod problem;
mod program;
mod section;
mod spec;
#[cfg(test)]
mod tests;
mod truth;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use crate::problem::{Problem, Problems};
use dice::Chance;
use plan::Plan;

/// What to make, where, and how much of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that the files go to. Files of the same name are overwritten, others stay.
    pub out: PathBuf,
    /// How many records are drawn; records that come twice are on top of it.
    pub records: u64,
    /// The same seed gives the same bytes, on any number of threads.
    pub seed: u64,
    /// How many of the records go into one file.
    pub per_file: u64,
    /// The id of the first record. A call that starts where another ended continues its data.
    pub start: u64,
    /// What is wrong in the data on purpose.
    pub defects: Defects,
    /// How many of the first records get an image.
    pub images: u64,
    /// How many threads work; 0 is one a core.
    pub threads: usize,
}

impl Default for Options {
    /// Ten thousand records in one file, one in a thousand with a defect, below `data`.
    fn default() -> Self {
        Self {
            out: PathBuf::from("data"),
            records: 10_000,
            seed: 7,
            per_file: 10_000,
            start: 1,
            defects: Defects::Rate(0.001),
            images: 0,
            threads: 0,
        }
    }
}

/// What is wrong in the data on purpose. As text: `none`, `sample` or a rate such as `0.001`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Defects {
    /// Nothing.
    None,
    /// The files of the template that show each defect, and the page that lists them; the records are good.
    Sample,
    /// This share of the records, from 0 to 1.
    Rate(f64),
}

impl Defects {
    fn chance(self) -> Chance {
        match self {
            Self::None | Self::Sample => Chance::NEVER,
            Self::Rate(rate) => Chance::new(rate).unwrap_or(Chance::NEVER),
        }
    }
}

impl FromStr for Defects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = || text.parse().ok().filter(|rate| Chance::new(*rate).is_some());
        match text {
            "none" => Ok(Self::None),
            "sample" => Ok(Self::Sample),
            _ => rate().map(Self::Rate).ok_or_else(|| "must be none, sample or a rate from 0 to 1".to_owned()),
        }
    }
}

/// Why the data was not made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The template file has mistakes; all of them are listed.
    #[error("{0}")]
    Template(Problems),
    /// An option has no sense.
    #[error("{0}")]
    Option(String),
    /// A file could not be written.
    #[error("{}: cannot be written: {cause}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A database or an object store refused something.
    #[error("{place}: {fact}")]
    Store {
        /// Where, without a password.
        place: String,
        /// What it says.
        fact: String,
    },
    /// An image could not be encoded.
    #[error("{}: cannot be encoded: {fact}", path.display())]
    Image {
        /// The file that it would have become.
        path: PathBuf,
        /// What the encoder says.
        fact: String,
    },
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Files written, all kinds.
    pub files: u64,
    /// Records in the files of records that were drawn, those that come twice counted twice.
    pub records: u64,
    /// Size of all files.
    pub bytes: u64,
    /// The counters of the truth, in the template's order; `truth.json` holds the same.
    pub truth: Vec<(String, u64)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, records, bytes, .. } = self;
        write!(f, "{files} files, {records} records, {bytes} bytes")
    }
}

/// Counts that threads add up.
struct Totals {
    files: u64,
    records: u64,
    bytes: u64,
    truth: Vec<u64>,
}

impl Totals {
    fn new(counters: usize) -> Self {
        Self { files: 0, records: 0, bytes: 0, truth: vec![0; counters] }
    }

    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.records += other.records;
        self.bytes += other.bytes;
        for (mine, theirs) in self.truth.iter_mut().zip(&other.truth) {
            *mine += theirs;
        }
    }
}

/// Makes the data that `template`, the text of the file `template_path`, describes.
///
/// `progress` is called from several threads with the number of records made since its last call.
/// Beside the data stands `truth.json`, with what is in it: of this call, not of earlier ones.
///
/// # Errors
/// Mistakes in the template, options without sense, and files that cannot be written. What was
/// written before an error stays.
pub fn generate(
    template: &str,
    template_path: &str,
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, GenerateError> {
    check(options)?;
    let plan = Plan::new(template, template_path).map_err(GenerateError::Template)?;
    if plan.days.is_some() {
        return Err(GenerateError::Option("this template makes its data day by day".to_owned()));
    }
    let mut totals = make::make_all(&plan, options, progress)?;
    let mut write = |path: &str, bytes: &[u8]| {
        totals.files += 1;
        totals.bytes += bytes.len() as u64;
        make::write_file(&options.out.join(path), bytes)
    };
    if options.defects == Defects::Sample {
        for plan::File { file, truth } in &plan.files {
            let path = &file.path.text;
            let bytes =
                literal::bytes(file).map_err(|cause| GenerateError::Write { path: options.out.join(path), cause })?;
            write(path, &bytes)?;
            for (counter, n) in truth {
                totals.truth[*counter] += n;
            }
        }
        if let Some(readme) = &plan.readme {
            let page = literal::readme(readme, plan.files.iter().map(|f| &f.file));
            write(&readme.path.text, page.as_bytes())?;
        }
    }
    let truth: Vec<_> = plan.truth.names.into_iter().zip(totals.truth).collect();
    write("truth.json", literal::truth(&truth).as_bytes())?;
    let Totals { files, records, bytes, .. } = totals;
    Ok(Report { files, records, bytes, truth })
}

fn check(options: &Options) -> Result<(), GenerateError> {
    let wrong = |text: &str| Err(GenerateError::Option(text.to_owned()));
    if options.per_file == 0 {
        return wrong("a file must hold at least one record");
    }
    if let Defects::Rate(rate) = options.defects
        && Chance::new(rate).is_none()
    {
        return wrong("the rate of defects must be between 0 and 1");
    }
    // Ids are written as signed numbers of 64 bits.
    match options.start.checked_add(options.records) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => wrong("the ids would be greater than 2^63"),
    }
}
