use std::io::Cursor;

use super::*;
use crate::original::dicom::sample::Sample;
use crate::original::header::dicom::Header;

fn copy(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::new();
    deidentify(Cursor::new(bytes), &mut out, &Uids::new(b"key"))?;
    Ok(out)
}

fn keeping(bytes: &[u8], keywords: &[&str]) -> Header {
    let keep: HashSet<String> = keywords.iter().map(|keyword| (*keyword).to_owned()).collect();
    header::read(Cursor::new(bytes), &keep).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn sample() -> Vec<u8> {
    let mut sample = Sample::explicit();
    sample.image();
    sample.put(Tag(0x6000, 0x3000), VR::OW, b"overlay of Silva").put(tags::PIXEL_DATA, VR::OW, b"\x01\x02\x03\x04");
    sample.bytes
}

#[test]
fn nothing_of_the_patient_is_left() {
    let big = Syntax { explicit: true, big_endian: true };
    let mut files = vec![sample()];
    for (uid, syntax) in [(uids::IMPLICIT_VR_LITTLE_ENDIAN, Syntax::IMPLICIT_LITTLE), (meta::EXPLICIT_BIG_ENDIAN, big)]
    {
        let mut file = Sample::file(uid, syntax);
        file.image().measured(tags::SOURCE_IMAGE_SEQUENCE, |item| {
            item.put(tags::PATIENT_ID, VR::LO, b"P-0042");
        });
        files.push(file.bytes);
    }
    for file in files {
        assert!(holds(&file, "Silva") && holds(&file, "P-0042"));
        let copy = copy(&file).unwrap();
        for text in ["Silva", "Maria", "P-0042", "19700131", "20240229", "House", "ACME", "1.2.3.4", "1.2.3.46"] {
            assert!(!holds(&copy, text), "{text}");
        }
    }
}

#[test]
fn texts_that_repeat_a_name_are_replaced_at_any_depth() {
    let mut file = Sample::explicit();
    file.image().put(tags::SOFTWARE_VERSIONS, VR::LO, b"7.1 for P-0042").put(tags::SEQUENCE_NAME, VR::SH, b"fast");
    file.sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, |item| {
        item.put(tags::CODE_MEANING, VR::LO, b"Finding of MARIA ");
    });
    assert!(holds(&file.bytes, "MARIA"));
    let copy = copy(&file.bytes).unwrap();
    for text in ["MARIA", "P-0042"] {
        assert!(!holds(&copy, text), "{text}");
    }
    assert_eq!(keeping(&copy, &[]).tags["SequenceName"], "fast");
}

#[test]
fn what_the_profile_keeps_is_kept() {
    let copy = copy(&sample()).unwrap();
    let header = keeping(
        &copy,
        &["PatientIdentityRemoved", "DeidentificationMethod", "LongitudinalTemporalInformationModified"],
    );
    assert_eq!((header.rows, header.columns, header.spacing), (Some(480), Some(640), Some((0.5, 0.25))));
    assert_eq!(header.modality.as_deref(), Some("CT"));
    assert_eq!(header.transfer_syntax.as_deref(), Some(uids::EXPLICIT_VR_LITTLE_ENDIAN));
    assert_eq!(header.tags["KVP"], "120");
    assert_eq!(header.tags["PatientIdentityRemoved"], "YES");
    assert_eq!(header.tags["DeidentificationMethod"], METHOD);
    assert_eq!(header.tags["LongitudinalTemporalInformationModified"], "REMOVED");
    assert_eq!((header.fault, header.has_pixels), (None, true));
    assert!(copy.ends_with(b"OW\0\0\x04\0\0\0\x01\x02\x03\x04"));
}

