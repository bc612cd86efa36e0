//! Names that are like one that is not known.

use std::collections::HashSet;

use crate::error::Error;
use crate::problem;

/// How many names a hint lists.
const SHOWN: usize = 5;

/// At most five of `known` that are like `name`, the most alike first. Case does not count, and `exams` is like
/// `silver.exams`.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    let mut found = problem::nearest(name, known, SHOWN);
    if !name.contains('.') {
        let last = |known: &&'a str| known.rsplit('.').next().unwrap_or_default();
        let near = problem::nearest(name, &known.iter().map(last).collect::<Vec<_>>(), SHOWN);
        found.extend(known.iter().filter(|known| near.contains(&last(known))));
    }
    let mut seen = HashSet::new();
    found.retain(|name| seen.insert(*name));
    found.truncate(SHOWN);
    found
}

/// A hint for a name that is not known: those that are like it, or all when they are few.
pub fn hint(name: &str, known: &[String]) -> Option<String> {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(name, &known).as_slice() {
        [one] => Some(format!("did you mean '{one}'?")),
        near @ [_, ..] => Some(format!("did you mean one of {}?", near.join(", "))),
        [] if known.is_empty() || known.len() > 2 * SHOWN => None,
        [] => Some(format!("known: {}", known.join(", "))),
    }
}

/// Wrong use, with the names that are like the one that was given; else with another hint.
pub fn unknown(message: &str, name: &str, known: &[String], or: &str) -> Error {
    Error::usage(message).hint(hint(name, known).unwrap_or_else(|| or.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_alike_come_first_and_few() {
        let known = ["silver.exams", "silver.exam_labels", "gold.label_completeness"];
        assert_eq!(nearest("silver.exam", &known), ["silver.exams", "silver.exam_labels"]);
        assert_eq!(nearest("Exams", &known)[0], "silver.exams");
        assert!(nearest("zzz", &known).is_empty());
        let many: Vec<String> = (0..9).map(|n| format!("exam{n}")).collect();
        assert_eq!(nearest("exam", &many.iter().map(String::as_str).collect::<Vec<_>>()).len(), SHOWN);
    }

    #[test]
    fn a_name_that_is_like_none_lists_the_few_that_there_are() {
        let known = ["covid19".to_owned(), "edema".to_owned()];
        assert_eq!(hint("covid9", &known).as_deref(), Some("did you mean 'covid19'?"));
        assert_eq!(hint("zzz", &known).as_deref(), Some("known: covid19, edema"));
        assert_eq!(hint("zzz", &[]), None);
    }
}
