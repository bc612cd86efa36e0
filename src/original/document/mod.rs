//! Reports as they come, as text: markup removed, paragraphs kept.

mod html;
pub(super) mod pdf;
mod plain;
mod rtf;

use std::borrow::Cow;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::original::{apart, media};

/// A document's text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The media type, found by content.
    pub format: &'static str,
    /// The encoding that the text was read in, by its name on the web; `None` for PDF, which has its own in each font.
    pub encoding: Option<&'static str>,
    /// The text: lines end with `\n`, paragraphs of HTML, RTF and PDF are set apart by an empty line or a line's end.
    pub text: String,
}

/// Why there is no text. None holds a value of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The document or its text has more bytes than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A password is needed.
    Encrypted,
    /// Nothing to read: an empty file, markup only, or a PDF of pictures.
    NoText,
    /// The document breaks its format's rules so far that nothing can be made of it.
    Damaged(Cow<'static, str>),
    /// Reading took longer than it may.
    TooSlow,
    /// Reading took more memory than it may, or ended the process that did it.
    TooLaborious,
    /// No document.
    NotADocument(Cow<'static, str>),
}

impl Reason {
    /// The document breaks a rule.
    pub fn damaged(what: &'static str) -> Self {
        Self::Damaged(Cow::Borrowed(what))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "more than {limit} bytes"),
            Self::Encrypted => f.write_str("the document is encrypted"),
            Self::NoText => f.write_str("the document has no text"),
            Self::Damaged(what) => write!(f, "the document is damaged: {what}"),
            Self::TooSlow => f.write_str("the document takes too long to read"),
            Self::TooLaborious => f.write_str("the document takes too much memory to read"),
            Self::NotADocument(media) => write!(f, "{media} is no document"),
        }
    }
}

impl std::error::Error for Reason {}

/// Reads a document of at most `limit` bytes, whose text may not be larger either.
///
/// # Errors
/// When no reader of PDF can be started. Why there is no text is the [`Reason`].
pub fn read(bytes: &[u8], limit: usize) -> io::Result<Result<Document, Reason>> {
    if bytes.len() > limit {
        return Ok(Err(Reason::TooLarge { limit }));
    }
    let format = media::media_type(&bytes[..bytes.len().min(media::HEAD)]);
    let (text, encoding) = match format {
        media::TEXT | media::JSON => plain::text(bytes),
        media::HTML => html::text(bytes),
        media::RTF => rtf::text(bytes),
        media::PDF => match apart::text(bytes, limit)? {
            Ok(text) => (text, None),
            Err(reason) => return Ok(Err(reason)),
        },
        _ if bytes.is_empty() => return Ok(Err(Reason::NoText)),
        _ => return Ok(Err(Reason::NotADocument(format.into()))),
    };
    Ok(if text.len() > limit {
        Err(Reason::TooLarge { limit })
    } else if text.trim().is_empty() {
        Err(Reason::NoText)
    } else {
        Ok(Document { format, encoding, text })
    })
}

/// The short name of a document's format.
pub fn format_name(media: &str) -> &'static str {
    match media {
        media::HTML => "html",
        media::RTF => "rtf",
        media::PDF => "pdf",
        _ => "text",
    }
}

/// Takes white space from the ends of lines, and all but one of several empty lines.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        out.push_str(line);
        empty = 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn formats_are_told_by_content() {
        for (bytes, format, encoding, text) in [
            (&b"Sem altera\xe7\xf5es.\r\n\r\nFim.\r\n"[..], media::TEXT, "windows-1252", "Sem alterações.\n\nFim."),
            ("Sem alterações.".as_bytes(), media::TEXT, "UTF-8", "Sem alterações."),
            (b"<p>Um</p><p>Dois &amp; tr&ecirc;s</p>", media::HTML, "UTF-8", "Um\n\nDois & três"),
            (b"{\\rtf1\\ansi Um\\par Dois}", media::RTF, "windows-1252", "Um\nDois"),
        ] {
            let expected = Document { format, encoding: Some(encoding), text: text.to_owned() };
            assert_eq!(read(bytes, LIMIT).unwrap(), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(read(b"", LIMIT).unwrap(), Err(Reason::NoText));
        assert_eq!(read(b" \n", LIMIT).unwrap(), Err(Reason::NoText));
        assert_eq!(read(b"<html><script>alert()</script></html>", LIMIT).unwrap(), Err(Reason::NoText));
        assert_eq!(read(b"\x89PNG\r\n\x1a\n", LIMIT).unwrap(), Err(Reason::NotADocument(media::PNG.into())));
        assert_eq!(read(&[b'a'; 11], 10).unwrap(), Err(Reason::TooLarge { limit: 10 }));
    }
}
