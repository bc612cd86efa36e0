//! Medalha: a clinical lakehouse in one binary. Files come in; checked, transactional Delta tables come out.
//!
//! The modules, in the order in which data flows:

pub mod bronze; // every record as it came
pub mod cli; // the command line; the only place that prints
pub mod contract; // pipelines/*.toml, *.sql, *.csv: a validated project, or every problem
pub mod engine; // DataFusion sessions
pub mod error;
pub mod generate; // sample data, from a pipeline's generate.toml
pub mod gold; // derived by key, or whole
pub mod lake; // Delta tables: open, write, commit, lease
pub mod ops; // the lake's own history
pub mod pipeline_test; // the given/expect cases of the pipelines
pub mod run; // walks the tables, returns a report
pub mod silver; // typed, checked, the latest row of each key
pub mod source; // where records come from
pub mod transform; // a table's SQL with its expectations, shared by silver and gold // what can go wrong, by what the user must do
