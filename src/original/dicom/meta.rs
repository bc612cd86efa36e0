//! The beginning of a file: preamble, meta group, and how the data set is encoded.

use std::io::{self, Read, Seek};

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::element::{Element, Syntax};
use super::input::Input;
use super::skip::skip_value;
use super::value::uid;
use crate::original::media;
use crate::original::unreadable::Unreadable;

/// The longest value that is read; names and identifiers are far shorter.
const VALUE_LIMIT: u32 = 64 * 1024;

/// Retired, and still found in archives.
pub const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// What the meta group says, and how the data set is encoded in truth.
#[derive(Debug, Default)]
pub struct Meta {
    /// The transfer syntax that the file names.
    pub transfer_syntax: Option<String>,
    /// The SOP class that the file names.
    pub sop_class: Option<String>,
    /// The SOP instance that the file names.
    pub sop_instance: Option<String>,
}

/// Reads up to the data set. A transfer syntax that nobody knows is explicit little endian, as the standard demands of
/// all new ones; whether the first element says its representation overrules what the file claims.
///
/// # Errors
/// No DICOM; the reader's.
pub fn open<R: Read + Seek>(reader: R) -> Result<(Input<R>, Meta, Syntax), Unreadable> {
    let mut input = Input::new(reader)?;
    let head = input.peek(132)?;
    if head.is_empty() {
        return Err(Unreadable::content("the file is empty"));
    }
    if media::has_preamble(head) {
        input.skip(132)?;
    } else if media::media_type(head) != media::DICOM {
        return Err(Unreadable::content("not a DICOM file"));
    }
    let meta = read_group(&mut input)?;
    if meta.transfer_syntax.as_deref() == Some(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) {
        input = input.inflated();
    }
    let syntax = detect(&mut input, &meta)?;
    Ok((input, meta, syntax))
}

/// Reads the elements of group 0002, whatever its length says, and leaves the input at the data set.
fn read_group<R: Read + Seek>(input: &mut Input<R>) -> Result<Meta, Unreadable> {
    let mut meta = Meta::default();
    while input.peek(2)? == [2, 0] {
        let element =
            Element::read(input, Syntax::EXPLICIT_LITTLE)?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let place = match element.tag {
            tags::TRANSFER_SYNTAX_UID => &mut meta.transfer_syntax,
            tags::MEDIA_STORAGE_SOP_CLASS_UID => &mut meta.sop_class,
            tags::MEDIA_STORAGE_SOP_INSTANCE_UID => &mut meta.sop_instance,
            _ => {
                skip_value(input, element, Syntax::EXPLICIT_LITTLE)?;
                continue;
            }
        };
        if element.length > VALUE_LIMIT {
            return Err(Unreadable::content("an identifier of the meta group has a length that cannot be"));
        }
        *place = uid(&input.value(element.length)?);
    }
    Ok(meta)
}

fn detect<R: Read + Seek>(input: &mut Input<R>, meta: &Meta) -> io::Result<Syntax> {
    let claimed = meta.transfer_syntax.as_deref();
    let Some(&[a, b, _, _, e, f]) = input.peek(6)?.first_chunk() else { return Ok(Syntax::EXPLICIT_LITTLE) };
    let explicit = if claimed.is_some() {
        e.is_ascii_uppercase() && f.is_ascii_uppercase()
    } else {
        VR::from_binary([e, f]).is_some()
    };
    // without a transfer syntax a low group number tells: 0008 read the wrong way round is 0800
    let swapped = explicit && u16::from_le_bytes([a, b]) >= 0x0400;
    let big_endian = claimed.map_or(swapped, |uid| uid == EXPLICIT_BIG_ENDIAN);
    Ok(Syntax { explicit, big_endian })
}
