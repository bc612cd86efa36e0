//! Finds where a CSV record ends and where its fields stand, in the bytes of the file as they are stored.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use crate::contract::CsvOptions;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Quote,
    Delimiter,
    Cr,
    Lf,
}

/// What the bytes of an input mean to CSV. A unit is a byte, in UTF-16 two.
pub(super) struct Alphabet {
    classes: [Class; 256],
    encoding: &'static Encoding,
    width: usize,
}

impl Alphabet {
    pub(super) fn new(options: &CsvOptions, encoding: &'static Encoding) -> Self {
        let mut classes = [Class::Other; 256];
        classes[usize::from(b'\r')] = Class::Cr;
        classes[usize::from(b'\n')] = Class::Lf;
        classes[usize::from(options.delimiter)] = Class::Delimiter;
        if let Some(quote) = options.quote {
            classes[usize::from(quote)] = Class::Quote;
        }
        let width = if encoding == UTF_16LE || encoding == UTF_16BE { 2 } else { 1 };
        Self { classes, encoding, width }
    }

    /// Bytes a unit.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    fn class(&self, bytes: &[u8], at: usize) -> Class {
        let (low, high) = match self.width {
            1 => (bytes[at], 0),
            _ if self.encoding == UTF_16BE => (bytes[at + 1], bytes[at]),
            _ => (bytes[at], bytes[at + 1]),
        };
        if high == 0 { self.classes[usize::from(low)] } else { Class::Other }
    }

    /// The place, from `at` on, of the first unit that is more than a character; the end of the whole units if none is.
    fn next_mark(&self, bytes: &[u8], mut at: usize) -> usize {
        while at + self.width <= bytes.len() && self.class(bytes, at) == Class::Other {
            at += self.width;
        }
        at
    }

    /// The length of the first line, without its end; `None` when it has none.
    pub(super) fn line(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.next_mark(bytes, 0);
        while at + self.width <= bytes.len() {
            if matches!(self.class(bytes, at), Class::Cr | Class::Lf) {
                return Some(at);
            }
            at = self.next_mark(bytes, at + self.width);
        }
        None
    }

    /// The length of the line's end, LF, CRLF or CR, that `bytes` begin with; 0 when they do not.
    pub(super) fn line_end(&self, bytes: &[u8]) -> usize {
        let class = |at: usize| (at + self.width <= bytes.len()).then(|| self.class(bytes, at));
        match (class(0), class(self.width)) {
            (Some(Class::Cr), Some(Class::Lf)) => 2 * self.width,
            (Some(Class::Cr | Class::Lf), _) => self.width,
            _ => 0,
        }
    }
}

/// What [`Scan::advance`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The record takes this many bytes, its line's end not included.
    End(usize),
    /// A closing quote is followed by a character, or a line break stands in quotes where it must not.
    Broken,
    /// The input ends inside quotes.
    Unclosed,
    /// The bytes so far do not hold the whole record.
    More,
}

/// Where a field stands in its record; its quotes not included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    /// It holds doubled quotes.
    pub(super) doubled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote that ends the field or is the first of two.
    Closing,
}

/// The search for the end of one record, which may come in several parts.
pub(super) struct Scan {
    position: usize,
    state: State,
    start: usize,
    quoted: bool,
    doubled: bool,
    fields: Vec<Field>,
    breaks: u64,
}

impl Scan {
    pub(super) fn new() -> Self {
        let (position, state, start) = (0, State::Start, 0);
        Self { position, state, start, quoted: false, doubled: false, fields: Vec::new(), breaks: 0 }
    }

