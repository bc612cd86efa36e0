//! A stream of bytes to CSV records: each a JSON object of texts, beside its own bytes.
//!
//! Records are cut from the bytes as they are stored and only then decoded, so that what cannot be decoded is one record
//! and its bytes are at hand. A quote that is never closed must not swallow the lines that follow: such a record is given
//! up to its first line break and the rest is looked at anew, from the next line on.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::Read;

use encoding_rs::Encoding;
use memchr::memchr;

use self::header::Header;
use self::scan::{Alphabet, Scan, Step};
use super::buffer::Buffer;
use super::fault::{Fault, FaultKind, Summary};
use super::read::Record;
use crate::contract::CsvOptions;

mod header;
mod scan;

/// The sizes of what is held in memory or looked at, in bytes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The start of the input that is searched for a NUL byte.
    probe: usize,
    /// Read at a time.
    block: usize,
    /// Pieces of what is no record or too large a one; even, so that UTF-16 is not cut in a unit.
    piece: usize,
    /// The largest record.
    record: usize,
    /// Looked at twice because of quotes that are not closed; from then on every line break ends its record.
    twice: u64,
}

const LIMITS: Limits = Limits { probe: 8 << 10, block: 1 << 20, piece: 16 << 20, record: 64 << 20, twice: 4 << 30 };

/// Hands out the records of plain bytes in order; `known` are the columns of the contract, which a header is compared
/// with. A failing reader ends the input as damaged.
pub(super) fn split<R, E, F>(reader: R, options: &CsvOptions, known: &[String], on_record: F) -> Result<Summary, E>
where
    R: Read,
    F: FnMut(Record<'_>) -> Result<(), E>,
{
    Splitter::new(reader, options, known, on_record, LIMITS).run()
}

/// What is known of the columns.
enum Columns {
    /// The header comes first.
    Awaited,
    /// Each as the start of a JSON member: `"name":`.
    Named(Vec<String>),
    /// There was no header, or none that can be read.
    Missing,
}

struct Splitter<'o, R, F> {
    buffer: Buffer<R>,
    on_record: F,
    options: &'o CsvOptions,
    known: &'o [String],
    limits: Limits,
    summary: Summary,
    encoding: &'static Encoding,
    alphabet: Alphabet,
    scan: Scan,
    columns: Columns,
    /// The record as JSON.
    payload: String,
    /// Of the next byte, from 1.
    line: u64,
    /// Bytes that were looked at twice.
    twice: u64,
    had_header: bool,
    /// Faults of the file as a whole that were told.
    told_no_header: bool,
    told_damage: bool,
}

