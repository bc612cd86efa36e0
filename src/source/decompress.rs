//! Stored bytes to plain bytes, and the hash of the stored ones.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compressed bytes read at a time.
const BLOCK: usize = 256 << 10;

/// Unpacked bytes asked for at a time: so many at most are lost before damage, since a
/// decoder that fails says nothing of what it unpacked in the same call.
const STEP: usize = 4 << 10;

/// Unpacks gzip and zstd, of one part or of many; other input comes out as it is.
///
/// The kind is told from the first bytes; a name may lie.
///
/// # Errors
/// When the first bytes cannot be read, or memory for the unpacking is short. Damaged data
/// shows later, as an error of the returned reader after all that could be unpacked.
pub fn open<'r>(mut reader: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let mut magic = Vec::with_capacity(ZSTD.len());
    reader.by_ref().take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    let (gzip, zstd) = (magic.starts_with(&GZIP), magic == ZSTD);
    let whole = Cursor::new(magic).chain(reader);
    let packed = |whole| BufReader::with_capacity(BLOCK, whole);
    Ok(if gzip {
        Box::new(Steps(MultiGzDecoder::new(packed(whole))))
    } else if zstd {
        Box::new(Steps(zstd::Decoder::with_buffer(packed(whole))?))
    } else {
        Box::new(whole)
    })
}

/// Asks for [`STEP`] bytes at most.
struct Steps<R>(R);

impl<R: Read> Read for Steps<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(STEP);
        self.0.read(&mut into[..most])
    }
}

/// Counts and hashes (BLAKE3) the bytes that are read through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: blake3::Hasher,
    bytes: u64,
    failure: Option<io::Error>,
}

impl<R: Read> HashingReader<R> {
    /// Starts at the reader's current position.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), bytes: 0, failure: None }
    }

    /// Reads what is left and returns the hash, in hexadecimal, and the count of all bytes.
    ///
    /// # Errors
    /// When the inner reader failed, now or before: the hash would not be that of the whole.
    pub fn finish(mut self) -> io::Result<(String, u64)> {
        if self.failure.is_none() {
            io::copy(&mut self, &mut io::sink()).ok();
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.hasher.finalize().to_hex().to_string(), self.bytes)),
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    /// As the inner reader; a failure is kept for [`finish`](HashingReader::finish), since
    /// one that comes up through a decoder looks like damaged data.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(into) {
                Ok(count) => {
                    tracing::trace_span!("hash").in_scope(|| {
                        self.hasher.update(&into[..count]);
                    });
                    self.bytes += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(error);
                    return Err(copy);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        open(stored)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn one_part_many_parts_and_none() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
        assert_eq!(unpack(&gzip(b"abc")).unwrap(), b"abc");
        assert_eq!(unpack(&[gzip(b"abc"), gzip(b""), gzip(b"def")].concat()).unwrap(), b"abcdef");
        assert_eq!(unpack(&zstd(b"abc")).unwrap(), b"abc");
        assert_eq!(unpack(&[zstd(b"abc"), zstd(b"def")].concat()).unwrap(), b"abcdef");
        for plain in [&b""[..], b"[", b"{}", b"[1,2,3,4,5]"] {
            assert_eq!(unpack(plain).unwrap(), plain);
        }
    }

    #[test]
    fn damage_is_an_error() {
        let whole = gzip(&[b'x'; 10_000]);
        assert!(unpack(&whole[..whole.len() - 9]).is_err());
        assert!(unpack(&whole[..2]).is_err());
        let whole = zstd::encode_all(&b"abcabcabc"[..], 3).unwrap();
        assert!(unpack(&whole[..whole.len() - 1]).is_err());
    }

    #[test]
    fn the_hash_is_of_all_stored_bytes() {
        let stored = [gzip(b"abc"), b"rubbish".repeat(100_000)].concat();
        let mut hashing = HashingReader::new(&stored[..]);
        let mut start = [0; 2];
        open(&mut hashing).unwrap().read_exact(&mut start).unwrap();
        let expected = blake3::hash(&stored).to_hex().to_string();
        assert_eq!(hashing.finish().unwrap(), (expected, stored.len() as u64));
    }
}
