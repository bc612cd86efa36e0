//! A stream of bytes to records, which are told apart but not parsed.
//!
//! The input is taken as a sequence of values: objects stand for themselves, arrays for
//! their elements. [`Scan`] finds where a value ends. Where that cannot be, the value is
//! given up to its first line break and the rest is looked at anew, from the next line on.

use std::io::Read;

use memchr::memchr;

use super::buffer::Buffer;
use super::fault::{Fault, FaultKind, Summary};
use super::sibling::Sibling;
use super::structure::{Scan, Step, is_space};

/// The most bytes that a record can have; a larger one goes out in pieces that are not intact.
pub const MAX_RECORD: usize = 1 << 30;

/// Returns to an earlier line after which every line break ends its record: each may cost
/// a second look at the rest of the input.
const MAX_RETURNS: u32 = 64;

/// The sizes of what is held in memory, in bytes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The start of the input that is searched for a NUL byte.
    probe: usize,
    /// Read at a time.
    block: usize,
    /// Pieces of what is no record or too large a one.
    piece: usize,
    /// The largest record.
    record: usize,
}

const LIMITS: Limits = Limits { probe: 8 << 10, block: 1 << 20, piece: 16 << 20, record: MAX_RECORD };

/// Hands out the records of plain bytes in order; a failing reader ends the input as damaged.
pub(super) fn split<R, E, F>(reader: R, on_record: F) -> Result<Summary, E>
where
    R: Read,
    F: FnMut(&[u8], bool) -> Result<(), E>,
{
    Splitter::new(reader, on_record, LIMITS).run()
}

struct Splitter<R, F> {
    buffer: Buffer<R>,
    on_record: F,
    limits: Limits,
    summary: Summary,
    /// Inside an outer array; else between values.
    in_array: bool,
    had_array: bool,
    returns: u32,
    /// How the elements of the outer array begin.
    sibling: Sibling,
}

