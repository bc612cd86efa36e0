//! Values as text.

use dicom_core::VR;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::element::Syntax;

/// A unique identifier without its padding; `None` where there is none.
pub fn uid(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(is_padding);
    (!text.is_empty()).then(|| text.to_owned())
}

/// The character set that an element (0008,0005) names. Where it names several, the first that is not the default
/// one: switching in the middle of a value is for names in Japanese, Korean and Chinese.
pub fn character_set(bytes: &[u8]) -> SpecificCharacterSet {
    let text = String::from_utf8_lossy(bytes);
    let named = text.split('\\').map(|code| code.trim_matches(is_padding)).filter(|code| !code.is_empty());
    let mut known = named.filter_map(SpecificCharacterSet::from_code);
    known.find(|set| *set != SpecificCharacterSet::ISO_IR_6).unwrap_or(SpecificCharacterSet::ISO_IR_6)
}

/// The components of a value as text, without padding; none for a representation that is no text and no number, and
/// for numbers that are cut.
pub fn texts(vr: VR, bytes: &[u8], syntax: Syntax, characters: &SpecificCharacterSet) -> Vec<String> {
    use VR::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, SL, SS, ST, SV, TM, UC, UI, UL, UR, US, UT, UV};
    let big = syntax.big_endian;
    match vr {
        AE | AS | CS | DA | DS | DT | IS | TM | UI | LO | PN | SH | UC => split(&decode(bytes, characters)),
        LT | ST | UT | UR => vec![decode(bytes, characters).trim_end_matches(is_padding).to_owned()],
        US => numbers::<2>(bytes, big, |b| u16::from_le_bytes(b).to_string()),
        SS => numbers::<2>(bytes, big, |b| i16::from_le_bytes(b).to_string()),
        UL => numbers::<4>(bytes, big, |b| u32::from_le_bytes(b).to_string()),
        SL => numbers::<4>(bytes, big, |b| i32::from_le_bytes(b).to_string()),
        FL => numbers::<4>(bytes, big, |b| f32::from_le_bytes(b).to_string()),
        FD => numbers::<8>(bytes, big, |b| f64::from_le_bytes(b).to_string()),
        SV => numbers::<8>(bytes, big, |b| i64::from_le_bytes(b).to_string()),
        UV => numbers::<8>(bytes, big, |b| u64::from_le_bytes(b).to_string()),
        AT => bytes.chunks_exact(4).map(|b| attribute([b[0], b[1], b[2], b[3]], syntax)).collect(),
        _ => Vec::new(),
    }
}

fn decode(bytes: &[u8], characters: &SpecificCharacterSet) -> String {
    if bytes.is_ascii() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    characters.decode(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
}

fn split(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(is_padding);
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('\\').map(|part| part.trim_matches(is_padding).to_owned()).collect()
    }
}

fn is_padding(c: char) -> bool {
    c == '\0' || c.is_ascii_whitespace()
}

fn numbers<const N: usize>(bytes: &[u8], big_endian: bool, text: impl Fn([u8; N]) -> String) -> Vec<String> {
    let ordered = |mut chunk: [u8; N]| {
        if big_endian {
            chunk.reverse();
        }
        chunk
    };
    bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(|chunk| text(ordered(chunk))).collect()
}

fn attribute(b: [u8; 4], syntax: Syntax) -> String {
    format!("({:04X},{:04X})", syntax.u16([b[0], b[1]]), syntax.u16([b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_lose_their_padding() {
        let latin = character_set(b"ISO_IR 100");
        let texts = |vr, bytes: &[u8]| texts(vr, bytes, Syntax::EXPLICIT_LITTLE, &latin);
        assert_eq!(texts(VR::DS, b"0.5 \\ 0.25"), ["0.5", "0.25"]);
        assert_eq!(texts(VR::LO, b"Radiolog\xeda\0"), ["Radiología"]);
        assert_eq!(texts(VR::UI, b"1.2.3\0"), ["1.2.3"]);
        assert_eq!(texts(VR::CS, b"  "), [""; 0]);
        assert_eq!(texts(VR::US, &[1, 0, 2, 0, 3]), ["1", "2"]);
        assert_eq!(texts(VR::AT, &[0x28, 0, 0x10, 0]), ["(0028,0010)"]);
        assert_eq!(texts(VR::OB, &[1, 2]), [""; 0]);
    }

    #[test]
    fn big_endian_numbers() {
        let big = Syntax { explicit: true, big_endian: true };
        assert_eq!(texts(VR::US, &[1, 0], big, &SpecificCharacterSet::ISO_IR_6), ["256"]);
        assert_eq!(texts(VR::FL, &[0x3f, 0x80, 0, 0], big, &SpecificCharacterSet::ISO_IR_6), ["1"]);
    }

    #[test]
    fn character_sets() {
        assert_eq!(character_set(b"\\ISO 2022 IR 100"), SpecificCharacterSet::ISO_IR_100);
        assert_eq!(character_set(b"ISO_IR 192 "), SpecificCharacterSet::ISO_IR_192);
        assert_eq!(character_set(b"nonsense"), SpecificCharacterSet::ISO_IR_6);
    }
}
