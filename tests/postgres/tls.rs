//! How a server is connected to: TLS, passwords, and what is said when it is refused.

use std::process::Command;

use super::clinic::{Clinic, Outcome};
use super::cluster::{READER_PASSWORD, shared};

fn clinic() -> Clinic<'static> {
    Clinic::new(shared(), "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
}

fn run_at(clinic: &Clinic<'_>, host: &str) -> Outcome {
    Outcome::of(clinic.command(&["run"]).env("CLINIC_HOST", host).output().unwrap())
}

#[test]
fn tls_is_as_strict_as_the_url_asks() {
    let clinic = clinic();
    let authority = clinic.cluster.path("ca.crt").display().to_string();
    for (parameters, host, works) in [
        ("?sslmode=disable".to_owned(), "127.0.0.1", true),
        ("?sslmode=require".to_owned(), "127.0.0.1", true),
        // Nobody on this machine trusts the authority.
        ("?sslmode=verify-full".to_owned(), "localhost", false),
        (format!("?sslmode=verify-full&sslrootcert={authority}"), "localhost", true),
        (format!("?sslmode=verify-full&sslrootcert={authority}"), "127.0.0.1", false),
        (format!("?sslmode=verify-ca&sslrootcert={authority}"), "127.0.0.1", true),
    ] {
        clinic.source(&parameters, "");
        let outcome = run_at(&clinic, host);
        assert_eq!(outcome.code == 0, works, "{parameters} {host}: {}", outcome.text);
        assert!(works || outcome.text.contains("certificate"), "{}", outcome.text);
    }
    // With a server that takes nothing but TLS, `require` is seen to use it.
    clinic.source("?sslmode=disable", "");
    let hba = clinic.cluster.path("data/pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap();
    let only_tls = format!("hostnossl {} reader all reject\n{text}", clinic.database);
    std::fs::write(&hba, only_tls).unwrap();
    clinic.cluster.sql("postgres", "SELECT pg_reload_conf()");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(clinic.fails().contains("pg_hba.conf rejects"));
    for parameters in ["?sslmode=require", "?sslmode=prefer", ""] {
        clinic.source(parameters, "");
        clinic.run();
    }
}

#[test]
fn a_password_comes_from_the_environment_or_a_passfile_and_is_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let clinic = clinic();
    let run = |edit: &dyn Fn(&mut Command) -> &mut Command| {
        let mut command = clinic.command(&["run", "-vv"]);
        edit(&mut command);
        Outcome::of(command.output().unwrap())
    };
    let wrong = run(&|command| command.env("CLINIC_PASSWORD", "wrong-s3cret"));
    assert!(
        wrong.code == 1 && wrong.text.contains("password authentication failed") && wrong.text.contains("hint"),
        "{}",
        wrong.text
    );
    let missing = run(&|command| command.env_remove("CLINIC_PASSWORD"));
    assert!(missing.code == 1 && missing.text.contains("hint: set PGPASSWORD"), "{}", missing.text);

    let pipeline = std::fs::read_to_string(clinic.path("pipelines/p/pipeline.toml")).unwrap();
    clinic.write("pipeline.toml", &pipeline.replace("password_variable = \"CLINIC_PASSWORD\"\n", ""));
    let none = run(&|command| command);
    assert!(none.code == 1 && none.text.contains("PGPASSWORD"), "{}", none.text);
    assert_eq!(run(&|command| command.env("PGPASSWORD", READER_PASSWORD)).code, 0);
    let passfile = clinic.path(".pgpass");
    std::fs::write(&passfile, format!("127.0.0.1:{}:*:reader:{READER_PASSWORD}\n", clinic.cluster.port)).unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(&|command| command);
    assert!(open.code == 2 && open.text.contains("chmod 0600"), "{}", open.text);
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(&|command| command).code, 0);
    clinic.write("pipeline.toml", &pipeline.replace("reader@", "reader:s3cret@"));
    let refused = clinic.pipeline(&["check"]);
    assert!(refused.code == 2 && refused.text.contains("a password stands in 'url'"), "{}", refused.text);
    for file in clinic.files() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"s3cret"), "{}", file.display());
    }
}
