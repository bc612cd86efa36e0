//! What a run shows while it works.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::run::{Progress, ProgressEvent, TableReport};

/// A bar for a person, lines for a file, and who feeds them.
pub fn progress() -> (Progress, ProgressBar) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(spinner());
    let interactive = output::is_interactive();
    if interactive {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let fed = bar.clone();
    let progress = move |event: ProgressEvent| match event {
        ProgressEvent::Table { name } => {
            fed.set_style(spinner());
            fed.set_message(name);
        }
        ProgressEvent::Reading { table, bytes } => {
            fed.set_style(bytes_bar());
            fed.set_message(table);
            fed.set_position(0);
            fed.set_length(bytes);
        }
        ProgressEvent::Read { bytes } => fed.inc(bytes),
        ProgressEvent::Done { report } if !interactive => output::tell(&line(&report)),
        ProgressEvent::Done { .. } => {}
        ProgressEvent::Again { tables, further, of } => {
            fed.println(format!("{tables} tables failed by what may pass; trying again ({further} of {of})"));
        }
    };
    (Arc::new(progress), bar)
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}  {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bytes_bar() -> ProgressStyle {
    let template = "{spinner} {msg}  {bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A table's report in a line.
fn line(report: &TableReport) -> String {
    match report.why {
        None => format!("{}: {}", report.table, report.status.as_str()),
        Some(why) => format!(
            "{}: {}: {} in, {} passed, {} quarantined, {} written, {} replaced",
            report.table,
            why.as_str(),
            report.input,
            report.passed,
            report.quarantined,
            report.written,
            report.replaced
        ),
    }
}
