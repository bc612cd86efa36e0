//! Cases that are wrong, and cases that fail: a runner that lets them pass would be worse than none.

use std::fs;
use std::path::Path;

use super::*;
use crate::contract;

/// A project with one source, one silver table and a case made of the given files.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let own = [
        (
            "pipeline.toml",
            "name = \"p\"\ndescription = \"d\"\n[sources.thing]\ndescription = \"d\"\nkind = \"files\"\n\
             path = \"/no/such/place\"\nformat = \"json\"\n",
        ),
        (
            "bronze/things.toml",
            "description = \"d\"\nsource = \"thing\"\npayload = \"STRUCT<id STRING, size BIGINT>\"\n",
        ),
        (
            "silver/things.toml",
            "description = \"d\"\nstrategy = \"by_record\"\nkey = [\"id\"]\n[columns.id]\ntype = \"STRING\"\n\
             required = true\ncomment = \"c\"\n[columns.size]\ntype = \"BIGINT\"\ncomment = \"c\"\n\
             [expectations.small]\ncondition = \"size < 100\"\nseverity = \"fail\"\n",
        ),
        ("silver/things.sql", "SELECT id, size FROM bronze.things\n"),
    ];
    for (path, text) in own.iter().chain(files) {
        let path = root.path().join("pipelines/p").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn problems(files: &[(&str, &str)]) -> String {
    let root = project(files);
    let project = contract::load(root.path()).unwrap();
    load(&project, root.path()).unwrap_err().to_string()
}

async fn run_all(root: &Path) -> Vec<CaseReport> {
    let project = contract::load(root).unwrap();
    let cases = load(&project, root).unwrap();
    run(&project, cases, Limits::default(), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_fails_the_case() {
    let root = project(&[
        ("tests/c/given/thing.json", r#"[{"id": "a", "size": 1}, {"id": "b", "size": 2}]"#),
        ("tests/c/expect/silver.things.csv", "size,id\n2,b\n3,a\n"),
    ]);
    let [report] = run_all(root.path()).await.try_into().unwrap();
    assert!(!report.passed);
    let text = report.to_string();
    let file = "pipelines/p/tests/c/expect/silver.things.csv";
    assert!(text.starts_with("p/c: FAILED"), "{text}");
    assert!(text.ends_with(&format!("\n  {file}:3: missing: 3,a\n  {file}: unexpected: 1,a")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_follow_each_other_and_keep_what_was_given() {
    let root = project(&[
        ("tests/c/given/10/thing/x.json", r#"{"id": "d", "size": 4}"#),
        ("tests/c/given/9/thing/x.json", r#"{"id": "c", "size": 3}"#),
        ("tests/c/given/9/thing/deep/y.json", r#"{"id": "b", "size": 2}"#),
        ("tests/c/given/1/thing.json", r#"{"id": "a", "size": 1}"#),
        ("tests/c/expect/silver.things.csv", "id,size\na,1\nb,2\nc,3\nd,4\n"),
        ("tests/c/expect/bronze.things.csv", "_batch\n1\n2\n2\n3\n"),
        ("tests/c/expect/ops.files.csv", "batch,event\n1,new\n2,new\n2,new\n3,changed\n"),
    ]);
    let [report] = run_all(root.path()).await.try_into().unwrap();
    assert!(report.passed, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_fails_the_case() {
    let root = project(&[
        ("tests/c/given/1/thing.json", r#"{"id": "a", "size": 1}"#),
        ("tests/c/given/2/thing.json", r#"{"id": "b", "size": 1000}"#),
        ("tests/c/expect/silver.things.csv", "id\na\n"),
    ]);
    let [report] = run_all(root.path()).await.try_into().unwrap();
    let text = report.to_string();
    assert!(!report.passed && text.contains("run 2: silver.things: expectation 'small'"), "{text}");
}

#[test]
fn a_case_that_expects_nothing_is_wrong() {
    let told = problems(&[("tests/c/given/thing.json", "[]"), ("tests/c/expect/README.md", "")]);
    assert!(told.starts_with("pipelines/p/tests/c:1:1: the case has no expect/*.csv"), "{told}");
}

#[test]
fn every_problem_of_every_case_is_told() {
    let told = problems(&[
        ("tests/a/given/thing.json", "[]"),
        ("tests/a/expect/silver.thing.csv", "id\n"),
        ("tests/a/expect/silver.things.csv", "id,sizes\n"),
        ("tests/a/expected/silver.things.csv", "id\n"),
        ("tests/b/given/things.json", "[]"),
        ("tests/b/expect/bronze.things.csv", "_batch\none\n"),
        ("tests/c/expect/bronze.things.csv", "_batch\n1\n"),
        ("tests/d/given/1/thing.json", "[]"),
        ("tests/d/given/thing.json", "[]"),
        ("tests/d/expect/bronze.things.csv", "_batch\n1\n"),
        ("tests/e.csv", ""),
    ]);
    let facts: Vec<&str> = told.lines().filter(|line| !line.starts_with("  ")).collect();
    let place = |line: &str| line.strip_prefix("pipelines/p/tests/").unwrap().to_owned();
    let facts: Vec<String> = facts.into_iter().map(place).collect();
    assert_eq!(facts[0], "a/expect/silver.thing.csv:1:1: there is no table 'silver.thing'");
    assert_eq!(facts[1], "a/expect/silver.things.csv:1:1: silver.things has no column 'sizes'");
    assert_eq!(facts[2], "a/expected:1:1: no part of a case");
    assert!(facts[3].starts_with("b/expect/bronze.things.csv:2:1: ") && facts[3].contains("_batch"), "{}", facts[3]);
    assert_eq!(facts[4], "b/given/things.json:1:1: 'things' is no source of the pipeline");
    assert_eq!(facts[5], "c:1:1: the case has no given/");
    assert_eq!(facts[6], "d/given/thing.json:1:1: in no run");
    assert_eq!(facts[7], "e.csv:1:1: unknown file");
    assert!(told.contains("did you mean 'silver.things'?") && told.contains("did you mean 'size'?"), "{told}");
    assert!(told.contains("did you mean 'thing'?"), "{told}");
}

#[test]
fn cases_are_named_with_or_without_their_pipeline() {
    let root = project(&[
        ("tests/one/given/thing.json", "[]"),
        ("tests/one/expect/silver.things.csv", "id\n"),
        ("tests/two/given/thing.json", "[]"),
        ("tests/two/expect/silver.things.csv", "id\n"),
    ]);
    let project = contract::load(root.path()).unwrap();
    let names = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let cases = select(load(&project, root.path()).unwrap(), &wanted);
        cases.map(|cases| cases.into_iter().map(|case| case.name).collect::<Vec<_>>())
    };
    assert_eq!(names(&[]).unwrap(), ["one", "two"]);
    assert_eq!(names(&["p/two"]).unwrap(), ["two"]);
    assert_eq!(names(&["two", "one"]).unwrap(), ["one", "two"]);
    let error = names(&["towo"]).unwrap_err();
    assert_eq!((error.kind().exit_code(), error.to_string().contains("'two'")), (2, true), "{error}");
}
