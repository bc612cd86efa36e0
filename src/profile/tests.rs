use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use tempfile::TempDir;

const GOOD: &str = r#"
description = "A clinic."
lake = "lakes/a"
data = "s3://bucket/a"
pipelines = ["imaging"]
durability = "none"
memory = "64MB"

[variables]
SITE = "north"

[secrets]
CLINIC_PASSWORD = { file = "secret" }
"#;

fn project(profiles: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("profiles")).unwrap();
    for (name, text) in profiles {
        fs::write(folder.path().join("profiles").join(name), text).unwrap();
    }
    folder
}

fn problems(text: &str) -> String {
    let folder = project(&[("a.toml", text)]);
    load(folder.path(), "a").unwrap_err().to_string()
}

fn write_secret(folder: &TempDir, content: &str, mode: u32) {
    let path = folder.path().join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn relative_places_are_below_the_project_and_secrets_come_from_files() {
    let folder = project(&[("a.toml", GOOD)]);
    write_secret(&folder, "open sesame\n", 0o600);
    let profile = load(folder.path(), "a").unwrap();
    assert_eq!(Path::new(&profile.lake), folder.path().join("lakes/a"));
    assert_eq!(profile.data, "s3://bucket/a");
    assert_eq!((profile.durability, profile.memory), (Some(Durability::None), Some(64 << 20)));
    assert_eq!(profile.pipelines(), ["imaging"]);
    let variables = profile.variables().unwrap();
    assert_eq!(variables.get("SITE").as_deref(), Some("north"));
    assert_eq!(variables.get("CLINIC_PASSWORD").as_deref(), Some("open sesame"));
    assert!(!format!("{profile:?}{variables:?}").contains("sesame"));
}

#[test]
fn a_secret_that_cannot_be_had_is_told_by_its_place() {
    let folder = project(&[("a.toml", GOOD)]);
    let told = || load(folder.path(), "a").unwrap().variables().unwrap_err().to_string();
    assert!(told().starts_with("profiles/a.toml: CLINIC_PASSWORD: "), "{}", told());
    write_secret(&folder, "open sesame", 0o640);
    assert!(told().contains("others than its owner") && told().contains("chmod 600"), "{}", told());
    write_secret(&folder, "\n", 0o600);
    assert!(told().contains("the file is empty"), "{}", told());
    let variable = GOOD.replace(r#"file = "secret""#, r#"variable = "MEDALHA_NONE""#);
    fs::write(folder.path().join("profiles/a.toml"), variable).unwrap();
    assert!(told().contains("the environment variable MEDALHA_NONE has no value"), "{}", told());
}

#[test]
fn all_problems_of_a_file_are_told_with_their_places() {
    let told = problems(
        r#"description = "A clinic."
lake = "s3://me:sesame@bucket/a"
memroy = "64MB"
durability = "half"
[variables]
CLIENT_A_PASSWORD = "sesame"
"a b" = "x"
URL = "postgresql://me:sesame@host/db"
[secrets]
BOTH = { variable = "X", file = "y" }
NONE = {}
URL = { variable = "a b" }
"#,
    );
    let expected = "profiles/a.toml:1:1: 'data' is missing
profiles/a.toml:2:9: 'lake' has a password in its URI
profiles/a.toml:3:1: unknown key 'memroy'
profiles/a.toml:4:15: unknown durability 'half'
profiles/a.toml:6:1: 'CLIENT_A_PASSWORD' looks like a secret
profiles/a.toml:7:2: 'a b' cannot be a variable's name
profiles/a.toml:8:8: 'URL' has a password in its URI
profiles/a.toml:10:1: 'BOTH' needs either a variable or a file
profiles/a.toml:11:1: 'NONE' needs either a variable or a file
profiles/a.toml:12:1: 'URL' stands under [variables] too
profiles/a.toml:12:21: 'a b' cannot be a variable's name";
    let facts: Vec<&str> = told.lines().filter(|line| !line.starts_with("  hint: ")).collect();
    assert_eq!(facts.join("\n"), expected);
    assert!(!told.contains("sesame"), "{told}");
}

#[test]
fn what_looks_like_a_secret_is_refused_and_what_does_not_is_not() {
    for name in ["PASSWORD", "clinic_password", "DbPassword", "API_KEY", "GITHUB_TOKEN", "CLIENTSECRET", "DB_PWD"] {
        assert!(secret::looks_secret(name), "{name}");
    }
    for name in ["SITE", "MONKEY", "KEYBOARD", "CLINIC_HOST", "PASSAGE"] {
        assert!(!secret::looks_secret(name), "{name}");
    }
}

#[test]
fn two_profiles_do_not_share_a_lake_and_one_that_is_broken_leaves_the_others() {
    let other = GOOD.replace("lakes/a", "lakes/b");
    let folder = project(&[("a.toml", GOOD), ("b.toml", &GOOD.replace("lakes/a", "lakes/a/")), ("c.toml", &other)]);
    let told = load(folder.path(), "b").unwrap_err().to_string();
    assert!(told.starts_with("profiles/b.toml:3:9: profile 'a' has this lake"), "{told}");
    let loaded: Vec<(String, bool)> =
        load_all(folder.path()).unwrap().into_iter().map(|(name, profile)| (name, profile.is_ok())).collect();
    assert_eq!(loaded, [("a".to_owned(), true), ("b".to_owned(), false), ("c".to_owned(), true)]);
}

#[test]
fn only_profiles_lie_among_profiles() {
    let folder = project(&[("a.toml", GOOD), ("README.md", ""), (".a.toml.swp", "")]);
    assert_eq!(load_all(folder.path()).unwrap().len(), 1);
    assert!(load(folder.path(), "aa").unwrap_err().to_string().contains("known: a"));
    for name in ["b.yaml", "b c.toml", "-b.toml", "ä.toml"] {
        let folder = project(&[(name, GOOD)]);
        let told = load_all(folder.path()).unwrap_err().to_string();
        assert!(told.starts_with(&format!("profiles/{name}:1:1: not a profile")), "{told}");
    }
    assert!(load_all(tempfile::tempdir().unwrap().path()).unwrap().is_empty());
}
