//! The bytes of an input that are read and not yet handed out.

use std::io::{ErrorKind, Read};

/// The bytes that are read first, and then twice as many each time: most files may be small, and a block that is cleared for
/// each of them costs more than to read it.
const FIRST: usize = 16 << 10;

/// A window on an input that moves forward and grows only while nothing is consumed.
pub(super) struct Buffer<R> {
    reader: R,
    data: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
    /// Bytes that are read next, and the most.
    block: usize,
    largest: usize,
    ended: bool,
    failed: bool,
}

impl<R: Read> Buffer<R> {
    /// An empty window that reads at most `largest` bytes at a time.
    pub(super) fn new(reader: R, largest: usize) -> Self {
        let (data, block) = (Vec::new(), FIRST.min(largest));
        Self { reader, data, start: 0, end: 0, consumed: 0, block, largest, ended: false, failed: false }
    }

    /// The bytes read and not yet consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The position of the first of [`bytes`](Self::bytes) in the input.
    pub(super) fn offset(&self) -> u64 {
        self.consumed
    }

    /// True when nothing follows [`bytes`](Self::bytes).
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// True when the input ended because the reader failed.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Gives up the first `count` bytes, at most all.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.consumed += count as u64;
    }

    /// Reads one more block, less only at the end; false when nothing came.
    pub(super) fn fill(&mut self) -> bool {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let (before, goal) = (self.end, self.end + self.block);
        self.block = self.largest.min(self.block * 2);
        if self.data.len() < goal {
            self.data.resize(goal, 0);
        }
        while self.end < goal && !self.ended {
            match self.reader.read(&mut self.data[self.end..goal]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => (self.ended, self.failed) = (true, true),
            }
        }
        self.end > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_not_consumed() {
        let mut buffer = Buffer::new(&b"abcdefgh"[..], 3);
        assert!(buffer.fill());
        buffer.consume(2);
        assert!(buffer.fill());
        assert_eq!((buffer.bytes(), buffer.offset()), (&b"cdef"[..], 2));
        buffer.consume(100);
        assert_eq!((buffer.bytes(), buffer.offset()), (&b""[..], 6));
        assert!(buffer.fill());
        assert!(buffer.ended() && !buffer.fill() && !buffer.failed());
        assert_eq!(buffer.bytes(), b"gh");
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut buffer = Buffer::new(std::io::repeat(b'x').take(1 << 20), 1024);
        while buffer.fill() {
            buffer.consume(1000);
            buffer.consume(buffer.bytes().len() - 24);
        }
        assert!(buffer.data.len() <= 2048, "{}", buffer.data.len());
        let mut small = Buffer::new(&b"{}"[..], 1 << 20);
        assert!(small.fill() && small.ended() && small.bytes() == b"{}");
        assert!(small.data.len() <= FIRST, "{}", small.data.len());
    }

    #[test]
    fn a_failure_ends_the_input_and_keeps_what_came_before() {
        struct Failing(bool);
        impl Read for Failing {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(std::io::Error::other("gone"));
                }
                into[0] = b'x';
                Ok(1)
            }
        }
        let mut buffer = Buffer::new(Failing(false), 8);
        assert!(buffer.fill());
        assert!(buffer.ended() && buffer.failed());
        assert_eq!(buffer.bytes(), b"x");
    }
}
