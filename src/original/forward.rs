//! A stream that is read once, for readers that want to go to and fro.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::hash::hex;

/// Bytes read at a time.
const BLOCK: usize = 64 << 10;
/// Bytes behind the farthest one read that can be read again.
const WINDOW: usize = 1 << 20;

/// Reads a stream of known length once, and hashes it on the way.
///
/// A seek moves a position and nothing else. Bytes that are jumped over are read and hashed; those that lie further back
/// than a window of 1 MiB cannot be read again.
pub struct Forward<R> {
    inner: R,
    length: u64,
    position: u64,
    window: Vec<u8>,
    end: u64,
    hash: Sha256,
}

impl<R: Read> Forward<R> {
    /// Starts at the stream's beginning.
    pub fn new(inner: R, length: u64) -> Self {
        Self { inner, length, position: 0, window: Vec::new(), end: 0, hash: Sha256::new() }
    }

    /// Reads what is left: the SHA-256 of all bytes, in hexadecimal, and their number.
    ///
    /// # Errors
    /// The stream's.
    pub fn finish(mut self) -> io::Result<(String, u64)> {
        while self.advance()? {}
        Ok((hex(&self.hash.finalize()), self.end))
    }

    /// Reads a block; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.window.len() >= 2 * WINDOW {
            self.window.drain(..self.window.len() - WINDOW);
        }
        let held = self.window.len();
        (&mut self.inner).take(BLOCK as u64).read_to_end(&mut self.window)?;
        let new = &self.window[held..];
        self.hash.update(new);
        self.end += new.len() as u64;
        Ok(!new.is_empty())
    }
}

impl<R: Read> Read for Forward<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.position >= self.end {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let back = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let start = self.window.len().checked_sub(back).ok_or(ErrorKind::Unsupported)?;
        let count = into.len().min(back);
        into[..count].copy_from_slice(&self.window[start..start + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Read> Seek for Forward<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::original::hash::sha256;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn jumps_leave_the_hash_as_it_is() {
        let bytes = bytes(5 << 20);
        let mut forward = Forward::new(&bytes[..], bytes.len() as u64);
        let mut four = [0; 4];
        for position in [0, 2 << 20, (2 << 20) - 500_000, (5 << 20) - 4, 5 << 20] {
            forward.seek(SeekFrom::Start(position)).unwrap();
            let count = forward.read(&mut four).unwrap();
            assert_eq!(four[..count], bytes[position as usize..position as usize + count], "{position}");
        }
        assert_eq!(forward.seek(SeekFrom::End(-4)).unwrap(), (5 << 20) - 4);
        forward.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(forward.read(&mut four).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(forward.window.len() <= 2 * WINDOW + BLOCK);
        assert_eq!(forward.finish().unwrap(), sha256(&bytes[..]).unwrap());
    }

    #[test]
    fn beyond_the_end_there_is_nothing() {
        let mut forward = Forward::new(&b"abc"[..], 3);
        assert!(forward.seek(SeekFrom::Current(-1)).is_err());
        forward.seek(SeekFrom::Start(10)).unwrap();
        assert_eq!(forward.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(forward.finish().unwrap(), sha256(&b"abc"[..]).unwrap());
    }
}
