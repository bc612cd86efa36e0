//! Data that goes on from day to day: the same for a seed, and in a real PostgreSQL what its truth says.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A PostgreSQL of the test's own, stopped when dropped.
struct Cluster {
    root: TempDir,
    port: u16,
}

impl Cluster {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        assert!(run(Command::new("chmod").arg("777").arg(root.path())).status.success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { root, port };
        let data = cluster.data();
        cluster.does("initdb", &["-D", &data, "-U", "clinic", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        let options = format!("-p {port} -k '' -h 127.0.0.1 -c fsync=off");
        let log = cluster.root.path().join("log").display().to_string();
        cluster.does("pg_ctl", &["-D", &data, "-o", &options, "-l", &log, "-w", "start"]);
        cluster
    }

    fn data(&self) -> String {
        self.root.path().join("data").display().to_string()
    }

    fn does(&self, program: &str, args: &[&str]) {
        let output = run(as_nobody(&find(program)).args(args).current_dir("/"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A new database's URL.
    async fn database(&self) -> String {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("db{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let client = connect(&format!("postgresql://clinic@127.0.0.1:{}/postgres", self.port)).await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        format!("postgresql://clinic@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = as_nobody(&find("pg_ctl")).args(["-D", &self.data(), "-m", "immediate", "stop"]).output();
        assert!(stopped.is_ok_and(|output| output.status.success()) || std::thread::panicking());
    }
}

fn find(program: &str) -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin").join(program)).collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|folder| folder.join(program)));
    places.into_iter().find(|place| place.exists()).unwrap_or_else(|| panic!("{program} is not installed"))
}

/// PostgreSQL does not run as root.
fn as_nobody(program: &Path) -> Command {
    let id = run(Command::new("id").arg("-u")).stdout;
    if String::from_utf8_lossy(&id).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "nobody", "--"]).arg(program);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn generate(out: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command.args(["--project", env!("CARGO_MANIFEST_DIR"), "generate", "providers", "--out"]).arg(out).args(args);
    run(&mut command)
}

fn made(out: &Path, args: &[&str]) {
    let output = generate(out, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn truth(out: &Path, date: &str) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(out.join(format!("truth-{date}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(|e| (e.path().strip_prefix(folder).unwrap().to_owned(), fs::read(e.path()).unwrap())).collect()
}

/// The database's rows by NPI, without the keys that it gave itself.
async fn providers(client: &Client) -> BTreeMap<String, String> {
    let sql = "SELECT npi, (to_jsonb(p) - 'provider_id')::text FROM provider AS p";
    client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How many rows came, went and changed.
fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> [u64; 3] {
    let count = |iter: &mut dyn Iterator<Item = bool>| iter.filter(|it| *it).count() as u64;
    [
        count(&mut after.keys().map(|key| !before.contains_key(key))),
        count(&mut before.keys().map(|key| !after.contains_key(key))),
        count(&mut before.iter().map(|(key, row)| after.get(key).is_some_and(|now| now != row))),
    ]
}

#[tokio::test]
async fn a_day_changes_in_the_database_what_its_truth_says() {
    let (cluster, out) = (Cluster::start(), tempfile::tempdir().unwrap());
    let url = cluster.database().await;
    let day = |day: u64| {
        let day = day.to_string();
        made(out.path(), &["--records", "2000", "--seed", "3", "--database", &url, "--day", &day]);
    };
    day(0);
    let client = connect(&url).await;
    let mut before = providers(&client).await;
    assert_eq!(before.len(), 2000);
    assert_eq!(client.query("SELECT * FROM care_site", &[]).await.unwrap().len(), 8);
    for (number, date) in [(1, "2024-01-16"), (2, "2024-01-17")] {
        day(number);
        let after = providers(&client).await;
        let truth = truth(out.path(), date);
        let [inserted, deleted, changed] = difference(&before, &after);
        assert_eq!([inserted, deleted], [truth["provider.inserted"], truth["provider.deleted"]]);
        assert_eq!([inserted, deleted, truth["provider.updated"]], [2, 1, 4]);
        // An update may draw the values that the row has.
        assert!((1..=4).contains(&changed), "{changed}");
        assert_eq!(after.len() as u64, truth["provider.rows"]);
        before = after;
    }
    // A day again finds its changes done, and says so without leaving half of them.
    let output = generate(out.path(), &["--records", "2000", "--seed", "3", "--database", &url, "--day", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(providers(&client).await, before);
    // Filling again begins anew.
    day(0);
    assert_eq!(providers(&client).await.len(), 2000);
    let sites =
        client.query("SELECT DISTINCT care_site FROM provider EXCEPT SELECT care_site_name FROM care_site", &[]);
    assert!(sites.await.unwrap().is_empty());
    // Files of SQL are the same rows.
    let other = cluster.database().await;
    let from_files = connect(&other).await;
    let sql = tempfile::tempdir().unwrap();
    for day in ["0", "1"] {
        made(sql.path(), &["--records", "2000", "--seed", "3", "--day", day]);
    }
    for (path, text) in files(&sql.path().join("database")) {
        let text = String::from_utf8(text).unwrap();
        if path.to_string_lossy().contains("2024-01-15") {
            let (head, rows) = text.split_once("FROM STDIN WITH (FORMAT csv);\n").unwrap();
            let (head, copy) = head.rsplit_once("COPY").unwrap();
            let (rows, tail) = rows.split_once("\\.\n").unwrap();
            from_files.batch_execute(head).await.unwrap();
            let command = format!("COPY {copy} FROM STDIN WITH (FORMAT csv)");
            let sink = from_files.copy_in::<_, bytes::Bytes>(&command);
            let mut sink = Box::pin(sink.await.unwrap());
            futures::SinkExt::send(&mut sink, rows.to_owned().into()).await.unwrap();
            sink.as_mut().finish().await.unwrap();
            from_files.batch_execute(tail).await.unwrap();
        }
    }
    let changes = fs::read_to_string(sql.path().join("database/provider-2024-01-16.sql")).unwrap();
    from_files.batch_execute(&changes).await.unwrap();
    day(1);
    assert_eq!(providers(&from_files).await, providers(&client).await);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_a_day_needs_no_other() {
    let make = |days: &[&str], seed: &str| {
        let out = tempfile::tempdir().unwrap();
        for day in days {
            made(out.path(), &["--records", "1000", "--seed", seed, "--defects", "0.5", "--day", day]);
        }
        files(out.path())
    };
    let all = make(&["0", "1", "2"], "5");
    let alone = make(&["2"], "5");
    assert_eq!(alone.len(), 4);
    assert!(alone.iter().all(|(path, bytes)| all[path] == *bytes));
    assert_ne!(make(&["2"], "6"), alone);
}

#[test]
fn the_file_holds_the_defects_that_the_truth_counts() {
    let out = tempfile::tempdir().unwrap();
    made(out.path(), &["--records", "20000", "--defects", "0.8", "--day", "3"]);
    let truth = truth(out.path(), "2024-01-18");
    let text = fs::read_to_string(out.path().join("providers/providers-2024-01-18.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let count = |holds: &dyn Fn(&[&str]) -> bool| rows.iter().filter(|row| holds(row)).count() as u64;
    let of = |name: &str| truth[&format!("provider_file.{name}")];
    assert_eq!(rows.len() as u64, of("records"));
    assert_eq!([of("people"), of("people_in_tables")], [300, 100]);
    let again = of("other_name") + of("short_name") + of("same_line_twice");
    assert_eq!(of("records"), of("people") + again);
    assert_eq!(count(&|row| row[0].starts_with("Dr. ")), of("other_name"));
    assert_eq!(count(&|row| row[0] == "NULL"), of("name_null"));
    assert_eq!(count(&|row| row[2] == "NULL"), of("npi_null"));
    assert_eq!(count(&|row| row[2].starts_with('0')), of("npi_leading_zero"));
    assert_eq!(count(&|row| row[2].len() == 9), of("npi_short"));
    assert_eq!(count(&|row| row.len() == 9), of("ragged"));
    assert_eq!(count(&|row| row[3] == "Peds" && row[6] == "Pediatrics"), of("short_pediatrics"));
    assert_eq!(count(&|row| row.contains(&"Metro Med")), of("site_metro"));
    assert_eq!(count(&|row| row.contains(&"Lakeview Surgery")), of("site_unknown"));
    let wrong =
        count(&|row| row[2].len() == 10 && !row[2].starts_with('0') && !passes_luhn(&format!("80840{}", row[2])));
    assert_eq!(wrong, of("npi_check_digit"));
    assert!(of("npi_check_digit") > 0 && of("ragged") > 0 && of("short_orthopedics") > 0, "{truth:?}");
}

/// Luhn's test, another way round than the program does it.
fn passes_luhn(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let weighed = digits.iter().rev().enumerate().map(|(place, digit)| {
        let digit = if place % 2 == 1 { digit * 2 } else { *digit };
        if digit > 9 { digit - 9 } else { digit }
    });
    weighed.sum::<u32>() % 10 == 0
}

#[test]
fn what_makes_no_sense_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let says = |args: &[&str], code: i32, text: &str| {
        let output = generate(out.path(), args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text) && !said.contains("s3cret"), "{args:?}: {said}");
    };
    says(&["--records", "1000", "--day", "100000"], 2, "not enough records");
    says(&["--database", "postgresql://me:s3cret@localhost/x"], 2, "set PGPASSWORD");
    says(&["--database", "mysql://localhost"], 2, "not a postgresql:// URL");
    says(&["--database", "postgresql://me@127.0.0.1:1/x"], 1, "database 'x'");
    assert!(files(out.path()).keys().all(|path| !path.starts_with("providers")), "nothing is half made");
}
