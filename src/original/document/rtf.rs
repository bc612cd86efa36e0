//! RTF without its markup.
//!
//! A tokenizer of our own: reports in Portuguese need the code pages that `\'hh` refers to, font by font.

use std::collections::HashMap;

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, IBM866, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
    WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

use super::tidy;

/// The text of a document, and the encoding of its code page.
pub fn text(bytes: &[u8]) -> (String, Option<&'static str>) {
    let mut reader = Reader::new(bytes);
    while let Some(token) = reader.token() {
        reader.apply(token);
    }
    reader.flush();
    let encoding = reader.page.name();
    (tidy(&reader.text), Some(encoding))
}

enum Token<'a> {
    Open,
    Close,
    /// A control word and its number.
    Word(&'a [u8], Option<i32>),
    /// A control symbol: a backslash and a sign.
    Symbol(u8),
    /// `\'hh`.
    Byte(u8),
    /// A byte of text.
    Text(u8),
}

/// What a group inherits and gives back when it closes.
#[derive(Clone, Copy)]
struct Group {
    /// Whether nothing of it is shown.
    hidden: bool,
    /// Whether it lists fonts.
    fonts: bool,
    /// The encoding of the font.
    encoding: &'static Encoding,
    /// How many bytes or signs stand in for a `\u`.
    substitutes: usize,
}

