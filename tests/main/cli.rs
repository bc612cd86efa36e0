//! `run` as a command: what it takes on, what it prints, and how it ends.

use std::fs;
use std::io::Read;

use medalha::lake::{Durability, Lake};
use serde_json::{Value, json};

use crate::harness::{Outcome, Sandbox, project};

fn exam(id: u32, body_part: &str) -> String {
    let label =
        r#"{"classification": "mass", "labelled_date": "2021-12-05", "labelling_method": "ml_model", "value": true}"#;
    format!(
        r#"{{"content": {{"id": {id}, "body_part": "{body_part}", "labels": [{label}]}}, "publication_timestamp": 1}}"#
    )
}

const REPORT: &str = r#"{"content": {"exam_id": 1, "report_date": "2021-12-05", "text": "clear"}}"#;

/// A sandbox in which one exam and one report wait.
fn with_data(sandbox: Sandbox) -> Sandbox {
    sandbox.deliver("exam/a.json", exam(1, "CHEST"));
    sandbox.deliver("medical_report/r.json", REPORT);
    sandbox
}

fn names(report: &Value) -> Vec<&str> {
    report["tables"].as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect()
}

#[test]
fn the_report_counts_rows_a_table() {
    let sandbox = with_data(Sandbox::new());
    sandbox.deliver("exam/b.json", "nonsense");
    let report = sandbox.run();
    assert_eq!(report["release"], 1);
    let exams = report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "silver.exams").unwrap();
    let columns = ["stage", "why", "input", "passed", "quarantined", "written", "replaced", "error"];
    let expected = json!({"stage": "silver", "why": "first", "input": 2, "passed": 1, "quarantined": 1, "written": 1, "replaced": 0, "error": null});
    assert_eq!(project(exams, &columns), expected);
    let runs = sandbox.rows("ops.runs");
    let row = runs.iter().find(|row| row["table"] == "silver.exams").unwrap();
    let columns =
        ["run", "status", "cause", "input", "passed", "quarantined", "written", "replaced", "version", "error"];
    let expected = json!({"run": report["run"], "status": "done", "cause": "first run", "input": 2, "passed": 1, "quarantined": 1,
        "written": 1, "replaced": 0, "version": sandbox.table("silver.exams", None).version(), "error": null});
    assert_eq!(project(row, &columns), expected);
    let bronze = &report["tables"][0];
    assert_eq!(bronze["files"][0][1], "text outside any object or array (record 0, byte 0)");
}

#[test]
fn a_second_run_commits_nothing_to_any_table() {
    let sandbox = with_data(Sandbox::new());
    sandbox.deliver("exam/b.json", "");
    sandbox.deliver("exam/c.json", "nonsense");
    sandbox.run();
    let files = sandbox.listing();
    for args in
        [&["run"][..], &["run", "--stage", "silver"], &["run", "--select", "silver.exams+"], &["run", "--dry-run"]]
    {
        let told = sandbox.expect(0, args);
        sandbox.assert_files_are(&files, &format!("{args:?}: {}", told.stdout));
    }
    let text = sandbox.expect(0, &["run"]).stdout;
    assert!(text.contains("nothing new, nothing committed"), "{text}");
}

#[test]
fn a_release_names_the_versions_that_are_there() {
    let sandbox = with_data(Sandbox::new());
    sandbox.run();
    sandbox.deliver("exam/b.json", exam(2, "HAND"));
    assert_eq!(sandbox.run()["release"], 2);
    for row in sandbox.rows("ops.releases").iter().filter(|row| row["release"] == 2) {
        let table = row["table"].as_str().unwrap();
        assert_eq!(row["version"], sandbox.table(table, None).version(), "{table}");
    }
    let first: Vec<Value> = sandbox.rows("ops.releases").into_iter().filter(|row| row["release"] == 1).collect();
    assert_eq!(first.len(), sandbox.tables(&["bronze", "silver", "gold"]).len());
    let exams = first.iter().find(|row| row["table"] == "silver.exams").unwrap();
    assert_eq!(
        sandbox.rows_at("silver.exams", exams["version"].as_u64()).len(),
        1,
        "the release before is still there"
    );
}

