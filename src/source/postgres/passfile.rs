//! PostgreSQL's password file: lines of `host:port:database:user:password`, `*` for any, `\` before `:` and `\`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result};

/// Whose password is looked for.
pub(super) struct Who<'a> {
    pub host: &'a str,
    pub port: &'a str,
    pub database: &'a str,
    pub user: &'a str,
}

/// The passfile that applies: the one that `PGPASSFILE` names, or `~/.pgpass`.
pub(super) fn location() -> Option<PathBuf> {
    let named = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty());
    named.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".pgpass")))
}

/// The password of the first line that fits; none when there is no such line or no file.
///
/// # Errors
/// When the file cannot be read, or others than its owner may read it.
pub(super) fn password(path: &Path, who: &Who<'_>) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    check_rights(path)?;
    let text = fs::read_to_string(path).at(path.display())?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).find_map(|line| fitting(line, who)))
}

#[cfg(unix)]
fn check_rights(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).at(path.display())?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let error = Error::usage(format!("{}: the password file may be read by others than its owner", path.display()));
    Err(error.hint(format!("chmod 0600 {}", path.display())))
}

#[cfg(not(unix))]
fn check_rights(_: &Path) -> Result<()> {
    Ok(())
}

fn fitting(line: &str, who: &Who<'_>) -> Option<String> {
    let (fields, password) = split(line)?;
    let wanted = [who.host, who.port, who.database, who.user];
    let fits = fields.iter().zip(wanted).all(|((field, is_any), wanted)| *is_any || field == wanted);
    fits.then_some(password)
}

/// The four fields, each with whether it stands for any value, and the password.
fn split(line: &str) -> Option<(Vec<(String, bool)>, String)> {
    let (mut fields, mut field, mut start) = (Vec::new(), String::new(), 0);
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => field.extend(chars.next().map(|(_, c)| c)),
            ':' if fields.len() < 4 => {
                let is_any = &line[start..at] == "*";
                fields.push((std::mem::take(&mut field), is_any));
                start = at + 1;
            }
            c => field.push(c),
        }
    }
    (fields.len() == 4).then_some((fields, field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str) -> Option<String> {
        fitting(line, &Who { host: "db", port: "5432", database: "a:b", user: "reader" })
    }

    #[test]
    fn the_first_four_fields_decide() {
        assert_eq!(find(r"db:5432:a\:b:reader:s\:e:c\\ret").as_deref(), Some(r"s:e:c\ret"));
        assert_eq!(find("*:*:*:reader:x").as_deref(), Some("x"));
        assert_eq!(find(r"\*:*:*:reader:x"), None);
        assert_eq!(find("db:5433:*:*:x"), None);
        assert_eq!(find("db:5432:*:reader"), None);
        assert_eq!(find(""), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# comment\nother:*:*:*:y\n*:*:*:*:secret\n").unwrap();
        let who = Who { host: "db", port: "5432", database: "x", user: "u" };
        let rights = |mode| fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        rights(0o600);
        assert_eq!(password(file.path(), &who).unwrap().as_deref(), Some("secret"));
        rights(0o640);
        let error = password(file.path(), &who).unwrap_err().to_string();
        assert!(error.contains("chmod 0600") && !error.contains("secret"), "{error}");
        assert!(password(Path::new("/no/such/file"), &who).unwrap().is_none());
    }
}
