//! How many pages a TIFF has: the chain of its directories.

use std::io::{self, Read, Seek, SeekFrom};

use crate::original::unreadable::Unreadable;

/// More pages than this are taken for a chain that runs in a circle.
const PAGE_LIMIT: u32 = 100_000;

/// Counts the directories of a TIFF or BigTIFF.
///
/// # Errors
/// No TIFF, a chain that leaves the file or runs in a circle; the reader's.
pub fn pages<R: Read + Seek>(reader: &mut R) -> Result<u32, Unreadable> {
    reader.rewind()?;
    let [a, b, version @ ..] = bytes::<4>(reader)?;
    let order = match [a, b] {
        [b'I', b'I'] => Order { big_endian: false, wide: version == [43, 0] },
        _ => Order { big_endian: true, wide: version == [0, 43] },
    };
    if order.wide {
        bytes::<4>(reader)?;
    }
    let mut pages = 0;
    let mut offset = order.offset(reader)?;
    while offset != 0 {
        if pages == PAGE_LIMIT {
            return Err(Unreadable::content("the picture's chain of pages has no end"));
        }
        reader.seek(SeekFrom::Start(offset))?;
        let entries = order.entries(reader)?;
        reader.seek_relative(entries)?;
        offset = order.offset(reader)?;
        pages += 1;
    }
    Ok(pages)
}

struct Order {
    big_endian: bool,
    /// BigTIFF: offsets of eight bytes.
    wide: bool,
}

impl Order {
    fn offset(&self, reader: &mut impl Read) -> io::Result<u64> {
        if self.wide { Ok(self.number(bytes::<8>(reader)?)) } else { Ok(self.number(bytes::<4>(reader)?)) }
    }

    /// Bytes of a directory's entries, after the number of them has been read.
    fn entries(&self, reader: &mut impl Read) -> io::Result<i64> {
        let (count, width) =
            if self.wide { (self.number(bytes::<8>(reader)?), 20) } else { (self.number(bytes::<2>(reader)?), 12) };
        i64::try_from(count).ok().and_then(|count| count.checked_mul(width)).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn number<const N: usize>(&self, bytes: [u8; N]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }
}

fn bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A little-endian TIFF whose directories, without entries, stand at offsets that are given.
    fn tiff(chain: &[u32]) -> Vec<u8> {
        let mut file = b"II*\0".to_vec();
        file.extend(8u32.to_le_bytes());
        for next in chain {
            file.extend([0, 0]);
            file.extend(next.to_le_bytes());
        }
        file
    }

    #[test]
    fn pages_are_counted() {
        assert_eq!(pages(&mut Cursor::new(tiff(&[0]))).unwrap(), 1);
        assert_eq!(pages(&mut Cursor::new(tiff(&[14, 20, 0]))).unwrap(), 3);
    }

    #[test]
    fn circles_and_cut_chains_are_faults() {
        assert!(pages(&mut Cursor::new(tiff(&[8]))).unwrap_err().to_string().contains("no end"));
        assert!(pages(&mut Cursor::new(tiff(&[4000]))).unwrap_err().to_string().contains("ends early"));
        assert!(matches!(pages(&mut Cursor::new(b"II*")), Err(Unreadable::Content(_))));
    }
}