#[test]
fn a_stage_is_run_alone() {
    let sandbox = with_data(Sandbox::new());
    let bronze = sandbox.run_with(&["--stage", "bronze"]);
    assert_eq!(
        names(&bronze),
        ["bronze.exam_events", "bronze.image_files", "bronze.report_events", "bronze.report_files"]
    );
    assert!(sandbox.tables(&["silver", "gold"]).is_empty());
    let silver = sandbox.run_with(&["--stage", "silver"]);
    let images = ["silver.image_files", "silver.image_keys", "silver.images"];
    let reports = ["silver.report_documents", "silver.reports"];
    assert_eq!(names(&silver), [&["silver.exams", "silver.exam_labels"][..], &images, &reports].concat());
    assert!(sandbox.tables(&["gold"]).is_empty());
    sandbox.run_with(&["--stage", "gold"]);
    assert_eq!(sandbox.count("gold.label_completeness"), 1);
}

#[test]
fn a_selection_takes_one_table_or_its_line() {
    let sandbox = with_data(Sandbox::new());
    let take = |selection: &[&str]| {
        let args: Vec<&str> = selection.iter().flat_map(|table| ["--select", table]).collect();
        let report = sandbox.run_with(&args);
        names(&report).join(" ")
    };
    assert_eq!(take(&["+silver.exam_labels"]), "bronze.exam_events silver.exams silver.exam_labels");
    assert_eq!(take(&["silver.reports"]), "silver.reports");
    let below = "silver.exams silver.exam_labels silver.images gold.exam_label_consensus gold.exam_catalog \
                 gold.label_activity_monthly gold.label_completeness";
    assert_eq!(take(&["silver.exams+"]), below);
    assert_eq!(take(&["bronze.report_events", "silver.reports"]), "bronze.report_events silver.reports");
    assert_eq!(sandbox.count("silver.reports"), 1);
    let told = sandbox.expect(2, &["run", "--select", "silver.exam"]);
    assert!(told.stderr.contains("no table 'silver.exam'") && told.stderr.contains("did you mean 'silver.exams'?"));
}

