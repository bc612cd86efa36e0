//! A PostgreSQL of the tests' own: a cluster in a folder of its own, on a free port, gone when the tests end.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// The password of the cluster's owner.
pub const OWNER_PASSWORD: &str = "owner-s3cret";
/// The password of the user that the pipeline reads as.
pub const READER_PASSWORD: &str = "reader-s3cret";

/// A running server.
pub struct Cluster {
    root: PathBuf,
    pub port: u16,
    /// Stops the server when the tests' process ends, however it ends: its standard input closes then.
    watch: Child,
}

static SHARED: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The cluster that the tests share.
pub fn shared() -> &'static Cluster {
    SHARED.get_or_init(Cluster::start)
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start() -> Self {
        let root = tempfile::Builder::new().prefix("medalha-pg").tempdir().unwrap().keep();
        give_away(&root);
        fs::write(root.join("password"), OWNER_PASSWORD).unwrap();
        let data = root.join("data");
        let (path, password) = (data.display().to_string(), root.join("password").display().to_string());
        run(
            &program("initdb"),
            &[
                "-D",
                &path,
                "-U",
                "owner",
                "-A",
                "scram-sha-256",
                "--pwfile",
                &password,
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
        );
        certificates(&root);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{root}'\nfsync = off\n\
             max_connections = 50\nssl = on\nssl_cert_file = '{root}/server.crt'\nssl_key_file = '{root}/server.key'\n",
            root = root.display()
        );
        let conf = data.join("postgresql.conf");
        let text = fs::read_to_string(&conf).unwrap() + &settings;
        fs::write(&conf, text).unwrap();
        let script = format!(
            "cat >/dev/null; {} -D '{path}' -m immediate stop >/dev/null 2>&1; rm -rf '{}'",
            program("pg_ctl").display(),
            root.display()
        );
        let watch = as_nobody(Path::new("sh")).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let cluster = Self { root, port, watch };
        cluster.up();
        cluster.sql("postgres", &format!("CREATE ROLE reader LOGIN PASSWORD '{READER_PASSWORD}'"));
        cluster
    }

    /// Starts the server and waits until it answers.
    pub fn up(&self) {
        self.pg_ctl(&["-l", &self.path("log").display().to_string(), "-w", "start"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while block_on(self.connect("postgres")).is_none() {
            assert!(
                Instant::now() < deadline,
                "the server did not come up: {}",
                fs::read_to_string(self.path("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the server as a power cut would.
    pub fn kill(&self) {
        self.pg_ctl(&["-m", "immediate", "stop"]);
    }

    fn pg_ctl(&self, args: &[&str]) {
        let data = self.path("data").display().to_string();
        run(&program("pg_ctl"), &[&["-D", data.as_str()], args].concat());
    }

    /// A file of the cluster's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A new database that the reader may read.
    pub fn database(&self) -> String {
        let name = format!("clinic_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.sql(&name, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO reader");
        name
    }

    /// Runs statements as the owner.
    pub fn sql(&self, database: &str, sql: &str) {
        block_on(async {
            let client = self.connect(database).await.expect("the server answers");
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        });
    }

    /// Waits until the pipeline copies a table of the database, which has to be large enough for that to be seen.
    pub fn wait_for_copy(&self, database: &str) {
        let sql = "SELECT FROM pg_stat_activity WHERE application_name = 'medalha' AND datname = current_database() \
                   AND state = 'active' AND query LIKE 'COPY%'";
        block_on(async {
            let client = self.connect(database).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while client.query(sql, &[]).await.unwrap().is_empty() {
                assert!(Instant::now() < deadline, "no table was copied");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    async fn connect(&self, database: &str) -> Option<Client> {
        let url = format!("postgresql://owner:{OWNER_PASSWORD}@127.0.0.1:{}/{database}", self.port);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        self.watch.wait().unwrap();
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A program of PostgreSQL's: on the PATH, or where Debian has it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let found = std::env::split_paths(&path).chain(debian).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not there: scripts/setup installs PostgreSQL"))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// PostgreSQL refuses to run as root.
fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "nobody", "--"]).arg(program);
    command
}

fn give_away(path: &Path) {
    if is_root() {
        assert!(Command::new("chown").arg("-R").arg("nobody").arg(path).status().unwrap().success());
    }
}

fn run(program: &Path, args: &[&str]) {
    let mut command = as_nobody(program);
    let log = tempfile::tempfile().unwrap();
    let output = command
        .args(args)
        .current_dir("/")
        .stdout(log.try_clone().unwrap())
        .stderr(log.try_clone().unwrap())
        .status()
        .unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(&mut &log).unwrap();
    std::io::Read::read_to_string(&mut &log, &mut text).unwrap();
    assert!(output.success(), "{} {args:?}: {text}", program.display());
}

/// A certificate for `localhost`, and that of the authority which signed it.
fn certificates(root: &Path) {
    let openssl = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(root).output().unwrap();
        assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.crt");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    fs::write(root.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.crt",
    );
    give_away(root);
    let key = root.join("server.key");
    assert!(Command::new("chmod").arg("0600").arg(&key).status().unwrap().success());
}