impl<'o, R, E, F> Splitter<'o, R, F>
where
    R: Read,
    F: FnMut(Record<'_>) -> Result<(), E>,
{
    fn new(reader: R, options: &'o CsvOptions, known: &'o [String], on_record: F, limits: Limits) -> Self {
        let columns = match &options.columns {
            None => Columns::Awaited,
            Some(names) => Columns::Named(names.iter().map(|name| member(name)).collect()),
        };
        Self {
            buffer: Buffer::new(reader, limits.block),
            on_record,
            options,
            known,
            limits,
            summary: Summary::default(),
            encoding: options.encoding,
            alphabet: Alphabet::new(options, options.encoding),
            scan: Scan::new(),
            columns,
            payload: String::new(),
            line: 1,
            twice: 0,
            had_header: false,
            told_no_header: false,
            told_damage: false,
        }
    }

    fn run(mut self) -> Result<Summary, E> {
        while self.buffer.bytes().len() < self.limits.probe && self.buffer.fill() {}
        self.byte_order_mark();
        if self.is_binary() {
            self.binary()?;
        } else {
            while self.next_record() {
                self.record()?;
            }
        }
        self.summary.bytes = self.buffer.offset();
        if self.buffer.failed() {
            self.fault(FaultKind::Damaged);
        } else if self.summary.records == 0 && !self.had_header {
            self.fault(FaultKind::Empty);
        }
        Ok(self.summary)
    }

    /// A byte order mark says more of a file than the contract, which is written once for all of them.
    fn byte_order_mark(&mut self) {
        if let Some((encoding, length)) = Encoding::for_bom(self.buffer.bytes()) {
            self.encoding = encoding;
            self.alphabet = Alphabet::new(self.options, encoding);
            self.buffer.consume(length);
        }
    }

    fn is_binary(&self) -> bool {
        let bytes = self.buffer.bytes();
        self.alphabet.width() == 1 && memchr(0, &bytes[..bytes.len().min(self.limits.probe)]).is_some()
    }

    /// No structure is looked for: the whole input in pieces.
    fn binary(&mut self) -> Result<(), E> {
        loop {
            while self.buffer.bytes().len() < self.limits.piece && self.buffer.fill() {}
            let length = self.buffer.bytes().len().min(self.limits.piece);
            if length == 0 {
                return Ok(());
            }
            self.hand_out(length, Some(FaultKind::Binary))?;
        }
    }

    /// Goes over empty lines; false when nothing follows them.
    fn next_record(&mut self) -> bool {
        while self.end_line() {}
        !self.buffer.bytes().is_empty()
    }

    /// Goes over the line's end at the front; false when none is there.
    fn end_line(&mut self) -> bool {
        while self.buffer.bytes().len() < 2 * self.alphabet.width() && self.buffer.fill() {}
        let length = self.alphabet.line_end(self.buffer.bytes());
        self.buffer.consume(length);
        self.line += u64::from(length > 0);
        length > 0
    }

    fn record(&mut self) -> Result<(), E> {
        self.scan.restart();
        let one_line = self.twice > self.limits.twice;
        loop {
            let (bytes, ended) = (self.buffer.bytes(), self.buffer.ended());
            let kind = match self.scan.advance(&self.alphabet, bytes, ended, one_line) {
                Step::End(length) => return self.whole(length),
                Step::Unclosed if self.buffer.failed() => FaultKind::Damaged,
                Step::Broken | Step::Unclosed => FaultKind::Quote,
                Step::More if bytes.len() <= self.limits.record => {
                    self.buffer.fill();
                    continue;
                }
                Step::More => FaultKind::TooLarge,
            };
            return self.broken(kind);
        }
    }

    /// A record, or the header, that was found from its start to its end.
    fn whole(&mut self, length: usize) -> Result<(), E> {
        let breaks = self.scan.breaks();
        // Where the input broke off, a record may look whole and lack its last characters.
        let fault = if self.buffer.failed() && length == self.buffer.bytes().len() {
            self.give_up_header();
            Some(FaultKind::Damaged)
        } else {
            match self.columns {
                Columns::Missing => Some(FaultKind::NoHeader),
                Columns::Named(_) => self.object(),
                Columns::Awaited => match self.header() {
                    None => {
                        self.buffer.consume(length);
                        self.line += breaks;
                        self.end_line();
                        return Ok(());
                    }
                    fault => {
                        self.give_up_header();
                        fault
                    }
                },
            }
        };
        self.hand_out(length, fault)?;
        self.line += breaks;
        self.end_line();
        Ok(())
    }

    /// Reads the record as the header.
    fn header(&mut self) -> Option<FaultKind> {
        let cells: Option<Vec<String>> =
            (0..self.scan.fields().len()).map(|index| self.text(index).map(Cow::into_owned)).collect();
        let Some(cells) = cells else { return Some(self.not_in_encoding()) };
        let Some(header) = Header::of(&cells, self.known) else { return Some(FaultKind::NoHeader) };
        self.columns = Columns::Named(header.names.iter().map(|name| member(name)).collect());
        self.summary.header = header.note;
        self.had_header = true;
        None
    }

    /// What was to be the header is none: the records have no names for their fields.
    fn give_up_header(&mut self) {
        if matches!(self.columns, Columns::Awaited) {
            self.columns = Columns::Missing;
        }
    }

    /// Puts the record together as a JSON object.
    fn object(&mut self) -> Option<FaultKind> {
        let Columns::Named(members) = &self.columns else { return Some(FaultKind::NoHeader) };
        let (found, expected) = (self.scan.fields().len(), members.len());
        if found != expected {
            return Some(FaultKind::Ragged { found, expected });
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        for (index, member) in members.iter().enumerate() {
            payload.push(if index == 0 { '{' } else { ',' });
            payload.push_str(member);
            match self.text(index) {
                None => return Some(self.not_in_encoding()),
                Some(text) if self.options.null.iter().any(|null| *null == text) => payload.push_str("null"),
                Some(text) => push_json(&mut payload, &text),
            }
        }
        payload.push('}');
        self.payload = payload;
        None
    }

    /// The text of a field; `None` when it is not in the file's encoding.
    fn text(&self, index: usize) -> Option<Cow<'_, str>> {
        let field = self.scan.fields()[index];
        let text = self.decode(&self.buffer.bytes()[field.start..field.end])?;
        let Some(quote) = self.options.quote.map(char::from).filter(|_| field.doubled) else { return Some(text) };
        Some(Cow::Owned(text.replace(&format!("{quote}{quote}"), &quote.to_string())))
    }

    fn decode<'b>(&self, bytes: &'b [u8]) -> Option<Cow<'b, str>> {
        self.encoding.decode_without_bom_handling_and_without_replacement(bytes)
    }

    fn not_in_encoding(&self) -> FaultKind {
        FaultKind::Encoding(self.encoding.name())
    }

    /// Gives up the record at the front: its first line goes out, and what follows is looked at anew.
    fn broken(&mut self, kind: FaultKind) -> Result<(), E> {
        self.give_up_header();
        let seen = self.scan.position();
        let length = loop {
            let held = self.buffer.bytes().len();
            match self.alphabet.line(self.buffer.bytes()) {
                Some(length) if length <= self.limits.piece => break length,
                None if held <= self.limits.piece && self.buffer.fill() => {}
                None if held <= self.limits.piece => break held,
                _ => self.hand_out(self.limits.piece, Some(kind))?,
            }
        };
        self.twice += seen.saturating_sub(length) as u64;
        self.hand_out(length, Some(kind))?;
        self.end_line();
        Ok(())
    }

    /// Hands out the front: as the object that was put together, or with its fault as it came.
    fn hand_out(&mut self, length: usize, fault: Option<FaultKind>) -> Result<(), E> {
        if length == 0 {
            return Ok(());
        }
        let fault = fault.map(|kind| self.fault(kind));
        let bytes = &self.buffer.bytes()[..length];
        let payload = match fault {
            None => Some(Cow::Borrowed(self.payload.as_str())),
            Some(_) => self.decode(bytes),
        };
        let is_whole = payload.as_ref().is_some_and(|payload| payload.as_bytes() == bytes);
        (self.on_record)(Record { payload: payload.as_deref(), bytes: (!is_whole).then_some(bytes), fault })?;
        self.summary.records += 1;
        self.summary.broken += u64::from(fault.is_some());
        self.buffer.consume(length);
        Ok(())
    }

    /// A fault of the record at the front; one that all records share is told once.
    fn fault(&mut self, kind: FaultKind) -> Fault {
        let (at, row, line) = (self.buffer.offset(), self.summary.records, Some(self.line));
        let fault = Fault { kind, at, row, line };
        let told = match kind {
            FaultKind::NoHeader => std::mem::replace(&mut self.told_no_header, true),
            FaultKind::Damaged => std::mem::replace(&mut self.told_damage, true),
            FaultKind::Binary => row > 0,
            _ => false,
        };
        if !told {
            self.summary.add(fault);
        }
        fault
    }
}

fn member(name: &str) -> String {
    let mut member = String::new();
    push_json(&mut member, name);
    member.push(':');
    member
}

/// Appends a text as a JSON string.
fn push_json(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // Writing to a String cannot fail.
        let _ = write!(json, "{}", serde_json::Value::from(text));
        return;
    }
    json.push('"');
    json.push_str(text);
    json.push('"');
}

#[cfg(test)]
mod tests;
