//! `pipeline query`.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use deltalake::datafusion::execution::SendableRecordBatchStream;

use super::output::{self, Pipe};
use super::{Global, rows};
use crate::contract::type_name;
use crate::contract::{Project, Query};
use crate::error::{Error, Place, Result};
use crate::query::{Answer, AsOf, Encoding, Reader, Statement, Values, near, write};

/// Ask a question in SQL, or by the name of a query that the project has; only reads
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline query 'SELECT body_part, COUNT(*) FROM silver.exams GROUP BY body_part'
  pipeline query --list
  pipeline query exams_by_body_part --param body_part=chest --param more_than=5
  pipeline query exams_by_body_part --format parquet --output sample.parquet
  pipeline query 'SELECT COUNT(*) FROM silver.exams' --as-of 2024-06-30
  pipeline query 'SELECT * FROM silver.exams WHERE exam_id = $id' --param id=1040913 --format json
  pipeline query - < question.sql

Tables are named as in `pipeline catalog`: bronze.*, silver.*, gold.*, ops.*, and reference.* of the project.
The lake's own history (ops.*) and references are read as they are, whatever --as-of says.")]
pub struct QueryArgs {
    /// SQL, the name of a query (see --list), or '-' to read SQL from standard input
    #[arg(value_name = "SQL|NAME", required_unless_present = "list")]
    question: Option<String>,
    /// The value of $K in the SQL; may be given again. A DATE may be a month: 2021-12
    #[arg(long = "param", value_name = "K=V", value_parser = parse_param)]
    params: Vec<(String, String)>,
    /// Read the lake as it was: a release (3 or release:3), a time (the newest release published by then; a date counts
    /// to its end, UTC), or a single table's version (silver.exams@12, may be given again)
    #[arg(long, value_name = "WHEN")]
    as_of: Vec<AsOf>,
    /// How the answer is written; json and csv hold all rows, table the first 1,000
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: AnswerFormat,
    /// Write the answer to a file, which is there whole or not at all
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List the named queries with their parameters, or those of the one that is named
    #[arg(long)]
    list: bool,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AnswerFormat {
    /// For people: long texts are cut.
    Table,
    /// An array of objects.
    Json,
    /// With a heading line.
    Csv,
    /// To a file or a pipe.
    Parquet,
}

/// Answers a question.
///
/// # Errors
/// Wrong use when the SQL, its parameters or its tables are wrong; else when rows cannot be read or written.
pub async fn query(global: &Global, args: &QueryArgs) -> Result<()> {
    let question = args.question.as_deref().unwrap_or_default();
    if args.list {
        return list(&*global.project()?, question, args.format);
    }
    refuse_binary_terminal(args)?;
    let answer = if is_name(question) { named(global, args, question).await } else { sql(global, args).await }?;
    let rows = answer.rows().await?;
    match &args.output {
        None => print(rows, args.format).await,
        Some(path) => tokio::select! {
            written = save(rows, args.format, path) => written,
            // The file that is not whole goes with the future that was writing it.
            _ = tokio::signal::ctrl_c() => std::process::exit(130),
        },
    }
}

fn refuse_binary_terminal(args: &QueryArgs) -> Result<()> {
    if args.format == AnswerFormat::Parquet && args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage("parquet is not for a terminal").hint("write it with --output FILE"));
    }
    if args.format == AnswerFormat::Table && args.output.is_some() {
        return Err(Error::usage("--output: a table is for reading")
            .hint("choose what the file holds: --format csv, json or parquet"));
    }
    Ok(())
}

/// A word is a name; SQL has spaces.
pub fn is_name(question: &str) -> bool {
    !question.is_empty() && question != "-" && question.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

async fn named(global: &Global, args: &QueryArgs, name: &str) -> Result<Answer> {
    let Some((query, references)) = global.query(name)? else {
        return Err(unknown(&*global.project()?, name));
    };
    let values = Values::of_query(&query, &args.params, &references)?;
    let reader = Reader::as_of(global.lake()?, &args.as_of, global.limits()).await?;
    let answer = reader.plan(&Statement::parse(&query.sql)?, &references, &values).await;
    answer.at(&query.name)
}

async fn sql(global: &Global, args: &QueryArgs) -> Result<Answer> {
    let mut sql = args.question.clone().unwrap_or_default();
    if sql == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).at("standard input")?;
    }
    let statement = Statement::parse(&sql)?;
    let references = if statement.reads_references() { global.project()?.references.clone() } else { Vec::new() };
    let reader = Reader::as_of(global.lake()?, &args.as_of, global.limits()).await?;
    reader.plan(&statement, &references, &Values::of_sql(&args.params)).await
}

