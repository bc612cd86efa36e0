//! HTML without its markup.
//!
//! The tokens are enough: no tree is built, so that no nesting is too deep.

use std::cell::RefCell;

use encoding_rs::Encoding;
use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use super::{plain, tidy};

/// Where a page must name its encoding.
const HEAD: usize = 1024;

/// The text of a page: paragraphs and tables are set apart by an empty line, cells by a tabulator.
pub fn text(bytes: &[u8]) -> (String, Option<&'static str>) {
    let (page, encoding) = plain::decode(bytes, named_encoding(&bytes[..bytes.len().min(HEAD)]));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(page));
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    (tidy(&tokenizer.sink.0.into_inner().text), Some(encoding))
}

/// The encoding of `<meta charset="…">` or `content="text/html; charset=…"`.
fn named_encoding(head: &[u8]) -> Option<&'static Encoding> {
    let lower = head.to_ascii_lowercase();
    let at = lower.windows(8).position(|window| window == b"charset=")? + 8;
    let label = lower[at..].trim_ascii_start();
    let label = label.strip_prefix(b"\"").or_else(|| label.strip_prefix(b"'")).unwrap_or(label);
    let end = label.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:.".contains(byte));
    Encoding::for_label(&label[..end.unwrap_or(label.len())])
}

#[derive(Default)]
struct Sink(RefCell<Layout>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut layout = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => return layout.tag(&tag),
            Token::CharacterTokens(text) => layout.characters(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// The text so far, and what must come before the next word.
#[derive(Default)]
struct Layout {
    text: String,
    /// Line breaks that are due.
    breaks: usize,
    /// White space that is due.
    space: bool,
    /// Inside how many `<pre>`.
    preformatted: usize,
    /// The element whose content is not shown.
    hidden: Option<String>,
}

impl Layout {
    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let starts = tag.kind == TagKind::StartTag;
        match name {
            "br" => self.breaks = (self.breaks + 1).min(2),
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "ul" | "ol" | "dl" | "blockquote" | "hr"
            | "pre" | "section" | "article" | "header" | "footer" => self.breaks = 2,
            "div" | "li" | "tr" | "dt" | "dd" | "address" | "center" | "option" | "caption" => {
                self.breaks = self.breaks.max(1);
            }
            "td" | "th" if !starts => self.text.push('\t'),
            _ => {}
        }
        match name {
            "pre" if starts => self.preformatted += 1,
            "pre" => self.preformatted = self.preformatted.saturating_sub(1),
            _ if !starts && self.hidden.as_deref() == Some(name) => self.hidden = None,
            _ => {}
        }
        if starts && !tag.self_closing { self.raw(name) } else { TokenSinkResult::Continue }
    }

    /// Elements whose content is no markup, most of which is not shown.
    fn raw(&mut self, name: &str) -> TokenSinkResult<()> {
        let kind = match name {
            "script" => RawKind::ScriptData,
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => RawKind::Rawtext,
            "title" | "textarea" => RawKind::Rcdata,
            _ => return TokenSinkResult::Continue,
        };
        if !matches!(name, "xmp" | "textarea") {
            self.hidden = Some(name.to_owned());
        }
        TokenSinkResult::RawData(kind)
    }

    fn characters(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        if self.preformatted > 0 {
            self.before_word();
            self.text.push_str(text);
            return;
        }
        for c in text.chars() {
            // a no-break space is a character of its own, but layout is all it is used for
            if c.is_ascii_whitespace() || c == '\u{a0}' {
                self.space = true;
            } else {
                self.before_word();
                self.text.push(c);
            }
        }
    }

    fn before_word(&mut self) {
        let breaks = std::mem::take(&mut self.breaks);
        let space = std::mem::take(&mut self.space);
        if breaks > 0 {
            self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
            self.text.extend(std::iter::repeat_n('\n', breaks));
        } else if space && !self.text.ends_with(['\t', '\n']) && !self.text.is_empty() {
            self.text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(page: &str) -> String {
        text(page.as_bytes()).0
    }

    #[test]
    fn paragraphs_lines_and_words() {
        assert_eq!(html("<h1>Laudo</h1>\n <p>Sem\n  <b>altera</b>ções.<br>Fim"), "Laudo\n\nSem alterações.\nFim");
        assert_eq!(html("<div>a<div>b</div></div>c<ul><li>d<li>e</ul>"), "a\nb\nc\n\nd\ne");
        assert_eq!(html("a<br><br><br>b"), "a\n\nb");
        assert_eq!(html("<pre>a\n  b</pre>c"), "a\n  b\n\nc");
        assert_eq!(html("<table><tr><td>T4</td><td>1,2 </td></tr><tr><td>TSH</td></tr></table>"), "T4\t1,2\nTSH");
    }

    #[test]
    fn what_is_not_shown_is_dropped() {
        let page = "<head><title>x</title><style>p { color: red }</style></head><!-- no --><script>if (a < b) '</p>'\
                    </script><p>Texto</p><script src=a></script>!";
        assert_eq!(html(page), "Texto\n\n!");
    }

    #[test]
    fn entities_and_loose_signs() {
        assert_eq!(html("<p>&lt;5&nbsp;mm &#233; &eacute; &amp;lt; a < b & c"), "<5 mm é é &lt; a < b & c");
    }

    #[test]
    fn named_encodings() {
        let greek = b"<meta http-equiv=Content-Type content='text/html; charset=ISO-8859-7'>\xe1";
        assert_eq!(text(greek), ("α".to_owned(), Some("ISO-8859-7")));
        assert_eq!(text(b"<meta charset=\"utf-8\"><p>caf\xe9"), ("café".to_owned(), Some("windows-1252")));
    }

    #[test]
    fn no_nesting_is_too_deep() {
        assert_eq!(html(&("<div><b>".repeat(200_000) + "x")), "x");
    }
}
