//! What goes wrong while tables are read, and what changes meanwhile.

use std::process::Child;

use serde_json::json;

use super::clinic::{Clinic, Outcome};
use super::cluster::{Cluster, shared};

/// Large enough that reading it takes seconds; the first by name.
const LARGE: &str = "CREATE TABLE a_large (id int PRIMARY KEY, body text);
    INSERT INTO a_large SELECT i, repeat('0123456789', 100) FROM generate_series(1, 100000) i;
    CREATE TABLE b (id int PRIMARY KEY, name text); INSERT INTO b VALUES (1, 'old')";

fn start(clinic: &Clinic<'_>) -> Child {
    let child = clinic.command(&["run"]).spawn().unwrap();
    clinic.cluster.wait_for_copy(&clinic.database);
    child
}

fn end(child: Child) -> Outcome {
    Outcome::of(child.wait_with_output().unwrap())
}

fn assert_whole(clinic: &Clinic<'_>) {
    clinic.run();
    let counts = clinic.query("SELECT COUNT(*) AS n, COUNT(DISTINCT record.id) AS ids, MAX(_batch) AS batch FROM bronze.clinic_public_a_large");
    assert_eq!(counts, json!([{"n": 100_000, "ids": 100_000, "batch": 1}]));
    assert_eq!(clinic.table("bronze.clinic_public_b").row_count().unwrap(), 1);
    let files = clinic.files();
    clinic.run();
    assert_eq!(clinic.files(), files);
}

#[test]
fn all_tables_are_of_one_moment() {
    let clinic = Clinic::new(shared(), LARGE);
    let run = start(&clinic);
    clinic.sql("UPDATE b SET name = 'new'; INSERT INTO b VALUES (2, 'late'); DELETE FROM a_large WHERE id > 99990");
    let outcome = end(run);
    assert_eq!(outcome.code, 0, "{}", outcome.text);
    assert_eq!(clinic.changes("bronze.clinic_public_b"), [r#"1 insert {"id":1,"name":"old"}"#]);
    assert_eq!(clinic.table("bronze.clinic_public_a_large").row_count().unwrap(), 100_000);
    clinic.run();
    let changes = clinic.changes("bronze.clinic_public_b");
    assert_eq!(changes[1..], [r#"2 insert {"id":2,"name":"late"}"#, r#"2 update {"id":1,"name":"new"}"#]);
    assert_eq!(clinic.table("bronze.clinic_public_a_large").row_count().unwrap(), 100_010);
}

#[test]
fn a_connection_that_drops_leaves_nothing_half_taken() {
    let clinic = Clinic::new(shared(), LARGE);
    let run = start(&clinic);
    clinic.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'medalha' AND datname = current_database()");
    let outcome = end(run);
    assert_eq!(outcome.code, 1, "{}", outcome.text);
    assert!(outcome.text.contains("hint: nothing of the table was taken"), "{}", outcome.text);
    assert_eq!(clinic.table("bronze.clinic_public_a_large").row_count().unwrap(), 0);
    assert_whole(&clinic);
}

#[test]
fn a_server_that_dies_while_it_is_read_is_read_by_the_next_run() {
    let cluster = Cluster::start();
    let clinic = Clinic::new(&cluster, LARGE);
    let run = start(&clinic);
    cluster.kill();
    let outcome = end(run);
    assert_eq!(outcome.code, 1, "{}", outcome.text);
    // While it is down, tries are limited and the error says where it was looked for.
    let down = clinic.fails();
    assert!(down.contains("refused") && down.contains(&format!("127.0.0.1:{}", cluster.port)), "{down}");
    cluster.up();
    assert_whole(&clinic);
}

#[test]
fn a_server_that_starts_late_is_waited_for() {
    let cluster = Cluster::start();
    let clinic = Clinic::new(&cluster, "CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1)");
    cluster.kill();
    let run = clinic.command(&["run"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    cluster.up();
    let outcome = end(run);
    assert_eq!(outcome.code, 0, "{}", outcome.text);
    assert!(outcome.text.contains("trying again"), "{}", outcome.text);
}

#[test]
fn a_table_that_may_not_be_read_does_not_stop_the_others() {
    let clinic = Clinic::new(
        shared(),
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY);
         INSERT INTO c VALUES (1); REVOKE ALL ON a FROM reader;
         ALTER TABLE b ENABLE ROW LEVEL SECURITY; INSERT INTO b VALUES (1)",
    );
    let text = clinic.fails();
    assert!(text.contains("public.a: no right to read the table"), "{text}");
    assert!(text.contains("row-level security"), "hidden rows must not be missing silently: {text}");
    assert_eq!(clinic.table("bronze.clinic_public_c").row_count().unwrap(), 1);
}
