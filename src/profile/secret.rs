//! What must not stand in a file of the project: where it is instead, and what looks like it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Place, Result};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// In an environment variable.
    Variable(String),
    /// In a file, absolute or below the project's folder, without the line's end.
    File(String),
}

impl Secret {
    /// Its value.
    pub fn read(&self, folder: &Path) -> Result<String> {
        match self {
            Secret::Variable(name) => std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::usage(format!("the environment variable {name} has no value")).hint("set it before the run")
            }),
            Secret::File(path) => read_file(&folder.join(path)),
        }
    }
}

fn read_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).at(path.display())?;
    refuse_open_to_others(&file.metadata().at(path.display())?).map_err(|error| error.at(path.display()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).at(path.display())?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        return Err(Error::usage(format!("{}: the file is empty", path.display())));
    }
    Ok(value.to_owned())
}

#[cfg(unix)]
fn refuse_open_to_others(metadata: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::usage("others than its owner may read or write the file").hint("chmod 600"))
}

#[cfg(not(unix))]
fn refuse_open_to_others(_: &fs::Metadata) -> Result<()> {
    Ok(())
}

/// Words that say what a variable holds.
const WORDS: [&str; 8] = ["KEY", "PASS", "PASSWD", "PASSPHRASE", "PWD", "CREDENTIAL", "CREDENTIALS", "AUTH"];
/// The same, also where they are run together with others.
const PARTS: [&str; 3] = ["PASSWORD", "SECRET", "TOKEN"];

/// Whether a variable of this name would hold a secret.
pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| WORDS.contains(&word)) || PARTS.iter().any(|part| name.contains(part))
}
