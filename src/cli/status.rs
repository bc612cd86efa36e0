//! `pipeline status`.

use clap::Args;
use comfy_table::Cell;

use super::clients::{self, Client};
use super::output::{self, Format};
use super::{Flags, Global};
use crate::error::Result;
use crate::inspect::{Status, TableStatus, status as read};
use crate::run::Options;

/// What the lake holds, how fresh it is, and what a run would do; changes nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline status
  pipeline status --format json
  pipeline status --all-profiles

'up to date' compares with the sources below --data and with the contracts. A run may be under way meanwhile: what it has
not committed yet does not show.")]
pub struct StatusArgs {
    /// For each profile of the project: its last run, what failed, its release, how fresh it is
    #[arg(long)]
    all_profiles: bool,
    /// How it is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Prints the state of the lake, or of all clients' lakes.
///
/// # Errors
/// When there is no lake or a log cannot be read.
pub async fn status(flags: &Flags, args: &StatusArgs) -> Result<()> {
    if args.all_profiles {
        return status_all(flags, args.format).await;
    }
    let status = look(&flags.resolve()?).await?;
    match args.format {
        Format::Json => output::print_json(&status),
        Format::Text => output::print(&text(&status)),
    }
}

async fn look(global: &Global) -> Result<Status> {
    let options = Options { pipelines: global.pipelines(), ..Options::default() };
    read(&global.lake()?, global.limits(), global.project(), global.inputs(), &options).await
}

async fn status_all(flags: &Flags, format: Format) -> Result<()> {
    let clients = clients::each(flags, look, |_| &[], |_, _| Ok(())).await?;
    match format {
        Format::Json => output::print_json(&clients.iter().map(client_as_json).collect::<Vec<_>>())?,
        Format::Text => output::print(&table_of_clients(&clients))?,
    }
    clients::verdict(&clients)
}

fn client_as_json(client: &Client<Status>) -> serde_json::Value {
    serde_json::json!({
        "profile": client.name,
        "exit_code": client.exit_code(),
        "error": client.result.as_ref().err().map(ToString::to_string),
        "status": client.result.as_ref().ok(),
    })
}

fn table_of_clients(clients: &[Client<Status>]) -> String {
    let mut table =
        output::table(&["profile", "last run", "tables failed", "release", "published", "up to date", "quarantined"]);
    for client in clients {
        let mut cells = vec![Cell::new(&client.name)];
        match &client.result {
            Ok(status) => cells.extend(summary(status)),
            Err(error) => cells.push(Cell::new(error.to_string().lines().next().unwrap_or_default())),
        }
        table.add_row(cells);
    }
    table.to_string()
}

/// A client's lake in a line.
fn summary(status: &Status) -> [Cell; 6] {
    let (run, release) = (status.last_run.as_ref(), status.release.as_ref());
    let known: Vec<bool> = status.tables.iter().filter_map(|table| table.up_to_date).collect();
    let fresh = match (&status.unknown, known.iter().filter(|fresh| **fresh).count()) {
        (Some(_), _) => "not known".to_owned(),
        (None, count) => format!("{count} of {} tables", known.len()),
    };
    [
        Cell::new(run.map_or_else(|| "none yet".to_owned(), |run| output::time(run.ended_at))),
        run.map_or_else(|| Cell::new(""), |run| output::number(run.failed)),
        Cell::new(release.map_or_else(|| "none yet".to_owned(), |release| release.release.to_string())),
        Cell::new(release.map_or_else(String::new, |release| output::time(release.published_at))),
        Cell::new(fresh),
        output::number(status.tables.iter().map(|table| table.quarantined).sum()),
    ]
}

fn text(status: &Status) -> String {
    let mut table = output::table(&[
        "table",
        "rows",
        "files",
        "size",
        "version",
        "committed",
        "has taken",
        "up to date",
        "quarantined",
    ]);
    for row in &status.tables {
        table.add_row(cells(row));
    }
    let mut text = table.to_string();
    for row in &status.tables {
        if let Some(next) = &row.next {
            text.push_str(&format!("\n{}: a run would {next}", row.table));
        }
    }
    if let Some(unknown) = &status.unknown {
        text.push_str(&format!("\nwhat a run would do is not known: {unknown}"));
    }
    text.push_str(&match &status.last_run {
        Some(run) => format!(
            "\nlast run {} ended {}: {} tables changed, {} failed",
            run.run,
            output::time(run.ended_at),
            run.done,
            run.failed
        ),
        None => "\nno run yet".to_owned(),
    });
    text.push_str(&match &status.release {
        Some(release) => format!("\nrelease {} of {}", release.release, output::time(release.published_at)),
        None => "\nno release yet".to_owned(),
    });
    text
}

fn cells(row: &TableStatus) -> Vec<Cell> {
    let number = |number: Option<u64>| number.map_or_else(|| Cell::new(""), output::number);
    let positions: Vec<String> = row.positions.iter().map(|(input, position)| format!("{input} {position}")).collect();
    let fresh = match row.up_to_date {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    vec![
        Cell::new(&row.table),
        number(row.rows),
        number(row.files),
        Cell::new(row.bytes.map(output::bytes).unwrap_or_default()).set_alignment(comfy_table::CellAlignment::Right),
        number(row.version),
        Cell::new(row.committed_at.map_or_else(|| "not yet".to_owned(), output::time)),
        Cell::new(positions.join("\n")),
        Cell::new(fresh),
        if row.quarantined > 0 { output::number(row.quarantined) } else { Cell::new("") },
    ]
}
