//! Kills at random moments of a run over many exams: nothing is lost or doubled, by what the generator knows of its data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::harness::Outcome;

/// Kills that a lake goes through before it is looked at, unless a run ends before.
const KILLS_PER_LAKE: u32 = 10;

/// The counters of the generator's truth, by what the lake should have of them, each once.
const COUNTS: &str = "SELECT
  (SELECT COUNT(*) FROM bronze.exam_events) AS exam_records,
  (SELECT COUNT(*) FROM silver.exams) AS exams,
  (SELECT COUNT(DISTINCT exam_id) FROM silver.exams) AS distinct_exams,
  (SELECT COUNT(*) FROM silver.exam_labels) AS labels,
  (SELECT COUNT(*) FROM silver.quarantine) AS quarantined,
  (SELECT COUNT(*) FROM silver.reports) AS reports,
  (SELECT COUNT(*) FROM gold.label_completeness) AS complete";

struct Place {
    program: PathBuf,
    root: tempfile::TempDir,
}

impl Place {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--lake").arg(self.lake()).arg("--data").arg(self.root.path().join("data"));
        command.arg("--project").arg(crate::harness::REPOSITORY).args(args);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn lake(&self) -> PathBuf {
        self.root.path().join("lake")
    }

    fn expect_success(&self, args: &[&str]) -> Outcome {
        let outcome = Outcome::of(self.command(args).output().unwrap());
        assert_eq!(outcome.code, Some(0), "{args:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    fn run(&self) -> Value {
        self.expect_success(&["run", "-p", "imaging", "--format", "json"]).json()
    }

    /// Kills a run after a time; false when it ended before.
    fn kill_after(&self, delay: Duration) -> bool {
        let mut command = self.command(&["run", "-p", "imaging"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        let is_running = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        child.wait().unwrap();
        is_running
    }

    fn assert_true(&self, truth: &Value, what: &str) {
        let counts = self.expect_success(&["query", COUNTS, "--format", "json"]).json();
        let found = &counts[0];
        for name in ["exam_records", "exams", "labels", "quarantined", "reports"] {
            assert_eq!(found[name], truth[name], "{what}: {name}: {found} of {truth}");
        }
        for name in ["distinct_exams", "complete"] {
            assert_eq!(found[name], truth["exams"], "{what}: {name}: {found} of {truth}");
        }
        assert_eq!(self.run()["release"], Value::Null, "{what}: there was something left to do");
        self.expect_success(&["fsck", "--deep"]);
    }
}

fn truth(data: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data.join("truth.json")).unwrap()).unwrap()
}

/// `MEDALHA_KILLS` gives kills, exams and the program, as in `500 20000 /path/to/pipeline`; without the latter it is the one
/// that was built with this test. What was done goes to standard error.
#[test]
#[ignore = "takes minutes: scripts/kill-test; its figures stand in the README"]
fn killed_at_random_moments_of_a_run() {
    let given = std::env::var("MEDALHA_KILLS").unwrap_or_else(|_| "20 2000".to_owned());
    let mut given = given.splitn(3, ' ');
    let kills: u32 = given.next().unwrap().parse().unwrap();
    let exams = given.next().expect("kills and exams").to_owned();
    let program = PathBuf::from(given.next().unwrap_or(env!("CARGO_BIN_EXE_pipeline")));
    let place = Place { program, root: tempfile::tempdir().unwrap() };
    let data = place.root.path().join("data");
    let generate = ["generate", "--out", data.to_str().unwrap(), "--exams", &exams, "--defects", "0.05"];
    place.expect_success(&generate);
    let truth = truth(&data);
    let begun = Instant::now();
    place.run();
    let whole = begun.elapsed();
    place.assert_true(&truth, "undisturbed");
    let mut random = rand::rngs::StdRng::seed_from_u64(u64::from(std::process::id()));
    let (mut killed, mut lakes) = (0, 0);
    while killed < kills {
        std::fs::remove_dir_all(place.lake()).unwrap();
        let mut here = 0;
        while here < KILLS_PER_LAKE.min(kills - killed)
            && place.kill_after(whole.mul_f64(random.random_range(0.0..1.0)))
        {
            here += 1;
        }
        place.run();
        place.assert_true(&truth, &format!("after {here} kills"));
        killed += here;
        lakes += 1;
    }
    eprintln!(
        "{killed} kills of runs with {exams} exams ({whole:.1?} each) in {lakes} lakes: nothing lost, nothing doubled"
    );
}
