//! A DICOM file's header: what an image is, without whom it shows.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{Read, Seek};

use chrono::NaiveDate;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::text::SpecificCharacterSet;

use crate::original::dicom::element::{Element, ITEM_END, Syntax, UNDEFINED, entry, keyword};
use crate::original::dicom::identifiers::{Identifiers, identifies, is_written};
use crate::original::dicom::input::Input;
use crate::original::dicom::meta::{self, Meta};
use crate::original::dicom::profile::{Action, action};
use crate::original::dicom::skip::skip_value;
use crate::original::dicom::value;
use crate::original::unreadable::Unreadable;

/// The longest value that is read, in bytes. Longer ones are left out.
const VALUE_LIMIT: u32 = 16 * 1024;

/// A value that must not be seen in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The value, for hashing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a header says. A field is `None` where the file does not say it or says what cannot be read as such.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// (0020,000D).
    pub study_uid: Option<String>,
    /// (0020,000E).
    pub series_uid: Option<String>,
    /// (0008,0018), else (0002,0003).
    pub sop_uid: Option<String>,
    /// (0008,0016), else (0002,0002).
    pub sop_class: Option<String>,
    /// (0008,0060).
    pub modality: Option<String>,
    /// (0018,0015).
    pub body_part: Option<String>,
    /// Image Laterality (0020,0062), else the series' Laterality (0020,0060).
    pub laterality: Option<String>,
    /// (0018,5101).
    pub view: Option<String>,
    /// (0028,0010), pixels.
    pub rows: Option<u32>,
    /// (0028,0011), pixels.
    pub columns: Option<u32>,
    /// (0028,0008).
    pub frames: Option<u32>,
    /// Pixel Spacing (0028,0030): between rows and between columns, millimetres in the patient. Not the detector's
    /// (0018,1164), and not that of functional groups, which may differ from frame to frame.
    pub spacing: Option<(f64, f64)>,
    /// (0028,0004).
    pub photometric: Option<String>,
    /// (0028,0100).
    pub bits_allocated: Option<u32>,
    /// (0008,0070).
    pub manufacturer: Option<String>,
    /// Acquisition Date (0008,0022), else the date of Acquisition DateTime (0008,002A), which stands for it in newer
    /// classes. Study, series and content dates are other facts and do not stand in.
    pub acquisition_date: Option<NaiveDate>,
    /// (0002,0010), as the file names it.
    pub transfer_syntax: Option<String>,
    /// (0010,0020), to be hashed by the caller and never kept.
    pub patient_id: Option<Secret>,
    /// Whom the top level names.
    pub identifiers: Identifiers,
    /// Other elements of the top level by keyword, components separated by a backslash: text and numbers that the
    /// Basic Profile keeps and that repeat nothing of [`Header::identifiers`], and those that the caller asked for.
    pub tags: BTreeMap<String, String>,
    /// Whether there is pixel data.
    pub has_pixels: bool,
    /// What is wrong after the values that could be read: the file is cut, or a length lies. `None` for a sound file.
    pub fault: Option<String>,
}

/// Reads a header: all elements before the pixel data, which are never read.
///
/// `keep` are keywords of elements that go to [`Header::tags`] although the Basic Profile would not keep them.
///
/// # Errors
/// No DICOM file, or the reader's error. Damage further on is [`Header::fault`].
pub fn read<R: Read + Seek>(reader: R, keep: &HashSet<String>) -> Result<Header, Unreadable> {
    let (mut input, meta, syntax) = meta::open(reader)?;
    let mut elements = Elements { keep, found: BTreeMap::new(), seen: false, has_pixels: false };
    let fault = match elements.collect(&mut input, syntax) {
        Ok(fault) => fault,
        Err(Unreadable::Content(fault)) => Some(fault),
        Err(error) => return Err(error),
    };
    let nothing = !elements.seen;
    if nothing && meta.sop_class.is_none() && meta.sop_instance.is_none() && meta.transfer_syntax.is_none() {
        return Err(Unreadable::content(fault.unwrap_or_else(|| "no element of a header".to_owned())));
    }
    let fault = fault.or_else(|| nothing.then(|| "there is no data set after the meta group".to_owned()));
    Ok(elements.into_header(meta, syntax, fault))
}

