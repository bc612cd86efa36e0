use std::cell::Cell;
use std::io::{self, Cursor, SeekFrom, Write};
use std::rc::Rc;

use super::*;
use crate::original::dicom::sample::Sample;
use dicom_dictionary_std::uids;

fn header(bytes: &[u8]) -> Header {
    read(Cursor::new(bytes), &HashSet::new()).unwrap()
}

fn sound() -> Vec<u8> {
    let mut sample = Sample::explicit();
    sample.image().put(tags::PIXEL_DATA, VR::OW, &[0; 8]);
    sample.bytes
}

fn check(header: &Header) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    assert_eq!(text(&header.study_uid), "1.2.3.4");
    assert_eq!(text(&header.series_uid), "1.2.3.44");
    assert_eq!(text(&header.sop_uid), "1.2.3.45");
    assert_eq!(text(&header.sop_class), "1.2.840.10008.5.1.4.1.1.2");
    assert_eq!(text(&header.modality), "CT");
    assert_eq!(text(&header.manufacturer), "Müller AG");
    assert_eq!(text(&header.body_part), "CHEST");
    assert_eq!(text(&header.view), "PA");
    assert_eq!(text(&header.laterality), "L");
    assert_eq!(text(&header.photometric), "MONOCHROME2");
    assert_eq!((header.rows, header.columns, header.frames), (Some(480), Some(640), Some(3)));
    assert_eq!(header.bits_allocated, Some(16));
    assert_eq!(header.spacing, Some((0.5, 0.25)));
    assert_eq!(header.acquisition_date, NaiveDate::from_ymd_opt(2024, 2, 29));
    assert_eq!(header.patient_id.as_ref().map(Secret::reveal), Some("P-0042"));
    assert_eq!(header.fault, None);
    assert!(header.has_pixels);
}

#[test]
fn every_field_is_read() {
    let header = header(&sound());
    check(&header);
    let tags: Vec<(&str, &str)> = header.tags.iter().map(|(keyword, text)| (&**keyword, &**text)).collect();
    assert_eq!(tags, [("KVP", "120"), ("ManufacturerModelName", "Model 7")]);
}

#[test]
fn nothing_of_the_patient_is_shown() {
    let header = header(&sound());
    let shown = format!("{header:?}");
    for value in ["Silva", "P-0042", "19700131", "House"] {
        assert!(!shown.contains(value), "{value}");
    }
}

#[test]
fn a_text_that_repeats_a_name_is_left_out() {
    let mut sample = Sample::explicit();
    sample.image().put(tags::SOFTWARE_VERSIONS, VR::LO, b"maria 2 ").put(tags::SEQUENCE_NAME, VR::SH, b"fast");
    let tags = header(&sample.bytes).tags;
    assert!(!tags.contains_key("SoftwareVersions"));
    assert_eq!(tags["SequenceName"], "fast");
}

#[test]
fn what_is_asked_for_is_kept() {
    let keep = ["PatientBirthDate", "PatientID", "Modality"].map(str::to_owned).into();
    let header = read(Cursor::new(sound()), &keep).unwrap();
    assert_eq!(header.tags["PatientBirthDate"], "19700131");
    assert_eq!(header.tags["PatientID"], "P-0042");
    assert_eq!(header.tags["Modality"], "CT");
}

#[test]
fn encodings() {
    let big = Syntax { explicit: true, big_endian: true };
    for (uid, syntax) in [
        (uids::IMPLICIT_VR_LITTLE_ENDIAN, Syntax::IMPLICIT_LITTLE),
        (meta::EXPLICIT_BIG_ENDIAN, big),
        ("1.2.840.10008.1.2.4.90", Syntax::EXPLICIT_LITTLE),
        ("1.2.3.4.5.6.7.8", Syntax::EXPLICIT_LITTLE),
        // the meta group says one thing, the data set another
        (uids::EXPLICIT_VR_LITTLE_ENDIAN, Syntax::IMPLICIT_LITTLE),
        (uids::IMPLICIT_VR_LITTLE_ENDIAN, Syntax::EXPLICIT_LITTLE),
    ] {
        let mut sample = Sample::file(uid, syntax);
        sample.image().put(tags::PIXEL_DATA, VR::OW, &[0; 8]);
        let header = header(&sample.bytes);
        check(&header);
        assert_eq!(header.transfer_syntax.as_deref(), Some(uid));
    }
}

#[test]
fn without_preamble_and_meta_group() {
    let big = Syntax { explicit: true, big_endian: true };
    for syntax in [Syntax::EXPLICIT_LITTLE, Syntax::IMPLICIT_LITTLE, big] {
        let mut sample = Sample::bare(syntax);
        sample.image().put(tags::PIXEL_DATA, VR::OW, &[0; 8]);
        check(&header(&sample.bytes));
    }
    check(&header(&sound()[132..]));
}

fn deflated(data_set: &[u8]) -> Vec<u8> {
    let mut bytes = Sample::file(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, Syntax::EXPLICIT_LITTLE).bytes;
    let mut encoder = flate2::write::DeflateEncoder::new(&mut bytes, flate2::Compression::default());
    encoder.write_all(data_set).unwrap();
    encoder.finish().unwrap();
    bytes
}

