//! De-identified copies of DICOM files by the Basic Profile of PS3.15 (see [`crate::original::dicom::profile`]).
//!
//! A stream from reader to writer: pixel data pass by in blocks, whatever their size, and values that stay are copied
//! byte for byte. Sequences are written with undefined length, since what goes from their items changes theirs.
//! Texts that the profile keeps and that repeat whom the header names give way to dummies, wherever they stand. Text that is
//! burned into the pixels is out of reach.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::text::SpecificCharacterSet;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::original::dicom::element::{Element, ITEM, ITEM_END, SEQUENCE_END, Syntax, UNDEFINED};
use crate::original::dicom::identifiers::{Identifiers, is_written};
use crate::original::dicom::input::Input;
use crate::original::dicom::meta;
use crate::original::dicom::profile::{Action, action};
use crate::original::dicom::skip::skip_value;
use crate::original::dicom::value::{self, character_set};
use crate::original::header::dicom as header;
use crate::original::unreadable::Unreadable;

/// Under which name copies say that they were written.
const IMPLEMENTATION_UID: &str = "2.25.176426338452049736531937125903342817469";
const IMPLEMENTATION_NAME: &str = "MEDALHA";

/// How a copy says what was done to it, (0012,0063).
pub const METHOD: &str = "DICOM PS3.15 Basic Application Level Confidentiality Profile";

/// The longest list of identifiers that is replaced, in bytes.
const UIDS_LIMIT: u32 = 1 << 20;

/// The longest text that is looked into, in bytes; the standard knows none that is longer.
const TEXT_LIMIT: u32 = 1 << 20;

/// Deeper sequences than this are taken for damage.
const DEPTH_LIMIT: u32 = 64;

/// Replaces unique identifiers, the same one always by the same one, for a secret key.
#[derive(Clone)]
pub struct Uids(Hmac<Sha256>);

impl Uids {
    /// A replacement that only who has the key can repeat.
    pub fn new(key: &[u8]) -> Self {
        let hash = Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self(hash)
    }

