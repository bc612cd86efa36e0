//! A lake in a bucket.

use std::process::Command;

use serde_json::Value;

use crate::harness::{REPOSITORY, copy_folder};
use crate::server::{Cloud, python};

/// A sandbox with the repository's sample data.
pub fn with_sample_data() -> Cloud {
    let cloud = Cloud::new();
    copy_folder(&std::path::Path::new(REPOSITORY).join("data"), &cloud.local.path("data"));
    cloud
}

#[test]
fn a_lake_in_a_bucket_equals_one_on_disk_and_is_read_by_all_commands() {
    let cloud = with_sample_data();
    assert_eq!(cloud.run()["release"], 1);
    cloud.assert_same_as_on_disk();
    let before = cloud.keys("lake/");
    assert!(before.iter().all(|key| !key.contains("_probe") && !key.ends_with("_lease")), "{before:?}");
    assert_eq!(cloud.run()["release"], Value::Null, "nothing new");
    assert_eq!(cloud.keys("lake/"), before, "a run with nothing new");

    cloud.local.deliver(
        "exam/later.json",
        r#"{"content": {"id": 1, "body_part": "HAND"}, "publication_timestamp": 1800000000}"#,
    );
    assert!(cloud.expect(0, &["run", "--dry-run"]).stdout.contains("look at 1 files"));
    assert_eq!(cloud.run()["release"], 2);
    cloud.assert_same_as_on_disk();

    let tables = cloud.local.tables(&["bronze", "silver", "gold", "ops"]);
    let catalog = cloud.expect(0, &["catalog"]).stdout;
    assert!(tables.iter().all(|table| catalog.contains(table.as_str())), "{catalog}");
    assert!(cloud.expect(0, &["status"]).stdout.contains("silver.exams"));
    assert!(cloud.expect(0, &["describe", "silver.exams"]).stdout.contains("body_part"));
    assert!(cloud.expect(0, &["history", "silver.exams"]).stdout.contains("WRITE"));
    let body_part = |as_of: &str| {
        let sql = "SELECT body_part FROM silver.exams WHERE exam_id = '1'";
        cloud.expect(0, &["query", sql, "--format", "json", "--as-of", as_of]).json()[0]["body_part"].clone()
    };
    assert_ne!(body_part("1"), "HAND");
    assert_eq!(body_part("2"), "HAND");
    assert!(cloud.expect(2, &["query", "SELECT 1 FROM silver.exam"]).stderr.contains("did you mean"));
    read_with_python(&cloud);
}

/// Python reads what the program wrote, by nothing but the table's URI.
fn read_with_python(cloud: &Cloud) {
    // The interpreter is left at once: threads of the libraries may still run, and the end of some aborts the process.
    let script = "import os, sys, deltalake\n\
                  for name in sys.argv[2:]:\n    \
                  table = deltalake.DeltaTable(sys.argv[1] + '/' + name.replace('.', '/'))\n    \
                  print(name, table.to_pyarrow_table().num_rows, flush=True)\n\
                  os._exit(0)";
    let mut command = Command::new(python());
    let tables = cloud.local.tables(&["bronze", "silver", "gold"]);
    cloud.with_server(command.args(["-c", script, &cloud.uri("lake")]).args(&tables));
    let ended = command.output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let expected: Vec<String> = tables.iter().map(|table| format!("{table} {}", cloud.local.count(table))).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}
