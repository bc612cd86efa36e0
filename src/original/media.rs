//! What a file is, by its first bytes and never by its name.
//!
//! A table of our own: the crates of magic numbers know neither a DICOM file without preamble nor JSON nor text in
//! Latin-1, and take any text that begins with `BM` for a bitmap.

/// How many first bytes of a file [`media_type`] wants to see.
pub const HEAD: usize = 4096;

/// DICOM, with or without preamble.
pub const DICOM: &str = "application/dicom";
/// PNG.
pub const PNG: &str = "image/png";
/// JPEG.
pub const JPEG: &str = "image/jpeg";
/// TIFF and BigTIFF.
pub const TIFF: &str = "image/tiff";
/// GIF.
pub const GIF: &str = "image/gif";
/// Windows bitmap.
pub const BMP: &str = "image/bmp";
/// PDF.
pub const PDF: &str = "application/pdf";
/// Rich Text Format.
pub const RTF: &str = "application/rtf";
/// HTML and XHTML.
pub const HTML: &str = "text/html";
/// Text in any encoding.
pub const TEXT: &str = "text/plain";
/// JSON: an object, or an array of objects, arrays or strings.
pub const JSON: &str = "application/json";
/// ZIP.
pub const ZIP: &str = "application/zip";
/// gzip.
pub const GZIP: &str = "application/gzip";
/// Anything else, and nothing at all.
pub const UNKNOWN: &str = "application/octet-stream";

const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0\x08\0\0\0", TIFF),
    (b"MM\0+\0\x08\0\0", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b\x08", GZIP),
    (b"{\\rtf", RTF),
];

/// The media type of a file that begins with these bytes: [`HEAD`] of them, or all if it is shorter.
pub fn media_type(head: &[u8]) -> &'static str {
    if has_preamble(head) {
        return DICOM;
    }
    if let Some((_, media)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        return media;
    }
    if is_pdf(head) {
        PDF
    } else if is_bitmap(head) {
        BMP
    } else if is_bare_dicom(head) {
        DICOM
    } else if is_text(head) {
        text_type(head)
    } else {
        UNKNOWN
    }
}

/// The end of the name of a file of a media type.
pub fn extension(media: &str) -> &'static str {
    match media {
        DICOM => "dcm",
        PNG => "png",
        JPEG => "jpg",
        TIFF => "tif",
        GIF => "gif",
        BMP => "bmp",
        PDF => "pdf",
        _ => "bin",
    }
}

/// Whether a DICOM file begins with its preamble.
pub fn has_preamble(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM")
}

/// Readers accept white space and a few lines before the version.
fn is_pdf(head: &[u8]) -> bool {
    head[..head.len().min(1024)].windows(5).any(|window| window == b"%PDF-")
        && (head.starts_with(b"%PDF-")
            || !is_text(&head[..head.len().min(1024)])
            || head.trim_ascii_start().starts_with(b"%PDF-"))
}

/// `BM` alone begins many a text: the header's length must be one of those that exist too.
fn is_bitmap(head: &[u8]) -> bool {
    head.starts_with(b"BM") && matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

/// Whether a plausible first element of the meta group or of the data set stands at the file's beginning: group 0002
/// or 0008, a low element number, and a value representation or a small length. Big endian is looked for too.
fn is_bare_dicom(head: &[u8]) -> bool {
    let Some(&[a, b, c, d, e, f, g, h]) = head.get(..8) else { return false };
    let little = matches!(u16::from_le_bytes([a, b]), 2 | 8) && u16::from_le_bytes([c, d]) <= 0x0070;
    let big = matches!(u16::from_be_bytes([a, b]), 2 | 8) && u16::from_be_bytes([c, d]) <= 0x0070;
    let explicit = dicom_core::VR::from_binary([e, f]).is_some();
    let implicit = little && (1..=256).contains(&u32::from_le_bytes([e, f, g, h]));
    (little && explicit) || implicit || (big && explicit)
}

/// Text has no control characters but white space, escape and form feed. UTF-16 is known by its mark.
fn is_text(head: &[u8]) -> bool {
    let marked = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    let control = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    !head.is_empty() && (marked || !head.iter().any(control))
}

fn text_type(head: &[u8]) -> &'static str {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if is_html(text) {
        HTML
    } else if is_json(text) {
        JSON
    } else {
        TEXT
    }
}