    /// The identifier that stands for another: `2.25.` and a version 8 UUID from the first 16 bytes of HMAC-SHA-256.
    pub fn replace(&self, uid: &str) -> String {
        let mut hash = self.0.clone();
        hash.update(uid.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize().into_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        format!("2.25.{}", u128::from_be_bytes(bytes))
    }
}

/// Writes a de-identified copy of a DICOM file. The same file and key give the same bytes.
///
/// A deflated data set is written inflated, in Explicit VR Little Endian. The writer should buffer.
///
/// # Errors
/// No DICOM, or damage: what has been written is no copy then. The reader's and the writer's.
pub fn deidentify<R: Read + Seek>(mut reader: R, writer: &mut impl Write, uids: &Uids) -> Result<(), Unreadable> {
    reader.seek(SeekFrom::Start(0))?;
    let identity = identity(&mut reader)?;
    let identifiers = header::read(&mut reader, &HashSet::new())?.identifiers;
    let (input, meta, syntax) = meta::open(reader)?;
    let (transfer_syntax, written) = written_syntax(meta.transfer_syntax.as_deref(), syntax);
    write_meta(writer, &identity, transfer_syntax, uids)?;
    let characters = character_set(b"");
    let mut copy = Copy { input, writer, uids, identifiers, characters, written, depth: 0, pending: statements() };
    copy.data_set(syntax, None)
}

/// SOP class and instance, from the data set before the meta group.
fn identity<R: Read + Seek>(reader: &mut R) -> Result<(String, String), Unreadable> {
    let (mut input, meta, syntax) = meta::open(reader)?;
    let (mut class, mut instance) = (None, None);
    while let Some(element) = Element::read(&mut input, syntax)? {
        match element.tag {
            tags::SOP_CLASS_UID if element.length < UIDS_LIMIT => class = value::uid(&input.value(element.length)?),
            tags::SOP_INSTANCE_UID if element.length < UIDS_LIMIT => {
                instance = value::uid(&input.value(element.length)?);
            }
            tag if tag > tags::SOP_INSTANCE_UID => break,
            _ => skip_value(&mut input, element, syntax)?,
        }
    }
    let missing = |what| Unreadable::content(format!("the header has no {what}"));
    let class = class.or(meta.sop_class).ok_or_else(|| missing("SOP class"))?;
    let instance = instance.or(meta.sop_instance).ok_or_else(|| missing("SOP instance"))?;
    Ok((class, instance))
}

/// The transfer syntax of the copy and its encoding: what the file claims, where the data set bears it out or could have
/// nothing else, as compressed pixels are explicit by the standard.
fn written_syntax(claimed: Option<&str>, read: Syntax) -> (&str, Syntax) {
    let explicit = Syntax::EXPLICIT_LITTLE;
    match claimed {
        _ if read.big_endian => (meta::EXPLICIT_BIG_ENDIAN, read),
        None | Some(uids::IMPLICIT_VR_LITTLE_ENDIAN) if !read.explicit => (uids::IMPLICIT_VR_LITTLE_ENDIAN, read),
        None | Some(uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) => {
            (uids::EXPLICIT_VR_LITTLE_ENDIAN, explicit)
        }
        Some(claimed) => (claimed, explicit),
    }
}

fn write_meta(
    writer: &mut impl Write,
    (class, instance): &(String, String),
    transfer_syntax: &str,
    uids: &Uids,
) -> io::Result<()> {
    let explicit = Syntax::EXPLICIT_LITTLE;
    let mut group = Vec::new();
    put(&mut group, tags::FILE_META_INFORMATION_VERSION, VR::OB, &[0, 1], explicit)?;
    put(&mut group, tags::MEDIA_STORAGE_SOP_CLASS_UID, VR::UI, class.as_bytes(), explicit)?;
    put(&mut group, tags::MEDIA_STORAGE_SOP_INSTANCE_UID, VR::UI, uids.replace(instance).as_bytes(), explicit)?;
    put(&mut group, tags::TRANSFER_SYNTAX_UID, VR::UI, transfer_syntax.as_bytes(), explicit)?;
    put(&mut group, tags::IMPLEMENTATION_CLASS_UID, VR::UI, IMPLEMENTATION_UID.as_bytes(), explicit)?;
    put(&mut group, tags::IMPLEMENTATION_VERSION_NAME, VR::SH, IMPLEMENTATION_NAME.as_bytes(), explicit)?;
    writer.write_all(&[0; 128])?;
    writer.write_all(b"DICM")?;
    let length = (group.len() as u32).to_le_bytes();
    put(writer, tags::FILE_META_INFORMATION_GROUP_LENGTH, VR::UL, &length, explicit)?;
    writer.write_all(&group)
}

/// Writes an element with its value, padded to an even length.
fn put(writer: &mut impl Write, tag: Tag, vr: VR, value: &[u8], syntax: Syntax) -> io::Result<()> {
    let padding: &[u8] = match (value.len() % 2, vr) {
        (0, _) => b"",
        (_, VR::UI | VR::OB | VR::UN) => b"\0",
        _ => b" ",
    };
    Element { tag, vr, length: (value.len() + padding.len()) as u32 }.write(writer, syntax)?;
    writer.write_all(value)?;
    writer.write_all(padding)
}

/// What a copy says about itself, last first.
fn statements() -> Vec<(Tag, &'static str)> {
    vec![
        (tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, "REMOVED"),
        (tags::DEIDENTIFICATION_METHOD, METHOD),
        (tags::PATIENT_IDENTITY_REMOVED, "YES"),
    ]
}

/// A copy under way.
struct Copy<'a, R: Read, W: Write> {
    input: Input<R>,
    writer: &'a mut W,
    uids: &'a Uids,
    /// Whom no text may name.
    identifiers: Identifiers,
    characters: SpecificCharacterSet,
    /// How the copy is encoded.
    written: Syntax,
    depth: u32,
    /// What the copy says about itself and has not been written yet.
    pending: Vec<(Tag, &'static str)>,
}

impl<R: Read + Seek, W: Write> Copy<'_, R, W> {
    /// Copies elements up to the end of the file, of the item (a position), or to the item's delimiter.
    fn data_set(&mut self, syntax: Syntax, end: Option<u64>) -> Result<(), Unreadable> {
        while end.is_none_or(|end| self.input.position() < end) {
            let element = match Element::read(&mut self.input, syntax)? {
                Some(element) if element.tag == ITEM_END => return Ok(()),
                Some(element) => element,
                None if self.depth == 0 && self.input.remaining().is_none_or(|left| left == 0) => break,
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
            if self.depth == 0 {
                self.state(element.tag)?;
            }
            self.element(element, syntax)?;
        }
        if self.depth == 0 {
            self.state(Tag(0xFFFF, 0xFFFF))?;
        }
        Ok(())
    }

    /// Writes what the copy says about itself before the element at which it belongs.
    fn state(&mut self, next: Tag) -> io::Result<()> {
        while let Some((tag, text)) = self.pending.pop_if(|(tag, _)| *tag <= next) {
            let vr = if tag == tags::DEIDENTIFICATION_METHOD { VR::LO } else { VR::CS };
            put(self.writer, tag, vr, text.as_bytes(), self.written)?;
        }
        Ok(())
    }

    fn element(&mut self, element: Element, syntax: Syntax) -> Result<(), Unreadable> {
        let Element { tag, vr, .. } = element;
        match action(tag, vr) {
            Action::Remove => Ok(skip_value(&mut self.input, element, syntax)?),
            _ if statements().iter().any(|(stated, _)| *stated == tag) && self.depth == 0 => {
                Ok(skip_value(&mut self.input, element, syntax)?)
            }
            // what has no known representation could hold anything
            _ if vr == VR::UN => Ok(skip_value(&mut self.input, element, syntax)?),
            // the content of a report is looked into: its texts, names, dates and identifiers have actions of their own
            Action::Dummy if vr == VR::SQ && tag == tags::CONTENT_SEQUENCE => self.sequence(element, syntax),
            Action::Keep | Action::Uid if vr == VR::SQ => self.sequence(element, syntax),
            Action::Empty | Action::Dummy if vr == VR::SQ => self.replace(element, &[], syntax),
            Action::Empty => self.replace(element, &[], syntax),
            Action::Dummy => self.replace(element, dummy(vr), syntax),
            Action::Uid => self.identifiers(element, syntax),
            Action::Keep if is_written(vr) && element.length <= TEXT_LIMIT => self.text(element, syntax),
            Action::Keep => self.keep(element, syntax),
        }
    }

    /// Copies a text, where it does not repeat what identifies somebody.
    fn text(&mut self, element: Element, syntax: Syntax) -> Result<(), Unreadable> {
        let bytes = self.input.value(element.length)?;
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            self.characters = character_set(&bytes);
        }
        let text = value::texts(element.vr, &bytes, syntax, &self.characters).join("\\");
        if self.identifiers.are_in(&text) {
            return Ok(put(self.writer, element.tag, element.vr, dummy(element.vr), self.written)?);
        }
        element.write(self.writer, self.written)?;
        Ok(self.writer.write_all(&bytes)?)
    }