impl<R, E, F> Splitter<R, F>
where
    R: Read,
    F: FnMut(&[u8], bool) -> Result<(), E>,
{
    fn new(reader: R, on_record: F, limits: Limits) -> Self {
        let (buffer, summary) = (Buffer::new(reader, limits.block), Summary::default());
        let (in_array, had_array, returns) = (false, false, 0);
        let sibling = Sibling::default();
        Self { buffer, on_record, limits, summary, in_array, had_array, returns, sibling }
    }

    fn run(mut self) -> Result<Summary, E> {
        while self.buffer.bytes().len() < self.limits.probe && self.buffer.fill() {}
        if is_binary(self.buffer.bytes(), self.limits.probe) {
            self.binary()?;
        } else {
            self.values()?;
        }
        self.summary.bytes = self.buffer.offset();
        if self.buffer.failed() {
            self.fault(FaultKind::Damaged);
        } else if self.in_array {
            self.fault(FaultKind::Truncated);
        } else if self.summary.records == 0 && !self.had_array {
            self.fault(FaultKind::Empty);
        }
        Ok(self.summary)
    }

    fn values(&mut self) -> Result<(), E> {
        if self.buffer.bytes().starts_with(b"\xef\xbb\xbf") {
            self.buffer.consume(3);
        }
        while let Some(first) = self.next_start() {
            match first {
                b'{' | b'[' => self.record()?,
                _ if self.in_array => self.scalar()?,
                _ => self.text()?,
            }
        }
        Ok(())
    }

    /// Goes over what stands between values and returns the first byte of the next.
    fn next_start(&mut self) -> Option<u8> {
        loop {
            let bytes = self.buffer.bytes();
            let start = bytes.iter().position(|byte| !is_space(*byte) && *byte != b',');
            let first = start.map(|at| bytes[at]);
            self.buffer.consume(start.unwrap_or(bytes.len()));
            match first {
                Some(b'[') if !self.in_array => {
                    (self.in_array, self.had_array) = (true, true);
                    self.sibling = Sibling::default();
                }
                Some(b']') if self.in_array => self.in_array = false,
                Some(first) => return Some(first),
                None if self.buffer.fill() => continue,
                None => return None,
            }
            self.buffer.consume(1);
        }
    }

    /// An object, or an array inside the outer array.
    fn record(&mut self) -> Result<(), E> {
        let mut scan = Scan::new(self.returns >= MAX_RETURNS);
        loop {
            let (bytes, ended) = (self.buffer.bytes(), self.buffer.ended());
            let kind = match scan.advance(bytes, ended) {
                Step::End(length) => {
                    if self.in_array {
                        self.sibling.learn(&bytes[..length]);
                    }
                    return self.hand_out(length, true);
                }
                Step::Broken(_) => FaultKind::Broken,
                Step::More if ended && has_further_line(bytes) => FaultKind::Broken,
                Step::More if ended => FaultKind::Truncated,
                Step::More if bytes.len() <= self.limits.record => {
                    self.buffer.fill();
                    continue;
                }
                Step::More => FaultKind::TooLarge,
            };
            let one_line = !has_further_line(bytes);
            self.fault(kind);
            if kind == FaultKind::TooLarge && one_line {
                return self.oversized(scan);
            }
            if self.in_array && self.up_to_sibling()? {
                return Ok(());
            }
            return self.broken(scan.position(), self.limits.record);
        }
    }

    /// Gives up the element at the front up to where, on its line, the next one begins; false when none is found.
    fn up_to_sibling(&mut self) -> Result<bool, E> {
        loop {
            let bytes = self.buffer.bytes();
            let line = &bytes[..memchr(b'\n', bytes).unwrap_or(bytes.len())];
            if let Some(next) = self.sibling.find(line) {
                let kept = trim(without_comma(trim(&line[..next]))).len();
                self.hand_out(kept, false)?;
                return Ok(true);
            }
            if line.len() < bytes.len() || bytes.len() > self.limits.piece || !self.buffer.fill() {
                return Ok(false);
            }
        }
    }

    /// A record of one line that memory is too short for: in pieces, up to where it ends.
    fn oversized(&mut self, mut scan: Scan) -> Result<(), E> {
        loop {
            while scan.position() > self.limits.piece {
                scan.forget(self.piece()?);
            }
            self.buffer.fill();
            let ended = self.buffer.ended();
            match scan.advance(self.buffer.bytes(), ended) {
                Step::End(length) => {
                    let last = self.find(self.limits.piece, |_| Some(length))?;
                    return self.hand_out(last, false);
                }
                Step::More if !ended => {}
                _ => return self.broken(scan.position(), self.limits.piece),
            }
        }
    }

    /// Gives up the value at the front, of which `seen` bytes were looked at: its first
    /// line goes out, whole if it has at most `whole` bytes.
    fn broken(&mut self, seen: usize, whole: usize) -> Result<(), E> {
        // Only what is looked at twice counts: a fault found before the second line is free.
        self.returns += u32::from(has_further_line(&self.buffer.bytes()[..seen]));
        let length = self.find(whole, |bytes| memchr(b'\n', bytes))?;
        let (line, rest) = self.buffer.bytes().split_at(length);
        let line = trim(line);
        let kept = trim(if self.in_array { without_comma(line) } else { line }).len();
        if self.buffer.ended() && trim(rest).is_empty() {
            // That the array is not closed would be no news.
            self.in_array = false;
        }
        self.hand_out(kept, false)
    }

    /// Anything else inside the outer array, a string or a number or rubbish, up to a
    /// separator, a bracket, or the line's end.
    fn scalar(&mut self) -> Result<(), E> {
        let (mut string, mut escaped, mut closes) = (false, false, false);
        let before = self.summary.records;
        let length = self.find(self.limits.record, |bytes| {
            bytes.iter().position(|byte| {
                let literal = std::mem::take(&mut escaped);
                match byte {
                    b'\n' => return true,
                    b',' | b'[' | b']' | b'{' => return !string,
                    b'}' => closes |= !string,
                    b'"' if !literal => string = !string,
                    b'\\' if !literal => escaped = string,
                    _ => {}
                }
                false
            })
        })?;
        let cut_off = length == self.buffer.bytes().len();
        if cut_off {
            self.fault(FaultKind::Truncated);
            self.in_array = false;
        } else if string || closes {
            self.fault(FaultKind::Broken);
        }
        let intact = !cut_off && !string && !closes && before == self.summary.records;
        self.hand_out(trim(&self.buffer.bytes()[..length]).len(), intact)
    }

    /// Anything else between values, up to a line that begins with an opening bracket.
    fn text(&mut self) -> Result<(), E> {
        self.fault(FaultKind::Text);
        let mut line_start = false;
        let length = self.find(self.limits.piece, |bytes| {
            bytes.iter().position(|&byte| {
                let found = line_start && matches!(byte, b'{' | b'[');
                line_start = byte == b'\n' || (line_start && is_space(byte));
                found
            })
        })?;
        self.hand_out(trim(&self.buffer.bytes()[..length]).len(), false)
    }

    /// No structure is looked for: the whole input in pieces.
    fn binary(&mut self) -> Result<(), E> {
        self.fault(FaultKind::Binary);
        let length = self.find(self.limits.piece, |_| None)?;
        self.hand_out(length, false)
    }

    /// Where `end`, which sees every byte once, finds the end of what is at the front, or
    /// the input ends. What has more than `whole` bytes goes out in pieces, save the last.
    fn find(&mut self, mut whole: usize, mut end: impl FnMut(&[u8]) -> Option<usize>) -> Result<usize, E> {
        let mut seen = 0;
        loop {
            let bytes = self.buffer.bytes();
            let found = end(&bytes[seen..]);
            seen = found.map_or(bytes.len(), |length| seen + length);
            if seen > whole && whole > self.limits.piece {
                self.fault(FaultKind::TooLarge);
                whole = self.limits.piece;
            }
            while seen > whole {
                seen -= self.piece()?;
            }
            if found.is_some() || !self.buffer.fill() {
                return Ok(seen);
            }
        }
    }

    /// Hands out the front of something that is too large, not cut inside a UTF-8 character.
    fn piece(&mut self) -> Result<usize, E> {
        let (bytes, most) = (self.buffer.bytes(), self.limits.piece);
        let follows = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let length = (most.saturating_sub(3)..=most).rev().find(|at| !follows(at)).unwrap_or(most);
        self.hand_out(length, false)?;
        Ok(length)
    }

    fn hand_out(&mut self, length: usize, intact: bool) -> Result<(), E> {
        if length > 0 {
            (self.on_record)(&self.buffer.bytes()[..length], intact)?;
            self.summary.records += 1;
            self.summary.broken += u64::from(!intact);
            self.buffer.consume(length);
        }
        Ok(())
    }

    fn fault(&mut self, kind: FaultKind) {
        // Damaged data ends anywhere; that is one fault, not two.
        if kind != FaultKind::Truncated || !self.buffer.failed() {
            let (at, row) = (self.buffer.offset(), self.summary.records);
            self.summary.add(Fault { kind, at, row, line: None });
        }
    }
}

