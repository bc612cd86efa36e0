//! The integration tests, in one binary, so that it is linked once: each runs the real program on real files.

mod faults;
mod harness;
mod increments;

mod bad_input;
mod cli;
mod contract_change;
mod crash;
mod equal_rows;
mod hostile;
mod dataset;
mod ingest;
mod erase;
mod late_events;
mod maintain;
mod new_table;
mod originals;
mod parts;
mod surrogate;
mod profiles;
mod readme;
mod quarantine;
mod replay;
mod restore;
mod sweep;
mod trace;
mod volume;
