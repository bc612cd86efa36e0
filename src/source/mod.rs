//! Where records come from: files below a folder, plain or compressed, or the tables of a database ([`postgres`]).
//!
//! [`list_files`] says which files there are. [`read_records`] reads one of them: it
//! unpacks what is compressed, cuts the bytes into records, and hashes the file as it is
//! stored. Nothing of a file is lost: what is not a record goes out as a piece that is
//! not intact, with a [`Fault`] that says why.

mod buffer;
mod csv;
mod decompress;
mod fault;
mod listing;
pub mod postgres;
mod read;
mod sibling;
mod split;
mod structure;

pub use decompress::{HashingReader, open};
pub use fault::{Fault, FaultKind, Summary};
pub use listing::{FileEntry, Listing, SkipReason, Skipped, SourceError, list_files};
pub use read::{Contents, ReadError, Record, Shape, read_records};
pub use split::MAX_RECORD;