struct Reader<'a> {
    rest: &'a [u8],
    text: String,
    /// Bytes that wait to be decoded together, as some characters have two.
    pending: Vec<u8>,
    /// The code page of the document.
    page: &'static Encoding,
    /// Whether bytes beyond ASCII are UTF-8, against the rules.
    utf8: bool,
    /// The first half of a character beyond the first 65,536.
    high: Option<u16>,
    group: Group,
    outer: Vec<Group>,
    /// The encoding of each font.
    fonts: HashMap<i32, &'static Encoding>,
    font: i32,
    /// How many bytes or signs after a `\u` are still to be left out.
    skip: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            text: String::new(),
            pending: Vec::new(),
            page: WINDOWS_1252,
            utf8: std::str::from_utf8(bytes).is_ok(),
            high: None,
            group: Group { hidden: false, fonts: false, encoding: WINDOWS_1252, substitutes: 1 },
            outer: Vec::new(),
            fonts: HashMap::new(),
            font: 0,
            skip: 0,
        }
    }

    fn token(&mut self) -> Option<Token<'a>> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match first {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'\\' => self.control(),
            b'\r' | b'\n' | 0 => return self.token_after_breaks(),
            byte => Token::Text(byte),
        })
    }

    /// Line breaks of the file mean nothing.
    fn token_after_breaks(&mut self) -> Option<Token<'a>> {
        let next = self.rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n' | 0))?;
        self.rest = &self.rest[next..];
        self.token()
    }

    fn control(&mut self) -> Token<'a> {
        let letters = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters == 0 {
            return self.symbol();
        }
        let (word, rest) = self.rest.split_at(letters);
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = sign + rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = if digits > sign { digits } else { 0 };
        let number = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
        let rest = &rest[digits..];
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        if word == b"bin" {
            let bytes = number.and_then(|n: i32| usize::try_from(n).ok()).unwrap_or(0);
            self.rest = self.rest.get(bytes..).unwrap_or_default();
        }
        Token::Word(word, number)
    }

    fn symbol(&mut self) -> Token<'a> {
        let Some((&symbol, rest)) = self.rest.split_first() else { return Token::Symbol(b' ') };
        self.rest = rest;
        if symbol != b'\'' {
            return Token::Symbol(symbol);
        }
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                self.rest = &rest[2..];
                Token::Byte(byte)
            }
            None => Token::Symbol(b' '),
        }
    }

    fn apply(&mut self, token: Token<'_>) {
        match token {
            Token::Open => {
                self.flush();
                self.outer.push(self.group);
                self.skip = 0;
            }
            Token::Close => {
                self.flush();
                if let Some(group) = self.outer.pop() {
                    self.group = group;
                }
                self.skip = 0;
            }
            Token::Byte(_) | Token::Text(_) if self.skip > 0 => self.skip -= 1,
            Token::Byte(byte) => self.pending.push(byte),
            Token::Text(byte) if byte >= 0x80 && self.utf8 => self.raw(byte),
            Token::Text(byte) => self.pending.push(byte),
            Token::Symbol(symbol) => self.sign(symbol),
            Token::Word(word, number) => self.word(word, number),
        }
    }

    /// A byte beyond ASCII of a document that is UTF-8: the rest of its character follows.
    fn raw(&mut self, first: u8) {
        self.flush();
        let more = self.rest.iter().take_while(|byte| (0x80..0xC0).contains(*byte)).count();
        let bytes: Vec<u8> = std::iter::once(first).chain(self.rest[..more].iter().copied()).collect();
        self.rest = &self.rest[more..];
        self.show(&String::from_utf8_lossy(&bytes));
    }

    fn sign(&mut self, symbol: u8) {
        match symbol {
            b'\\' | b'{' | b'}' => self.pending.push(symbol),
            b'~' => self.show(" "),
            b'_' => self.show("-"),
            b'\n' | b'\r' => self.show("\n"),
            b'\t' => self.show("\t"),
            b'*' => self.group.hidden = true,
            _ => {}
        }
    }

    fn word(&mut self, word: &[u8], number: Option<i32>) {
        self.flush();
        match word {
            b"u" => self.unicode(number.unwrap_or(0)),
            b"uc" => self.group.substitutes = usize::try_from(number.unwrap_or(1)).unwrap_or(1),
            b"ansicpg" => self.code_page(number.unwrap_or(0)),
            b"mac" => self.code_page(10_000),
            b"fonttbl" => (self.group.fonts, self.group.hidden) = (true, true),
            b"f" => self.font(number.unwrap_or(0)),
            b"fcharset" if self.group.fonts => {
                let encoding = font_encoding(number.unwrap_or(0)).unwrap_or(self.page);
                self.fonts.insert(self.font, encoding);
            }
            b"plain" => self.group.encoding = self.page,
            b"colortbl" | b"stylesheet" | b"info" | b"pict" | b"object" | b"header" | b"headerl" | b"headerr"
            | b"headerf" | b"footer" | b"footerl" | b"footerr" | b"footerf" | b"themedata" | b"datastore"
            | b"fldinst" | b"xe" | b"tc" => {
                self.group.hidden = true;
            }
            _ => self.show(shown(word)),
        }
    }

    /// `\uN`: a unit of UTF-16, negative beyond 32,767.
    fn unicode(&mut self, number: i32) {
        self.skip = self.group.substitutes;
        let unit = number as u16;
        let units = self.high.take().into_iter().chain([unit]);
        if (0xD800..0xDC00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
        self.show(&text);
    }

    fn code_page(&mut self, number: i32) {
        self.page = page_encoding(number).unwrap_or(WINDOWS_1252);
        self.group.encoding = self.page;
    }

    fn font(&mut self, number: i32) {
        self.font = number;
        if !self.group.fonts {
            self.group.encoding = self.fonts.get(&number).copied().unwrap_or(self.page);
        }
    }

    /// Decodes the bytes that wait.
    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            let text = self.group.encoding.decode_without_bom_handling(&bytes).0;
            self.show(&text);
        }
    }

    fn show(&mut self, text: &str) {
        if !self.group.hidden {
            self.text.push_str(text);
        }
    }
}

/// The text that a control word stands for.
fn shown(word: &[u8]) -> &'static str {
    match word {
        b"par" | b"line" | b"row" | b"sect" | b"page" | b"nestrow" => "\n",
        b"tab" | b"cell" | b"nestcell" => "\t",
        b"emdash" => "—",
        b"endash" => "–",
        b"bullet" => "•",
        b"lquote" => "‘",
        b"rquote" => "’",
        b"ldblquote" => "“",
        b"rdblquote" => "”",
        b"emspace" | b"enspace" | b"qmspace" => " ",
        _ => "",
    }
}