/// The elements of interest, with their bytes.
struct Elements<'a> {
    keep: &'a HashSet<String>,
    found: BTreeMap<Tag, (VR, Vec<u8>)>,
    seen: bool,
    has_pixels: bool,
}

impl Elements<'_> {
    /// Walks over the top level up to the pixel data, and says what is wrong.
    fn collect<R: Read + Seek>(&mut self, input: &mut Input<R>, syntax: Syntax) -> Result<Option<String>, Unreadable> {
        loop {
            if input.remaining().is_some_and(|left| (1..8).contains(&left)) {
                return Ok(Some("the file ends inside the header of an element".to_owned()));
            }
            let Some(element) = Element::read(input, syntax)? else { return Ok(None) };
            if element.tag == ITEM_END {
                return Ok(Some("an item ends that never began".to_owned()));
            }
            self.seen = true;
            if let Some(fault) = too_long(element, input.remaining()) {
                self.has_pixels |= is_pixel_data(element.tag);
                return Ok(Some(fault));
            }
            if is_pixel_data(element.tag) {
                self.has_pixels = true;
                return Ok(None);
            }
            if element.length <= VALUE_LIMIT && self.wants(element) {
                let value = input.value(element.length)?;
                self.found.insert(element.tag, (element.vr, value));
            } else {
                skip_value(input, element, syntax)?;
            }
        }
    }

    fn wants(&self, element: Element) -> bool {
        is_field(element.tag) || identifies(element.tag, element.vr) || self.is_kept(element.tag, element.vr)
    }

    /// Whether an element goes into the map of tags.
    fn is_kept(&self, tag: Tag, vr: VR) -> bool {
        use VR::{AE, AS, AT, CS, DS, FD, FL, IS, LO, SH, SL, SS, SV, UC, UL, UR, US, UV};
        let harmless =
            matches!(vr, AE | AS | AT | CS | DS | FD | FL | IS | LO | SH | SL | SS | SV | UC | UL | UR | US | UV);
        (harmless && action(tag, vr) == Action::Keep) || keyword(tag).is_some_and(|keyword| self.keep.contains(keyword))
    }

    fn into_header(self, meta: Meta, syntax: Syntax, fault: Option<String>) -> Header {
        let named = self.found.get(&tags::SPECIFIC_CHARACTER_SET);
        let characters = named.map_or(SpecificCharacterSet::ISO_IR_6, |(_, bytes)| value::character_set(bytes));
        let values = Values { found: &self.found, syntax, characters };
        let mut identifiers = Identifiers::default();
        for (tag, (vr, _)) in self.found.iter().filter(|(tag, (vr, _))| identifies(**tag, *vr)) {
            identifiers.add(*tag, *vr, &values.all(*tag));
        }
        Header {
            study_uid: values.text(tags::STUDY_INSTANCE_UID),
            series_uid: values.text(tags::SERIES_INSTANCE_UID),
            sop_uid: values.text(tags::SOP_INSTANCE_UID).or(meta.sop_instance),
            sop_class: values.text(tags::SOP_CLASS_UID).or(meta.sop_class),
            modality: values.text(tags::MODALITY),
            body_part: values.text(tags::BODY_PART_EXAMINED),
            laterality: values.text(tags::IMAGE_LATERALITY).or_else(|| values.text(tags::LATERALITY)),
            view: values.text(tags::VIEW_POSITION),
            rows: values.number(tags::ROWS),
            columns: values.number(tags::COLUMNS),
            frames: values.number(tags::NUMBER_OF_FRAMES),
            spacing: values.spacing(),
            photometric: values.text(tags::PHOTOMETRIC_INTERPRETATION),
            bits_allocated: values.number(tags::BITS_ALLOCATED),
            manufacturer: values.text(tags::MANUFACTURER),
            acquisition_date: values.date(tags::ACQUISITION_DATE).or_else(|| values.date(tags::ACQUISITION_DATE_TIME)),
            transfer_syntax: meta.transfer_syntax,
            patient_id: values.text(tags::PATIENT_ID).map(Secret),
            tags: self.kept(&values, &identifiers),
            identifiers,
            has_pixels: self.has_pixels,
            fault,
        }
    }

    fn kept(&self, values: &Values<'_>, identifiers: &Identifiers) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (tag, (vr, _)) in &self.found {
            let Some(keyword) = keyword(*tag) else { continue };
            let text = values.all(*tag).join("\\");
            let is_asked_for = self.keep.contains(keyword);
            let may_stay =
                !is_field(*tag) && self.is_kept(*tag, *vr) && !(is_written(*vr) && identifiers.are_in(&text));
            if !text.is_empty() && (is_asked_for || may_stay) {
                kept.insert(keyword.to_owned(), text);
            }
        }
        kept
    }
}

