//! What a file calls its patient, to be looked for where it should not stand.
//!
//! The Basic Profile goes by elements. People write names and numbers into others, too: a protocol's name, a device's
//! label. A text that repeats what identifies somebody is therefore no text that may be kept, wherever it stands.

use std::collections::HashSet;
use std::fmt;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

/// Shorter parts of names are parts of other words as well.
const WORD: usize = 3;
/// Shorter identifiers are parts of other numbers as well.
const NUMBER: usize = 4;

/// Names of people, the patient's numbers and birth date.
#[derive(Clone, Default)]
pub struct Identifiers {
    /// Parts of names.
    words: HashSet<String>,
    /// The patient's identifiers.
    numbers: HashSet<String>,
    /// The birth date, in digits, in the orders in which it is written.
    days: HashSet<String>,
}

/// Other Patient IDs, retired and still found.
const OTHER_PATIENT_IDS: Tag = Tag(0x0010, 0x1000);

/// Whether an element identifies somebody.
pub fn identifies(tag: Tag, vr: VR) -> bool {
    vr == VR::PN || matches!(tag, tags::PATIENT_ID | OTHER_PATIENT_IDS | tags::PATIENT_BIRTH_DATE)
}

/// Whether a representation is text that people write.
pub fn is_written(vr: VR) -> bool {
    matches!(vr, VR::AE | VR::CS | VR::LO | VR::SH | VR::UC | VR::UR)
}

impl Identifiers {
    /// Adds the components of an element that [`identifies`] somebody.
    pub fn add(&mut self, tag: Tag, vr: VR, values: &[String]) {
        for value in values.iter().map(|value| value.to_lowercase()) {
            if vr == VR::PN {
                self.words.extend(words(&value).filter(|word| word.chars().count() >= WORD).map(str::to_owned));
            } else if tag == tags::PATIENT_BIRTH_DATE {
                self.add_day(&digits(&value));
            } else if value.len() >= NUMBER {
                self.numbers.insert(value);
            }
        }
    }

    fn add_day(&mut self, digits: &str) {
        if let (8, Some((year, month)), Some(day)) =
            (digits.len(), digits.get(..4).zip(digits.get(4..6)), digits.get(6..))
        {
            self.days.extend([
                format!("{year}{month}{day}"),
                format!("{day}{month}{year}"),
                format!("{month}{day}{year}"),
            ]);
        }
    }

    /// Whether a text repeats one of them.
    pub fn are_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let digits = digits(&text);
        words(&text).any(|word| self.words.contains(word))
            || self.numbers.iter().any(|number| text.contains(number))
            || self.days.iter().any(|day| digits.contains(day))
    }
}

/// Nobody is to be named by accident.
impl fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identifiers(…)")
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_named_is_found() {
        let mut identifiers = Identifiers::default();
        identifiers.add(tags::PATIENT_NAME, VR::PN, &["Conceição^Ana Li^^Dra.".to_owned()]);
        identifiers.add(tags::PATIENT_ID, VR::LO, &["P-0042".to_owned()]);
        identifiers.add(tags::PATIENT_BIRTH_DATE, VR::DA, &["1970.01.31".to_owned()]);
        for text in ["TORAX_CONCEIÇÃO", "de ana", "scan p-0042b", "31/01/1970", "d19700131", "01-31-1970"] {
            assert!(identifiers.are_in(text), "{text}");
        }
        for text in ["", "TORAX", "Ananas", "li", "P-004", "1970", "1970-01-30"] {
            assert!(!identifiers.are_in(text), "{text}");
        }
        assert!(!format!("{identifiers:?}").contains("0042"));
    }
}