#[test]
fn identifiers_are_replaced_alike_everywhere() {
    let uids = Uids::new(b"key");
    let replaced = uids.replace("1.2.3.45");
    assert!(replaced.starts_with("2.25.") && replaced.len() <= 64);
    assert_ne!(replaced, Uids::new(b"other key").replace("1.2.3.45"));
    let copy = copy(&sample()).unwrap();
    let header = keeping(&copy, &[]);
    assert_eq!(header.sop_uid, Some(replaced.clone()));
    assert_eq!(copy.windows(replaced.len()).filter(|window| *window == replaced.as_bytes()).count(), 2);
    assert!(holds(&copy, &uids.replace("1.2.3.46")));
    assert_eq!(header.sop_class.as_deref(), Some("1.2.840.10008.5.1.4.1.1.2"));
}

#[test]
fn a_copy_is_a_function_of_file_and_key_and_can_be_copied_again() {
    let first = copy(&sample()).unwrap();
    assert_eq!(first, copy(&sample()).unwrap());
    let again = copy(&first).unwrap();
    assert_eq!(again.len(), copy(&again).unwrap().len());
}

#[test]
fn reports_keep_their_structure_and_lose_their_texts() {
    let mut sample = Sample::explicit();
    sample.put(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.88.11\0");
    sample.sequence(tags::CONTENT_SEQUENCE, |item| {
        item.put(tags::VALUE_TYPE, VR::CS, b"TEXT").put(tags::TEXT_VALUE, VR::UT, b"Maria Silva, 54 years old.");
        item.measured(tags::CONTENT_SEQUENCE, |item| {
            item.put(tags::VALUE_TYPE, VR::CS, b"PNAME ").put(tags::PERSON_NAME, VR::PN, b"Silva^Maria ");
        });
    });
    let copy = copy(&sample.bytes).unwrap();
    assert!(!holds(&copy, "Silva") && holds(&copy, "PNAME") && holds(&copy, "ANONYMIZED"));
}

#[test]
fn fragments_are_copied_as_they_are() {
    let mut sample = Sample::file("1.2.840.10008.1.2.4.50", Syntax::EXPLICIT_LITTLE);
    sample.image().head(tags::PIXEL_DATA, VR::OB, UNDEFINED).head(ITEM, VR::UN, 0).head(ITEM, VR::UN, 6);
    sample.bytes.extend(b"\xff\xd8abcd");
    sample.head(SEQUENCE_END, VR::UN, 0);
    let copied = copy(&sample.bytes).unwrap();
    assert_eq!(copied[copied.len() - 42..], sample.bytes[sample.bytes.len() - 42..]);
    assert!(copy(&sample.bytes[..sample.bytes.len() - 10]).is_err());
}

#[test]
fn compressed_pixels_are_written_explicit() {
    let jpeg = "1.2.840.10008.1.2.4.50";
    let mut sample = Sample::file(jpeg, Syntax::IMPLICIT_LITTLE);
    sample.image().head(tags::PIXEL_DATA, VR::OB, UNDEFINED).head(ITEM, VR::UN, 2);
    sample.bytes.extend(b"\xff\xd8");
    sample.head(SEQUENCE_END, VR::UN, 0);
    let copy = copy(&sample.bytes).unwrap();
    let header = keeping(&copy, &[]);
    assert_eq!((header.transfer_syntax.as_deref(), header.rows), (Some(jpeg), Some(480)));
    assert!(holds(&copy, "US\u{2}\0") && holds(&copy, "OB\0\0"));
}

#[test]
fn a_cut_file_gives_no_copy() {
    let bytes = sample();
    for length in [0, 131, 200, 400, bytes.len() - 20, bytes.len() - 1] {
        assert!(matches!(copy(&bytes[..length]), Err(Unreadable::Content(_))), "{length}");
    }
}

#[test]
fn damage_never_panics() {
    let bytes = sample();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0xff;
        let _ = copy(&damaged);
    }
}

#[test]
fn sequences_too_deep_are_refused() {
    let mut sample = Sample::explicit();
    sample.image();
    for _ in 0..100_000 {
        sample.head(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, UNDEFINED).head(ITEM, VR::UN, UNDEFINED);
    }
    assert_eq!(copy(&sample.bytes).unwrap_err().to_string(), "sequences are nested too deep");
}
