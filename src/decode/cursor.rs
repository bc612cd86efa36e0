//! A place in a JSON text that moves forward over tokens: each byte is looked at once, and what is no JSON is found where
//! it stands. The grammar is that of RFC 8259.

use std::borrow::Cow;

use super::{MAX_DEPTH, Unreadable};

/// Bytes of a string that are looked at together, in one word.
const WORD: usize = size_of::<u64>();

/// What kind of value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Boolean,
    Null,
}

/// A value that is no object or array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar<'a> {
    /// What it is.
    pub kind: Kind,
    /// The value as it is written.
    pub raw: &'a str,
    /// A backslash stands in it.
    escaped: bool,
}

impl<'a> Scalar<'a> {
    /// The characters of a text; none where an escape stands for no character, such as half of a surrogate pair.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match (self.kind, self.escaped) {
            (Kind::Text, false) => Some(Cow::Borrowed(&self.raw[1..self.raw.len() - 1])),
            (Kind::Text, true) => serde_json::from_str(self.raw).ok().map(Cow::Owned),
            _ => None,
        }
    }
}

/// The place.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// An object or array was entered and nothing of it was read yet.
    is_fresh: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, is_fresh: false }
    }

    /// The kind of the next value, told by its first byte.
    pub fn kind(&mut self) -> Result<Kind, Unreadable> {
        match self.peek() {
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            _ => self.broken(),
        }
    }

    /// Goes into the object or array that follows.
    pub fn enter(&mut self) -> Result<(), Unreadable> {
        if self.depth == MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.at += 1;
        self.depth += 1;
        self.is_fresh = true;
        Ok(())
    }

    /// The next member's name, its value follows; `None` behind the object's end.
    pub fn member(&mut self) -> Result<Option<Scalar<'a>>, Unreadable> {
        if !self.goes_on(b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return self.broken();
        }
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return self.broken();
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Goes over the next member's name where it is this one, of characters that are [written as they are](is_plain), so
    /// that its value follows; stays where it is otherwise.
    pub fn member_named(&mut self, name: &str) -> bool {
        let mut ahead = Self { text: self.text, ..*self };
        if !ahead.is_fresh {
            if ahead.peek() != Some(b',') {
                return false;
            }
            ahead.at += 1;
        }
        if ahead.peek() != Some(b'"') {
            return false;
        }
        let rest = &self.text.as_bytes()[ahead.at + 1..];
        if !rest.starts_with(name.as_bytes()) || rest.get(name.len()) != Some(&b'"') {
            return false;
        }
        ahead.at += name.len() + 2;
        if ahead.peek() != Some(b':') {
            return false;
        }
        *self = Self { at: ahead.at + 1, is_fresh: false, ..ahead };
        true
    }

    /// Whether an element follows; if not, the array's end lies behind.
    pub fn element(&mut self) -> Result<bool, Unreadable> {
        self.goes_on(b']')
    }

    /// Goes over a text, a number, `true`, `false` or `null`.
    pub fn scalar(&mut self) -> Result<Scalar<'a>, Unreadable> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Text => return self.string(),
            Kind::Number => self.number()?,
            Kind::Null => self.word("null")?,
            Kind::Boolean if self.text.as_bytes()[start] == b't' => self.word("true")?,
            Kind::Boolean => self.word("false")?,
            Kind::Object | Kind::Array => return self.broken(),
        }
        Ok(Scalar { kind, raw: &self.text[start..self.at], escaped: false })
    }

    /// Goes over a value of any kind; gives it as it is written.
    pub fn skip(&mut self) -> Result<&'a str, Unreadable> {
        match self.kind()? {
            kind @ (Kind::Object | Kind::Array) => {
                let start = self.at;
                self.enter()?;
                while if kind == Kind::Object { self.member()?.is_some() } else { self.element()? } {
                    self.skip()?;
                }
                Ok(&self.text[start..self.at])
            }
            _ => Ok(self.scalar()?.raw),
        }
    }

    /// Whether nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Unreadable> {
        if self.peek().is_some() { self.broken() } else { Ok(()) }
    }

    fn broken<T>(&self) -> Result<T, Unreadable> {
        Err(Unreadable::NotJson(self.at))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Goes over the comma before a further member or element, or over the end.
    fn goes_on(&mut self, end: u8) -> Result<bool, Unreadable> {
        let is_first = std::mem::take(&mut self.is_fresh);
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => self.broken(),
        }
    }

    fn string(&mut self) -> Result<Scalar<'a>, Unreadable> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Scalar { kind: Kind::Text, raw: &self.text[start..self.at], escaped });
                }
                // What is escaped may be longer than a byte: the rest of it is plain.
                Some(b'\\') if self.at + 1 < bytes.len() => {
                    escaped = true;
                    self.at += 2;
                }
                _ => return self.broken(),
            }
        }
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let bytes = self.text.as_bytes();
        let next = |at: usize| bytes.get(at).copied();
        if next(self.at) == Some(b'-') {
            self.at += 1;
        }
        match next(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if next(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(next(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(next(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let bytes = &self.text.as_bytes()[self.at..];
        let count = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
        self.at += count;
        if count == 0 { self.broken() } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), Unreadable> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.broken();
        }
        self.at += word.len();
        Ok(())
    }
}

/// Whether a text stands in JSON as it is, between quotes.
pub(super) fn is_plain(text: &str) -> bool {
    plain(text.as_bytes()) == text.len()
}

/// How many bytes stand before the first quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<WORD>() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f)).unwrap_or(rest.len())
}

/// The highest bit of each byte of a word that is a quote, a backslash or a control character. Above the lowest such byte
/// there may be bits too many: a subtraction borrows.
///
/// Source: S. E. Anderson, "Bit Twiddling Hacks", "Determine if a word has a zero byte" and "... has a byte less than n".
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; WORD]);
    const HIGH: u64 = u64::from_le_bytes([0x80; WORD]);
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let equals = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equals(b'"') | equals(b'\\')) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn skip(text: &str) -> Result<(), Unreadable> {
        let mut cursor = Cursor::new(text);
        cursor.skip()?;
        cursor.end()
    }

    #[test]
    fn what_is_broken_is_found_where_it_stands() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("{\"a\"", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\"a\":1 \"b\":2}", 7),
            ("[1,]", 3),
            ("[1}", 2),
            ("{,}", 1),
            ("[01]", 2),
            ("[-]", 2),
            ("[1.]", 3),
            ("[1e]", 3),
            ("[tru]", 1),
            ("[nul", 1),
            ("\"abc", 4),
            ("\"a\nb\"", 2),
            ("\"\\", 1),
            ("{} x", 3),
            ("é", 0),
        ] {
            assert_eq!(skip(text), Err(Unreadable::NotJson(at)), "{text}");
        }
    }

    #[test]
    fn a_member_is_known_by_its_name() {
        let after = |text: &str, name| {
            let mut cursor = Cursor::new(text);
            cursor.enter().unwrap();
            cursor.member_named(name).then(|| cursor.scalar().unwrap().raw.to_owned())
        };
        assert_eq!(after(r#"{"a":1}"#, "a").as_deref(), Some("1"));
        assert_eq!(after("{ \"a\"\n: 1}", "a").as_deref(), Some("1"));
        for text in [r#"{"ab":1}"#, r#"{"a" 1}"#, r#"{,"a":1}"#, r#"{"a"#, "{}", "{", r#"{"a""#, r#"{"b":1}"#] {
            assert_eq!(after(text, "a"), None, "{text}");
        }
        let mut cursor = Cursor::new(r#"{"a":1 "b":2}"#);
        cursor.enter().unwrap();
        assert!(cursor.member_named("a") && cursor.scalar().is_ok() && !cursor.member_named("b"), "a comma is missing");
        assert_eq!(cursor.member().unwrap_err(), Unreadable::NotJson(7));
        assert!(is_plain("caçã") && !is_plain("a\"") && !is_plain("a\\") && !is_plain("a\n"));
    }

    #[test]
    fn escapes_are_undone_or_are_no_text() {
        let text = |json| Cursor::new(json).scalar().unwrap().text().map(Cow::into_owned);
        assert_eq!(text(r#""a\"\u00e7\\""#).as_deref(), Some("a\"ç\\"));
        assert_eq!(text(r#""é""#).as_deref(), Some("é"));
        assert_eq!(text(r#""""#).as_deref(), Some(""));
        assert_eq!(text(r#""\ud800""#), None);
        assert_eq!(text(r#""\é""#), None);
        assert_eq!(text("7"), None);
    }

    #[test]
    fn as_deep_as_allowed_and_no_deeper() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(skip(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(skip(&nested(MAX_DEPTH + 1)), Err(Unreadable::TooDeep));
        assert_eq!(skip(&format!("[{}{}]", "[],".repeat(1000), "{}")), Ok(()));
    }

    #[test]
    fn a_special_byte_is_found_at_any_place_behind_any_byte() {
        for special in [b'"', b'\\', 0x00, 0x1f] {
            for plain_byte in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                for place in 0..20 {
                    let mut bytes = [plain_byte; 20];
                    bytes[place] = special;
                    assert_eq!(plain(&bytes), place, "{special} behind {plain_byte}");
                }
                assert_eq!(plain(&[plain_byte; 20]), 20);
            }
        }
    }

    proptest! {
        /// Against a well-known reader, over texts that are nearly JSON.
        #[test]
        fn what_is_json_is_what_others_take_for_json(text in r#"([\[\]{},:"]|[ \t\n]|-?[0-9.eE+]{1,4}|true|null|"[a-zé]{0,20}"){0,12}"#) {
            let expected: Result<IgnoredAny, _> = serde_json::from_str(&text);
            prop_assert_eq!(skip(&text).is_ok(), expected.is_ok(), "{}", text);
        }

        #[test]
        fn strings_of_any_length_end_where_they_end(inner in r#"[a-zçé ]{0,80}"#, rest in ".{0,20}") {
            let text = format!("\"{inner}\"{rest}");
            let mut cursor = Cursor::new(&text);
            prop_assert_eq!(cursor.scalar().unwrap().text().unwrap(), inner.as_str());
            prop_assert_eq!(cursor.at, inner.len() + 2);
        }
    }
}