/// A second pipeline whose one check stops its run at a site without a name.
fn add_sites(sandbox: &Sandbox) {
    let folder = sandbox.project_file("../sites");
    for (file, content) in [
        (
            "pipeline.toml",
            "name = \"sites\"\ndescription = \"Sites.\"\n[sources.site]\ndescription = \"Sites.\"\nkind = \"files\"\n\
             path = \"site\"\nformat = \"csv\"\n",
        ),
        (
            "bronze/site_rows.toml",
            "description = \"Rows.\"\nsource = \"site\"\npayload = \"STRUCT<id STRING, name STRING>\"\n",
        ),
        (
            "silver/sites.toml",
            "description = \"Sites.\"\nstrategy = \"by_record\"\nkey = [\"id\"]\n\
             [columns.id]\ntype = \"STRING\"\nrequired = true\ncomment = \"Id.\"\n\
             [columns.name]\ntype = \"STRING\"\ncomment = \"Name.\"\n\
             [expectations.named]\ncondition = \"name IS NOT NULL\"\nseverity = \"fail\"\n",
        ),
        ("silver/sites.sql", "SELECT s.id, s.name FROM bronze.site_rows AS s"),
    ] {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The versions that a release names.
fn released(sandbox: &Sandbox, release: &Value) -> Vec<(String, u64)> {
    let rows = sandbox.rows("ops.releases").into_iter().filter(|row| row["release"] == *release);
    rows.map(|row| (row["table"].as_str().unwrap().to_owned(), row["version"].as_u64().unwrap())).collect()
}

#[test]
fn a_pipeline_is_run_without_the_others() {
    let sandbox = with_data(Sandbox::with_own_project());
    add_sites(&sandbox);
    // The folder of the sites is not there, and the lake never had one: their pipeline has no place here.
    let told = sandbox.expect(0, &["run", "--dry-run"]);
    assert!(told.stderr.contains("pipeline 'sites' is left out") && !told.stdout.contains("silver.sites"), "{told:?}");
    let report = sandbox.run();
    assert_eq!((&report["release"], sandbox.count("gold.label_completeness")), (&Value::from(1), 1));
    sandbox.expect(1, &["run", "--pipeline", "sites"]);
    assert!(names(&report).contains(&"silver.exams") && !names(&report).contains(&"silver.sites"), "{report}");
    assert!(released(&sandbox, &report["release"]).iter().all(|(table, _)| !table.contains("site")));

    sandbox.deliver("site/a.csv", "id,name\n1,North\n");
    let report = sandbox.run_with(&["-p", "sites"]);
    assert_eq!(names(&report), ["bronze.site_rows", "silver.sites"]);
    assert_eq!(sandbox.run()["release"], Value::Null, "both pipelines are up to date and published");
    let whole = released(&sandbox, &report["release"]);
    assert!(["silver.exams", "silver.sites"].iter().all(|name| whole.iter().any(|(table, _)| table == name)));
    assert_eq!(names(&sandbox.run_with(&["-p", "sites", "-p", "imaging", "--stage", "bronze"])).len(), 5);

    // What was taken in once is missed.
    std::fs::remove_dir_all(sandbox.path("data/site")).unwrap();
    let told = sandbox.expect(1, &["run"]);
    assert!(told.stderr.contains("data/site"), "{}", told.stderr);

    let told = sandbox.expect(2, &["run", "--pipeline", "site"]);
    assert!(told.stderr.contains("no pipeline 'site'") && told.stderr.contains("did you mean 'sites'?"));
}

#[test]
fn a_release_of_one_pipeline_holds_no_half_of_another() {
    let sandbox = with_data(Sandbox::with_own_project());
    add_sites(&sandbox);
    sandbox.deliver("site/a.csv", "id,name\n1,North\n");
    let first = released(&sandbox, &sandbox.run()["release"]);
    sandbox.deliver("site/b.csv", "id,name\n2,\n");
    sandbox.deliver("exam/b.json", exam(2, "HAND"));
    sandbox.expect(3, &["run"]);
    let report = sandbox.run_with(&["--pipeline", "imaging"]);
    let second = released(&sandbox, &report["release"]);
    let version = |release: &[(String, u64)], name: &str| release.iter().find(|(table, _)| table == name).unwrap().1;
    assert_eq!(version(&second, "bronze.site_rows"), version(&first, "bronze.site_rows"));
    assert!(version(&second, "bronze.site_rows") < sandbox.table("bronze.site_rows", None).version());
    assert_eq!(version(&second, "silver.exams"), sandbox.table("silver.exams", None).version());
    assert!(version(&second, "silver.exams") > version(&first, "silver.exams"));
}

#[test]
fn a_dry_run_tells_what_a_run_would_do() {
    let sandbox = with_data(Sandbox::new());
    let plan = |sandbox: &Sandbox| -> Vec<(String, bool)> {
        let rows = sandbox.expect(0, &["run", "--dry-run", "--format", "json"]).json();
        let row = |row: &Value| (row["table"].as_str().unwrap().to_owned(), row["plan"] != "nothing new");
        rows.as_array().unwrap().iter().map(row).collect()
    };
    // Originals are optional, and there are none.
    let is_empty = |table: &str| table.starts_with("bronze.") && table.ends_with("_files");
    assert!(plan(&sandbox).iter().all(|(table, something)| *something != is_empty(table)));
    assert!(!sandbox.path("lake").exists(), "a dry run makes nothing");
    sandbox.run();
    assert!(plan(&sandbox).iter().all(|(_, something)| !something), "{:?}", plan(&sandbox));
    // The same event in another file: bronze takes it, and nothing else has anything to do.
    sandbox.deliver("exam/b.json", format!("{}\n", exam(1, "CHEST")));
    let told = sandbox.expect(0, &["run", "--dry-run"]);
    assert!(told.stdout.contains("look at 1 files"), "{}", told.stdout);
    sandbox.run();
    assert!(plan(&sandbox).iter().all(|(_, something)| !something), "{:?}", plan(&sandbox));
}

#[test]
fn wrong_use_and_wrong_contracts_end_with_2() {
    let sandbox = with_data(Sandbox::with_own_project());
    for args in
        [&["run", "--stage", "copper"][..], &["run", "--colour"], &["sprint"], &[], &["run", "--memory", "lots"]]
    {
        sandbox.expect(2, args);
    }
    let told = sandbox.expect(2, &["run", "--lake", "ftp://host/lake"]);
    assert!(told.stderr.contains("hint:"), "{}", told.stderr);
    sandbox.edit_project_file("silver/exams.toml", "key = [\"exam_id\"]", "key = [\"exam_idd\"]");
    for command in ["check", "run"] {
        let told = sandbox.expect(2, &[command]);
        assert!(told.stderr.contains("pipelines/imaging/silver/exams.toml:3:"), "{}", told.stderr);
        assert!(told.stderr.contains("did you mean 'exam_id'?"), "{}", told.stderr);
        assert!(!sandbox.path("lake").exists(), "nothing is begun with a project that does not check");
    }
}

#[test]
fn a_failed_expectation_ends_with_3_and_shows_nothing() {
    let sandbox = with_data(Sandbox::with_own_project());
    sandbox.run();
    let condition = "[expectations.no_feet]\ncondition = \"body_part IS DISTINCT FROM 'FOOT'\"\nseverity = \"fail\"\n\n[expectations.body_part_known]";
    sandbox.edit_project_file("silver/exams.toml", "[expectations.body_part_known]", condition);
    sandbox.run();
    sandbox.deliver("exam/b.json", format!("[{},{},{}]", exam(2, "HAND"), exam(3, "foot"), "{}"));
    let before: Vec<_> = ["silver", "gold"]
        .iter()
        .flat_map(|stage| sandbox.tables(&[stage]))
        .map(|name| (name.clone(), sandbox.rows(&name)))
        .collect();
    let releases = sandbox.rows("ops.releases");
    let told = sandbox.expect(3, &["run", "--format", "json"]);
    assert!(
        told.stderr.contains("silver.exams: expectation 'no_feet' does not hold for 1 of 3 rows"),
        "{}",
        told.stderr
    );
    for (name, rows) in &before {
        assert_eq!(*rows, sandbox.rows(name), "{name}");
    }
    assert_eq!(releases, sandbox.rows("ops.releases"), "no release");
    let report = told.json();
    let failed = report["tables"].as_array().unwrap().iter().filter(|table| !table["error"].is_null());
    let failed: Vec<&str> = failed.map(|table| table["table"].as_str().unwrap()).collect();
    let expected = [
        "silver.exams",
        "silver.exam_labels",
        "silver.images",
        "gold.exam_label_consensus",
        "gold.exam_catalog",
        "gold.label_activity_monthly",
        "gold.label_completeness",
    ];
    assert_eq!(failed, expected);
    let rows = sandbox.rows("ops.runs");
    assert!(rows.iter().any(|row| row["table"] == "silver.exams" && row["status"] == "failed"));

    // With the expectation gone the lake is as if it had never been there.
    sandbox.edit_project_file("silver/exams.toml", "severity = \"fail\"", "severity = \"warn\"");
    sandbox.run();
    let fresh = with_data(Sandbox::new());
    fs::copy(sandbox.path("data/exam/b.json"), fresh.path("data/exam/b.json")).unwrap();
    fresh.run();
    sandbox.assert_same_rows(&fresh, "after the failure");
}

#[test]
fn the_first_run_of_a_table_that_fails_shows_no_row() {
    let sandbox = with_data(Sandbox::with_own_project());
    sandbox.edit_project_file(
        "gold/label_completeness.toml",
        "[columns.completeness]",
        "[expectations.all]\ncondition = \"completeness = 100\"\nseverity = \"fail\"\n\n[columns.completeness]",
    );
    sandbox.expect(3, &["run"]);
    assert_eq!(sandbox.count("gold.label_completeness"), 0);
    assert_eq!(sandbox.count("gold.exam_label_consensus"), 1, "what does not depend on it goes on");
    assert!(!sandbox.tables(&["ops"]).contains(&"ops.releases".to_owned()));
}

#[test]
fn a_held_lease_ends_with_4_and_names_its_owner() {
    let sandbox = with_data(Sandbox::new());
    let lake = Lake::at(&sandbox.path("lake").display().to_string(), Durability::None).unwrap();
    let leased = sandbox.block_on(lake.leased()).unwrap();
    let told = sandbox.expect(4, &["run"]);
    assert!(told.stderr.contains(&format!("process {} on ", std::process::id())), "{}", told.stderr);
    assert!(sandbox.block_on(lake.tables()).unwrap().is_empty());
    sandbox.expect(0, &["run", "--dry-run"]);
    drop(leased);
    sandbox.run();
}

#[test]
fn of_two_runs_at_once_one_works() {
    let sandbox = with_data(Sandbox::new());
    let children: Vec<_> = (0..4).map(|_| sandbox.command(&["run"]).spawn().unwrap()).collect();
    let outcomes: Vec<Outcome> =
        children.into_iter().map(|child| Outcome::of(child.wait_with_output().unwrap())).collect();
    assert!(outcomes.iter().any(|outcome| outcome.code == Some(0)), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome.code, Some(0 | 4))), "{outcomes:?}");
    assert_eq!((sandbox.count("bronze.exam_events"), sandbox.count("ops.files")), (1, 2));
}

