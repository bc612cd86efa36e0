//! DICOM files as streams of elements: no tree, no pixels in memory.
//!
//! `dicom-object` reads a data set as a whole or fails; here a file that is damaged in the middle still gives the
//! elements before the damage, a length that lies allocates nothing, and a value that nobody wants is jumped over.

pub mod element;
pub mod identifiers;
pub mod input;
pub mod meta;
pub mod profile;
pub mod skip;
pub mod value;

#[cfg(test)]
pub mod sample;
