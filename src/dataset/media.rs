//! Kinds of original files, told by their content.

/// DICOM, which holds names: its copies are de-identified.
pub const DICOM: &str = "application/dicom";

/// First bytes that are enough to tell.
pub const HEAD: usize = 256;

/// The kinds that are copied as they are, each with how it begins and the end of its name.
const KINDS: [(&str, &[u8], &str); 7] = [
    ("image/png", b"\x89PNG\r\n\x1a\n", "png"),
    ("image/jpeg", b"\xff\xd8\xff", "jpg"),
    ("image/tiff", b"II*\0", "tif"),
    ("image/tiff", b"MM\0*", "tif"),
    ("image/gif", b"GIF8", "gif"),
    ("image/bmp", b"BM", "bmp"),
    ("application/pdf", b"%PDF-", "pdf"),
];

/// The media type of a file that begins so; none where it is not known.
pub fn media_type(head: &[u8]) -> Option<&'static str> {
    if head.get(128..132) == Some(b"DICM") {
        return Some(DICOM);
    }
    KINDS.iter().find(|(_, start, _)| head.starts_with(start)).map(|(kind, ..)| *kind)
}

/// The end of the name of a file of a kind.
pub fn extension(media_type: &str) -> &'static str {
    match media_type {
        DICOM => "dcm",
        _ => KINDS.iter().find(|(kind, ..)| *kind == media_type).map_or("bin", |(.., extension)| extension),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        assert_eq!(media_type(&dicom), Some(DICOM));
        assert_eq!(media_type(b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(extension("image/jpeg"), "jpg");
        for unknown in [&b""[..], b"PNG", b"\x08\0\x05\0CS\n\0ISO_IR 100"] {
            assert_eq!(media_type(unknown), None);
        }
    }
}
