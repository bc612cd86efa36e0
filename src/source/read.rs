//! One stored file to its records.

use std::io::{self, Read};

use super::csv;
use super::decompress::{HashingReader, open};
use super::fault::{Fault, Summary};
use super::split::split;
use crate::contract::Format;
use crate::original::person::PersonKey;

/// What the contract says of a source's files, and the key that it names.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How they hold records.
    pub format: Format,
    /// The columns that it knows: what a header is compared with.
    pub columns: Vec<String>,
    /// The key of the hash that stands for a patient, of originals.
    pub person_key: Option<PersonKey>,
}

/// A record as it is handed out.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The record for silver to read, JSON if it is sound; where it has a fault, its text as it came; `None` when that is
    /// no text.
    pub payload: Option<&'a str>,
    /// The record byte for byte, where `payload` is not.
    pub bytes: Option<&'a [u8]>,
    /// Why it could not be taken apart.
    pub fault: Option<Fault>,
}

impl<'a> Record<'a> {
    /// A piece of JSON: whether it is sound, whoever parses it will tell.
    fn of_json(bytes: &'a [u8]) -> Self {
        let payload = simdutf8::basic::from_utf8(bytes).ok();
        Self { payload, bytes: payload.is_none().then_some(bytes), fault: None }
    }
}

/// What a stored file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Records and faults, those of the unpacking included.
    pub summary: Summary,
    /// BLAKE3 of the bytes as they are stored, in hexadecimal; SHA-256 of originals.
    pub content_hash: String,
    /// Bytes as they are stored.
    pub bytes: u64,
}

/// Why a file could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The stored bytes could not be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// The receiver of the records refused one.
    #[error("{0}")]
    Record(E),
}

/// Reads a file, plain or compressed, and hands out its records in order, byte for byte.
///
/// Every byte of the input is in exactly one record, but for a byte order mark, white space
/// and separators between records, the brackets of JSON's outer arrays and CSV's header.
///
/// # Errors
/// When the stored bytes cannot be read or `on_record` fails; what was handed out until
/// then is not the whole file. A file of wrong content is no error: see [`Summary::faults`].
pub fn read_records<R, E, F>(reader: R, shape: &Shape, mut on_record: F) -> Result<Contents, ReadError<E>>
where
    R: Read + Send,
    F: FnMut(Record<'_>) -> Result<(), E>,
{
    let mut stored = HashingReader::new(reader);
    let plain = open(&mut stored).map_err(ReadError::Read)?;
    let summary = match &shape.format {
        Format::Json => split(plain, |bytes, _| on_record(Record::of_json(bytes))),
        Format::Csv(options) => csv::split(plain, options, &shape.columns, on_record),
        // Such a file is a record itself, see `describe`.
        Format::Original(_) => {
            drop(plain);
            Ok(Summary::default())
        }
    };
    let summary = summary.map_err(ReadError::Record)?;
    let (content_hash, bytes) = stored.finish().map_err(ReadError::Read)?;
    Ok(Contents { summary, content_hash, bytes })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::fault::FaultKind;
    use super::*;

    const JSON: Shape = Shape { format: Format::Json, columns: Vec::new(), person_key: None };

    fn records(stored: &[u8]) -> (Vec<String>, Contents) {
        let mut records = Vec::new();
        let contents = read_records(stored, &JSON, |record| {
            let bytes = record.bytes.or(record.payload.map(str::as_bytes)).unwrap_or_default();
            records.push(String::from_utf8_lossy(bytes).into_owned());
            Ok::<_, io::Error>(())
        });
        (records, contents.unwrap())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(count: usize) -> String {
        (0..count).map(|row| format!("{{\"row\":{row},\"x\":{}}}\n", row * 7919 % 1013)).collect()
    }

    #[test]
    fn compressed_or_not_the_records_are_the_same() {
        let plain = lines(5000);
        let halves = plain.as_bytes().split_at(12_345);
        let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
        let (expected, contents) = records(plain.as_bytes());
        assert_eq!((expected.len(), contents.summary.faults.len()), (5000, 0));
        assert_eq!(contents.bytes, plain.len() as u64);
        for stored in [gzip(plain.as_bytes()), [gzip(halves.0), gzip(halves.1)].concat(), zstd] {
            let (found, contents) = records(&stored);
            assert!(found == expected && contents.summary.fault_count == 0);
            assert_eq!(contents.content_hash, blake3::hash(&stored).to_hex().to_string());
            assert_eq!(contents.bytes, stored.len() as u64);
            assert_eq!(contents.summary.bytes, plain.len() as u64);
        }
    }

    #[test]
    fn what_came_before_the_damage_goes_through() {
        let plain = lines(20_000);
        let mut flipped = gzip(plain.as_bytes());
        let middle = flipped.len() / 2;
        flipped[middle..middle + 64].fill(0xff);
        let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
        let cut = gzip(plain.as_bytes());
        let trailing = [gzip(plain.as_bytes()), b"rubbish after the end".to_vec()].concat();
        for stored in [&flipped, &zstd[..zstd.len() - 3], &cut[..cut.len() / 2], &trailing[..]] {
            let (found, contents) = records(stored);
            assert_eq!(contents.content_hash, blake3::hash(stored).to_hex().to_string());
            assert_eq!(contents.bytes, stored.len() as u64);
            let kinds: Vec<_> = contents.summary.faults.iter().map(|f| f.kind).collect();
            assert!(kinds.contains(&FaultKind::Damaged) && !kinds.contains(&FaultKind::Truncated));
            let both = found.iter().zip(plain.lines());
            let good = both.take_while(|(found, line)| found == line).count();
            assert!(good > 5_000, "{good} of {}", found.len());
            if stored != flipped {
                assert!(good + 1 >= found.len(), "{good} of {}", found.len());
            }
        }
        assert_eq!(records(&trailing).0.len(), 20_000);
        let (found, contents) = records(&cut[..5]);
        assert!(found.is_empty() && contents.summary.fault_count == 1);
    }

    #[test]
    fn a_failing_disk_is_an_error_even_below_a_decoder() {
        struct Failing<'a>(&'a [u8]);
        impl Read for Failing<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                match self.0.read(into)? {
                    0 => Err(io::Error::other("the disk is gone")),
                    count => Ok(count),
                }
            }
        }
        for stored in [gzip(lines(100).as_bytes()), lines(100).into_bytes(), b"{".to_vec()] {
            let result = read_records(Failing(&stored[..stored.len() - 1]), &JSON, |_| Ok::<_, io::Error>(()));
            assert_eq!(result.unwrap_err().to_string(), "cannot be read: the disk is gone");
        }
    }

    #[test]
    fn the_receiver_can_stop() {
        let mut seen = 0;
        let result = read_records(lines(10).as_bytes(), &JSON, |_| {
            seen += 1;
            if seen == 3 { Err("full") } else { Ok(()) }
        });
        assert!(matches!(result, Err(ReadError::Record("full"))));
        assert_eq!(seen, 3);
    }
}