/// Reads what was found.
struct Values<'a> {
    found: &'a BTreeMap<Tag, (VR, Vec<u8>)>,
    syntax: Syntax,
    characters: SpecificCharacterSet,
}

impl Values<'_> {
    fn all(&self, tag: Tag) -> Vec<String> {
        let Some((vr, bytes)) = self.found.get(&tag) else { return Vec::new() };
        let vr = if *vr == VR::US && self.is_signed(tag) { VR::SS } else { *vr };
        value::texts(vr, bytes, self.syntax, &self.characters)
    }

    /// In implicit files the sign of some values follows that of the pixels.
    fn is_signed(&self, tag: Tag) -> bool {
        use dicom_core::dictionary::{DataDictionaryEntry, VirtualVr};
        let signed = self.found.get(&tags::PIXEL_REPRESENTATION).is_some_and(|(_, bytes)| bytes.contains(&1));
        !self.syntax.explicit && signed && entry(tag).is_some_and(|entry| entry.vr() == VirtualVr::Xs)
    }

    /// All components, which is one for nearly all.
    fn text(&self, tag: Tag) -> Option<String> {
        let text = self.all(tag).join("\\");
        (!text.is_empty()).then_some(text)
    }

    fn number(&self, tag: Tag) -> Option<u32> {
        self.all(tag).first()?.parse().ok()
    }

    fn spacing(&self) -> Option<(f64, f64)> {
        let parts = self.all(tags::PIXEL_SPACING);
        let [row, column] = parts.as_slice() else { return None };
        let (row, column): (f64, f64) = (row.parse().ok()?, column.parse().ok()?);
        (row.is_finite() && column.is_finite()).then_some((row, column))
    }

    /// `YYYYMMDD`, or `YYYY.MM.DD` of the standard's forerunner; what follows the day of a DateTime is left out.
    fn date(&self, tag: Tag) -> Option<NaiveDate> {
        let text = self.all(tag).into_iter().next()?.replacen('.', "", 2);
        NaiveDate::parse_from_str(text.get(..8)?, "%Y%m%d").ok()
    }
}

fn too_long(element: Element, remaining: Option<u64>) -> Option<String> {
    let left = remaining.filter(|left| element.length != UNDEFINED && *left < u64::from(element.length))?;
    let Tag(group, number) = element.tag;
    Some(format!("element ({group:04X},{number:04X}) should have {} bytes, and {left} are left", element.length))
}

/// Pixel Data, and its forms of floating-point numbers.
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

fn is_field(tag: Tag) -> bool {
    matches!(
        tag,
        tags::SPECIFIC_CHARACTER_SET
            | tags::STUDY_INSTANCE_UID
            | tags::SERIES_INSTANCE_UID
            | tags::SOP_INSTANCE_UID
            | tags::SOP_CLASS_UID
            | tags::MODALITY
            | tags::BODY_PART_EXAMINED
            | tags::IMAGE_LATERALITY
            | tags::LATERALITY
            | tags::VIEW_POSITION
            | tags::ROWS
            | tags::COLUMNS
            | tags::NUMBER_OF_FRAMES
            | tags::PIXEL_SPACING
            | tags::PHOTOMETRIC_INTERPRETATION
            | tags::BITS_ALLOCATED
            | tags::MANUFACTURER
            | tags::ACQUISITION_DATE
            | tags::ACQUISITION_DATE_TIME
            | tags::PATIENT_ID
    )
}

#[cfg(test)]
#[path = "dicom_tests.rs"]
mod tests;
