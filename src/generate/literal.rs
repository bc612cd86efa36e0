//! The files that stand in the template, the page about them, and the truth.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};

use super::spec::{File, Readme};

/// The bytes of a file that stands in the template.
pub(super) fn bytes(file: &File) -> std::io::Result<Vec<u8>> {
    let text = &file.content.text;
    let bytes = if file.latin1 {
        // The template was refused if a character does not fit.
        text.chars().map(|c| u32::from(c) as u8).collect()
    } else {
        text.clone().into_bytes()
    };
    if !file.gzip {
        return Ok(bytes);
    }
    // No time and no name in the header: the same content gives the same bytes.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::default());
    encoder.write_all(&bytes)?;
    encoder.finish()
}

/// The page: its text, then a table of the files.
pub(super) fn readme<'a>(readme: &Readme, files: impl Iterator<Item = &'a File>) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut page = readme.text.trim_end().to_owned();
    page.push_str("\n\n| file | what is wrong | what the pipeline does |\n|---|---|---|\n");
    for file in files {
        let (path, wrong, outcome) = (&file.path.text, cell(&file.wrong), cell(&file.outcome));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{path}` | {wrong} | {outcome} |");
    }
    page
}

/// The counters as a JSON object, a line each.
pub(super) fn truth(counters: &[(String, u64)]) -> String {
    let lines: Vec<String> =
        counters.iter().map(|(name, n)| format!("  {}: {n}", serde_json::Value::from(name.as_str()))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}
