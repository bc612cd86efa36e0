//! The headers of elements: tag, value representation, length.

use std::io::{self, Read, Write};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, DataDictionaryEntryRef};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// The length of an element that ends with a delimiter.
pub const UNDEFINED: u32 = 0xFFFF_FFFF;
/// Begins an item of a sequence or a fragment of pixel data.
pub const ITEM: Tag = Tag(0xFFFE, 0xE000);
/// Ends an item of undefined length.
pub const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
/// Ends a sequence of undefined length.
pub const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// How elements are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// Whether an element says its value representation.
    pub explicit: bool,
    /// Whether numbers are big endian.
    pub big_endian: bool,
}

impl Syntax {
    /// The syntax of the meta group and of most files.
    pub const EXPLICIT_LITTLE: Self = Self { explicit: true, big_endian: false };
    /// The syntax of data sets without meta group, and of sequences of unknown representation.
    pub const IMPLICIT_LITTLE: Self = Self { explicit: false, big_endian: false };

    /// Two bytes as a number.
    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// Four bytes as a number.
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn put_u16(self, n: u16) -> [u8; 2] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn put_u32(self, n: u32) -> [u8; 4] {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }
    }
}

/// An element without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Group and element number.
    pub tag: Tag,
    /// The value representation; `UN` where neither the file nor the dictionary says one.
    pub vr: VR,
    /// Bytes of the value, or [`UNDEFINED`].
    pub length: u32,
}

impl Element {
    /// Reads the next element's header; `None` where fewer than eight bytes are left.
    ///
    /// A header that should say its representation and does not is taken for an implicit one, as some writers mix
    /// them; two capital letters that are no representation have a length of two bytes.
    ///
    /// # Errors
    /// The reader's.
    pub fn read(reader: &mut impl Read, syntax: Syntax) -> io::Result<Option<Self>> {
        let mut head = [0; 8];
        if !fill(reader, &mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let tag = Tag(syntax.u16([a, b]), syntax.u16([c, d]));
        let letters = e.is_ascii_uppercase() && f.is_ascii_uppercase();
        if !syntax.explicit || tag.0 == 0xFFFE || !letters {
            return Ok(Some(Self { tag, vr: known_vr(tag), length: syntax.u32([e, f, g, h]) }));
        }
        let vr = VR::from_binary([e, f]);
        if !vr.is_some_and(has_long_length) {
            let length = u32::from(syntax.u16([g, h]));
            return Ok(Some(Self { tag, vr: vr.unwrap_or(VR::UN), length }));
        }
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        let vr = match vr {
            Some(vr) if vr != VR::UN => vr,
            _ => known_vr(tag),
        };
        Ok(Some(Self { tag, vr, length: syntax.u32(length) }))
    }

    /// Writes the header.
    ///
    /// # Errors
    /// The writer's; `InvalidData` where the length does not fit the representation.
    pub fn write(&self, writer: &mut impl Write, syntax: Syntax) -> io::Result<()> {
        writer.write_all(&syntax.put_u16(self.tag.0))?;
        writer.write_all(&syntax.put_u16(self.tag.1))?;
        if !syntax.explicit || self.tag.0 == 0xFFFE {
            return writer.write_all(&syntax.put_u32(self.length));
        }
        writer.write_all(&self.vr.to_bytes())?;
        if has_long_length(self.vr) {
            writer.write_all(&[0, 0])?;
            return writer.write_all(&syntax.put_u32(self.length));
        }
        let length = u16::try_from(self.length).map_err(|_| io::ErrorKind::InvalidData)?;
        writer.write_all(&syntax.put_u16(length))
    }

    /// Whether the element's value is items.
    pub fn is_sequence(&self) -> bool {
        self.vr == VR::SQ || (self.vr == VR::UN && self.length == UNDEFINED)
    }
}

/// Whether the length takes four bytes after two that are reserved.
fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// The dictionary's entry of a standard element.
pub fn entry(tag: Tag) -> Option<&'static DataDictionaryEntryRef<'static>> {
    if tag.0 % 2 == 1 || tag.1 == 0 { None } else { StandardDataDictionary.by_tag(tag) }
}

/// The keyword of a standard element.
pub fn keyword(tag: Tag) -> Option<&'static str> {
    entry(tag).map(|entry| entry.alias)
}

/// Whether a text is the keyword of a standard element.
pub fn is_keyword(text: &str) -> bool {
    StandardDataDictionary.by_name(text).is_some()
}

fn known_vr(tag: Tag) -> VR {
    entry(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// Fills the buffer; `false` where the reader ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    fn read(bytes: &[u8], syntax: Syntax) -> Element {
        Element::read(&mut &bytes[..], syntax).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let big = Syntax { explicit: true, big_endian: true };
        for syntax in [Syntax::EXPLICIT_LITTLE, Syntax::IMPLICIT_LITTLE, big] {
            for (tag, vr) in [(tags::ROWS, VR::US), (tags::PIXEL_DATA, VR::OW), (tags::SERIES_DESCRIPTION, VR::LO)] {
                let element = Element { tag, vr, length: 258 };
                let mut bytes = Vec::new();
                element.write(&mut bytes, syntax).unwrap();
                assert_eq!(read(&bytes, syntax), element);
            }
        }
    }

    #[test]
    fn odd_representations() {
        // two letters that are no representation, none at all, and UN for an element that the dictionary knows
        let explicit = Syntax::EXPLICIT_LITTLE;
        let unknown = read(b"\x28\0\x10\0ZZ\x02\0", explicit);
        assert_eq!((unknown.vr, unknown.length), (VR::UN, 2));
        let missing = read(b"\x28\0\x10\0\x02\0\0\0", explicit);
        assert_eq!((missing.vr, missing.length), (VR::US, 2));
        let un = read(b"\x28\0\x10\0UN\0\0\x02\0\0\0", explicit);
        assert_eq!((un.vr, un.length), (VR::US, 2));
    }

    #[test]
    fn a_length_that_does_not_fit_is_not_written() {
        let element = Element { tag: tags::SERIES_DESCRIPTION, vr: VR::LO, length: 70_000 };
        assert!(element.write(&mut Vec::new(), Syntax::EXPLICIT_LITTLE).is_err());
        assert!(element.write(&mut Vec::new(), Syntax::IMPLICIT_LITTLE).is_ok());
    }

    #[test]
    fn a_cut_header_is_the_end() {
        assert_eq!(Element::read(&mut &b"\x28\0\x10\0US"[..], Syntax::EXPLICIT_LITTLE).unwrap(), None);
        assert!(Element::read(&mut &b"\xe0\x7f\x10\0OW\0\0\x02"[..], Syntax::EXPLICIT_LITTLE).is_err());
    }
}
