//! Medalha: a clinical lakehouse in one binary. Files come in; checked, transactional Delta tables come out.
//!
//! The modules, in the order in which data flows; ARCHITECTURE.md says more of each.

// Futures lie within futures, deeper than the compiler takes by default.
#![recursion_limit = "256"]

// `pipelines/*.toml`, `*.sql` and `*.csv` to a validated project, or every problem.
pub mod contract;
// `${NAME}` in what differs from place to place.
pub mod variables;
// `profiles/*.toml`: which lake, data and values a client has.
pub mod profile;
// Trying again what failed for a reason that passes.
pub mod retry;
// Object stores: from a URI to a store, and what its errors mean.
pub mod store;
// Where records come from.
pub mod source;
// Images and documents as they come: media types, headers, texts, hashes, de-identified copies.
pub mod original;
// JSON to typed columns.
pub mod decode;
// Every record as it came.
pub mod bronze;
// Typed, checked, the latest row of each key.
pub mod silver;
// Derived by key, or whole.
pub mod gold;
// A table's SQL with its expectations: what silver and gold share.
pub mod transform;
// Delta tables: open, write, commit, lease. The only place that imports deltalake's tables.
pub mod lake;
// The lake's own history.
pub mod ops;
// DataFusion sessions.
pub mod engine;
// Walks the tables and returns a report.
pub mod run;
// Silver and gold computed again from older inputs.
pub mod replay;
// Few files instead of many small ones, and nothing that no reader needs.
pub mod maintain;
// Rows of a person or an exam, gone from all versions.
pub mod erase;
// Whether logs, files, positions and releases are whole.
pub mod fsck;
// A table or a release as it was, as a new commit.
pub mod restore;
// SQL over the lake, now or as it was.
pub mod query;
// Releases by name, and which are to be kept.
pub mod release;
// Training sets of a release.
pub mod dataset;
// What there is, how fresh, from what.
pub mod inspect;
// A pipeline's given/expect cases.
pub mod pipeline_test;
// Sample data, from a pipeline's `generate.toml`.
pub mod generate;
// The command line; the only place that prints.
pub mod cli;
// Sizes and durations as people write them.
pub mod units;
// What is wrong in a file that a person wrote, and where.
pub mod problem;
// TOML files that a person wrote, with the place of each value.
mod toml;
// Where a run's time goes.
pub mod trace;
// How memory is taken from the system.
pub mod memory;
// What can go wrong, by what the user must do about it.
pub mod error;