    fn replace(&mut self, element: Element, value: &[u8], syntax: Syntax) -> Result<(), Unreadable> {
        skip_value(&mut self.input, element, syntax)?;
        Ok(put(self.writer, element.tag, element.vr, value, self.written)?)
    }

    fn identifiers(&mut self, element: Element, syntax: Syntax) -> Result<(), Unreadable> {
        if element.length > UIDS_LIMIT {
            return Err(Unreadable::content("a list of identifiers has a length that cannot be"));
        }
        let bytes = self.input.value(element.length)?;
        let old = value::texts(VR::UI, &bytes, syntax, &character_set(b""));
        let new: Vec<String> =
            old.iter().map(|uid| if uid.is_empty() { String::new() } else { self.uids.replace(uid) }).collect();
        Ok(put(self.writer, element.tag, element.vr, new.join("\\").as_bytes(), self.written)?)
    }

    /// Copies a value as it is: of a length, or in fragments up to a delimiter.
    fn keep(&mut self, element: Element, syntax: Syntax) -> Result<(), Unreadable> {
        // implicit files do not say that fragments are bytes
        let vr = if element.length == UNDEFINED { VR::OB } else { element.vr };
        Element { vr, ..element }.write(self.writer, self.written)?;
        if element.length != UNDEFINED {
            return self.bytes(element.length);
        }
        loop {
            let fragment = self.header(syntax)?;
            fragment.write(self.writer, self.written)?;
            match fragment.tag {
                ITEM if fragment.length != UNDEFINED => self.bytes(fragment.length)?,
                SEQUENCE_END => return Ok(()),
                _ => return Err(Unreadable::content("the pixel data's fragments are damaged")),
            }
        }
    }

