//! Finds where a JSON object or array ends, without parsing it.
//!
//! A block of 64 bytes becomes a few masks of one bit a byte; strings and the brackets
//! outside them then follow from arithmetic on whole masks, so that the work a byte does
//! not depend on what the strings hold.

const BLOCK: usize = 64;

/// True for JSON's white space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What [`Scan::advance`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The value takes this many bytes.
    End(usize),
    /// At this position it is certain that the value is no JSON and where it ends is unknown.
    Broken(usize),
    /// The bytes so far do not hold the whole value.
    More,
}

/// The search for the end of one value, which may come in several parts.
pub(super) struct Scan {
    position: usize,
    /// All ones when the last byte seen stands inside a string, else zero.
    in_string: u64,
    /// One when the last byte seen is a backslash that escapes the next.
    escapes_next: u64,
    /// One when the last byte seen closes a string.
    string_ended: u64,
    /// All ones when a line break ends every record, else zero.
    one_line: u64,
    nesting: Nesting,
}

impl Scan {
    /// Starts at an opening bracket; with `one_line` a value that goes on over a line break is broken.
    pub(super) fn new(one_line: bool) -> Self {
        let one_line = if one_line { u64::MAX } else { 0 };
        Self { position: 0, in_string: 0, escapes_next: 0, string_ended: 0, one_line, nesting: Nesting::default() }
    }

    /// Bytes that were looked at.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Tells that the first `count` bytes, all of them looked at, are given away.
    pub(super) fn forget(&mut self, count: usize) {
        self.position -= count;
    }

    /// Goes on in `bytes`, which begin where the value does; `last` tells that no more will follow.
    pub(super) fn advance(&mut self, bytes: &[u8], last: bool) -> Step {
        while let Some(block) = bytes[self.position..].first_chunk::<BLOCK>() {
            if let Some(step) = self.block(bytes, block) {
                return step;
            }
            self.position += BLOCK;
        }
        if last {
            let rest = &bytes[self.position..];
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            if let Some(step) = self.block(bytes, &block) {
                return step;
            }
            self.position = bytes.len();
        }
        Step::More
    }

    fn block(&mut self, bytes: &[u8], block: &[u8; BLOCK]) -> Option<Step> {
        let escaped = self.escaped(mask(block, |byte| byte == b'\\'));
        let quotes = mask(block, |byte| byte == b'"') & !escaped;
        let string = parity(quotes) ^ self.in_string;
        self.in_string = ((string as i64) >> 63) as u64;
        let brackets = mask(block, |byte| matches!(byte | 0x20, b'{' | b'}'));
        let breaks = mask(block, |byte| byte == b'\n');
        let mut events =
            (brackets & !string) | (breaks & (string | self.one_line)) | self.after_string(block, quotes & !string);
        while events != 0 {
            let at = self.position + events.trailing_zeros() as usize;
            events &= events - 1;
            match bytes[at] {
                byte @ (b'{' | b'[') => {
                    if self.is_stray(bytes, at) {
                        return Some(Step::Broken(at));
                    }
                    self.nesting.open(byte == b'{');
                }
                byte @ (b'}' | b']') => {
                    if !self.nesting.close(byte == b'}') {
                        return Some(Step::Broken(at));
                    }
                    if self.nesting.depth == 0 {
                        return Some(Step::End(at + 1));
                    }
                }
                _ => return Some(Step::Broken(at)),
            }
        }
        None
    }

    /// The bytes right behind a closing quote that nothing in JSON allows there: a quote before them is missing.
    fn after_string(&mut self, block: &[u8; BLOCK], closing: u64) -> u64 {
        let allowed = mask(block, |byte| is_space(byte) || matches!(byte, b',' | b':' | b'}' | b']'));
        let behind = (closing << 1) | self.string_ended;
        self.string_ended = closing >> 63;
        behind & !allowed
    }

    /// The bytes that a backslash escapes.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.escapes_next;
        let mut left = backslashes & !escaped;
        self.escapes_next = 0;
        while left != 0 {
            let at = left.trailing_zeros();
            let next = (1_u64 << at) << 1;
            self.escapes_next = u64::from(next == 0);
            escaped |= next;
            left &= !(next | (1 << at));
        }
        escaped
    }

    /// An opening bracket that nothing before it calls for: the record before it was not closed, and this is another
    /// one. Found here, not at the end of the input, it costs one record and not all that follow.
    fn is_stray(&self, bytes: &[u8], at: usize) -> bool {
        let Some(previous) = bytes[..at].iter().rposition(|byte| !is_space(*byte)) else {
            return false;
        };
        match bytes[previous] {
            b':' => !self.nesting.in_object(),
            b',' | b'[' => self.nesting.in_object(),
            _ => true,
        }
    }
}

/// The mask of the bytes for which `is` holds: the lowest bit for the first byte.
///
/// Eight bytes at a time are weighed with 1, 2, 4 … 128; the sum of the weights is their
/// mask. Compilers make vector code of it on every processor, without intrinsics.
#[inline(always)]
fn mask(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let mut weights = [0_u8; BLOCK];
    for (at, (weight, byte)) in weights.iter_mut().zip(block).enumerate() {
        *weight = if is(*byte) { 1 << (at % 8) } else { 0 };
    }
    let (groups, _) = weights.as_chunks::<8>();
    groups.iter().rev().fold(0, |mask, group| {
        let sum = u64::from_le_bytes(*group).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        (mask << 8) | sum
    })
}