fn is_binary(start: &[u8], probe: usize) -> bool {
    let probe = &start[..start.len().min(probe)];
    probe.starts_with(b"\xff\xfe") || probe.starts_with(b"\xfe\xff") || memchr(0, probe).is_some()
}

/// True when something follows on a line after the first.
fn has_further_line(bytes: &[u8]) -> bool {
    memchr(b'\n', bytes).is_some_and(|end| !trim(&bytes[end..]).is_empty())
}

/// Without the white space at the end.
fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn without_comma(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b",").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    type Pieces = Vec<(Vec<u8>, bool)>;

    /// Returns at most `step` bytes at a time, and is interrupted in between.
    struct Slow<'a>(&'a [u8], usize, bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.2 = !self.2;
            if self.2 {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let count = self.1.min(into.len());
            self.0.read(&mut into[..count])
        }
    }

    fn cut_with(input: &[u8], step: usize, limits: Limits) -> (Pieces, Summary) {
        let mut pieces = Vec::new();
        let collect = |bytes: &[u8], intact: bool| {
            pieces.push((bytes.to_vec(), intact));
            Ok::<_, ()>(())
        };
        let summary = Splitter::new(Slow(input, step, false), collect, limits).run().unwrap();
        assert_eq!(summary.records, pieces.len() as u64);
        assert_eq!(summary.broken, pieces.iter().filter(|piece| !piece.1).count() as u64);
        assert_eq!(summary.bytes, input.len() as u64);
        (pieces, summary)
    }

    fn cut(input: &str) -> (Pieces, Summary) {
        cut_with(input.as_bytes(), 1000, LIMITS)
    }

    /// Expects these pieces, a broken one with `!` before it, and these kinds of fault.
    #[track_caller]
    fn expect(input: &str, pieces: &[&str], faults: &[FaultKind]) {
        let (found, summary) = cut(input);
        let shown: Vec<_> = found
            .iter()
            .map(|(bytes, intact)| format!("{}{}", if *intact { "" } else { "!" }, str::from_utf8(bytes).unwrap()))
            .collect();
        assert_eq!(shown, pieces, "{input:?}");
        let kinds: Vec<_> = summary.faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, faults, "{input:?}");
    }

    use FaultKind::*;

    #[test]
    fn arrays_objects_and_lines() {
        expect(
            r#"[{"a":1},{"b":[2]} , 3,"x,]",null,[4,5]]"#,
            &[r#"{"a":1}"#, r#"{"b":[2]}"#, "3", r#""x,]""#, "null", "[4,5]"],
            &[],
        );
        expect("{\"a\":1}\r\n{\"b\":2}\r\n\r\n", &[r#"{"a":1}"#, r#"{"b":2}"#], &[]);
        expect("\u{feff} {\n  \"a\": 1\n}\n{ }{},{}", &["{\n  \"a\": 1\n}", "{ }", "{}", "{}"], &[]);
        expect("[1,2]\n[3]{\"a\":1} [ ]\n[\n]", &["1", "2", "3", r#"{"a":1}"#], &[]);
        expect("[[],[[]],{}]", &["[]", "[[]]", "{}"], &[]);
        expect(r#"["a\"b\\", "c\n]"]"#, &[r#""a\"b\\""#, r#""c\n]""#], &[]);
    }

    #[test]
    fn nothing() {
        expect("[]", &[], &[]);
        expect(" [ \n ] ", &[], &[]);
        expect("", &[], &[Empty]);
        expect(" \r\n\t ", &[], &[Empty]);
        expect("\u{feff}", &[], &[Empty]);
    }

    #[test]
    fn a_line_without_its_end_costs_only_itself() {
        for bad in [r#"{"b":2"#, r#"{"b":"2}"#, r#"{"b":[2}"#, r#"{"b":{"c":[2]}"#, r#"{"b":[{"c":2}"#, "{"] {
            let broken = format!("!{bad}");
            let good = [r#"{"a":1}"#, r#"{"c":3}"#, r#"{"d":4}"#];
            let pieces = [good[0], &broken, good[1], good[2]];
            let lines = format!("{}\n{bad}\n{}\n{}\n", good[0], good[1], good[2]);
            expect(&lines, &pieces, &[Broken]);
            let array = format!("[\n{},\n{bad},\n{},\n{}\n]\n", good[0], good[1], good[2]);
            expect(&array, &pieces, &[Broken]);
            expect(&array.replace('\n', "\r\n"), &pieces, &[Broken]);
        }
    }

    #[test]
    fn the_end_is_missing() {
        expect(r#"[{"a":1},{"b":"#, &[r#"{"a":1}"#, r#"!{"b":"#], &[Truncated]);
        expect("[{\"a\":1},{\"b\":\n", &[r#"{"a":1}"#, r#"!{"b":"#], &[Truncated]);
        expect(r#"[{"a":1},"#, &[r#"{"a":1}"#], &[Truncated]);
        expect("[", &[], &[Truncated]);
        expect("[12, 34", &["12", "!34"], &[Truncated]);
        expect(r#"["ab, "#, &[r#"!"ab,"#], &[Truncated]);
        expect("{\"a\":1}\n{\"b\":\"", &[r#"{"a":1}"#, r#"!{"b":""#], &[Truncated]);
    }

    #[test]
    fn rubbish() {
        expect(r#"[{"a":1}, xyz, {"b":2}]"#, &[r#"{"a":1}"#, "xyz", r#"{"b":2}"#], &[]);
        expect(
            r#"[{"a":1}}, {"b":2} x y {"c":3}]"#,
            &[r#"{"a":1}"#, "!}", r#"{"b":2}"#, "x y", r#"{"c":3}"#],
            &[Broken],
        );
        expect("[\"x\n,{}]", &["!\"x", "{}"], &[Broken]);
        expect(r#"[{"a":1]}, {"b":2}]"#, &[r#"!{"a":1]}, {"b":2}]"#], &[Broken]);
        expect("id;name\n1;x\n  \n {\"a\":1}\nend", &["!id;name\n1;x", r#"{"a":1}"#, "!end"], &[Text, Text]);
        expect("{\"a\":1}}\n[2]", &[r#"{"a":1}"#, "!}", "2"], &[Text]);
        expect("true", &["!true"], &[Text]);
    }

    #[test]
    fn binary() {
        for input in [&b" PK\x03\x04\0\n{ "[..], b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"] {
            let (pieces, summary) = cut_with(input, 3, LIMITS);
            assert_eq!(pieces, [(input.to_vec(), false)]);
            assert_eq!(summary.faults, [Fault { kind: Binary, at: 0, row: 0, line: None }]);
        }
        let late = format!("{{\"a\":\"{}\0\"}}", "x".repeat(LIMITS.probe));
        expect(&late, &[&late], &[]);
        let (pieces, _) = cut_with(&[0; 1000], 7, Limits { probe: 10, block: 10, piece: 300, record: 500 });
        assert_eq!(pieces.iter().map(|piece| piece.0.len()).collect::<Vec<_>>(), [300, 300, 300, 100]);
    }

    #[test]
    fn faults_say_where() {
        let (_, summary) = cut("\u{feff}[{\"a\":1},\n{\"b\":\"\n");
        assert_eq!(summary.faults, [Fault { kind: Broken, at: 13, row: 1, line: None }]);
        let (_, summary) = cut(&"{\n".repeat(100));
        assert_eq!((summary.fault_count, summary.faults.len()), (100, 8));
    }

    #[test]
    fn too_large() {
        let limits = Limits { probe: 10, block: 64, piece: 100, record: 500 };
        let large = format!("{{\"a\":\"{}\"}}", "é ".repeat(400));
        for input in [format!("[{{}},{large},{{}}]"), format!("{{}}\n{large}\n{{}}")] {
            let (pieces, summary) = cut_with(input.as_bytes(), 1000, limits);
            let last = pieces.len() - 1;
            let joined: Vec<u8> = pieces[1..last].iter().flat_map(|piece| piece.0.clone()).collect();
            assert_eq!(joined, large.as_bytes());
            assert!(
                pieces[1..last]
                    .iter()
                    .all(|(bytes, intact)| { !intact && bytes.len() <= 100 && str::from_utf8(bytes).is_ok() })
            );
            assert_eq!((&pieces[0], &pieces[last]), (&(b"{}".to_vec(), true), &(b"{}".to_vec(), true)));
            assert_eq!(summary.faults.iter().map(|fault| (fault.kind, fault.row)).collect::<Vec<_>>(), [(TooLarge, 1)]);
        }
        let unclosed = format!("[{{\"a\":[1,\n{}]", "{\"b\":2},\n".repeat(100));
        let (pieces, summary) = cut_with(unclosed.as_bytes(), 1000, limits);
        assert_eq!((summary.faults[0].kind, summary.fault_count, pieces.len()), (TooLarge, 1, 101));
        assert!(pieces[1..].iter().all(|piece| piece.1));
        let exact = format!("{{\"a\":\"{}\"}}", "x".repeat(500 - 8));
        assert_eq!(cut_with(exact.as_bytes(), 1000, limits).0, [(exact.into_bytes(), true)]);
    }

    #[test]
    fn oversized_and_broken() {
        let limits = Limits { probe: 10, block: 64, piece: 100, record: 500 };
        for end in ["]\n{}", "\n{}", "]", ""] {
            let input = format!("{{\"a\":\"{}{end}", "x".repeat(1000));
            let (pieces, summary) = cut_with(input.as_bytes(), 9, limits);
            let good = usize::from(end.ends_with("{}"));
            assert_eq!(pieces.iter().filter(|piece| piece.1).count(), good, "{end:?}");
            assert_eq!((summary.faults[0].kind, summary.fault_count), (TooLarge, 1));
            conserves(input.as_bytes(), &pieces);
        }
        for input in [format!("[x{}, 2]", "y".repeat(1000)), format!("[{{]{}\n, 2]", "y".repeat(1000))] {
            let (pieces, summary) = cut_with(input.as_bytes(), 9, limits);
            assert_eq!(pieces.last(), Some(&(b"2".to_vec(), true)));
            assert!(pieces.len() > 8 && summary.faults.iter().any(|fault| fault.kind == TooLarge));
            conserves(input.as_bytes(), &pieces);
        }
    }

    #[test]
    fn returns_are_limited() {
        // Each line looks as if all that follow were inside it.
        let lines = "{\"l\":[1,\n".repeat(3000);
        let input = format!("{lines}[{{\"good\":1}},\n{{\"good\":2}}]\n");
        let (pieces, summary) = cut(&input);
        let good: Vec<_> = pieces.iter().filter(|piece| piece.1).map(|piece| &piece.0[..]).collect();
        assert_eq!(good, [&b"{\"good\":1}"[..], b"{\"good\":2}"]);
        assert_eq!((summary.records, summary.fault_count), (3002, 3000));
        conserves(input.as_bytes(), &pieces);
        // Lines that show at once that they are broken cost no return: later records may have many lines.
        let input = format!("{}{{\n\"good\":\n1\n}}", "{\"a\":1\n{\"b\":\"\n".repeat(500));
        let (pieces, _) = cut(&input);
        assert_eq!((pieces.len(), pieces[1000].1), (1001, true));
    }

    #[test]
    fn a_record_of_many_blocks() {
        let large = format!("{{\"a\":[{}\"{}\"]}}", "{\"b\":\"]}\"},".repeat(100_000), "\\\"x".repeat(600_000));
        let (pieces, summary) = cut_with(format!("[1,{large}\n,2]").as_bytes(), usize::MAX, LIMITS);
        assert_eq!(summary.fault_count, 0);
        assert!(pieces[1] == (large.into_bytes(), true) && pieces.len() == 3);
    }

    /// Between the pieces, in the order of the input, are separators only.
    #[track_caller]
    fn conserves(input: &[u8], pieces: &Pieces) {
        let mut rest = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
        for (piece, _) in pieces {
            while !rest.starts_with(piece) {
                assert!(!rest.is_empty() && b" \t\r\n,[]".contains(&rest[0]), "lost before {piece:?}");
                rest = &rest[1..];
            }
            rest = &rest[piece.len()..];
        }
        assert!(rest.iter().all(|byte| b" \t\r\n,[]".contains(byte)), "lost at the end: {rest:?}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = "[a-c\"\\\\\\[\\]{},:\n é\u{1f600}\u{0}]{0,12}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text, inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn objects() -> impl Strategy<Value = Vec<Value>> {
        prop::collection::vec(json().prop_map(|value| serde_json::json!({ "v": value })), 1..8)
    }

    fn parsed(pieces: &Pieces) -> Vec<Value> {
        pieces
            .iter()
            .map(|(bytes, intact)| {
                assert!(intact);
                serde_json::from_slice(bytes).unwrap()
            })
            .collect()
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (1..300_usize).prop_map(|block| Limits { probe: 10, block, piece: 1 << 20, record: 2 << 20 })
    }

    proptest! {
        #[test]
        fn arrays_of_any_values(values in prop::collection::vec(json(), 0..8), step in 1..200_usize, limits in limits()) {
            let text: Vec<String> = values.iter().map(Value::to_string).collect();
            let (pieces, summary) = cut_with(format!("[{}]", text.join(",")).as_bytes(), step, limits);
            prop_assert_eq!(summary.fault_count, 0);
            prop_assert!(pieces.iter().all(|piece| piece.1));
            prop_assert_eq!(pieces.into_iter().map(|piece| String::from_utf8(piece.0).unwrap()).collect::<Vec<_>>(), text);
            let pretty = serde_json::to_vec_pretty(&values).unwrap();
            prop_assert_eq!(parsed(&cut_with(&pretty, step, limits).0), values);
        }

        #[test]
        fn objects_in_any_layout(values in objects(), gap in "[ \r\n\t]{0,3}", step in 1..200_usize, limits in limits()) {
            let joined: String = values.iter().map(|value| format!("{value}{gap}")).collect();
            let pretty: String = values.iter().map(|value| format!("{value:#}{gap}")).collect();
            for input in [joined, pretty] {
                let (pieces, summary) = cut_with(input.as_bytes(), step, limits);
                prop_assert_eq!(summary.fault_count, 0);
                prop_assert_eq!(parsed(&pieces), values.clone());
            }
        }

        #[test]
        fn damage_loses_nothing(
            values in objects(),
            layout in 0..3,
            damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4, any::<u8>()), 0..6),
            piece in 8..200_usize,
            sizes in (1..200_usize, 1..300_usize),
        ) {
            let mut input = match layout {
                0 => serde_json::to_vec(&values).unwrap(),
                1 => serde_json::to_vec_pretty(&values).unwrap(),
                _ => values.iter().map(|value| format!("{value}\n")).collect::<String>().into_bytes(),
            };
            for (place, action, byte) in damage {
                let at = place.index(input.len().max(1));
                let structural = b"{}[]\",\\\n"[usize::from(byte % 8)];
                match action {
                    0 if at < input.len() => { input.remove(at); }
                    1 => input.insert(at, structural),
                    2 if at < input.len() => input[at] = byte,
                    3 if byte < 64 => input.truncate(at),
                    _ => {}
                }
            }
            let limits = Limits { probe: 10, block: sizes.1, piece, record: piece * 3 };
            let (pieces, summary) = cut_with(&input, sizes.0, limits);
            conserves(&input, &pieces);
            prop_assert!(pieces.iter().all(|piece| !piece.0.is_empty()));
            prop_assert!(summary.broken == 0 || summary.fault_count > 0);
            let whole = cut_with(&input, usize::MAX, LIMITS);
            conserves(&input, &whole.0);
        }

        #[test]
        fn broken_lines_spare_the_others(values in objects(), bad in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), array in any::<bool>()) {
            let mut lines: Vec<String> = values.iter().map(|value| value.to_string().replace('é', "e")).collect();
            let bad = bad.index(lines.len());
            let mut end = 1 + at.index(lines[bad].len() - 1);
            while !lines[bad].is_char_boundary(end) {
                end -= 1;
            }
            lines[bad].truncate(end);
            let input = if array { format!("[\n{}\n]\n", lines.join(",\n")) } else { lines.join("\n") + "\n" };
            let (pieces, _) = cut(&input);
            let kept: Vec<_> = pieces.iter().map(|piece| str::from_utf8(&piece.0).unwrap().to_owned()).collect();
            for (row, line) in lines.iter().enumerate().filter(|(row, _)| *row != bad) {
                prop_assert_eq!(&kept[row], line);
                prop_assert!(pieces[row].1);
            }
            prop_assert!(!pieces[bad].1);
            prop_assert_eq!(pieces.len(), lines.len());
        }
    }
}
