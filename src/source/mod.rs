//! Where records come from: files in a folder or an object store, plain or compressed, or the tables of a database
//! ([`postgres`]).
//!
//! [`Place::list`] says which files there are. [`read_records`] reads one of them: it
//! unpacks what is compressed, cuts the bytes into records, and hashes the file as it is
//! stored. Nothing of a file is lost: what is not a record goes out as a piece that is
//! not intact, with a [`Fault`] that says why.

mod buffer;
mod csv;
mod decompress;
mod fault;
mod file;
mod listing;
mod objects;
mod original;
mod place;
pub mod postgres;
mod read;
mod sibling;
mod split;
mod structure;

pub use decompress::{HashingReader, open};
pub use fault::{Fault, FaultKind, Summary};
pub use file::{FileEntry, Location, Opened};
pub use listing::{Listing, SkipReason, Skipped, SourceError, list_files};
pub use objects::StoredObject;
pub use original::{Original, describe};
pub use place::Place;
pub use read::{Contents, ReadError, Record, Shape, read_records};
pub use split::MAX_RECORD;