    fn bytes(&mut self, length: u32) -> Result<(), Unreadable> {
        let copied = io::copy(&mut self.input.by_ref().take(u64::from(length)), self.writer)?;
        if copied < u64::from(length) { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
    }

    fn sequence(&mut self, element: Element, syntax: Syntax) -> Result<(), Unreadable> {
        if self.depth == DEPTH_LIMIT {
            return Err(Unreadable::content("sequences are nested too deep"));
        }
        Element { length: UNDEFINED, ..element }.write(self.writer, self.written)?;
        let end = (element.length != UNDEFINED).then(|| self.input.position() + u64::from(element.length));
        self.depth += 1;
        while end.is_none_or(|end| self.input.position() < end) {
            let item = self.header(syntax)?;
            match item.tag {
                ITEM => self.item(item, syntax)?,
                SEQUENCE_END => break,
                _ => return Err(Unreadable::content("a sequence's items are damaged")),
            }
        }
        self.depth -= 1;
        Ok(delimiter(SEQUENCE_END).write(self.writer, self.written)?)
    }

    fn item(&mut self, item: Element, syntax: Syntax) -> Result<(), Unreadable> {
        Element { length: UNDEFINED, ..item }.write(self.writer, self.written)?;
        let end = (item.length != UNDEFINED).then(|| self.input.position() + u64::from(item.length));
        self.data_set(syntax, end)?;
        if end.is_some_and(|end| end != self.input.position()) {
            return Err(Unreadable::content("an item's length and its elements do not agree"));
        }
        Ok(delimiter(ITEM_END).write(self.writer, self.written)?)
    }

    fn header(&mut self, syntax: Syntax) -> Result<Element, Unreadable> {
        let header = Element::read(&mut self.input, syntax)?;
        header.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}

fn delimiter(tag: Tag) -> Element {
    Element { tag, vr: VR::UN, length: 0 }
}

/// A value that says nothing and fits the representation.
fn dummy(vr: VR) -> &'static [u8] {
    match vr {
        VR::DA => b"19000101",
        VR::TM => b"000000",
        VR::DT => b"19000101000000",
        VR::AS => b"000Y",
        VR::DS | VR::IS => b"0",
        VR::UI => b"2.25.0",
        VR::UR => b"urn:anonymized",
        VR::US | VR::SS | VR::OB | VR::OW | VR::UN => &[0; 2],
        VR::UL | VR::SL | VR::FL | VR::AT | VR::OF | VR::OL => &[0; 4],
        VR::FD | VR::SV | VR::UV | VR::OD | VR::OV => &[0; 8],
        VR::SQ => b"",
        _ => b"ANONYMIZED",
    }
}

#[cfg(test)]
#[path = "deidentify_tests.rs"]
mod tests;
