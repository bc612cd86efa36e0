//! `pipeline erase`.

use std::path::PathBuf;

use clap::Args;

use super::Global;
use super::output::{self, Format};
use super::progress::progress;
use crate::erase::{Certificate, erase as erase_subject};
use crate::error::{Error, Place, Result};
use crate::run::Run;

/// Erase a person or an exam from every table and every version, and certify it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline erase --exam 1040913
  pipeline erase --certificate erased.json --exam 1040913

What can be erased is what contracts mark with `subject`. Versions and releases stay readable, without its rows; tables that
only count others' rows are computed anew. The files that records came from are not the lake's: erase them where they lie.")]
pub struct EraseArgs {
    /// Also write the certificate, as JSON, to a file
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// How the certificate is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// What is erased, and its identifier: --exam 1040913; comes last
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "--SUBJECT ID")]
    subject: Vec<String>,
}

/// Erases and prints the certificate.
///
/// # Errors
/// Wrong use when there is no such subject; else when the lake cannot be read or written: then erase again.
pub async fn erase(global: &Global, args: &EraseArgs) -> Result<()> {
    let (name, value) = subject(&args.subject)?;
    let (progress, bar) = progress();
    let run = Run::new(global.lake()?, global.project()?, global.inputs()?, global.limits(), progress);
    let certificate = erase_subject(run, &name, &value).await;
    bar.finish_and_clear();
    let certificate = certificate?;
    if let Some(path) = &args.certificate {
        let text = serde_json::to_string_pretty(&certificate)?;
        std::fs::write(path, text + "\n").at(path.display())?;
    }
    match args.format {
        Format::Json => output::print_json(&certificate),
        Format::Text => output::print(&text(&certificate)),
    }
}

/// `--exam 5` or `--exam=5`.
fn subject(words: &[String]) -> Result<(String, String)> {
    let wrong = || Error::usage("erase: say what is erased, last").hint("for example: pipeline erase --exam 1040913");
    let name = words.first().and_then(|word| word.strip_prefix("--")).ok_or_else(wrong)?;
    match (name.split_once('='), &words[1..]) {
        (Some((name, value)), []) if !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        (None, [value]) if !value.is_empty() => Ok((name.to_owned(), value.clone())),
        _ => Err(wrong()),
    }
}

fn text(certificate: &Certificate) -> String {
    if certificate.tables.is_empty() && !certificate.goes_on {
        return format!("the lake holds nothing of this {}", certificate.subject);
    }
    let mut table = output::table(&["table", "rows erased", "files, all versions", "digest before", "digest after"]);
    for erased in &certificate.tables {
        table.add_row([
            comfy_table::Cell::new(&erased.table),
            output::number(erased.rows),
            output::number(erased.files),
            comfy_table::Cell::new(erased.before),
            comfy_table::Cell::new(erased.after),
        ]);
    }
    let releases = match certificate.redacted_up_to_release {
        Some(release) => format!("releases up to {release} lack the rows now"),
        None => "there was no release".to_owned(),
    };
    let anew = match certificate.computed_anew.as_slice() {
        [] => String::new(),
        tables => format!("\ncomputed anew: {}", tables.join(", ")),
    };
    let before = if certificate.goes_on {
        "\nan erasure before this one was interrupted, and ended with it: what it had taken out is not counted here"
    } else {
        ""
    };
    format!(
        "{table}\nerasure {} at {} by {}; {releases}{anew}{before}\nsubject {} with salt {}: keep it with the request, the lake \
         does not have the salt",
        certificate.erasure,
        output::time(certificate.at),
        certificate.by,
        certificate.subject_hash,
        certificate.salt,
    )
}
