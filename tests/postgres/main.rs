//! The source kind `postgres` with a real server: what is taken, what is found to have changed, and what breaks.

mod breaks;
mod clinic;
mod cluster;
mod rows;
mod silver;
mod tls;
