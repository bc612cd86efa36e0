//! Gold, and whatever else is derived from tables of the lake: recomputed for the keys that changed ([`by_key`]), or
//! whole ([`whole`]).

pub mod by_key;
mod counts;
mod divided;
mod held;
pub(crate) mod keys;
pub(crate) mod output;
mod parts;
mod ranges;
pub mod whole;
