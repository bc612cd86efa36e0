//! Which files of `profiles/` are profiles.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::problem::{Problem, Problems};

const FOLDER: &str = "profiles";

/// The profiles' files, relative to the project, sorted; a project need not have any.
///
/// # Errors
/// When the folder cannot be read, or holds what is no profile.
pub(super) fn files(project_dir: &Path) -> Result<Vec<String>, Problems> {
    let entries = match fs::read_dir(project_dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "README.md" {
            continue;
        }
        let path = format!("{FOLDER}/{name}");
        if is_profile(&name) {
            files.push(path);
        } else {
            let hint = "a profile is a file <name>.toml; its name has letters, digits, - and _".to_owned();
            problems.push(Problem::of_file(path, "not a profile").with_hint(hint));
        }
    }
    files.sort();
    if problems.is_empty() { Ok(files) } else { Err(Problems::sorted(problems)) }
}

/// The name of the profile in a file.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// The name stands in names of services and of tasks too.
fn is_profile(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    name.strip_suffix(".toml")
        .is_some_and(|stem| stem.bytes().all(word) && stem.starts_with(|first: char| first.is_ascii_alphanumeric()))
}

fn unreadable(error: &std::io::Error) -> Problems {
    Problems(vec![Problem::of_file(FOLDER, format!("cannot be read: {error}"))])
}
