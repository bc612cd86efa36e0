//! Servers that fail now and then, and one that cannot hold a lake.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lake::with_sample_data;
use crate::proxy::{Fate, Proxy, Request};
use crate::server::Cloud;

fn behind(cloud: &mut Cloud, rule: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Proxy {
    let proxy = Proxy::start(cloud.server.port, rule);
    cloud.port = proxy.port;
    proxy
}

#[test]
fn a_store_without_conditional_puts_is_refused_and_left_clean() {
    for header in ["if-none-match", "if-match"] {
        let mut cloud = with_sample_data();
        let _proxy = behind(&mut cloud, move |request| match request.method.as_str() {
            "PUT" => Fate::Without(header),
            _ => Fate::Forward,
        });
        let told = cloud.expect(1, &["run"]).stderr;
        assert!(told.contains("does not honour conditional puts") && told.contains("hint: "), "{told}");
        assert_eq!(cloud.keys("lake/"), [""; 0], "without {header}");
    }
}

#[test]
fn failures_that_pass_are_outlasted() {
    let mut cloud = with_sample_data();
    let number = AtomicU32::new(0);
    let _proxy = behind(&mut cloud, move |_| match number.fetch_add(1, Ordering::Relaxed) % 9 {
        3 => Fate::Answer(503),
        7 => Fate::Reset,
        _ => Fate::Forward,
    });
    assert_eq!(cloud.run()["release"], 1);
    cloud.port = cloud.server.port;
    cloud.assert_same_as_on_disk();
}

/// A rule that does each put of a log entry or of the lease, and hides that it did, the first time.
fn hide_first_puts(fate: fn() -> Fate) -> impl Fn(&Request) -> Fate + Send + Sync {
    let seen = Mutex::new(HashSet::new());
    move |request| {
        let is_conditional = request.has("if-none-match") || request.has("if-match");
        let is_first = request.method == "PUT" && is_conditional && seen.lock().unwrap().insert(request.target.clone());
        if is_first && !request.target.contains("_probe") { fate() } else { Fate::Forward }
    }
}

#[test]
fn a_commit_that_landed_unanswered_counts_once() {
    for fate in [|| Fate::DoneThenAnswer(500), || Fate::DoneThenReset] {
        let mut cloud = with_sample_data();
        let _proxy = behind(&mut cloud, hide_first_puts(fate));
        assert_eq!(cloud.run()["release"], 1);
        cloud.port = cloud.server.port;
        cloud.assert_same_as_on_disk();
        let files = "SELECT COUNT(*) AS n, COUNT(DISTINCT uri) AS uris FROM ops.files";
        let counts = &cloud.rows(files)[0];
        assert_eq!(counts["n"], counts["uris"], "the ledger has each file once");
    }
}
