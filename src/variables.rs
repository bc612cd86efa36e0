//! Texts of a pipeline that differ from place to place: `${NAME}`, and `${NAME:-default}` where it may be missing.
//!
//! A variable has its value from the profile or else from the environment, so that one pipeline serves many clients.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};

/// A text with variables in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    Variable { name: String, default: Option<String> },
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// The byte offset of a `${` that does not close or names no variable, and what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, (usize, &'static str)> {
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some(start) = text[at..].find("${").map(|found| at + found) {
            parts.push(Part::Text(text[at..start].to_owned()));
            let end = text[start..].find('}').ok_or((start, "'${' has no '}'"))? + start;
            let inner = &text[start + 2..end];
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inner, None),
            };
            if !is_name(name) {
                return Err((start, "'${}' must hold a name of letters, digits and _"));
            }
            parts.push(Part::Variable { name: name.to_owned(), default });
            at = end + 1;
        }
        parts.push(Part::Text(text[at..].to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// A text in which nothing is a variable.
    pub fn literal(text: &str) -> Self {
        Self { text: text.to_owned(), parts: vec![Part::Text(text.to_owned())] }
    }

    /// The text with the values in place.
    ///
    /// # Errors
    /// When a variable without a default has no value.
    pub fn resolve(&self, variables: &Variables) -> Result<String> {
        let value = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Variable { name, default } => {
                variables.get(name).or_else(|| default.clone()).ok_or_else(|| missing(name))
            }
        };
        self.parts.iter().map(value).collect()
    }
}

impl fmt::Display for Template {
    /// The text as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a text can be the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(word) && !text.is_empty() && !text.as_bytes()[0].is_ascii_digit()
}

fn missing(name: &str) -> Error {
    Error::usage(format!("the variable {name} has no value"))
        .hint(format!("set it in the environment, or under [variables] in the profile: {name} = \"…\""))
}

/// The values of variables: those that are set here, then those of the environment.
#[derive(Clone, Default)]
pub struct Variables {
    set: BTreeMap<String, String>,
}

impl Variables {
    /// These values; the environment has the others.
    pub fn new(set: BTreeMap<String, String>) -> Self {
        Self { set }
    }

    /// A variable's value; an empty one of the environment counts as none.
    pub fn get(&self, name: &str) -> Option<String> {
        let environment = || std::env::var(name).ok().filter(|value| !value.is_empty());
        self.set.get(name).cloned().or_else(environment)
    }
}

impl fmt::Debug for Variables {
    /// Names only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.set.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String> {
        let set = BTreeMap::from([("A".to_owned(), "one".to_owned())]);
        Template::parse(text)
            .map_err(|(at, what)| Error::failed(format!("{at}: {what}")))?
            .resolve(&Variables::new(set))
    }

    #[test]
    fn values_and_defaults_stand_in_place() {
        assert_eq!(resolve("s3://${A}/x-${MEDALHA_NONE:-two}${A}").unwrap(), "s3://one/x-twoone");
        assert_eq!(resolve("$A {A}").unwrap(), "$A {A}");
    }

    #[test]
    fn what_is_missing_or_malformed_is_told() {
        assert!(resolve("${MEDALHA_NONE}").unwrap_err().to_string().contains("MEDALHA_NONE has no value"));
        assert_eq!(Template::parse("ab${A").unwrap_err().0, 2);
        assert_eq!(Template::parse("${}").unwrap_err().0, 0);
    }

    #[test]
    fn a_value_is_never_shown() {
        let variables = Variables::new(BTreeMap::from([("KEY".to_owned(), "secret".to_owned())]));
        assert_eq!(format!("{variables:?}"), r#"{"KEY"}"#);
    }
}