#[test]
fn deflated_data_sets() {
    let mut sample = Sample::bare(Syntax::EXPLICIT_LITTLE);
    sample.image().put(tags::PIXEL_DATA, VR::OW, &[0; 8]);
    let bytes = deflated(&sample.bytes);
    check(&header(&bytes));
    let cut = header(&bytes[..bytes.len() / 2 + 100]);
    assert!(cut.fault.is_some());
    let mut damaged = bytes.clone();
    damaged.truncate(bytes.len() - sample.bytes.len() / 4);
    damaged.extend([0xff; 64]);
    assert!(header(&damaged).fault.is_some());
}

#[test]
fn sequences_are_jumped_over_however_they_are_nested() {
    let mut sample = Sample::explicit();
    sample.put(tags::MODALITY, VR::CS, b"SR");
    sample.measured(tags::REFERENCED_STUDY_SEQUENCE, |item| {
        item.number(tags::ROWS, 1);
        item.measured(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, |item| {
            item.number(tags::ROWS, 2);
        });
    });
    for _ in 0..10_000 {
        sample.head(tags::CONTENT_SEQUENCE, VR::SQ, UNDEFINED).head(
            crate::original::dicom::element::ITEM,
            VR::UN,
            UNDEFINED,
        );
    }
    for _ in 0..10_000 {
        sample.head(ITEM_END, VR::UN, 0).head(crate::original::dicom::element::SEQUENCE_END, VR::UN, 0);
    }
    sample.number(tags::COLUMNS, 640);
    let header = header(&sample.bytes);
    assert_eq!((header.rows, header.columns, header.fault), (None, Some(640), None));
    assert!(!header.has_pixels);
}

#[test]
fn group_lengths_and_lying_lengths() {
    let mut sample = Sample::explicit();
    sample.put(Tag(0x0008, 0), VR::UL, &[7, 0, 0, 0]).put(tags::MODALITY, VR::CS, b"CT");
    sample.head(tags::IMAGE_COMMENTS, VR::UT, 0xFFFF_FFF0).number(tags::ROWS, 480);
    let header = header(&sample.bytes);
    assert_eq!(header.modality.as_deref(), Some("CT"));
    assert_eq!(header.rows, None);
    assert_eq!(header.fault.as_deref(), Some("element (0020,4000) should have 4294967280 bytes, and 10 are left"));
}

#[test]
fn pixel_data_that_are_cut_are_a_fault_beside_the_values() {
    let bytes = sound();
    let header = header(&bytes[..bytes.len() - 3]);
    assert_eq!(header.rows, Some(480));
    assert_eq!(header.fault.as_deref(), Some("element (7FE0,0010) should have 8 bytes, and 5 are left"));
}

/// Wherever a file is cut: never a panic, never a value that is not there, and always a word about it.
#[test]
fn cut_anywhere() {
    let bytes = sound();
    let whole = header(&bytes);
    for length in 0..bytes.len() {
        match read(Cursor::new(&bytes[..length]), &HashSet::new()) {
            Ok(header) => {
                assert!(header.fault.is_some() || !header.has_pixels, "{length}");
                assert!(header.study_uid.is_none() || header.study_uid == whole.study_uid, "{length}");
                assert!(header.rows.is_none() || header.rows == whole.rows, "{length}");
            }
            Err(error) => assert!(matches!(error, Unreadable::Content(_)) && length < 320, "{length}: {error}"),
        }
    }
}

/// Any byte may be wrong.
#[test]
fn any_byte_may_be_damaged() {
    let bytes = sound();
    for place in 0..bytes.len() {
        for value in [0, 0xff, bytes[place] ^ 0x20] {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            let result = read(Cursor::new(damaged), &HashSet::new());
            assert!(!matches!(result, Err(Unreadable::Io(_))), "{place}");
        }
    }
}

#[test]
fn what_is_no_dicom() {
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b"Laudo: sem altera\xe7\xf5es", "not a DICOM file"),
        (b"\x89PNG\r\n\x1a\n", "not a DICOM file"),
        (&[0; 4096], "not a DICOM file"),
    ] {
        assert_eq!(read(Cursor::new(bytes), &HashSet::new()).unwrap_err().to_string(), reason);
    }
    let mut preamble = vec![0; 128];
    preamble.extend(b"DICM");
    assert_eq!(read(Cursor::new(preamble), &HashSet::new()).unwrap_err().to_string(), "no element of a header");
}

/// Counts what is read of a file.
struct Counting<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(out)?;
        self.1.set(self.1.get() + n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counting<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn large_files_are_not_read() {
    const SIZE: u32 = 500 << 20;
    let mut sample = Sample::explicit();
    sample.image().head(tags::ENCAPSULATED_DOCUMENT, VR::OB, SIZE);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&sample.bytes).unwrap();
    file.seek(SeekFrom::Current(i64::from(SIZE))).unwrap();
    let mut end = Sample::bare(Syntax::EXPLICIT_LITTLE);
    end.number(tags::SMALLEST_IMAGE_PIXEL_VALUE, 7).head(tags::PIXEL_DATA, VR::OW, SIZE);
    file.write_all(&end.bytes).unwrap();
    let length = file.stream_position().unwrap() + u64::from(SIZE);
    file.set_len(length).unwrap();
    let count = Rc::new(Cell::new(0));
    let header = read(Counting(file, count.clone()), &HashSet::new()).unwrap();
    check(&header);
    assert!(count.get() < 64 * 1024, "{} bytes read", count.get());
}