#[test]
fn a_missing_source_folder_is_told_and_the_other_source_goes_on() {
    let sandbox = with_data(Sandbox::new());
    fs::remove_dir_all(sandbox.path("data/medical_report")).unwrap();
    let told = sandbox.expect(1, &["run"]);
    assert!(told.stderr.contains("source 'medical_report'") && told.stderr.contains("hint:"), "{}", told.stderr);
    assert_eq!(sandbox.count("silver.exams"), 1);
    fs::remove_dir_all(sandbox.path("data")).unwrap();
    sandbox.expect(1, &["run"]);
    fs::create_dir_all(sandbox.path("data/exam")).unwrap();
    fs::create_dir_all(sandbox.path("data/medical_report")).unwrap();
    sandbox.run();
    assert_eq!(sandbox.count("silver.exams"), 1, "files that are gone take nothing with them");
}

#[test]
fn each_stage_of_a_run_tells_how_it_ended_and_the_next_run_goes_on_from_there() {
    let sandbox = with_data(Sandbox::new());
    fs::remove_dir_all(sandbox.path("data/exam")).unwrap();
    sandbox.expect(1, &["run"]);
    let stages = |sandbox: &Sandbox| -> Vec<Value> {
        let rows = sandbox.expect(0, &["history", "--format", "json"]).json();
        let columns = ["stage", "outcome", "done", "failed", "left_out"];
        rows.as_array().unwrap().iter().map(|row| json!(columns.map(|column| row[column].clone()))).collect()
    };
    let broken = [
        json!(["bronze", "failed", 1, 1, 0]),
        json!(["silver", "left out", 4, 0, 3]),
        json!(["gold", "left out", 0, 0, 4]),
    ];
    assert_eq!(stages(&sandbox), broken);
    let error = &sandbox.expect(0, &["history", "--format", "json"]).json()[0]["error"];
    assert!(error.as_str().unwrap().contains("source '…'"), "{error}");
    let text = sandbox.expect(0, &["history"]).stdout;
    assert!(text.contains("left out") && text.contains("no such folder"), "{text}");
    sandbox.deliver("exam/a.json", exam(1, "CHEST"));
    sandbox.run();
    let put_right =
        [json!(["bronze", "done", 1, 0, 0]), json!(["silver", "done", 3, 0, 0]), json!(["gold", "done", 4, 0, 0])];
    assert_eq!(stages(&sandbox), [&put_right[..], &broken[..]].concat());
    sandbox.run();
    assert_eq!(stages(&sandbox).len(), 6, "a run with nothing to do leaves no row");
}

