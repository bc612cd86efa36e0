//! `pipeline release`.

use clap::{Args, Subcommand};
use comfy_table::Cell;
use serde_json::json;

use super::Global;
use super::output::{self, Format};
use crate::error::Result;
use crate::query::{AsOf, Reader};
use crate::release::{self, Details, Summary, TableChange};

/// The lake's releases: which there are, what differs between two, and which are to be kept
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline release list
  pipeline release show 3
  pipeline release pin 3 --why 'paper of June'
  pipeline release diff 3 5 --format json

A release is named by its number, or by a time that it was the newest at: 2024-06-30. What a pinned release consists of is
kept by maintenance, whatever its age.")]
pub struct ReleaseArgs {
    #[command(subcommand)]
    action: Action,
    /// How it is written
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All releases, the newest first
    List,
    /// The tables of a release with their versions and rows
    Show {
        /// The release
        #[arg(value_name = "R")]
        release: AsOf,
    },
    /// Keep a release whatever its age
    Pin {
        /// The release
        #[arg(value_name = "R")]
        release: AsOf,
        /// What for
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// No longer keep a release, whatever it was pinned for
    Unpin {
        /// The release
        #[arg(value_name = "R")]
        release: AsOf,
    },
    /// Which tables differ between two releases, and how many rows came and went
    Diff {
        /// The first release
        #[arg(value_name = "A")]
        from: AsOf,
        /// The second release
        #[arg(value_name = "B")]
        to: AsOf,
    },
}

/// Lists, shows, pins or compares releases.
///
/// # Errors
/// Wrong use when there is no such release; else when the lake cannot be read or written.
pub async fn release(global: &Global, args: &ReleaseArgs) -> Result<()> {
    let now = Reader::new(global.lake()?, global.limits());
    match &args.action {
        Action::List => print(args.format, &release::list(&now).await?, |rows| list(rows)),
        Action::Show { release } => {
            let release = now.at_release(release).await?;
            print(args.format, &release::show(&now, &release).await?, show)
        }
        Action::Pin { release, why } => {
            let release = now.at_release(release).await?;
            let is_new = release::pin(&release, why.as_deref()).await?;
            tell(args.format, &release, true, is_new)
        }
        Action::Unpin { release } => {
            let release = now.at_release(release).await?;
            let was_pinned = release::unpin(&release).await?;
            tell(args.format, &release, false, was_pinned)
        }
        Action::Diff { from, to } => {
            let (from, to) = (now.at_release(from).await?, now.at_release(to).await?);
            print(args.format, &release::diff(&from, &to).await?, |changes| diff(changes))
        }
    }
}

fn print<T: serde::Serialize>(format: Format, value: &T, text: impl Fn(&T) -> String) -> Result<()> {
    match format {
        Format::Json => output::print_json(value),
        Format::Text => output::print(&text(value)),
    }
}

/// Says whether a release is pinned now, and whether that is news.
fn tell(format: Format, release: &Reader, is_pinned: bool, is_new: bool) -> Result<()> {
    let number = release::number(release)?;
    let value = json!({"release": number, "pinned": is_pinned, "changed": is_new});
    print(format, &value, |_| match (is_pinned, is_new) {
        (true, true) => format!("release {number} is pinned"),
        (true, false) => format!("release {number} was pinned already"),
        (false, true) => format!("release {number} is no longer pinned"),
        (false, false) => format!("release {number} was not pinned"),
    })
}

fn list(releases: &[Summary]) -> String {
    if releases.is_empty() {
        return "no release yet".to_owned();
    }
    let mut table = output::table(&["release", "published", "run", "tables", "pinned"]);
    for release in releases {
        table.add_row(vec![
            Cell::new(release.release),
            Cell::new(output::time(release.published_at)),
            Cell::new(&release.run),
            output::number(release.tables),
            Cell::new(pinned(release)),
        ]);
    }
    table.to_string()
}

fn pinned(release: &Summary) -> String {
    match &release.pinned {
        None => String::new(),
        Some(pinned) if pinned.why.is_empty() => "yes".to_owned(),
        Some(pinned) => pinned.why.join("; "),
    }
}

fn show(details: &Details) -> String {
    let summary = &details.summary;
    let mut text =
        format!("release {}, published {} by run {}", summary.release, output::time(summary.published_at), summary.run);
    if let Some(pinned) = &summary.pinned {
        let why = if pinned.why.is_empty() { String::new() } else { format!(": {}", pinned.why.join("; ")) };
        text.push_str(&format!("\npinned {} by {}{why}", output::time(pinned.at), pinned.by));
    }
    let mut table = output::table(&["table", "version", "rows"]);
    for member in &details.members {
        let rows = member.rows.map_or_else(|| Cell::new("gone"), output::number);
        table.add_row(vec![Cell::new(&member.table), output::number(member.version), rows]);
    }
    format!("{text}\n{table}")
}

fn diff(changes: &[TableChange]) -> String {
    if changes.is_empty() {
        return "no table differs".to_owned();
    }
    let number = |number: Option<u64>| number.map_or_else(|| Cell::new("?"), output::number);
    let version = |version: Option<u64>| version.map_or_else(|| Cell::new("none"), output::number);
    let mut table = output::table(&["table", "version", "to", "rows", "to", "rows in", "rows out"]);
    for change in changes {
        table.add_row(vec![
            Cell::new(&change.table),
            version(change.from),
            version(change.to),
            change.from.map_or_else(|| Cell::new(""), |_| number(change.rows_from)),
            change.to.map_or_else(|| Cell::new(""), |_| number(change.rows_to)),
            number(change.added),
            number(change.removed),
        ]);
    }
    table.to_string()
}
