//! The cases of `pipelines/*/tests/`, as `pipeline test` runs them. Dropping in a folder makes a test.

use std::path::Path;

use medalha::engine::Limits;
use medalha::{contract, pipeline_test};

#[tokio::test(flavor = "multi_thread")]
async fn all_cases_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = contract::load(root).unwrap_or_else(|problems| panic!("{problems}"));
    let cases = pipeline_test::load(&project, root).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!cases.is_empty(), "there is no case below pipelines/*/tests");
    let reports = pipeline_test::run(&project, cases, Limits::default(), |_| {}).await;
    let failed: Vec<String> =
        reports.iter().filter(|report| !report.passed).map(|report| format!("\n{report}")).collect();
    assert!(failed.is_empty(), "{}", failed.concat());
}