    /// Starts at the first byte of another record.
    pub(super) fn restart(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::new() };
    }

    /// Bytes that were looked at.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The fields that were found.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The line breaks in quotes.
    pub(super) fn breaks(&self) -> u64 {
        self.breaks
    }

    /// Goes on in `bytes`, which begin where the record does; `last` tells that no more will follow, `one_line` that a
    /// line break ends a record even in quotes.
    pub(super) fn advance(&mut self, alphabet: &Alphabet, bytes: &[u8], last: bool, one_line: bool) -> Step {
        let width = alphabet.width;
        loop {
            // Inside of a field only marks count; at its start and behind a quote every character does.
            let at = match self.state {
                State::Plain | State::Quoted => alphabet.next_mark(bytes, self.position),
                State::Start | State::Closing => self.position,
            };
            self.position = at;
            if at + width > bytes.len() {
                return if last { self.end_of_input(bytes.len(), width) } else { Step::More };
            }
            match (self.state, alphabet.class(bytes, at)) {
                (State::Quoted, Class::Quote) => self.state = State::Closing,
                (State::Quoted, Class::Cr | Class::Lf) if one_line => return Step::Broken,
                (State::Quoted, Class::Cr) => self.breaks += 1,
                (State::Quoted, Class::Lf) => {
                    self.breaks += u64::from(at < width || alphabet.class(bytes, at - width) != Class::Cr);
                }
                (State::Quoted, _) | (State::Plain, Class::Other | Class::Quote) => {}
                (State::Closing, Class::Quote) => (self.state, self.doubled) = (State::Quoted, true),
                (State::Closing, Class::Other) => return Step::Broken,
                (State::Start, Class::Quote) => {
                    (self.state, self.start, self.quoted) = (State::Quoted, at + width, true);
                }
                (State::Start, Class::Other) => self.state = State::Plain,
                (_, Class::Delimiter) => {
                    self.end_field(at, width);
                    (self.state, self.start) = (State::Start, at + width);
                }
                (_, Class::Cr | Class::Lf) => {
                    self.end_field(at, width);
                    return Step::End(at);
                }
            }
            self.position = at + width;
        }
    }

    fn end_of_input(&mut self, length: usize, width: usize) -> Step {
        let half_a_unit = self.position < length;
        match self.state {
            State::Quoted => Step::Unclosed,
            State::Closing if half_a_unit => Step::Broken,
            _ => {
                self.end_field(length, width);
                Step::End(length)
            }
        }
    }

    fn end_field(&mut self, at: usize, width: usize) {
        let end = if self.quoted { at - width } else { at };
        self.fields.push(Field { start: self.start, end, doubled: self.doubled });
        (self.quoted, self.doubled) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(input: &str) -> (Step, Vec<&str>, u64) {
        let alphabet = Alphabet::new(&CsvOptions::default(), encoding_rs::UTF_8);
        let mut scan = Scan::new();
        let step = scan.advance(&alphabet, input.as_bytes(), true, false);
        (step, scan.fields().iter().map(|field| &input[field.start..field.end]).collect(), scan.breaks())
    }

    #[test]
    fn fields_stand_between_delimiters_and_inside_quotes() {
        assert_eq!(scan("a,,\"b,\"\"c\"\"\",\"\"\nd"), (Step::End(15), vec!["a", "", "b,\"\"c\"\"", ""], 0));
        assert_eq!(scan("5\" pipe, \"x\"\r\n"), (Step::End(12), vec!["5\" pipe", " \"x\""], 0));
        assert_eq!(scan("\"1\r\n2\n\n3\r4\","), (Step::End(12), vec!["1\r\n2\n\n3\r4", ""], 4));
    }

    #[test]
    fn a_quote_that_closes_nowhere_or_in_the_middle_is_no_end() {
        assert_eq!(scan("\"a,b\nc").0, Step::Unclosed);
        assert_eq!(scan("\"a\"b,c").0, Step::Broken);
        assert_eq!(scan("\"a\" ,c").0, Step::Broken);
    }

    #[test]
    fn where_the_input_is_cut_does_not_matter() {
        let input = "ab,\"c\"\"\r\n,d\",\r\n";
        let alphabet = Alphabet::new(&CsvOptions::default(), encoding_rs::UTF_8);
        let (mut scan, mut seen) = (Scan::new(), 0);
        let end = loop {
            match scan.advance(&alphabet, &input.as_bytes()[..seen], false, false) {
                Step::More => seen += 1,
                step => break step,
            }
        };
        assert_eq!((end, scan.fields().len(), scan.breaks()), (Step::End(13), 3, 1));
    }

    #[test]
    fn units_of_two_bytes_are_not_mistaken_for_marks() {
        // U+0A2C holds the bytes of a line feed and of a comma.
        let text = "a,\u{0a2c}\u{2c0a},\"b\"\r\nnext";
        for (encoding, bytes) in [
            (UTF_16LE, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            (UTF_16BE, text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ] {
            let alphabet = Alphabet::new(&CsvOptions::default(), encoding);
            let mut scan = Scan::new();
            assert_eq!(scan.advance(&alphabet, &bytes, false, false), Step::End(16));
            let places: Vec<_> = scan.fields().iter().map(|field| (field.start, field.end)).collect();
            assert_eq!(places, [(0, 2), (4, 8), (12, 14)]);
            assert_eq!(alphabet.line(&bytes), Some(16));
            assert_eq!(alphabet.line_end(&bytes[16..]), 4);
        }
    }
}