#[test]
fn stages_run_alone_publish_when_the_last_of_them_is_done() {
    let sandbox = with_data(Sandbox::new());
    let release = |stage: &str| sandbox.run_with(&["--stage", stage])["release"].clone();
    assert_eq!(["bronze", "silver", "gold"].map(release), [Value::Null, Value::Null, json!(1)]);
    // A report: silver has it, and nothing in gold reads it.
    sandbox.deliver("medical_report/s.json", REPORT.replace("clear", "unclear"));
    assert_eq!(["bronze", "silver", "gold"].map(release), [Value::Null, Value::Null, json!(2)]);
    let published = sandbox.rows("ops.releases");
    let reports = published.iter().find(|row| row["release"] == 2 && row["table"] == "silver.reports").unwrap();
    assert_eq!(reports["version"], sandbox.table("silver.reports", None).version());
    sandbox.assert_up_to_date();
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    let sandbox = with_data(Sandbox::new());
    for (id, args) in [&["run"][..], &["run", "--format", "json"], &["run", "-vv"]].iter().enumerate() {
        sandbox.deliver(&format!("exam/{id}.json"), exam(id as u32 + 10, "CHEST"));
        let mut child = sandbox.command(args).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
    assert_eq!(sandbox.count("gold.label_completeness"), 4);
    sandbox.assert_up_to_date();
}

#[test]
fn a_lake_and_a_data_folder_may_have_any_name() {
    let sandbox = with_data(Sandbox::new());
    let (lake, data) = (sandbox.path("my lake 100% #é"), sandbox.path("my data %2F ã"));
    fs::rename(sandbox.path("data"), &data).unwrap();
    for again in [false, true] {
        let (lake, data) = (lake.to_str().unwrap(), data.to_str().unwrap());
        let args = ["run", "--pipeline", "imaging", "--lake", lake, "--data", data, "--format", "json"];
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pipeline"));
        let output = command.args(args).current_dir(crate::harness::REPOSITORY).output().unwrap();
        let told = Outcome::of(output);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        assert_eq!(told.json()["release"].is_null(), again);
    }
    assert!(lake.join("silver/exams/_delta_log").is_dir());
    let told = sandbox.expect(2, &["run", "--lake", sandbox.path("a%20b").to_str().unwrap()]);
    assert!(told.stderr.contains("cannot have '%20' in it"), "{}", told.stderr);
}

#[test]
fn logs_and_errors_hold_no_texts_of_records() {
    let sandbox = with_data(Sandbox::new());
    sandbox.deliver("exam/b.json", r#"[{"content": {"id": "Maria da Silva", "labels": [{"labelled_by": "Dr. Souza", "labelled_date": "ontem"}]}, "publication_timestamp": "hoje"}, {"content": {"id": "Maria da Silva"#);
    let mut child = sandbox.command(&["run", "-vv", "--log-format", "json", "--format", "json"]).spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    // Neither stream is large enough to fill a pipe while the other is read.
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(child.wait().unwrap().success());
    for text in ["Maria", "Souza", "ontem", "hoje"] {
        assert!(!out.contains(text) && !err.contains(text), "{text}: {out} {err}");
    }
    let log = fs::read_dir(sandbox.path("lake/silver/exams/_delta_log")).unwrap();
    for entry in log {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("Souza") && !text.contains("ontem"), "{text}");
    }
}
