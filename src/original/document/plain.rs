//! Plain text, and the encoding of bytes.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Text as it is, but for the ends of its lines.
pub fn text(bytes: &[u8]) -> (String, Option<&'static str>) {
    let (text, encoding) = decode(bytes, None);
    (text.replace("\r\n", "\n").replace('\r', "\n").trim_end().to_owned(), Some(encoding))
}

/// Decodes by a byte order mark, else as UTF-8 where the bytes are that, else as named, else as Windows-1252, which holds
/// all printable characters of Latin-1 where Latin-1 has them. UTF-8 goes before the name because bytes that are valid
/// UTF-8 and not ASCII are hardly ever anything else, and documents that were converted keep the old name.
pub fn decode(bytes: &[u8], named: Option<&'static Encoding>) -> (String, &'static str) {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return (encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(), encoding.name());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), UTF_8.name());
    }
    let encoding = named.filter(|named| *named != UTF_8).unwrap_or(WINDOWS_1252);
    (encoding.decode_without_bom_handling(bytes).0.into_owned(), encoding.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let long_dash = b"a \x96 b";
        for (bytes, text, encoding) in [
            (&b"\xef\xbb\xbfol\xc3\xa1"[..], "olá", "UTF-8"),
            (b"\xff\xfeo\0l\0\xe1\0", "olá", "UTF-16LE"),
            (b"\xfe\xff\0o\0l\0\xe1", "olá", "UTF-16BE"),
            (b"ol\xe1", "olá", "windows-1252"),
            (long_dash, "a – b", "windows-1252"),
        ] {
            assert_eq!(decode(bytes, None), (text.to_owned(), encoding));
        }
        assert_eq!(decode(b"\xe1", Encoding::for_label(b"iso-8859-7")), ("α".to_owned(), "ISO-8859-7"));
    }

    #[test]
    fn line_ends() {
        assert_eq!(text(b"a\r\nb\rc\n\n").0, "a\nb\nc");
    }
}
