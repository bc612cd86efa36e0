//! Pages and text of PDF.
//!
//! The crate that runs a PDF may panic, never end, take all memory, or find itself in a circle. Circles are looked for
//! beforehand; the rest is the business of [`crate::original::apart`].

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use pdf_extract::{ConvertToFmt, Dictionary, Document, Error, Object, ObjectId, PlainTextOutput, output_doc_page};

use super::{Reason, tidy};
use crate::original::apart::TIME_LIMIT;

/// How deep pages may nest what they draw, and the tree of pages its branches.
const DEPTH_LIMIT: usize = 64;

/// How many pages there are.
///
/// # Errors
/// The [`Reason`] why that cannot be told.
pub fn pages(bytes: &[u8]) -> Result<u32, Reason> {
    match Document::load_metadata_mem(bytes) {
        Ok(metadata) => Ok(metadata.page_count),
        // lopdf says so of documents that need a password
        Err(Error::InvalidPassword | Error::Decryption(_) | Error::Unimplemented(_)) => Err(Reason::Encrypted),
        Err(_) => Err(Reason::damaged("no index of its parts")),
    }
}

/// The text of all pages, set apart by empty lines.
///
/// # Errors
/// The [`Reason`] why there is none.
pub fn text(bytes: &[u8], limit: usize) -> Result<String, Reason> {
    let mut document = match Document::load_mem(bytes) {
        Ok(document) => document,
        Err(Error::InvalidPassword | Error::Decryption(_)) => return Err(Reason::Encrypted),
        Err(_) => return Err(Reason::damaged("no index of its parts")),
    };
    // many documents are encrypted with an empty password, against changes only
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err(Reason::Encrypted);
    }
    if runs_in_circles(&document) {
        return Err(Reason::damaged("it contains itself"));
    }
    empty_pictures(&mut document);
    let mut text = Bounded { text: String::new(), limit, deadline: Instant::now() + TIME_LIMIT, full: None };
    for page in document.get_pages().into_keys() {
        let result = output_doc_page(&document, &mut PlainTextOutput::new(&mut text), page);
        if let Some(reason) = text.full {
            return Err(reason);
        }
        result.map_err(|_| Reason::damaged("a page breaks the rules"))?;
        text.text.push_str("\n\n");
    }
    Ok(tidy(&text.text))
}

/// Takes the bytes out of pictures: the crate would take those for drawing operators.
fn empty_pictures(document: &mut Document) {
    let streams = document.objects.values_mut().filter_map(|object| object.as_stream_mut().ok());
    for stream in streams.filter(|stream| stream.dict.get(b"Subtype").and_then(Object::as_name).ok() == Some(b"Image"))
    {
        stream.dict.remove(b"Filter");
        stream.set_content(Vec::new());
    }
}

/// Text that may grow up to a limit and a deadline.
struct Bounded {
    text: String,
    limit: usize,
    deadline: Instant,
    full: Option<Reason>,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.limit {
            self.full = Some(Reason::TooLarge { limit: self.limit });
        } else if Instant::now() > self.deadline {
            self.full = Some(Reason::TooSlow);
        } else {
            self.text.push_str(text);
            return Ok(());
        }
        Err(fmt::Error)
    }
}

impl ConvertToFmt for &mut Bounded {
    type Writer = Self;

    fn convert(self) -> Self {
        self
    }
}

/// Whether a page is its own ancestor, or a form draws itself: either would be followed until the stack overflows.
fn runs_in_circles(document: &Document) -> bool {
    let mut sound = HashSet::new();
    document.get_pages().into_values().any(|page| {
        document.get_dictionary(page).is_ok_and(|page| {
            ancestors(document, page) > DEPTH_LIMIT || nests_too_deep(document, page, DEPTH_LIMIT, &mut sound)
        })
    })
}

fn ancestors<'a>(document: &'a Document, page: &'a Dictionary) -> usize {
    let parent = |node: &&'a Dictionary| {
        node.get(b"Parent").and_then(Object::as_reference).and_then(|id| document.get_dictionary(id)).ok()
    };
    std::iter::successors(Some(page), parent).take(DEPTH_LIMIT + 2).count()
}

/// Whether what a page or a form draws nests deeper than `depth`. Forms that are `sound` need no second look.
fn nests_too_deep(document: &Document, drawn: &Dictionary, depth: usize, sound: &mut HashSet<ObjectId>) -> bool {
    forms(document, drawn).into_iter().any(|(id, form)| {
        if sound.contains(&id) {
            return false;
        }
        let deep = depth == 0 || nests_too_deep(document, form, depth - 1, sound);
        if !deep {
            sound.insert(id);
        }
        deep
    })
}

