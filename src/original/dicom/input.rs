//! A file's bytes, plain or inflated, with a way to jump over what is not wanted.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};

use flate2::bufread::DeflateDecoder;

/// Small, because most headers are, and a jump throws the rest away.
const BUFFER: usize = 8 * 1024;

/// A deflated data set that grows beyond this is taken for a bomb.
const INFLATED_LIMIT: u64 = 4 << 30;

/// A stream of elements' bytes.
pub struct Input<R: Read> {
    body: Body<R>,
    position: u64,
}

enum Body<R: Read> {
    Plain { reader: BufReader<R>, length: u64 },
    Inflated(Take<BufReader<DeflateDecoder<BufReader<R>>>>),
}

impl<R: Read + Seek> Input<R> {
    /// A file from its beginning.
    ///
    /// # Errors
    /// The reader's.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self { body: Body::Plain { reader: BufReader::with_capacity(BUFFER, reader), length }, position: 0 })
    }

    /// The same bytes from here on, inflated; the position counts inflated bytes from 0.
    pub fn inflated(self) -> Self {
        match self.body {
            Body::Plain { reader, .. } => {
                let reader = BufReader::with_capacity(BUFFER, DeflateDecoder::new(reader));
                Self { body: Body::Inflated(reader.take(INFLATED_LIMIT)), position: 0 }
            }
            Body::Inflated(_) => self,
        }
    }

    /// How many bytes have been read or jumped over.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes are left, where that can be known without reading them.
    pub fn remaining(&self) -> Option<u64> {
        match &self.body {
            Body::Plain { length, .. } => Some(length.saturating_sub(self.position)),
            Body::Inflated(_) => None,
        }
    }

    /// The next bytes, without going past them; fewer than `n` at the end, and never more than the buffer's 8 KiB.
    ///
    /// # Errors
    /// The reader's.
    pub fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        let bytes = match &mut self.body {
            Body::Plain { reader, length } => {
                let wanted = (n as u64).min(length.saturating_sub(self.position)) as usize;
                if reader.buffer().len() < wanted {
                    reader.seek(SeekFrom::Start(self.position))?;
                }
                reader.fill_buf()?
            }
            Body::Inflated(reader) => reader.fill_buf()?,
        };
        Ok(&bytes[..bytes.len().min(n)])
    }

    /// Goes back to, or on to, a position of a file that is not deflated.
    ///
    /// # Errors
    /// The reader's; `Unsupported` for an inflated one.
    pub fn seek_to(&mut self, position: u64) -> io::Result<()> {
        let Body::Plain { reader, .. } = &mut self.body else { return Err(io::ErrorKind::Unsupported.into()) };
        reader.seek(SeekFrom::Start(position))?;
        self.position = position;
        Ok(())
    }

    /// Jumps over `n` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are fewer; the reader's.
    pub fn skip(&mut self, n: u64) -> io::Result<()> {
        match &mut self.body {
            Body::Plain { reader, length } => {
                let target = self.position.checked_add(n).filter(|target| target <= length);
                target.ok_or(io::ErrorKind::UnexpectedEof)?;
                reader.seek_relative(i64::try_from(n).map_err(|_| io::ErrorKind::UnexpectedEof)?)?;
            }
            Body::Inflated(reader) => {
                if io::copy(&mut reader.by_ref().take(n), &mut io::sink())? < n {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.position += n;
        Ok(())
    }

    /// A value of `n` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are fewer; the reader's.
    pub fn value(&mut self, n: u32) -> io::Result<Vec<u8>> {
        let mut value = Vec::new();
        self.take(u64::from(n)).read_to_end(&mut value)?;
        if value.len() < n as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(value) }
    }
}

impl<R: Read + Seek> Read for Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.body {
            Body::Plain { reader, .. } => reader.read(out)?,
            Body::Inflated(reader) => reader.read(out)?,
        };
        self.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn jumps_and_peeks_keep_the_position() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
        let mut input = Input::new(Cursor::new(&bytes)).unwrap();
        input.skip(8190).unwrap();
        assert_eq!(input.peek(6).unwrap(), &bytes[8190..8196]);
        assert_eq!(input.value(3).unwrap(), &bytes[8190..8193]);
        assert_eq!(input.remaining(), Some(20_000 - 8193));
        assert_eq!(input.skip(1 << 40).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        input.skip(20_000 - 8193 - 2).unwrap();
        assert_eq!(input.peek(6).unwrap().len(), 2);
        assert_eq!(input.value(3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
