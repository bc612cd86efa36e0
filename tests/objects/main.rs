//! Object stores: sources in them and lakes on them, against a real S3 server (moto) that the tests start.

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../main/harness.rs"]
mod harness;

mod errors;
mod lake;
mod lease;
mod proxy;
mod server;
mod sources;
mod unsteady;
