//! The example of the README is a pipeline that works: its files are taken from there as they stand.

use std::fs;
use std::path::Path;

use crate::harness::{REPOSITORY, Sandbox};

/// The files of a section: a path alone on a line, then its text between fences.
fn files(readme: &str, section: &str) -> Vec<(String, String)> {
    let start = readme.find(&format!("\n## {section}\n")).expect("the section") + 1;
    let end = readme[start..].find("\n## ").map_or(readme.len(), |end| start + end);
    let (mut files, mut lines) = (Vec::new(), readme[start..end].lines());
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("`pipelines/").and_then(|rest| rest.strip_suffix('`')) else { continue };
        assert!(lines.next().unwrap().is_empty() && lines.next().unwrap().starts_with("```"), "{path}");
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        files.push((path.to_owned(), text.join("\n") + "\n"));
    }
    files
}

#[test]
fn the_pipeline_that_the_readme_writes_checks_passes_and_runs() {
    let sandbox = Sandbox::with_own_project();
    let readme = fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap();
    let files = files(&readme, "Writing a pipeline");
    assert_eq!(files.len(), 10);
    for (path, text) in &files {
        let path = sandbox.project_file("..").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    sandbox.expect(0, &["check"]);
    let told = sandbox.expect(0, &["test", "visits/visit_moves"]);
    assert!(told.stdout.contains("visits/visit_moves"), "{}", told.stdout);
    // The same files as the case, as a site sends them.
    for (path, text) in files.iter().filter(|(path, _)| path.contains("/given/")) {
        sandbox.deliver(&format!("visits/{}", path.rsplit('/').next().unwrap()), text);
    }
    sandbox.expect(0, &["run", "--pipeline", "visits"]);
    assert_eq!((sandbox.count("silver.visits"), sandbox.count("gold.visits_monthly")), (3, 2));
}
