//! Tables by key whose SQL collects more than memory holds: they are computed part of the keys by part.

use deltalake::datafusion::prelude::SessionContext;
use medalha::engine::{self, Limits};
use medalha::error::Error;
use serde_json::{Value, json};

use crate::harness::{Outcome, Sandbox};

/// Notes and sites: the SQL collects all texts of a site, and meets the sites by another spelling of their code.
const PROJECT: [(&str, &str); 9] = [
    (
        "ward/pipeline.toml",
        "name = \"ward\"\ndescription = \"Notes.\"\n\n[sources.notes]\ndescription = \"Notes.\"\nkind = \"files\"\n\
         path = \"notes\"\nformat = \"json\"\n\n[sources.sites]\ndescription = \"Sites.\"\nkind = \"files\"\n\
         path = \"sites\"\nformat = \"json\"\n",
    ),
    (
        "ward/bronze/note_lines.toml",
        "description = \"Notes as they came.\"\nsource = \"notes\"\n\
         payload = \"STRUCT<id BIGINT, site STRING, text STRING, at BIGINT>\"\n",
    ),
    (
        "ward/bronze/site_lines.toml",
        "description = \"Sites as they came.\"\nsource = \"sites\"\npayload = \"STRUCT<code STRING, at BIGINT>\"\n",
    ),
    (
        "ward/silver/notes.toml",
        r#"
description = "Notes."
strategy = "by_record"
key = ["id"]
sequence = "at"

[columns.id]
type = "BIGINT"
required = true
comment = "The note."

[columns.site]
type = "STRING"
comment = "Where it was written."

[columns.text]
type = "STRING"
comment = "What it says."

[columns.at]
type = "BIGINT"
required = true
comment = "When it was written."
"#,
    ),
    (
        "ward/silver/notes.sql",
        "SELECT n.id AS id, n.site AS site, n.text AS text, n.at AS at FROM bronze.note_lines AS n",
    ),
    (
        "ward/silver/sites.toml",
        r#"
description = "Sites."
strategy = "by_record"
key = ["code"]
sequence = "at"

[columns.code]
type = "STRING"
required = true
comment = "The site, in small letters."

[columns.at]
type = "BIGINT"
required = true
comment = "When it was told."
"#,
    ),
    ("ward/silver/sites.sql", "SELECT s.code AS code, s.at AS at FROM bronze.site_lines AS s"),
    (
        "ward/gold/texts.toml",
        r#"
description = "All texts of a site."
strategy = "by_key"
key = ["site"]
replace_by = ["site"]

[columns.site]
type = "STRING"
required = true
comment = "The site."

[columns.texts]
type = "ARRAY<STRING>"
required = true
comment = "Its texts, sorted."

[columns.is_known]
type = "BOOLEAN"
required = true
comment = "Whether it is among the sites."

[expectations.not_closed]
condition = "site NOT LIKE '%7'"
severity = "quarantine"
comment = "A site whose number ends with 7 is closed."
"#,
    ),
    ("ward/gold/texts.sql", SQL),
];

const SQL: &str = "WITH collected AS (
  SELECT site, ARRAY_SORT(ARRAY_AGG(text)) AS texts
  FROM silver.notes
  WHERE site IS NOT NULL AND text IS NOT NULL
  GROUP BY site
)
SELECT c.site, c.texts, s.code IS NOT NULL AS is_known
FROM collected AS c
LEFT JOIN silver.sites AS s ON c.site = UPPER(s.code)";

const SITES: u64 = 2_500;
const MEMORY: usize = 8_000_000;

fn deliver(sandbox: &Sandbox, name: &str, notes: std::ops::Range<u64>) {
    let note = |id: u64| {
        // Texts that do not compress, so that their size on disk is no excuse.
        let words: Vec<String> =
            (0..30).map(|word| blake3::hash(&(id * 100 + word).to_le_bytes()).to_hex().to_string()).collect();
        json!({"id": id, "site": format!("S{}", id % SITES), "text": words.join(" "), "at": 1}).to_string() + "\n"
    };
    sandbox.deliver(&format!("notes/{name}.json"), notes.map(note).collect::<String>());
}

fn ward() -> Sandbox {
    let sandbox = Sandbox::with_files(&PROJECT);
    let site = |number: u64| json!({"code": format!("s{}", number * 2), "at": 1}).to_string() + "\n";
    sandbox.deliver("sites/all.json", (0..SITES / 2).map(site).collect::<String>());
    sandbox
}

