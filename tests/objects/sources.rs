//! Files of sources in a bucket or on a web server.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::harness::Sandbox;
use crate::proxy::{Fate, Proxy};
use crate::server::{Cloud, free_port, serve};

const EXAM: &str = r#"{"content": {"id": 1, "body_part": "HAND"}, "publication_timestamp": 1700000000}"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A bucket with exams, and the lake on disk.
struct Bucket(Cloud);

impl Bucket {
    fn new() -> Self {
        let cloud = Cloud::new();
        cloud.put("in/exam/a.json", EXAM);
        cloud.put("in/medical_report/r.json", "[]");
        Self(cloud)
    }

    fn run(&self) -> Value {
        let lake = self.0.local.path("lake").display().to_string();
        let data = self.0.uri("in");
        self.0.expect(0, &["run", "--format", "json", "--lake", &lake, "--data", &data]).json()
    }

    /// Name, event and records of what was found in the bucket.
    fn files(&self) -> Vec<Value> {
        let rows = self.0.local.rows("ops.files");
        let exams = rows.iter().filter(|row| row["source"] == "imaging.exam");
        let start = self.0.uri("in/exam/");
        let name = |row: &Value| row["uri"].as_str().unwrap().strip_prefix(&start).unwrap().to_owned();
        crate::harness::sorted(exams.map(|row| json!([name(row), row["event"], row["records"]])).collect())
    }
}

#[test]
fn a_bucket_is_read_as_a_folder_is() {
    let bucket = Bucket::new();
    let cloud = &bucket.0;
    cloud.put("in/exam/day%201/t%C3%B3rax.json.gz", gzip(&EXAM.replace("\"id\": 1", "\"id\": 2").repeat(3)));
    for left_out in ["in/exam/.hidden", "in/exam/_tmp/a.json", "in/exam/b.json.part", "in/exam2/c.json"] {
        cloud.put(left_out, EXAM);
    }
    bucket.run();
    let found = vec![json!(["a.json", "new", 1]), json!(["day%201/t%C3%B3rax.json.gz", "new", 3])];
    assert_eq!(bucket.files(), found);
    assert_eq!(cloud.local.count("silver.exams"), 2);
    assert_eq!(bucket.run()["release"], Value::Null, "nothing new");
    cloud.put("in/exam/a.json", EXAM.replace("HAND", "FOOT"));
    cloud.put("in/exam/again.json", EXAM.replace("HAND", "FOOT"));
    cloud.delete("in/exam/day%201/t%C3%B3rax.json.gz");
    bucket.run();
    let later = [json!(["a.json", "changed", 1]), json!(["again.json", "duplicate", 0])];
    assert_eq!(bucket.files(), crate::harness::sorted([found, later.to_vec()].concat()), "of one size and one second");
    assert_eq!(bucket.run()["release"], Value::Null, "nothing new");
}

#[test]
fn an_object_may_be_unreadable_and_is_tried_again() {
    let mut bucket = Bucket::new();
    bucket.0.put("in/exam/b.json", EXAM.replace("1", "22"));
    let server = bucket.0.port;
    let refuse = |request: &crate::proxy::Request| match (&request.method[..], request.target.ends_with("/a.json")) {
        ("GET", true) => Fate::Answer(403),
        _ => Fate::Forward,
    };
    let proxy = Proxy::start(server, refuse);
    bucket.0.port = proxy.port;
    bucket.run();
    bucket.run();
    assert_eq!(bucket.files(), [json!(["a.json", "unreadable", 0]), json!(["b.json", "new", 1])]);
    bucket.0.port = server;
    bucket.run();
    assert!(bucket.files().contains(&json!(["a.json", "new", 1])), "{:?}", bucket.files());
}

/// Large enough for several requests.
fn large() -> String {
    (0..110_000)
        .map(|id| {
            format!(
                "{{\"content\": {{\"id\": {id}, \"body_part\": \"HAND\"}}, \"publication_timestamp\": 1700000000}}\n"
            )
        })
        .collect()
}

#[test]
fn a_connection_that_breaks_within_an_object_costs_nothing() {
    let mut bucket = Bucket::new();
    bucket.0.put("in/exam/large.json", large());
    let broken = AtomicU32::new(0);
    let proxy = Proxy::start(bucket.0.port, move |request| {
        let is_part = request.method == "GET" && request.target.contains("large.json");
        if is_part && broken.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            Fate::HalfAnswer
        } else {
            Fate::Forward
        }
    });
    bucket.0.port = proxy.port;
    bucket.run();
    assert!(bucket.files().contains(&json!(["large.json", "new", 110_000])), "{:?}", bucket.files());
    assert_eq!(bucket.0.local.count("silver.exams"), 110_000);
}

#[test]
fn a_file_of_a_web_server_is_read() {
    let sandbox = Sandbox::with_own_project();
    std::fs::create_dir(sandbox.path("www")).unwrap();
    std::fs::write(sandbox.path("www/exams today.json.gz"), gzip(&large())).unwrap();
    let port = free_port();
    let _server = serve(&["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()], &sandbox.path("www"), port);
    let uri = format!("http://127.0.0.1:{port}/exams%20today.json.gz");
    sandbox.edit_project_file("pipeline.toml", "path = \"exam\"", &format!("path = \"{uri}\""));
    sandbox.run();
    assert_eq!(sandbox.count("bronze.exam_events"), 110_000);
    let files = sandbox.rows("ops.files");
    assert!(files.iter().any(|row| row["uri"] == uri.as_str() && row["event"] == "new"), "{files:?}");
    assert_eq!(sandbox.run()["release"], Value::Null, "nothing new");
    std::fs::write(sandbox.path("www/exams today.json.gz"), gzip(EXAM)).unwrap();
    sandbox.run();
    assert_eq!(sandbox.count("bronze.exam_events"), 110_001);
}

#[test]
fn csv_comes_from_a_bucket_too() {
    let cloud = Cloud::new();
    let project = cloud.local.path("csv");
    let files = [
        (
            "pipeline.toml",
            "name = \"p\"\ndescription = \"Sites\"\n[sources.site]\ndescription = \"A file a day\"\nkind = \"files\"\npath = \"${DROP}/sites\"\nformat = \"csv\"\n",
        ),
        (
            "bronze/sites.toml",
            "description = \"Rows\"\nsource = \"site\"\npayload = \"STRUCT<name STRING, beds BIGINT>\"\n",
        ),
    ];
    for (path, text) in files {
        let path = project.join("pipelines/p").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    cloud.put("drop/sites/monday.csv", "name,beds\nNorte,3\n\"Sul\",4\nragged\n");
    let project = project.display().to_string();
    let mut command = cloud.command(&["run", "--project", &project]);
    let ended = command.env("DROP", cloud.uri("drop")).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let rows = cloud.rows("SELECT payload, payload_fault FROM bronze.sites WHERE payload_fault IS NULL");
    assert_eq!(rows.len(), 2, "{rows:?}");
}
