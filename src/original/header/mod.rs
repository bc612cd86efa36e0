//! What a header says of an original, read without its pixels.

pub mod dicom;
pub mod image;
mod tiff;
