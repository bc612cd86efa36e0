//! Sizes of pictures and documents, by a few reads.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::tiff;
use crate::original::guard::guarded;
use crate::original::unreadable::Unreadable;
use crate::original::{apart, media};

/// PDF files keep their index at the end and must be read as a whole; beyond this size their pages are not counted.
const PDF_LIMIT: u64 = 64 << 20;

/// How much of a file's end is looked at for the mark that ends it.
const TAIL: u64 = 4096;

/// How large a picture or a document is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Pixels; of the first page.
    pub width: Option<u32>,
    /// Pixels; of the first page.
    pub height: Option<u32>,
    /// Pages of a TIFF or PDF. `None` for other types, and for a PDF that is too large to count.
    pub pages: Option<u32>,
    /// What is wrong beyond the header: the file is cut.
    pub fault: Option<String>,
}

/// Reads the size of a file of a media type that [`media::media_type`] has found.
///
/// # Errors
/// The header is damaged, the document is encrypted, or the reader's. A type that has no size has an empty extent.
pub fn read<R: Read + Seek>(mut reader: R, media: &str) -> Result<Extent, Unreadable> {
    match media {
        media::PNG => picture(reader, Some(b"IEND")),
        media::JPEG => picture(reader, Some(b"\xff\xd9")),
        media::GIF => picture(reader, Some(b"\x3b")),
        media::BMP => picture(reader, None),
        media::TIFF => {
            let pages = tiff::pages(&mut reader)?;
            Ok(Extent { pages: Some(pages), ..picture(reader, None)? })
        }
        media::PDF => Ok(Extent { pages: pdf_pages(reader)?, ..Extent::default() }),
        _ => Ok(Extent::default()),
    }
}

fn picture<R: Read + Seek>(mut reader: R, end: Option<&[u8]>) -> Result<Extent, Unreadable> {
    reader.rewind()?;
    let mut reader = BufReader::with_capacity(1024, reader);
    let damaged = || Unreadable::content("the picture's header is damaged");
    let size = match guarded(|| imagesize::reader_size(&mut reader)).ok_or_else(damaged)? {
        Ok(size) => size,
        Err(imagesize::ImageError::IoError(error)) => return Err(error.into()),
        Err(_) => return Err(damaged()),
    };
    let fault = match end {
        Some(mark) if !ends_with(reader.into_inner(), mark)? => Some("the picture ends early".to_owned()),
        _ => None,
    };
    Ok(Extent { width: u32::try_from(size.width).ok(), height: u32::try_from(size.height).ok(), pages: None, fault })
}

/// Whether a mark stands near the file's end: some writers add bytes after it.
fn ends_with<R: Read + Seek>(mut reader: R, mark: &[u8]) -> io::Result<bool> {
    let length = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    reader.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail.windows(mark.len()).any(|window| window == mark))
}

fn pdf_pages<R: Read + Seek>(mut reader: R) -> Result<Option<u32>, Unreadable> {
    let length = reader.seek(SeekFrom::End(0))?;
    if length > PDF_LIMIT {
        return Ok(None);
    }
    reader.rewind()?;
    let mut bytes = Vec::new();
    reader.take(PDF_LIMIT).read_to_end(&mut bytes)?;
    match apart::pages(&bytes)? {
        Ok(pages) => Ok(Some(pages)),
        Err(reason) => Err(Unreadable::content(reason.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn png(tail: &[u8]) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02\0\0\0\0\0\0\0"[..], tail].concat()
    }

    #[test]
    fn sizes() {
        let whole = png(b"\0\0\0\0IEND\xae\x42\x60\x82");
        let extent = read(Cursor::new(&whole), media::PNG).unwrap();
        assert_eq!((extent.width, extent.height, extent.fault), (Some(640), Some(480), None));
        let cut = read(Cursor::new(png(b"\0\0\x10\0IDAT")), media::PNG).unwrap();
        assert_eq!((cut.width, cut.fault.as_deref()), (Some(640), Some("the picture ends early")));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\x01\xe0\x02\x80\x03\xff\xd9";
        let extent = read(Cursor::new(jpeg), media::JPEG).unwrap();
        assert_eq!((extent.width, extent.height, extent.fault), (Some(640), Some(480), None));
    }

    #[test]
    fn a_damaged_header_is_the_file_s_fault() {
        for (bytes, media) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], media::PNG),
            (b"\xff\xd8\xff\xe0", media::JPEG),
            (b"%PDF-1.4\nnothing", media::PDF),
            (b"", media::GIF),
        ] {
            let error = read(Cursor::new(bytes), media).unwrap_err();
            assert!(matches!(error, Unreadable::Content(_)), "{media}: {error}");
        }
    }

    #[test]
    fn texts_have_no_size() {
        assert_eq!(read(Cursor::new(b"Laudo"), media::TEXT).unwrap(), Extent::default());
    }
}
