//! Many clients: a profile each, all of them in one call.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use medalha::lake::{Durability, Lake};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Outcome, REPOSITORY, copy_folder, project};

/// A project with clients, in a folder that is gone when dropped.
struct Clients {
    root: TempDir,
}

impl Clients {
    /// Clients with an exam each, a folder `<name>-data` each and a lake `<name>-lake` each.
    fn new(names: &[&str]) -> Self {
        let clients = Self { root: tempfile::tempdir().unwrap() };
        copy_folder(&Path::new(REPOSITORY).join("pipelines"), &clients.path("pipelines"));
        for (id, name) in names.iter().enumerate() {
            let event = format!(r#"{{"content": {{"id": {id}, "body_part": "CHEST"}}, "publication_timestamp": 1}}"#);
            clients.write(&format!("{name}-data/exam/a.json"), &event);
            fs::create_dir_all(clients.path(&format!("{name}-data/medical_report"))).unwrap();
            clients.profile(name, "");
        }
        clients
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn profile(&self, name: &str, more: &str) {
        let text = format!(
            "description = \"Client {name}.\"\nlake = \"{name}-lake\"\ndata = \"{name}-data\"\n\
             pipelines = [\"imaging\"]\ndurability = \"none\"\n{more}"
        );
        self.write(&format!("profiles/{name}.toml"), &text);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
        command.arg("--project").arg(self.root.path()).args(args).current_dir(self.root.path());
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    fn expect(&self, code: i32, args: &[&str]) -> Outcome {
        let outcome = Outcome::of(self.command(args).output().unwrap());
        assert!(!outcome.stderr.contains("panicked"), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.code, Some(code), "{args:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    /// The ids of the exams in a client's lake.
    fn exams(&self, name: &str) -> Vec<String> {
        let sql = "SELECT exam_id FROM silver.exams ORDER BY exam_id";
        let rows = self.expect(0, &["--profile", name, "query", sql, "--format", "json"]).json();
        rows.as_array().unwrap().iter().map(|row| row["exam_id"].as_str().unwrap().to_owned()).collect()
    }
}

fn client<'a>(all: &'a Value, name: &str) -> &'a Value {
    all.as_array().unwrap().iter().find(|client| client["profile"] == name).unwrap()
}

#[test]
fn a_profile_says_where_and_a_flag_wins() {
    let clients = Clients::new(&["a", "b"]);
    clients.expect(0, &["run", "--profile", "a"]);
    assert_eq!(clients.exams("a"), ["0"]);
    assert!(clients.path("a-lake/silver/exams").is_dir() && !clients.path("b-lake").exists());
    let other = clients.path("other-lake").display().to_string();
    clients.expect(0, &["run", "--profile", "a", "--lake", &other, "--data", clients.path("b-data").to_str().unwrap()]);
    let sql = "SELECT exam_id FROM silver.exams";
    let rows = clients.expect(0, &["--lake", &other, "query", sql, "--format", "json"]).json();
    assert_eq!(rows[0]["exam_id"], "1");
    assert!(!clients.path("b-lake").exists());
    let told = clients.expect(2, &["run", "--profile", "aa"]);
    assert!(told.stderr.contains("there is no profile 'aa'") && told.stderr.contains("known: a, b"));
}

#[test]
fn what_fails_for_one_client_does_not_stop_the_others() {
    let clients = Clients::new(&["a", "b", "c"]);
    fs::remove_dir_all(clients.path("b-data/medical_report")).unwrap();
    clients.write("profiles/broken.toml", "description = \"x\"\nlake = 1\n");
    let told = clients.expect(1, &["run", "--all-profiles", "--format", "json"]);
    assert!(told.stderr.contains("2 of 4 profiles failed: b, broken"), "{}", told.stderr);
    assert!(told.stderr.contains("error: b: source 'medical_report'"), "{}", told.stderr);
    assert!(told.stderr.contains("profiles/broken.toml:2:8: 'lake' is of type integer"), "{}", told.stderr);
    let all = told.json();
    let codes = ["a", "b", "broken", "c"].map(|name| client(&all, name)["exit_code"].as_u64().unwrap());
    assert_eq!(codes, [0, 1, 2, 0]);
    assert_eq!(client(&all, "a")["result"]["release"], 1);
    assert!(client(&all, "broken")["error"].is_string() && client(&all, "broken")["result"].is_null());
    assert_eq!(["a", "b", "c"].map(|name| clients.exams(name)), [["0"], ["1"], ["2"]]);

    // The states of all clients: b's exams are there, its reports are not, and it has no release.
    let all = clients.expect(2, &["status", "--all-profiles", "--format", "json"]).json();
    let b = &client(&all, "b")["status"];
    assert_eq!(project(&b["last_run"], &["failed"])["failed"], 1);
    assert!(b["release"].is_null() && b["unknown"].is_string(), "{b}");
    let a = &client(&all, "a")["status"];
    assert_eq!((&a["release"]["release"], &a["last_run"]["failed"]), (&Value::from(1), &Value::from(0)));
    assert!(a["tables"].as_array().unwrap().iter().all(|table| table["up_to_date"] != false), "{a}");
    let text = clients.expect(2, &["status", "--all-profiles"]).stdout;
    assert!(text.contains("│ a ") && text.contains("none yet") && text.contains("not known"), "{text}");

    // What is put right is taken up where it failed, and the other clients have nothing to do.
    fs::create_dir_all(clients.path("b-data/medical_report")).unwrap();
    fs::remove_file(clients.path("profiles/broken.toml")).unwrap();
    let text = clients.expect(0, &["run", "--all-profiles"]).stdout;
    let line = |name: &str| text.lines().find(|line| line.starts_with(&format!("│ {name} "))).unwrap().to_owned();
    let cells = |name: &str| line(name).split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(cells("b")[5..8], ["0", "1", "0"], "{text}");
    assert_eq!(cells("a")[2], "0", "{text}");
    clients.expect(0, &["status", "--all-profiles"]);
}

#[test]
fn a_held_lease_shows_only_where_nothing_else_is_wrong() {
    let clients = Clients::new(&["a", "b"]);
    let lake = Lake::at(&clients.path("a-lake").display().to_string(), Durability::None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lease = runtime.block_on(lake.leased()).unwrap();
    let told = clients.expect(4, &["run", "--all-profiles"]);
    assert!(told.stderr.contains("another run holds the lease"), "{}", told.stderr);
    assert_eq!(clients.exams("b"), ["1"]);
    fs::remove_dir_all(clients.path("b-data")).unwrap();
    clients.expect(1, &["run", "--all-profiles"]);
    drop(lease);
}

#[test]
fn all_profiles_and_what_each_says_for_itself_exclude_each_other() {
    let clients = Clients::new(&["a"]);
    for flag in [["--profile", "a"], ["--lake", "x"], ["--data", "x"]] {
        for command in ["run", "status"] {
            let told = clients.expect(2, &[command, "--all-profiles", flag[0], flag[1]]);
            assert!(told.stderr.contains("exclude each other"), "{}", told.stderr);
        }
    }
    fs::remove_dir_all(clients.path("profiles")).unwrap();
    let told = clients.expect(2, &["run", "--all-profiles"]);
    assert!(told.stderr.contains("there are no profiles"), "{}", told.stderr);
}

#[test]
fn check_reads_all_profiles() {
    let clients = Clients::new(&["a", "b"]);
    let told = clients.expect(0, &["check"]);
    assert!(told.stdout.contains("2 profiles: no problems"), "{}", told.stdout);
    clients.profile("a", "[variables]\nCLINIC_PASSWORD = \"sesame\"\n");
    let text = fs::read_to_string(clients.path("profiles/b.toml")).unwrap();
    clients.write("profiles/b.toml", &text.replace("\"imaging\"", "\"imagin\""));
    let told = clients.expect(2, &["check"]).stderr;
    assert!(told.contains("profiles/a.toml:7:1: 'CLINIC_PASSWORD' looks like a secret"), "{told}");
    assert!(told.contains("[secrets]") && !told.contains("sesame"), "{told}");
    assert!(told.contains("profiles/b.toml:4:15: there is no pipeline 'imagin'"), "{told}");
    assert!(told.contains("did you mean 'imaging'?"), "{told}");
    let told = clients.expect(2, &["run", "--profile", "b"]).stderr;
    assert!(told.contains("profiles/b.toml:4:15: there is no pipeline 'imagin'"), "{told}");
}

#[test]
fn a_clients_values_stand_in_its_sources_and_its_secrets_are_its_own() {
    let clients = Clients::new(&["a", "b"]);
    let pipeline = fs::read_to_string(clients.path("pipelines/imaging/pipeline.toml")).unwrap();
    let path = "path = \"exam\"";
    assert!(pipeline.contains(path), "{pipeline}");
    clients.write("pipelines/imaging/pipeline.toml", &pipeline.replace(path, "path = \"${SITE}-${DROP}\""));
    for name in ["a", "b"] {
        clients
            .profile(name, "[variables]\nSITE = \"north\"\n[secrets]\nDROP = { variable = \"MEDALHA_TEST_DROP\" }\n");
        let data = clients.path(&format!("{name}-data"));
        fs::rename(data.join("exam"), data.join("north-k7")).unwrap();
    }
    let run = |args: &[&str], variable: &str| {
        let mut command = clients.command(args);
        Outcome::of(command.env(variable, "k7").output().unwrap())
    };
    let told = run(&["run", "--profile", "a"], "MEDALHA_TEST_DROP");
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    // The environment's own DROP is not taken for the client's.
    let told = run(&["run", "--profile", "b"], "DROP");
    assert_eq!(told.code, Some(2), "{}", told.stdout);
    assert!(told.stderr.contains("profiles/b.toml: DROP: the environment variable MEDALHA_TEST_DROP has no value"));
    assert!(!clients.path("b-lake").exists());
    clients.profile("b", "[variables]\nSITE = \"north\"\n[secrets]\nDROP = { file = \"drop\" }\n");
    clients.write("drop", "k7\n");
    fs::set_permissions(clients.path("drop"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = clients.expect(2, &["run", "--profile", "b"]).stderr;
    assert!(told.contains("hint: chmod 600"), "{told}");
    fs::set_permissions(clients.path("drop"), fs::Permissions::from_mode(0o600)).unwrap();
    clients.expect(0, &["run", "--profile", "b"]);
    assert_eq!(clients.exams("b"), ["1"]);
}

#[test]
fn the_repositorys_own_profiles_check() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_pipeline")).args(["--project", REPOSITORY, "check"]).output().unwrap();
    let told = Outcome::of(output);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(!told.stdout.contains(" 0 profiles"), "{}", told.stdout);
}
