//! A source of kind `postgres`: where the database is, and which of its tables are taken.

use super::TableName;
use super::raw::RawDatabase;
use crate::problem::{File, Problem};
use crate::toml::{At, Reader, inside};
use crate::variables::Template;

/// A PostgreSQL database and which of its tables are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub place: Place,
    /// Patterns of `<schema>.<table>`, see [`matches()`]; empty for all tables.
    pub tables: Vec<String>,
}

/// Where a database's rows are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A server: its URL without a password, and the environment variable that has one.
    Server { url: Template, password_variable: Option<String> },
    /// A folder below the data directory with a file `<schema>.<table>.json` a table, for test cases.
    Given { path: String },
}

impl Database {
    /// Whether a table, `<schema>.<table>`, is among those that are taken.
    pub fn takes(&self, relation: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| matches(pattern, relation))
    }
}

/// Whether a name fits a pattern, in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    true
}

/// Reads the keys that belong to the kind `postgres`.
pub(super) fn keys(reader: &mut Reader<'_, '_>) -> RawDatabase {
    RawDatabase {
        url: reader.required("url"),
        password_variable: reader.optional("password_variable"),
        tables: reader.names("tables").map_or_else(Vec::new, |at| at.value),
    }
}

/// Checks what was read.
pub(super) fn read(file: &File, raw: RawDatabase, problems: &mut Vec<Problem>) -> Database {
    let url = raw.url.map_or_else(|| Template::literal(""), |url| read_url(file, &url, problems));
    for At { value, at } in raw.tables.iter().filter(|pattern| !pattern.value.contains(['.', '*'])) {
        let hint = format!("write {value}.* for a schema, or public.{value} for a table");
        problems.push(file.problem(*at, format!("'{value}' is not <schema>.<table>")).with_hint(hint));
    }
    let password_variable = raw.password_variable.map(|at| at.value);
    let tables = raw.tables.into_iter().map(|at| at.value).collect();
    Database { place: Place::Server { url, password_variable }, tables }
}

fn read_url(file: &File, At { value, at }: &At<String>, problems: &mut Vec<Problem>) -> Template {
    if has_password(value) {
        let hint = "leave it out: PGPASSWORD, the variable that password_variable names, or a passfile has it";
        problems.push(file.problem(*at, "a password stands in 'url'").with_hint(hint.to_owned()));
    } else if !["postgresql://", "postgres://", "${"].iter().any(|start| value.starts_with(start)) {
        let hint = "write postgresql://user@host:port/database".to_owned();
        problems.push(file.problem(*at, "'url' is not one of PostgreSQL").with_hint(hint));
    }
    Template::parse(value).unwrap_or_else(|(offset, message)| {
        problems.push(file.problem(inside(file, *at, value, offset), message));
        Template::literal("")
    })
}

/// Whether the URL names a password, or has a place for one.
fn has_password(url: &str) -> bool {
    let plain = without_variables(url);
    let rest = plain.split_once("://").map_or(plain.as_str(), |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map(|(user, _)| user);
    let in_query = query.split('&').any(|pair| pair.starts_with("password=") || pair.starts_with("sslpassword="));
    in_query || user.is_some_and(|user| user.contains(':'))
}

/// The URL with a letter for each variable: a default may hold the characters that a URL is made of.
fn without_variables(url: &str) -> String {
    let (mut plain, mut rest) = (String::new(), url);
    while let Some((before, after)) = rest.split_once("${") {
        plain.push_str(before);
        plain.push('x');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Whether the table of a bronze contract can be read; `taken` has the relations of the source's other contracts.
pub(super) fn check_relation<'a>(
    database: &Database,
    relation: Option<&At<String>>,
    mut taken: impl Iterator<Item = (&'a TableName, &'a String)>,
    contract: &File,
    source_at: usize,
    problems: &mut Vec<Problem>,
) {
    let Some(At { value, at }) = relation else {
        let hint = "write relation = \"<schema>.<table>\"".to_owned();
        problems.push(contract.problem(source_at, "the table of a database needs 'relation'").with_hint(hint));
        return;
    };
    if !value.contains('.') {
        let hint = format!("write public.{value}, if that is its schema");
        problems.push(contract.problem(*at, format!("'{value}' is not <schema>.<table>")).with_hint(hint));
    } else if !database.takes(value) {
        let hint = format!("the source's tables are: {}", database.tables.join(", "));
        let message = format!("relation '{value}' is none of the source's tables");
        problems.push(contract.problem(*at, message).with_hint(hint));
    }
    if let Some((other, _)) = taken.find(|(_, relation)| *relation == value) {
        problems.push(contract.problem(*at, format!("{other} reads relation '{value}' already")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("public.*", "public.provider", true),
            ("public.*", "public", false),
            ("billing.invoice", "billing.invoice", true),
            ("billing.invoice", "billing.invoices", false),
            ("*.log_*_old", "a.log_x_old", true),
            ("*.log_*_old", "a.log_old", false),
            ("*", "a.b", true),
            ("a*a", "a", false),
            ("Public.*", "public.x", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_password_is_found_wherever_it_stands() {
        assert!(has_password("postgresql://reader:secret@host/db"));
        assert!(has_password("postgresql://reader:${PASSWORD}@host/db"));
        assert!(has_password("postgresql://host/db?user=x&password=y"));
        assert!(!has_password("postgresql://reader@${HOST:-localhost}:${PORT:-5432}/db?sslmode=prefer"));
        assert!(!has_password("postgresql://${USER:-a:b}@host:5432/db"));
    }
}