/// Each bit becomes the parity of itself and all lower ones: ones from an opening quote
/// up to its closing quote.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The open brackets, one bit each: 1 for `{`, 0 for `[`.
#[derive(Default)]
struct Nesting {
    /// The innermost 64 at most; the lowest bit is the innermost.
    inner: u64,
    outer: Vec<u64>,
    depth: usize,
}

impl Nesting {
    fn open(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = (self.inner << 1) | u64::from(object);
        self.depth += 1;
    }

    /// False when the innermost open bracket is of the other kind.
    fn close(&mut self, object: bool) -> bool {
        let matches = self.depth > 0 && self.in_object() == object;
        self.inner >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
        matches
    }

    fn in_object(&self) -> bool {
        self.inner & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str) -> Step {
        Scan::new(false).advance(text.as_bytes(), true)
    }

    /// The same search, a byte at a time.
    fn naive(bytes: &[u8]) -> Step {
        let (mut stack, mut string, mut escaped, mut closed) = (Vec::new(), false, false, false);
        let mut previous = b' ';
        for (at, &byte) in bytes.iter().enumerate() {
            if closed && !is_space(byte) && !matches!(byte, b',' | b':' | b'}' | b']') {
                return Step::Broken(at);
            }
            closed = byte == b'"' && !escaped && string;
            let skip = escaped;
            escaped = byte == b'\\' && !skip;
            match byte {
                b'"' if !skip => string = !string,
                b'\n' if string => return Step::Broken(at),
                b'{' | b'[' if !string => {
                    let wanted = match stack.last() {
                        None => true,
                        Some(b'{') => previous == b':',
                        Some(_) => matches!(previous, b',' | b'['),
                    };
                    if !wanted {
                        return Step::Broken(at);
                    }
                    stack.push(byte);
                }
                b'}' | b']' if !string => {
                    if stack.pop() != Some(if byte == b'}' { b'{' } else { b'[' }) {
                        return Step::Broken(at);
                    }
                    if stack.is_empty() {
                        return Step::End(at + 1);
                    }
                }
                _ => {}
            }
            if !is_space(byte) {
                previous = byte;
            }
        }
        Step::More
    }

    #[test]
    fn finds_the_end() {
        assert_eq!(scan("{}"), Step::End(2));
        assert_eq!(scan(r#"{"a":[1,{"b":"}\"]"}]} {"#), Step::End(22));
        assert_eq!(scan(r#"{"a":"\\"}x"#), Step::End(10));
        assert_eq!(scan("{\n\"a\":\n{}}"), Step::End(10));
        assert_eq!(scan("{\"a\":[1"), Step::More);
    }

    #[test]
    fn finds_what_cannot_be_json() {
        assert_eq!(scan("{\"a\":1]"), Step::Broken(6));
        assert_eq!(scan("{\"a\":\"x\n"), Step::Broken(7));
        assert_eq!(scan("{\"a\":1\n {"), Step::Broken(8));
        assert_eq!(scan("{\"a\":1,\n{"), Step::Broken(8));
        assert_eq!(scan("{\"a\":[1\n{"), Step::Broken(8));
        assert_eq!(scan("{\"a\":[1,\n{"), Step::More);
        assert_eq!(scan("{\"a\":1, {"), Step::Broken(8));
        assert_eq!(scan("{\"a\":\"b\"c"), Step::Broken(8));
        assert_eq!(Scan::new(true).advance(b"{\n}", true), Step::Broken(1));
    }

    #[test]
    fn ten_thousand_levels() {
        let text = "[{\"a\":".repeat(10_000) + "1" + &"}]".repeat(10_000);
        assert_eq!(scan(&text), Step::End(text.len()));
        assert_eq!(scan(&text[..text.len() - 1]), Step::More);
        assert_eq!(scan(&text.replace("1}]", "1]]")), Step::Broken(60_001));
    }

    #[test]
    fn backslashes_and_quotes_across_blocks() {
        for lead in 50..70 {
            for slashes in 0..12 {
                let text = format!("{{\"{}{}\"}}", "a".repeat(lead), "\\".repeat(slashes));
                assert_eq!(scan(&text), naive(text.as_bytes()), "{lead} {slashes}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_search(text in r#"[\[{]([\[\]{}"\\:, \na]|\[1,|\{"a":){0,200}"#) {
            prop_assert_eq!(scan(&text), naive(text.as_bytes()));
        }

        #[test]
        fn parts_make_no_difference(text in r#"[\[{]([\[\]{}"\\:, a]|aaaa){0,300}"#, part in 1..100_usize) {
            let bytes = text.as_bytes();
            let mut scan = Scan::new(false);
            let mut step = Step::More;
            for end in (0..bytes.len()).step_by(part).chain([bytes.len()]) {
                step = scan.advance(&bytes[..end], end == bytes.len());
                if step != Step::More {
                    break;
                }
            }
            prop_assert_eq!(step, naive(bytes));
        }
    }
}