fn is_html(text: &[u8]) -> bool {
    const MARKS: &[&[u8]] = &[
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<body",
        b"<meta",
        b"<title",
        b"<p>",
        b"<p ",
        b"<div",
        b"<br",
        b"<table",
        b"<span",
        b"<h1",
        b"<h2",
        b"<h3",
        b"<b>",
        b"<font",
        b"<pre",
        b"<ul",
        b"<center",
        b"<style",
    ];
    let lower = text[..text.len().min(1024)].to_ascii_lowercase();
    lower.starts_with(b"<") && MARKS.iter().any(|mark| lower.windows(mark.len()).any(|window| window == *mark))
}

/// An array of bare numbers or words is left a text: reports begin with `[1]` and `[note]`.
fn is_json(text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return false };
    let next = rest.trim_ascii_start().first();
    match first {
        b'{' => matches!(next, Some(b'"' | b'}')),
        b'[' => matches!(next, Some(b'{' | b'[' | b'"' | b']')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        for (head, media) in [
            (&dicom[..], DICOM),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", PNG),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", JPEG),
            (b"MM\0*\0\0\0\x08", TIFF),
            (b"GIF89a", GIF),
            (b"%PDF-1.7\n%\xe2\xe3", PDF),
            (b"\n\n%PDF-1.4", PDF),
            (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", BMP),
            (b"{\\rtf1\\ansi Laudo}", RTF),
            (b"PK\x03\x04", ZIP),
            (b"\x1f\x8b\x08\0", GZIP),
            (b"\x7fELF\x02", UNKNOWN),
            (b"", UNKNOWN),
        ] {
            assert_eq!(media_type(head), media, "{head:?}");
        }
    }

    #[test]
    fn dicom_without_preamble() {
        assert_eq!(media_type(b"\x02\0\0\0UL\x04\0\xc0\0\0\0"), DICOM);
        assert_eq!(media_type(b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), DICOM);
        assert_eq!(media_type(b"\x08\0\0\0\x04\0\0\0\xc0\0\0\0"), DICOM);
        assert_eq!(media_type(b"\0\x08\0\x05CS\0\x0aISO_IR 100"), DICOM);
        assert_eq!(media_type(b"\x08\0\x05\0\xff\xff\xff\x7f"), UNKNOWN);
        assert_eq!(media_type(b"\x08\0\x05"), UNKNOWN);
    }

    #[test]
    fn kinds_of_text() {
        for (head, media) in [
            (&b"<!DOCTYPE HTML><title>x"[..], HTML),
            (b"\xef\xbb\xbf <p>Laudo</p>", HTML),
            (b"<?xml version=\"1.0\"?>\n<html xmlns", HTML),
            (b"<5 mm nodule", TEXT),
            (b"{\"a\": 1}", JSON),
            (b" [ {\"a\": 1}]", JSON),
            (b"[1] see above", TEXT),
            (b"{see above}", TEXT),
            (b"BMI 24, no findings", TEXT),
            (b"Conclus\xe3o: sem altera\xe7\xf5es", TEXT),
            ("Conclusão".as_bytes(), TEXT),
            (b"\xff\xfeL\0a\0u\0d\0o\0", TEXT),
            (b"text\0with zero", UNKNOWN),
        ] {
            assert_eq!(media_type(head), media, "{head:?}");
        }
    }

    #[test]
    fn a_text_that_speaks_of_a_pdf_is_a_text() {
        assert_eq!(media_type(b"Files begin with %PDF-1.7, says the standard"), TEXT);
    }
}
