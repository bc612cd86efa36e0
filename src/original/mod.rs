//! Original files: what they are, what their headers and texts say, and DICOM copies without whom they show.
//!
//! Pure functions over [`std::io::Read`] and [`std::io::Seek`]; what is wrong with a file is a value.

pub mod apart;
pub mod deidentify;
pub mod dicom;
pub mod document;
pub mod forward;
pub mod guard;
pub mod hash;
pub mod header;
pub mod look;
pub mod media;
pub mod person;
pub mod unreadable;
