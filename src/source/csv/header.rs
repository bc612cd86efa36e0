//! The names of a file's columns, and how they differ from the contract's.

use std::collections::HashSet;

/// Columns of a kind that a note names; more are only counted.
const NAMED: usize = 8;

/// A file's columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// In the order of the file, none twice.
    pub(super) names: Vec<String>,
    /// How they differ from the contract's, in one line. Names of the contract, but only positions of the file: a file
    /// without a header has values of people there.
    pub(super) note: Option<String>,
}

impl Header {
    /// Names the columns: without outer white space; the second `x` is `x_2`, the third field without a name is
    /// `column_3`. `None` when no name is known although there are known ones: then the line is no header.
    pub(super) fn of(cells: &[String], known: &[String]) -> Option<Self> {
        let (mut names, mut taken): (Vec<String>, HashSet<String>) = (Vec::new(), HashSet::new());
        let (mut nameless, mut doubled, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (cell, position) in cells.iter().zip(1_usize..) {
            let (position_name, given) = (format!("column_{position}"), cell.trim());
            let wanted = if given.is_empty() { &position_name } else { given };
            let name = free_name(wanted, &taken);
            let is_known = known.contains(&name);
            match () {
                () if given.is_empty() => nameless.push(position.to_string()),
                () if name != given => doubled.push(position.to_string()),
                () if !is_known => unknown.push(position.to_string()),
                () => {}
            }
            taken.insert(name.clone());
            names.push(name);
        }
        let missing: Vec<String> =
            known.iter().filter(|name| !taken.contains(*name)).map(|name| format!("'{name}'")).collect();
        if !known.is_empty() && missing.len() == known.len() {
            return None;
        }
        let parts = [
            told("without the contract's", &missing),
            told("not in the contract: column", &unknown),
            told("with the name of an earlier one: column", &doubled),
            told("without a name: column", &nameless),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let note = (!parts.is_empty()).then(|| format!("header {}", parts.join(", ")));
        Some(Self { names, note })
    }
}

fn free_name(wanted: &str, taken: &HashSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2_usize;
    while taken.contains(&name) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

fn told(what: &str, columns: &[String]) -> Option<String> {
    let first = columns.get(..NAMED).unwrap_or(columns).join(" ");
    match columns.len().checked_sub(NAMED) {
        _ if columns.is_empty() => None,
        Some(more @ 1..) => Some(format!("{what} {first} and {more} more")),
        _ => Some(format!("{what} {first}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cells: &[&str], known: &[&str]) -> Option<(Vec<String>, Option<String>)> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Header::of(&owned(cells), &owned(known)).map(|header| (header.names, header.note))
    }

    #[test]
    fn the_order_of_columns_is_the_files() {
        assert_eq!(header(&["b ", "a"], &["a", "b"]), Some((vec!["b".into(), "a".into()], None)));
        assert_eq!(header(&["b"], &[]), Some((vec!["b".into()], Some("header not in the contract: column 1".into()))));
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let (names, note) = header(&["a", "", "a", "a_2", "", "a"], &["a", "z"]).unwrap();
        assert_eq!(names, ["a", "column_2", "a_2", "a_2_2", "column_5", "a_3"]);
        let note = note.unwrap();
        assert_eq!(
            note,
            "header without the contract's 'z', with the name of an earlier one: column 3 4 6, without a name: column 2 5"
        );
    }

    #[test]
    fn a_line_without_any_known_name_is_no_header() {
        assert_eq!(header(&["John", "Doe"], &["first", "last"]), None);
    }

    #[test]
    fn a_note_stays_short() {
        let cells: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        let note = Header::of(&cells, &["c0".to_owned()]).unwrap().note.unwrap();
        assert_eq!(note, "header not in the contract: column 2 3 4 5 6 7 8 9 and 11 more");
    }
}
