//! An S3 server for the tests, and a sandbox that uses it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Outcome, Sandbox, sorted};

/// A secret that must not be told.
pub const SECRET: &str = "wJalrXUtnFEMIK7MDENG";

/// Who puts the tests' own objects; the server does not check the signature, and refuses strangers.
const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// A process that ends with the value.
pub struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The Python of the tests, made by scripts/setup.
pub fn python() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let python = cache.join("medalha/venv/bin/python");
    assert!(python.exists(), "{} is missing: scripts/setup makes it", python.display());
    python
}

/// Starts a Python module that serves on a port, and waits until it does.
pub fn serve(arguments: &[&str], folder: &std::path::Path, port: u16) -> Process {
    let mut command = Command::new(python());
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process { child: command.spawn().unwrap() };
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(process.child.try_wait().unwrap().is_none(), "{arguments:?} ended at once");
        assert!(begun.elapsed() < Duration::from_secs(120), "{arguments:?} does not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
    process
}

/// The S3 server, shared by the tests that run at the same time.
pub struct Server {
    _process: Process,
    pub port: u16,
}

impl Server {
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let port = free_port();
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/s3_server.py");
        let folder = std::env::temp_dir();
        let process = serve(&[server, "-H", "127.0.0.1", "-p", &port.to_string()], &folder, port);
        let server = Arc::new(Self { _process: process, port });
        *shared = Arc::downgrade(&server);
        server
    }
}

/// A sandbox with a bucket of its own.
pub struct Cloud {
    pub local: Sandbox,
    pub server: Arc<Server>,
    pub bucket: String,
    /// Where the program finds the server: the server itself, or a proxy before it.
    pub port: u16,
}

impl Cloud {
    pub fn new() -> Self {
        Self::of(Sandbox::new())
    }

    pub fn of(local: Sandbox) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let server = Server::shared();
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let bucket = format!("bucket-{number}");
        let cloud = Self { local, port: server.port, server, bucket };
        cloud.request("PUT", "", b"");
        cloud
    }

    pub fn uri(&self, path: &str) -> String {
        format!("s3://{}/{path}", self.bucket)
    }

    /// Puts an object; the key is percent-encoded as in a URI.
    pub fn put(&self, key: &str, content: impl AsRef<[u8]>) {
        self.request("PUT", key, content.as_ref());
    }

    pub fn delete(&self, key: &str) {
        self.request("DELETE", key, b"");
    }

    /// The keys of the bucket that begin with a prefix, in the order of their names.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let answer = self.request("GET", &format!("?list-type=2&max-keys=10000&prefix={prefix}"), b"");
        let answer = String::from_utf8(answer).unwrap();
        answer.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    fn request(&self, method: &str, key: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port)).unwrap();
        let head = format!(
            "{method} /{}/{key} HTTP/1.1\r\n{AUTHORIZATION}\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.bucket,
            self.server.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.contains(" 200 ") || head.contains(" 204 "), "{method} {key}: {head}");
        answer.split_off(end + 4)
    }

    /// What the environment says of the server.
    pub fn with_server(&self, command: &mut Command) {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env_remove("http_proxy").env_remove("HTTP_PROXY");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        command.env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").env("AWS_SECRET_ACCESS_KEY", SECRET);
    }

    /// The program with its lake in the bucket and its data in the sandbox; an option after the command counts instead of these.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
        let local = self.local.command(&[]);
        let own: Vec<_> = local.get_args().skip(2).collect();
        command.args(["--lake", &self.uri("lake")]).args(own).args(args);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.with_server(&mut command);
        command
    }

    pub fn expect(&self, code: i32, args: &[&str]) -> Outcome {
        let outcome = Outcome::of(self.command(args).output().unwrap());
        assert!(!outcome.stderr.contains("panicked"), "{args:?}: {}", outcome.stderr);
        assert!(!format!("{outcome:?}").contains(SECRET), "the secret is told: {outcome:?}");
        assert_eq!(outcome.code, Some(code), "{args:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    /// A run that must succeed: its report.
    pub fn run(&self) -> Value {
        self.expect(0, &["run", "--format", "json"]).json()
    }

    /// The rows of a query on the lake in the bucket, sorted.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        sorted(rows(&self.expect(0, &["query", sql, "--format", "json"])))
    }

    /// Checks that the lake in the bucket has the rows of the one in the folder, which a run over the same data makes here.
    pub fn assert_same_as_on_disk(&self) {
        self.local.run();
        let tables = self.local.tables(&["silver", "gold"]);
        assert!(tables.len() > 5, "{tables:?}");
        for table in tables {
            let columns = if table == "silver.quarantine" { "\"table\", reasons, payload, key, status" } else { "*" };
            let sql = format!("SELECT {columns} FROM {table}");
            let on_disk = sorted(rows(&self.local.expect(0, &["query", &sql, "--format", "json"])));
            crate::harness::assert_same(&self.rows(&sql), &on_disk, &table);
        }
        let count = "SELECT COUNT(*) AS n FROM bronze.exam_events";
        assert_eq!(self.rows(count), rows(&self.local.expect(0, &["query", count, "--format", "json"])));
    }
}

fn rows(outcome: &Outcome) -> Vec<Value> {
    outcome.json().as_array().unwrap().clone()
}