/// A run within little memory: how often it says that not all keys of a table fit.
fn run_in_little(sandbox: &Sandbox) -> usize {
    let memory = MEMORY.to_string();
    let outcome: Outcome = sandbox.expect(0, &["--memory", &memory, "-v", "run"]);
    outcome.stderr.matches("not all keys fit into memory").count()
}

#[test]
fn what_does_not_fit_is_computed_in_parts() {
    let (little, plenty) = (ward(), ward());
    for sandbox in [&little, &plenty] {
        deliver(sandbox, "first", 0..5_000);
    }
    assert!(run_in_little(&little) > 0, "everything fitted");
    plenty.run();
    little.assert_same_rows(&plenty, "the first run");
    assert_eq!(little.count("gold.texts"), SITES - SITES / 10);
    // An increment that touches every site, too, and more of them than are listed in a filter.
    for sandbox in [&little, &plenty] {
        deliver(sandbox, "second", 5_000..10_000);
    }
    assert!(run_in_little(&little) > 0, "everything fitted");
    plenty.run_with(&["--full-refresh"]);
    little.assert_same_rows(&plenty, "an increment");
    let known = |row: &Value| row["is_known"] == json!(true);
    assert!(little.rows("gold.texts").iter().filter(|row| known(row)).count() as u64 > SITES / 3);
    little.assert_up_to_date();
    // The same SQL over the same rows, all at once.
    let error = little.block_on(all_at_once(&little)).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
}

async fn all_at_once(sandbox: &Sandbox) -> Result<usize, Error> {
    let ctx: SessionContext = engine::session(Limits { memory: MEMORY, threads: 2 })?;
    for name in ["silver.notes", "silver.sites"] {
        let table = sandbox.lake().open(name).await?.unwrap();
        engine::register(&ctx, name, table.provider(&ctx).await?)?;
    }
    Ok(ctx.sql(SQL).await?.collect().await?.len())
}

#[test]
fn a_key_that_does_not_fit_alone_is_told() {
    let sandbox = ward();
    let text = "x".repeat(1_000_000);
    let lines =
        (0..12).map(|id| json!({"id": id, "site": "S1", "text": format!("{id} {text}"), "at": 1}).to_string() + "\n");
    sandbox.deliver("notes/large.json", lines.collect::<String>());
    let memory = MEMORY.to_string();
    let outcome = sandbox.pipeline(&["--memory", &memory, "run"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("give it more --memory"), "{}", outcome.stderr);
}

/// Notes whose sites ascend from run to run, so that the table's row groups lie in the order of its keys; some have no site.
fn deliver_in_order(sandbox: &Sandbox, run: u64) {
    let note = |id: u64| {
        let site = (!id.is_multiple_of(97)).then(|| format!("S{:05}", id / 8));
        let text = blake3::hash(&id.to_le_bytes()).to_hex().to_string();
        json!({"id": id, "site": site, "text": text, "at": 1}).to_string() + "\n"
    };
    sandbox.deliver(&format!("notes/{run}.json"), (run * 50_000..(run + 1) * 50_000).map(note).collect::<String>());
}

#[test]
fn what_lies_in_the_order_of_its_keys_is_computed_in_ranges() {
    let (little, plenty) = (ward(), ward());
    for sandbox in [&little, &plenty] {
        let by_site = SQL.replace("UPPER(s.code)", "s.code");
        std::fs::write(sandbox.path("project/pipelines/ward/gold/texts.sql"), by_site).unwrap();
        for run in 0..4 {
            deliver_in_order(sandbox, run);
            sandbox.run();
        }
    }
    let outcome = little.expect(0, &["--memory", "16MB", "-v", "run", "--stage", "gold", "--full-refresh"]);
    assert!(outcome.stderr.contains("computed in ranges of keys"), "{}", outcome.stderr);
    assert!(plenty.count("gold.texts") > 20_000);
    little.assert_same_rows(&plenty, "in ranges (left) and all at once");
}

#[test]
fn counts_of_many_rows_are_added_up() {
    let (little, plenty) = (Sandbox::new(), Sandbox::new());
    for sandbox in [&little, &plenty] {
        let out = sandbox.path("data");
        sandbox.expect(0, &["generate", "--out", out.to_str().unwrap(), "--exams", "14000", "--seed", "7"]);
    }
    let outcome = little.expect(0, &["--memory", "3MB", "-v", "run", "--pipeline", "imaging"]);
    assert!(outcome.stderr.contains("counted part by part"), "{}", outcome.stderr);
    plenty.expect(0, &["run", "--pipeline", "imaging"]);
    assert!(plenty.count("gold.label_activity_monthly") > 20);
    little.assert_same_rows(&plenty, "little memory (left) and plenty");
}
