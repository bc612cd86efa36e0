//! Hashes of files of any size, in bounded memory.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

const BLOCK: usize = 64 * 1024;

/// The SHA-256 of all that a reader gives, in lower-case hexadecimal, and the number of bytes.
///
/// # Errors
/// The reader's.
pub fn sha256(mut reader: impl Read) -> io::Result<(String, u64)> {
    let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok((hex(&hash.finalize()), bytes)),
            Ok(n) => {
                hash.update(&block[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time and is interrupted in between.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = out.len().min(7);
            self.0.read(&mut out[..n])
        }
    }

    #[test]
    fn known_digests() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(&b""[..]).unwrap(), (nothing.to_owned(), 0));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&b"abc"[..]).unwrap(), (abc.to_owned(), 3));
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256(io::repeat(b'a').take(1_000_000)).unwrap(), (million.to_owned(), 1_000_000));
    }

    #[test]
    fn short_reads_and_interruptions_change_nothing() {
        let bytes = vec![42; 1000];
        assert_eq!(sha256(Slow(&bytes, false)).unwrap(), sha256(&bytes[..]).unwrap());
    }

    #[test]
    fn a_reader_that_fails_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        assert_eq!(sha256(Broken).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