fn page_encoding(number: i32) -> Option<&'static Encoding> {
    Some(match number {
        866 => IBM866,
        874 => WINDOWS_874,
        932 => SHIFT_JIS,
        936 => GBK,
        949 => EUC_KR,
        950 => BIG5,
        1250 => WINDOWS_1250,
        1251 => WINDOWS_1251,
        1253 => WINDOWS_1253,
        1254 => WINDOWS_1254,
        1255 => WINDOWS_1255,
        1256 => WINDOWS_1256,
        1257 => WINDOWS_1257,
        1258 => WINDOWS_1258,
        10_000 => encoding_rs::MACINTOSH,
        65_001 => UTF_8,
        _ => return None,
    })
}

fn font_encoding(charset: i32) -> Option<&'static Encoding> {
    Some(match charset {
        0 => WINDOWS_1252,
        77 => encoding_rs::MACINTOSH,
        128 => SHIFT_JIS,
        129 => EUC_KR,
        134 => GBK,
        136 => BIG5,
        161 => WINDOWS_1253,
        162 => WINDOWS_1254,
        163 => WINDOWS_1258,
        177 => WINDOWS_1255,
        178 => WINDOWS_1256,
        186 => WINDOWS_1257,
        204 => WINDOWS_1251,
        222 => WINDOWS_874,
        238 => WINDOWS_1250,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtf(document: &str) -> String {
        text(document.as_bytes()).0
    }

    #[test]
    fn paragraphs_and_markup() {
        let document = r"{\rtf1\ansi\deff0{\fonttbl{\f0\fswiss Arial;}}{\colortbl;\red0\green0\blue0;}
{\*\generator Writer 7;}{\info{\author Silva}}\pard\b Laudo\b0\par\par Sem altera\'e7\'f5es, \{a\} \\ b\line
fim\tab 1{\pict 89504e47}\par}";
        assert_eq!(rtf(document), "Laudo\n\nSem alterações, {a} \\ b\nfim\t1");
    }

    #[test]
    fn code_pages_and_fonts() {
        assert_eq!(text(br"{\rtf1\ansi\ansicpg1251 \'cf\'f0}"), ("Пр".to_owned(), Some("windows-1251")));
        assert_eq!(rtf(r"{\rtf1{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset161 B;}}\f0\'e1{\f1\'e1}\'e1}"), "áαá");
        assert_eq!(rtf(r"{\rtf1\ansicpg932 \'93\'fa}"), "日");
    }

    #[test]
    fn unicode_and_its_substitutes() {
        assert_eq!(rtf(r"{\rtf1\u231?a \u8364\'80 {\uc0\u233}\uc2\u26085\'93\'fa!}"), "ça € é日!");
        assert_eq!(rtf(r"{\rtf1\u-10179?\u-8704?}"), "😀");
        assert_eq!(rtf(r"{\rtf1 \u-3913?}"), "\u{f0b7}");
    }

    #[test]
    fn bytes_beyond_ascii() {
        assert_eq!(text(b"{\\rtf1 caf\xe9}").0, "café");
        assert_eq!(text("{\\rtf1 café €}".as_bytes()).0, "café €");
    }

    #[test]
    fn whatever_is_cut_or_does_not_match() {
        let document = br"{\rtf1\ansicpg1252{\fonttbl{\f0 A;}}\u231?\'e7\bin5 abc\par {{}}}}}x\'";
        for length in 0..document.len() {
            text(&document[..length]);
        }
        assert_eq!(rtf(r"{\rtf1 a}}}b\'zz\bin99999999 c"), "abzz");
        assert_eq!(rtf(&("{".repeat(500_000) + "x")), "x");
        assert_eq!(rtf(&"\n".repeat(500_000)), "");
    }
}
