//! The Basic Application Level Confidentiality Profile of DICOM PS3.15, table E.1-1.
//!
//! The table (`basic_profile.tsv`) is that of edition 2026c, its action codes as printed. Where a code leaves a choice,
//! the one is taken that keeps a copy valid whatever its class demands: a dummy before an empty value before removal.
//! Beyond the table, what could carry a person is not kept either: see [`action`].

use std::collections::HashMap;
use std::sync::LazyLock;

use dicom_core::{Tag, VR};

use super::element::entry;

/// What becomes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// X: it goes.
    Remove,
    /// Z: it stays, empty.
    Empty,
    /// D: its value gives way to a fixed one.
    Dummy,
    /// U: each identifier gives way to another, the same everywhere; items of a sequence are looked into.
    Uid,
    /// K: it stays as it is; items of a sequence are looked into.
    Keep,
}

const TABLE: &str = include_str!("basic_profile.tsv");

static ACTIONS: LazyLock<HashMap<Tag, Action>> = LazyLock::new(|| TABLE.lines().filter_map(parse).collect());

fn parse(line: &str) -> Option<(Tag, Action)> {
    let mut fields = line.split('\t');
    let number = u32::from_str_radix(fields.next()?, 16).ok()?;
    let action = match fields.next()? {
        "X" => Action::Remove,
        "Z" | "X/Z" => Action::Empty,
        "D" | "X/D" | "Z/D" | "X/Z/D" => Action::Dummy,
        "U" | "X/Z/U*" => Action::Uid,
        _ => return None,
    };
    Some((Tag((number >> 16) as u16, number as u16), action))
}

/// What becomes of an element in a de-identified copy.
///
/// Besides the table: private elements, elements that the dictionary does not know, group lengths, directories of files
/// (0004), curves (50xx), overlays (60xx) and what the table does not list of the patient's group 0010 go; persons' names, dates, times and
/// free text that the table does not list become dummies.
pub fn action(tag: Tag, vr: VR) -> Action {
    if tag.0 % 2 == 1 || matches!(tag.0 >> 8, 0x50 | 0x60) || tag.0 == 0x0004 || tag.1 == 0 {
        return Action::Remove;
    }
    if let Some(action) = ACTIONS.get(&tag) {
        return *action;
    }
    if tag.0 == 0x0010 || entry(tag).is_none() {
        return Action::Remove;
    }
    match vr {
        VR::PN | VR::DA | VR::DT | VR::TM | VR::LT | VR::ST | VR::UT => Action::Dummy,
        _ => Action::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::dictionary::{DataDictionaryEntry, VirtualVr};
    use dicom_dictionary_std::tags;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((ACTIONS.len(), lines), (652, 652));
    }

    #[test]
    fn actions_of_the_table() {
        for (tag, vr, expected) in [
            (tags::PATIENT_NAME, VR::PN, Action::Empty),
            (tags::PATIENT_ID, VR::LO, Action::Dummy),
            (tags::PATIENT_BIRTH_DATE, VR::DA, Action::Empty),
            (tags::STUDY_INSTANCE_UID, VR::UI, Action::Uid),
            (tags::SOP_CLASS_UID, VR::UI, Action::Keep),
            (tags::ACQUISITION_DATE_TIME, VR::DT, Action::Dummy),
            (tags::SERIES_DESCRIPTION, VR::LO, Action::Remove),
            (tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, Action::Uid),
            (tags::ROWS, VR::US, Action::Keep),
            (tags::MANUFACTURER, VR::LO, Action::Keep),
        ] {
            assert_eq!(action(tag, vr), expected, "{tag}");
        }
    }

    #[test]
    fn beyond_the_table() {
        assert_eq!(action(Tag(0x0009, 0x1001), VR::LO), Action::Remove);
        assert_eq!(action(Tag(0x6002, 0x3000), VR::OW), Action::Remove);
        assert_eq!(action(Tag(0x5000, 0x0010), VR::US), Action::Remove);
        assert_eq!(action(tags::REFERENCED_FILE_ID, VR::CS), Action::Remove);
        assert_eq!(action(Tag(0x0008, 0x0000), VR::UL), Action::Remove);
        assert_eq!(action(Tag(0x0008, 0xFFF0), VR::UN), Action::Remove);
        assert_eq!(action(tags::TEXT_VALUE, VR::UT), Action::Dummy);
    }

    /// Whatever the dictionary holds of persons' names and dates, nothing of it is kept.
    #[test]
    fn no_name_and_no_date_of_the_dictionary_is_kept() {
        let groups =
            [0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x0400, 0x3008, 0x4008].into_iter();
        for tag in groups.flat_map(|group| (1..=0xFFFF).map(move |element| Tag(group, element))) {
            let Some(entry) = entry(tag) else { continue };
            let VirtualVr::Exact(vr @ (VR::PN | VR::DA | VR::DT | VR::TM | VR::LT | VR::ST | VR::UT)) = entry.vr()
            else {
                continue;
            };
            assert_ne!(action(tag, vr), Action::Keep, "{}", entry.alias);
        }
    }
}
