//! What an original says of itself.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use chrono::NaiveDate;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use serde::Serialize;

use super::header::dicom::{self, Header};
use super::header::image;
use super::person::PersonKey;
use super::unreadable::Unreadable;
use super::{document, media};
use crate::contract::OriginalOptions;

/// Bytes of a document, and of its text, beyond which it is not read.
const DOCUMENT_LIMIT: usize = 32 << 20;

/// What an original says of itself, without whom it shows. A field is `None` where it says nothing.
#[derive(Debug, Default, Serialize)]
pub struct Look {
    /// What it is by its content.
    pub media_type: Option<&'static str>,
    /// Why it, or a part of it, cannot be read.
    pub reason: Option<String>,
    /// Pixels; of the first page.
    pub width: Option<u32>,
    /// Pixels; of the first page.
    pub height: Option<u32>,
    /// Pages of a TIFF or a PDF.
    pub pages: Option<u32>,
    /// The header of a DICOM file.
    pub dicom: Option<Dicom>,
    /// Other elements of the header by keyword.
    pub tags: Option<BTreeMap<String, String>>,
    /// A keyed hash of the patient's identifier.
    pub person_key: Option<String>,
    /// `text`, `html`, `rtf` or `pdf`, of a document that was read.
    pub format: Option<&'static str>,
    /// The encoding of a document's text.
    pub encoding: Option<&'static str>,
    /// A document's text.
    pub text: Option<String>,
}

/// The fields of a DICOM header; [`Header`] says where they stand.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "they are those of `Header`")]
pub struct Dicom {
    pub study_uid: Option<String>,
    pub series_uid: Option<String>,
    pub sop_uid: Option<String>,
    pub sop_class: Option<String>,
    pub modality: Option<String>,
    pub body_part: Option<String>,
    pub laterality: Option<String>,
    pub view: Option<String>,
    pub rows: Option<u32>,
    pub columns: Option<u32>,
    pub frames: Option<u32>,
    pub row_spacing_mm: Option<f64>,
    pub column_spacing_mm: Option<f64>,
    pub photometric_interpretation: Option<String>,
    pub manufacturer: Option<String>,
    pub acquisition_date: Option<NaiveDate>,
    pub transfer_syntax: Option<String>,
}

/// Looks at a file, at its header only where that is possible.
///
/// # Errors
/// The reader's. What is wrong with the file is [`Look::reason`].
pub fn look<R: Read + Seek>(
    mut file: R,
    options: &OriginalOptions,
    person_key: Option<&PersonKey>,
) -> io::Result<Look> {
    let mut head = Vec::new();
    file.by_ref().take(media::HEAD as u64).read_to_end(&mut head)?;
    let media = media::media_type(&head);
    let mut found = Look { media_type: Some(media), ..Look::default() };
    let looked = if head.is_empty() {
        Err(Unreadable::content("the file is empty"))
    } else if media == media::DICOM {
        dicom::read(&mut file, &options.keep).map(|header| found.take_header(header, person_key))
    } else {
        image::read(&mut file, media).map(|extent| found.take_extent(extent))
    };
    match looked {
        Ok(()) => {}
        Err(Unreadable::Content(reason)) => found.reason = Some(reason),
        Err(Unreadable::Io(error)) => return Err(error),
    }
    if options.text && !head.is_empty() {
        found.read_text(file)?;
    }
    Ok(found)
}

impl Look {
    fn take_header(&mut self, header: Header, person_key: Option<&PersonKey>) {
        self.reason = fault(&header);
        self.person_key = person_key.zip(header.patient_id.as_ref()).map(|(key, id)| key.hash(id));
        self.tags = Some(header.tags);
        self.dicom = Some(Dicom {
            study_uid: header.study_uid,
            series_uid: header.series_uid,
            sop_uid: header.sop_uid,
            sop_class: header.sop_class,
            modality: header.modality,
            body_part: header.body_part,
            laterality: header.laterality,
            view: header.view,
            rows: header.rows,
            columns: header.columns,
            frames: header.frames,
            row_spacing_mm: header.spacing.map(|(row, _)| row),
            column_spacing_mm: header.spacing.map(|(_, column)| column),
            photometric_interpretation: header.photometric,
            manufacturer: header.manufacturer,
            acquisition_date: header.acquisition_date,
            transfer_syntax: header.transfer_syntax,
        });
    }

    fn take_extent(&mut self, extent: image::Extent) {
        (self.width, self.height, self.pages) = (extent.width, extent.height, extent.pages);
        self.reason = extent.fault;
    }

    fn read_text<R: Read + Seek>(&mut self, mut file: R) -> io::Result<()> {
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
        match document::read(&bytes, DOCUMENT_LIMIT)? {
            Ok(document) => {
                self.format = Some(document::format_name(document.format));
                (self.encoding, self.text) = (document.encoding, Some(document.text));
                self.reason = None;
            }
            Err(reason) => self.reason = Some(reason.to_string()),
        }
        Ok(())
    }
}

/// What is wrong with a DICOM file whose header could be read.
fn fault(header: &Header) -> Option<String> {
    let is_known = |uid: &String| TransferSyntaxRegistry.get(uid).is_some();
    if header.fault.is_some() {
        header.fault.clone()
    } else if !header.transfer_syntax.as_ref().is_none_or(is_known) {
        Some("the transfer syntax is not known".to_owned())
    } else if header.rows.is_some() && !header.has_pixels {
        Some("an image without pixel data".to_owned())
    } else {
        None
    }
}
