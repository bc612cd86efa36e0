//! Writing to standard output: text that a closed pipe may end, tables, JSON.

use std::io::{ErrorKind, IsTerminal, Write};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::error::{Error, Result};

/// How a command's result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// One JSON document.
    Json,
}

/// Prints text and a line end. A reader that has gone (`| head`) ends the output, not the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Error::failed(format!("standard output: {error}"))),
    }
}

/// Writes a line of progress to standard error. Nobody may be reading it any more; the work goes on.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Standard output as a place to write to, that knows how writing to it failed.
#[derive(Debug, Default)]
pub struct Pipe {
    failure: Option<ErrorKind>,
}

impl Pipe {
    /// How writing failed, if it did.
    pub fn failure(&self) -> Option<ErrorKind> {
        self.failure
    }

    fn noted<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(error) = &result {
            self.failure = Some(error.kind());
        }
        result
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = std::io::stdout().lock().write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = std::io::stdout().lock().flush();
        self.noted(result)
    }
}

/// Prints one JSON document.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json<T: Serialize>(value: &T) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Whether a person looks at standard error.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// A table with a heading row.
pub fn table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(heading);
    table
}

/// A number, on the right, with its thousands apart.
pub fn number(number: u64) -> Cell {
    Cell::new(thousands(number)).set_alignment(CellAlignment::Right)
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time to the second, UTC.
pub fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A number of bytes in the largest unit that leaves at least one; units are powers of 1024.
pub fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
