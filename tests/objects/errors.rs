//! What is told when a store cannot be used: place, fact, hint, and no secret.

use crate::proxy::{Fate, Proxy};
use crate::server::{Cloud, free_port};

#[test]
fn a_bucket_that_is_not_there() {
    let cloud = Cloud::new();
    for args in [["run", "--lake", "s3://nowhere/lake"], ["run", "--data", "s3://nowhere/in"]] {
        let told = cloud.expect(1, &args).stderr;
        assert!(told.contains("nowhere") && told.contains("NoSuchBucket") && told.contains("hint: "), "{told}");
    }
}

#[test]
fn a_prefix_that_is_empty() {
    let cloud = Cloud::new();
    let told = cloud.expect(1, &["run", "--data", &cloud.uri("empty")]).stderr;
    assert!(told.contains("/empty/exam: there is no object") && told.contains("hint: "), "{told}");
    let told = cloud.expect(1, &["status", "--lake", &cloud.uri("other")]).stderr;
    assert!(told.contains(&format!("there is no lake at {}", cloud.uri("other"))), "{told}");
}

#[test]
fn credentials_that_are_refused() {
    let mut cloud = Cloud::new();
    let proxy = Proxy::start(cloud.server.port, |_| Fate::Answer(403));
    cloud.port = proxy.port;
    for args in [["run"], ["status"]] {
        let told = cloud.expect(1, &args).stderr;
        assert!(told.contains("403") && told.contains("check the credentials"), "{told}");
    }
}

#[test]
fn a_server_that_is_not_there() {
    let mut cloud = Cloud::new();
    cloud.port = free_port();
    let told = cloud.expect(1, &["run"]).stderr;
    assert!(told.contains("after 10 retries") && told.contains("check the network"), "{told}");
}

#[test]
fn uris_that_cannot_be() {
    let cloud = Cloud::new();
    for lake in ["ftp://host/lake", "http://127.0.0.1/lake", "s3://bucket/lake?versionId=1", "s3://"] {
        let told = cloud.expect(2, &["run", "--lake", lake]).stderr;
        assert!(!told.contains("Usage") && told.contains(lake.split('?').next().unwrap()), "{told}");
    }
}