/// The forms in the resources of a page or a form.
fn forms<'a>(document: &'a Document, drawn: &'a Dictionary) -> Vec<(ObjectId, &'a Dictionary)> {
    let follow = |object: &'a Object| document.dereference(object).ok().and_then(|(_, object)| object.as_dict().ok());
    let resources = drawn.get(b"Resources").ok().and_then(follow);
    let Some(objects) = resources.and_then(|resources| resources.get(b"XObject").ok()).and_then(follow) else {
        return Vec::new();
    };
    let ids = objects.iter().filter_map(|(_, object)| object.as_reference().ok());
    ids.filter_map(|id| Some((id, &document.get_object(id).ok()?.as_stream().ok()?.dict))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::original::apart;

    /// As everybody reads: what panics is a reason.
    fn text(bytes: &[u8], limit: usize) -> Result<String, Reason> {
        apart::text(bytes, limit).unwrap()
    }

    /// A PDF of one page from its objects, of which the first is the catalog.
    fn pdf(objects: &[&str], trailer: &str) -> Vec<u8> {
        let mut file = b"%PDF-1.4\n".to_vec();
        let mut offsets = Vec::new();
        for (i, object) in objects.iter().enumerate() {
            offsets.push(file.len());
            file.extend(format!("{} 0 obj\n{object}\nendobj\n", i + 1).bytes());
        }
        let index = file.len();
        file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
        offsets.iter().for_each(|offset| file.extend(format!("{offset:010} 00000 n \n").bytes()));
        let size = objects.len() + 1;
        file.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{index}\n%%EOF\n").bytes());
        file
    }

    const CATALOG: &str = "<< /Type /Catalog /Pages 2 0 R >>";
    const PAGES: &str = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>";
    const FONT: &str = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";

    fn page(resources: &str) -> String {
        format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << {resources} >> >>")
    }

    fn stream(dictionary: &str, content: &str) -> String {
        format!("<< {dictionary} /Length {} >>\nstream\n{content}\nendstream", content.len())
    }

    fn read(objects: &[&str], trailer: &str) -> Result<String, Reason> {
        text(&pdf(objects, trailer), 10_000)
    }

    #[test]
    fn lines_and_paragraphs() {
        let content =
            "BT /F1 12 Tf 72 720 Td (Sem altera\\347\\365es.) Tj 0 -14 Td (Segunda linha.) Tj 0 -40 Td (Fim) Tj ET";
        let (page, content) = (page("/Font << /F1 5 0 R >>"), stream("", content));
        let text = read(&[CATALOG, PAGES, &page, &content, FONT], "").unwrap();
        assert_eq!(text, "Sem alterações.\nSegunda linha.\n\nFim");
    }

    #[test]
    fn pages_without_text_have_none() {
        let (page, content) = (page(""), stream("", "0 0 m 100 100 l S"));
        assert_eq!(read(&[CATALOG, PAGES, &page, &content], ""), Ok(String::new()));
    }

    #[test]
    fn pages_of_pictures_have_none() {
        let (page, content) = (page("/XObject << /X 5 0 R >>"), stream("", "q 200 0 0 200 50 50 cm /X Do Q"));
        let size = "/Type /XObject /Subtype /Image /Width 4 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8";
        assert_eq!(read(&[CATALOG, PAGES, &page, &content, &stream(size, "l w Tj")], ""), Ok(String::new()));
    }

    #[test]
    fn encrypted() {
        let (page, content) = (page(""), stream("", ""));
        let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let encrypt = format!("<< /Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}> >>");
        let result = read(&[CATALOG, PAGES, &page, &content, &encrypt], "/Encrypt 5 0 R /ID [<00> <00>]");
        assert_eq!(result, Err(Reason::Encrypted));
    }

    #[test]
    fn circles() {
        let (page, content) = (page("/XObject << /X 5 0 R >>"), stream("", "/X Do"));
        let form =
            stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >>", "/X Do");
        let circle = Err(Reason::damaged("it contains itself"));
        assert_eq!(read(&[CATALOG, PAGES, &page, &content, &form], ""), circle);
        let own_ancestor = "<< /Type /Pages /Kids [3 0 R] /Count 1 /Parent 2 0 R >>";
        assert_eq!(read(&[CATALOG, own_ancestor, &page, &content], ""), circle);
    }

    #[test]
    fn damage_and_limits_are_reasons() {
        assert!(matches!(text(b"%PDF-1.4 nothing", 100), Err(Reason::Damaged(_))));
        let no_size = "<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>";
        assert!(matches!(read(&[CATALOG, PAGES, no_size, &stream("", "")], ""), Err(Reason::Damaged(_))));
        let content = stream("", &format!("BT /F1 12 Tf ({}) Tj ET", "a".repeat(500)));
        let file = pdf(&[CATALOG, PAGES, &page("/Font << /F1 5 0 R >>"), &content, FONT], "");
        assert_eq!(text(&file, 400), Err(Reason::TooLarge { limit: 400 }));
        for length in (0..file.len()).step_by(37) {
            let _ = text(&file[..length], 1000);
        }
    }
}
