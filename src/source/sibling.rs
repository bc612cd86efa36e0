//! How the elements of an array begin, so that the one after a broken element can be found on the same line.

use memchr::memmem;

use super::structure::is_space;

/// What is known of how elements begin.
#[derive(Debug, Default)]
pub(super) enum Sibling {
    /// No whole element was seen yet.
    #[default]
    Unknown,
    /// With an object whose first key is this one, quotes included.
    Key(Vec<u8>),
    /// In no way that tells them from what they hold: nothing is guessed.
    Ambiguous,
}

impl Sibling {
    /// Learns from the first whole element.
    pub(super) fn learn(&mut self, element: &[u8]) {
        if !matches!(self, Self::Unknown) {
            return;
        }
        let Some(key) = first_key(element) else {
            *self = Self::Ambiguous;
            return;
        };
        // An element that holds an object of the same first key could not be told from the next element.
        let held = starts(&element[1..], key).next().is_some();
        *self = if held { Self::Ambiguous } else { Self::Key(key.to_vec()) };
    }

    /// Where, after the first byte, the next element begins.
    pub(super) fn find(&self, line: &[u8]) -> Option<usize> {
        let Self::Key(key) = self else { return None };
        let rest = line.get(1..)?;
        starts(rest, key).find(|at| ends_with_comma(&rest[..*at])).map(|at| at + 1)
    }
}

/// The first key of an object that has a plain one, quotes included.
fn first_key(object: &[u8]) -> Option<&[u8]> {
    let inside = object.strip_prefix(b"{")?;
    let start = inside.iter().position(|byte| !is_space(*byte))?;
    let key = &inside[start..];
    let end = key.strip_prefix(b"\"")?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (key[end + 1] == b'"').then(|| &key[..end + 2])
}

/// Where objects begin that have this first key.
fn starts<'a>(bytes: &'a [u8], key: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memmem::find_iter(bytes, key).filter_map(|at| {
        let before = bytes[..at].iter().rposition(|byte| !is_space(*byte))?;
        (bytes[before] == b'{').then_some(before)
    })
}

fn ends_with_comma(bytes: &[u8]) -> bool {
    bytes.iter().rfind(|byte| !is_space(**byte)) == Some(&b',')
}
