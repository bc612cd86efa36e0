//! One writer at a time, on a lake in a bucket.

use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::harness::Outcome;
use crate::lake::with_sample_data;
use crate::proxy::{Fate, Proxy};
use crate::server::Cloud;

/// A dead run's lease expires after so many seconds in these tests.
const EXPIRY: &str = "4";

#[test]
fn of_eight_runs_at_once_one_works() {
    let cloud = with_sample_data();
    let children: Vec<Child> = (0..8).map(|_| cloud.command(&["run"]).spawn().unwrap()).collect();
    let ended: Vec<Outcome> =
        children.into_iter().map(|child| Outcome::of(child.wait_with_output().unwrap())).collect();
    // One that begins when another is done finds nothing new.
    let done = ended.iter().filter(|outcome| outcome.code == Some(0)).count();
    let held = ended.iter().filter(|outcome| outcome.code == Some(4)).count();
    assert!(done >= 1 && done + held == 8, "{ended:#?}");
    assert!(held >= 1, "no two of them met: {ended:#?}");
    let told = ended.iter().filter(|outcome| outcome.code == Some(4));
    for outcome in told {
        assert!(outcome.stderr.contains("another run holds the lease on s3://"), "{}", outcome.stderr);
    }
    cloud.assert_same_as_on_disk();
    assert_eq!(cloud.rows("SELECT MAX(release) AS newest FROM ops.releases")[0]["newest"], 1);
}

/// Starts a run that is told of when it writes its first data file, and waits for that.
fn start_and_wait(cloud: &mut Cloud) -> (Child, Proxy, Receiver<()>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(Some(sender));
    let proxy = Proxy::start(cloud.server.port, move |request| {
        if request.is_put_of(".parquet")
            && let Some(sender) = sender.lock().unwrap().take()
        {
            sender.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(500));
        }
        Fate::Forward
    });
    cloud.port = proxy.port;
    let child = cloud.command(&["run", "--lease-expiry", EXPIRY]).spawn().unwrap();
    receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    cloud.port = cloud.server.port;
    (child, proxy, receiver)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Runs until the lease is free; the time that it took.
fn run_when_free(cloud: &Cloud) -> Duration {
    let begun = Instant::now();
    loop {
        let outcome = Outcome::of(cloud.command(&["run", "--lease-expiry", EXPIRY]).output().unwrap());
        match outcome.code {
            Some(0) => return begun.elapsed(),
            Some(4) => assert!(outcome.stderr.contains("last heard of"), "{}", outcome.stderr),
            _ => panic!("{outcome:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the lease is never free");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn the_lease_of_a_dead_run_is_taken_over() {
    let mut cloud = with_sample_data();
    let (mut child, _proxy, _) = start_and_wait(&mut cloud);
    cloud.expect(4, &["run", "--lease-expiry", EXPIRY]);
    signal(&child, "-KILL");
    child.wait().unwrap();
    cloud.expect(4, &["run", "--lease-expiry", EXPIRY]);
    run_when_free(&cloud);
    cloud.assert_same_as_on_disk();
}

#[test]
fn a_run_that_lost_its_lease_stops_before_it_commits() {
    let mut cloud = with_sample_data();
    let (child, _proxy, _) = start_and_wait(&mut cloud);
    signal(&child, "-STOP");
    run_when_free(&cloud);
    let before = log_entries(&cloud);
    signal(&child, "-CONT");
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(outcome.stderr.contains("was lost"), "{}", outcome.stderr);
    assert_eq!(log_entries(&cloud), before, "it committed nothing");
    cloud.assert_same_as_on_disk();
    cloud.run();
}

fn log_entries(cloud: &Cloud) -> Vec<String> {
    cloud.keys("lake/").into_iter().filter(|key| key.contains("_delta_log")).collect()
}

#[test]
fn a_run_that_takes_longer_than_the_expiry_keeps_its_lease() {
    let mut cloud = with_sample_data();
    let (sender, receiver) = channel();
    let (sender, begun) = (Mutex::new(sender), Instant::now());
    let proxy = Proxy::start(cloud.server.port, move |request| {
        if request.is_put_of("bronze/exam_events/part-") && begun.elapsed() < Duration::from_secs(12) {
            sender.lock().unwrap().send(()).unwrap();
            std::thread::sleep(Duration::from_secs(10));
        }
        Fate::Forward
    });
    cloud.port = proxy.port;
    let child = cloud.command(&["run", "--lease-expiry", EXPIRY]).spawn().unwrap();
    receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_secs(7));
    cloud.port = cloud.server.port;
    cloud.expect(4, &["run", "--lease-expiry", EXPIRY]);
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    cloud.assert_same_as_on_disk();
}
