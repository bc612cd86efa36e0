//! Small greyscale images with made-up content, as DICOM or PNG.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::dice::Dice;
use super::problem::Source;
use super::program::Template;
use super::section::Text;
use super::spec::{Image, Pattern};

/// How pixels become a file; a DICOM file has these attributes beside the pixels.
pub(super) enum Encoding {
    Dicom(Vec<(Tag, VR, Template)>),
    Png,
}

/// The transfer syntax Explicit VR Little Endian.
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// The tag and the representation of an attribute that holds a text.
pub(super) fn attribute(source: &Source, keyword: &Text) -> Option<(Tag, VR)> {
    let Some(entry) = StandardDataDictionary.by_name(&keyword.text) else {
        let message = format!("'{}' is no attribute of the DICOM dictionary", keyword.text);
        source.problem(keyword.at, message, None);
        return None;
    };
    let vr = entry.vr().relaxed();
    let texts = [
        VR::AE,
        VR::AS,
        VR::CS,
        VR::DA,
        VR::DS,
        VR::DT,
        VR::IS,
        VR::LO,
        VR::LT,
        VR::PN,
        VR::SH,
        VR::ST,
        VR::TM,
        VR::UC,
        VR::UI,
        VR::UR,
        VR::UT,
    ];
    if !texts.contains(&vr) {
        let message = format!("'{}' does not hold a text", keyword.text);
        source.problem(keyword.at, message, None);
        return None;
    }
    Some((entry.tag(), vr))
}

/// The pixels of an image, a byte each, row by row.
pub(super) fn pixels(image: &Image, dice: &mut Dice) -> Vec<u8> {
    let (width, height) = (i64::from(image.width), i64::from(image.height));
    let slope = (dice.between(0, 100), dice.between(1, 100));
    let rounds = if image.pattern == Pattern::Phantom { 6 } else { 0 };
    let discs: Vec<Disc> = (0..rounds).map(|_| Disc::draw(width, height, dice)).collect();
    let mut pixels = Vec::with_capacity(usize::from(image.width) * usize::from(image.height));
    for y in 0..height {
        for x in 0..width {
            let ramp = (x * slope.0 / width + y * slope.1 / height).clamp(0, 255);
            let light: i64 = discs.iter().map(|disc| disc.light(x, y)).sum();
            pixels.push((ramp + light).clamp(0, 255) as u8);
        }
    }
    pixels
}

/// An ellipse that is lighter or darker than what it lies on.
struct Disc {
    centre: (i64, i64),
    radius: (i64, i64),
    light: i64,
}

impl Disc {
    fn draw(width: i64, height: i64, dice: &mut Dice) -> Self {
        let mut within = |side: i64| (dice.between(0, side - 1), dice.between(side / 10, side / 3));
        let ((x, radius_x), (y, radius_y)) = (within(width), within(height));
        Self { centre: (x, y), radius: (radius_x.max(1), radius_y.max(1)), light: dice.between(-60, 120) }
    }

    fn light(&self, x: i64, y: i64) -> i64 {
        let part = |at: i64, centre: i64, radius: i64| (at - centre).pow(2) * 1000 / radius.pow(2);
        let far = part(x, self.centre.0, self.radius.0) + part(y, self.centre.1, self.radius.1);
        if far <= 1000 { self.light } else { 0 }
    }
}

/// A Secondary Capture file: the attributes given, and those that describe the pixels.
pub(super) fn dicom(
    image: &Image,
    attributes: impl Iterator<Item = (Tag, VR, String)>,
    pixels: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let mut object = InMemDicomObject::new_empty();
    for (tag, vr, text) in attributes {
        object.put_str(tag, vr, text);
    }
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, image.height),
        (tags::COLUMNS, image.width),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, n) in numbers {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(n)));
    }
    object.put_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    // A value of an odd length is padded by the writer.
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(pixels)));
    let meta = FileMetaTableBuilder::new().transfer_syntax(EXPLICIT_LITTLE_ENDIAN);
    let file = object.with_meta(meta).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// An 8-bit greyscale PNG file.
pub(super) fn png(image: &Image, pixels: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width.into(), image.height.into());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(pixels).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}
