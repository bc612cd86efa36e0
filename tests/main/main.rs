//! The integration tests, in one binary, so that it is linked once: each runs the real program on real files.

mod harness;

mod bad_input;
mod cli;
mod contract_change;
mod crash;
mod ingest;
mod late_events;
mod new_table;
mod originals;
mod surrogate;
mod profiles;
mod readme;
mod volume;