fn unknown(project: &Project, name: &str) -> Error {
    let names: Vec<String> = project.queries.iter().map(|query| query.name.clone()).collect();
    near::unknown(&format!("there is no query '{name}'"), name, &names, "`pipeline query --list` lists them")
}

pub(super) async fn print(rows: SendableRecordBatchStream, format: AnswerFormat) -> Result<()> {
    let Some(encoding) = encoding(format) else {
        return output::print(&rows::table(rows).await?);
    };
    let mut pipe = Pipe::default();
    let written = write(rows, encoding, &mut pipe).await.map(|_| ());
    match pipe.failure() {
        // The reader has gone (`| head`): what is left need not be written.
        Some(ErrorKind::BrokenPipe) => Ok(()),
        Some(_) => written.at("standard output"),
        None => written,
    }
}

fn encoding(format: AnswerFormat) -> Option<Encoding> {
    match format {
        AnswerFormat::Table => None,
        AnswerFormat::Json => Some(Encoding::Json),
        AnswerFormat::Csv => Some(Encoding::Csv),
        AnswerFormat::Parquet => Some(Encoding::Parquet),
    }
}

/// A file that is removed unless it was finished.
struct Part<'a> {
    path: PathBuf,
    target: &'a Path,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        // Where it was renamed there is nothing left to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn save(rows: SendableRecordBatchStream, format: AnswerFormat, path: &Path) -> Result<()> {
    let Some(encoding) = encoding(format) else { return Ok(()) };
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Part { path: name.into(), target: path };
    let file = File::create(&part.path).at(part.path.display())?;
    let count = write(rows, encoding, BufWriter::new(file)).await.at(path.display())?;
    std::fs::rename(&part.path, part.target).at(path.display())?;
    output::print(&format!("{} rows in {}", output::thousands(count), path.display()))
}

fn list(project: &Project, name: &str, format: AnswerFormat) -> Result<()> {
    let queries: Vec<&Query> = if name.is_empty() {
        project.queries.iter().collect()
    } else {
        vec![project.query(name).ok_or_else(|| unknown(project, name))?]
    };
    match format {
        AnswerFormat::Json => output::print_json(&queries.iter().map(|query| as_json(query)).collect::<Vec<_>>()),
        _ if queries.is_empty() => {
            output::print("the project has no queries: they are files pipelines/*/queries/*.sql")
        }
        _ => output::print(&queries.iter().map(|query| as_text(query)).collect::<Vec<_>>().join("\n\n")),
    }
}

fn as_json(query: &Query) -> serde_json::Value {
    let param = |param: &crate::contract::Param| {
        serde_json::json!({
            "name": param.name,
            "type": type_name(&param.data_type),
            "default": param.default,
            "reference": param.reference.as_ref().map(|(reference, _)| reference),
            "comment": param.comment,
        })
    };
    serde_json::json!({
        "name": query.name,
        "pipeline": query.pipeline,
        "description": query.description,
        "params": query.params.iter().map(param).collect::<Vec<_>>(),
    })
}

fn as_text(query: &Query) -> String {
    let mut text = format!("{}\n  {}", query.name, query.description);
    for param in &query.params {
        let default = param.default.as_ref().map_or("must be given".to_owned(), |default| format!("default {default}"));
        text.push_str(&format!("\n    {} {}: {} ({default})", param.name, type_name(&param.data_type), param.comment));
    }
    text
}

/// Takes `name=value` apart.
///
/// # Errors
/// When there is no name or no sign.
pub fn parse_param(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().trim_start_matches('$').to_owned(), value.to_owned()))
        }
        _ => Err("give a name and a value, such as month=2021-12".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_and_the_rest_is_sql() {
        for name in ["exam_consensus", "exams-by-part"] {
            assert!(is_name(name), "{name}");
        }
        for sql in ["", "-", "SELECT 1", "VALUES(1)", "TABLE silver.exams"] {
            assert!(!is_name(sql), "{sql}");
        }
    }

    #[test]
    fn a_parameter_is_cut_at_its_first_sign() {
        assert_eq!(parse_param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_param("$a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_param("a").is_err() && parse_param("=b").is_err());
    }
}
