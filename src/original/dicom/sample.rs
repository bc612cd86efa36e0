//! DICOM files for tests.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::element::{Element, ITEM, ITEM_END, SEQUENCE_END, Syntax, UNDEFINED};

/// Writes elements one after the other, with lengths as they are or as a test wants them.
pub struct Sample {
    /// What has been written.
    pub bytes: Vec<u8>,
    syntax: Syntax,
}

impl Sample {
    /// A data set without anything before it.
    pub fn bare(syntax: Syntax) -> Self {
        Self { bytes: Vec::new(), syntax }
    }

    /// A preamble and a meta group of a transfer syntax.
    pub fn file(transfer_syntax: &str, syntax: Syntax) -> Self {
        let mut meta = Self::bare(Syntax::EXPLICIT_LITTLE);
        meta.bytes.resize(128, 0);
        meta.bytes.extend(b"DICM");
        // a wrong group length: nothing may rely on it
        meta.put(tags::FILE_META_INFORMATION_GROUP_LENGTH, VR::UL, &[9, 0, 0, 0]);
        meta.put(tags::MEDIA_STORAGE_SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.2\0");
        meta.put(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, VR::UI, b"1.2.3.45");
        meta.put(tags::TRANSFER_SYNTAX_UID, VR::UI, transfer_syntax.as_bytes());
        Self { bytes: meta.bytes, syntax }
    }

    /// A file in Explicit VR Little Endian.
    pub fn explicit() -> Self {
        Self::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, Syntax::EXPLICIT_LITTLE)
    }

    /// An element.
    pub fn put(&mut self, tag: Tag, vr: VR, value: &[u8]) -> &mut Self {
        self.head(tag, vr, value.len() as u32);
        self.bytes.extend(value);
        self
    }

    /// A number of two bytes.
    pub fn number(&mut self, tag: Tag, number: u16) -> &mut Self {
        let value = if self.syntax.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.put(tag, VR::US, &value)
    }

    /// An element's header alone.
    pub fn head(&mut self, tag: Tag, vr: VR, length: u32) -> &mut Self {
        Element { tag, vr, length }.write(&mut self.bytes, self.syntax).unwrap();
        self
    }

    /// A sequence of one item, all lengths undefined.
    pub fn sequence(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.head(tag, VR::SQ, UNDEFINED).head(ITEM, VR::UN, UNDEFINED);
        inside(self);
        self.head(ITEM_END, VR::UN, 0).head(SEQUENCE_END, VR::UN, 0)
    }

    /// A sequence of one item, all lengths given.
    pub fn measured(&mut self, tag: Tag, inside: impl FnOnce(&mut Self)) -> &mut Self {
        let mut items = Self::bare(self.syntax);
        inside(&mut items);
        let length = items.bytes.len() as u32;
        self.head(tag, VR::SQ, length + 8).head(ITEM, VR::UN, length);
        self.bytes.extend(items.bytes);
        self
    }

    /// A patient with a name, an identifier and a birth date, and an image with everything a header is asked for.
    pub fn image(&mut self) -> &mut Self {
        self.put(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 100")
            .put(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.2\0")
            .put(tags::SOP_INSTANCE_UID, VR::UI, b"1.2.3.45")
            .put(tags::ACQUISITION_DATE, VR::DA, b"20240229")
            .put(tags::MODALITY, VR::CS, b"CT")
            .put(tags::MANUFACTURER, VR::LO, b"M\xfcller AG ")
            .put(tags::REFERRING_PHYSICIAN_NAME, VR::PN, b"House^Gregory ")
            .put(tags::MANUFACTURER_MODEL_NAME, VR::LO, b"Model 7 ")
            .sequence(tags::REFERENCED_IMAGE_SEQUENCE, |item| {
                item.put(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, b"1.2.3.46");
                item.put(tags::PATIENT_NAME, VR::PN, b"Silva^Maria ");
            })
            .put(Tag(0x0009, 0x0010), VR::LO, b"ACME Silva")
            .put(tags::PATIENT_NAME, VR::PN, b"Silva^Maria ")
            .put(tags::PATIENT_ID, VR::LO, b"P-0042")
            .put(tags::PATIENT_BIRTH_DATE, VR::DA, b"19700131")
            .put(tags::BODY_PART_EXAMINED, VR::CS, b"CHEST ")
            .put(tags::KVP, VR::DS, b"120 ")
            .put(tags::VIEW_POSITION, VR::CS, b"PA")
            .put(tags::STUDY_INSTANCE_UID, VR::UI, b"1.2.3.4\0")
            .put(tags::SERIES_INSTANCE_UID, VR::UI, b"1.2.3.44")
            .put(tags::IMAGE_LATERALITY, VR::CS, b"L ")
            .put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, b"MONOCHROME2 ")
            .put(tags::NUMBER_OF_FRAMES, VR::IS, b"3 ")
            .number(tags::ROWS, 480)
            .number(tags::COLUMNS, 640)
            .put(tags::PIXEL_SPACING, VR::DS, b"0.5\\0.25")
            .number(tags::BITS_ALLOCATED, 16)
    }
}
