//! Silver: typed, checked, the latest row of each key.
//!
//! [`by_record`] reads records ([`records`]), runs the table's SQL over them, sets aside what fails
//! ([`quarantine`]) and upserts the rest ([`upsert`]; who wins is decided in [`contest`]). [`surrogate`] gives
//! numbers to keys, and keeps them. Other silver tables that are derived from silver are kept by [`crate::gold`], which
//! knows nothing of stages.

pub mod by_record;
pub mod contest;
pub mod quarantine;
pub mod records;
pub mod surrogate;
pub mod upsert;
