//! `README.md` of a dataset and its plots, for people.

use std::collections::BTreeMap;

use super::manifest::SplitCounts;
use super::recipe::Recipe;
use super::svg::{self, Bar};

/// Values of a label that a table and a plot show; the others are told by their number.
const SHOWN: usize = 30;

/// A text file of a dataset.
pub struct Page {
    /// Relative to the dataset.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The plots: rows by split, and the values of each label column.
pub fn plots(recipe: &Recipe, splits: &[SplitCounts]) -> Vec<Page> {
    let sizes: Vec<Bar> =
        splits.iter().map(|split| Bar { label: split.name.clone(), parts: vec![split.rows] }).collect();
    let sizes = svg::bars("Rows by split", &["rows".to_owned()], &sizes);
    let names: Vec<String> = splits.iter().map(|split| split.name.clone()).collect();
    let mut pages = vec![Page { path: "plots/splits.svg".to_owned(), text: sizes }];
    for label in &recipe.labels {
        let bars: Vec<Bar> =
            balance(splits, label).into_iter().take(SHOWN).map(|(label, parts)| Bar { label, parts }).collect();
        let text = svg::bars(&format!("Rows by {label}"), &names, &bars);
        pages.push(Page { path: plot_of(label), text });
    }
    pages
}

fn plot_of(label: &str) -> String {
    let safe: String = label.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("plots/label-{safe}.svg")
}

/// The values of a label with the rows of each split that have them, the most frequent first.
fn balance(splits: &[SplitCounts], label: &str) -> Vec<(String, Vec<u64>)> {
    let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (at, split) in splits.iter().enumerate() {
        for (value, rows) in split.labels.get(label).into_iter().flatten() {
            values.entry(value).or_insert_with(|| vec![0; splits.len()])[at] = *rows;
        }
    }
    let mut values: Vec<(String, Vec<u64>)> =
        values.into_iter().map(|(value, rows)| (value.to_owned(), rows)).collect();
    values.sort_by(|a, b| b.1.iter().sum::<u64>().cmp(&a.1.iter().sum::<u64>()).then_with(|| a.0.cmp(&b.0)));
    values
}

/// The page.
pub fn page(recipe: &Recipe, splits: &[SplitCounts], descriptions: &BTreeMap<String, String>) -> Page {
    let mut text = format!("# {}\n\n", recipe.name);
    if !recipe.description.is_empty() {
        text.push_str(&format!("{}\n\n", recipe.description));
    }
    text.push_str(&provenance(recipe));
    text.push_str(&sizes(recipe, splits));
    for label in &recipe.labels {
        text.push_str(&label_section(label, splits, descriptions));
    }
    text.push_str(&originals(recipe, splits));
    text.push_str(&reading(recipe));
    Page { path: "README.md".to_owned(), text }
}

fn provenance(recipe: &Recipe) -> String {
    let published = recipe.published_at.format("%Y-%m-%d %H:%M:%S UTC");
    let mut text = format!("## Where it is from\n\nRelease {} of the lake, published {published}.\n\n", recipe.release);
    text.push_str("| read | version |\n|---|---|\n");
    for (table, version) in &recipe.tables {
        text.push_str(&format!("| `{table}` | {version} |\n"));
    }
    for (reference, sha256) in &recipe.references {
        text.push_str(&format!("| `reference.{reference}` | SHA-256 `{}…` |\n", &sha256[..12.min(sha256.len())]));
    }
    text.push_str(&format!("\n```sql\n{}\n```\n\n", recipe.sql.trim()));
    if !recipe.params.is_empty() {
        let params: Vec<String> = recipe.params.iter().map(|(name, value)| format!("`${name}` = `{value}`")).collect();
        text.push_str(&format!("With {}.\n\n", params.join(", ")));
    }
    text.push_str(&format!("Licence: {}.\n\n", recipe.license.as_deref().unwrap_or("not stated")));
    text
}

fn sizes(recipe: &Recipe, splits: &[SplitCounts]) -> String {
    let mut text = "## Splits\n\n![rows by split](plots/splits.svg)\n\n".to_owned();
    text.push_str("| split | share | rows | persons | rows without a person |\n|---|---:|---:|---:|---:|\n");
    for (split, counts) in recipe.splits.iter().zip(splits) {
        let persons = counts.persons.map_or_else(|| "not known".to_owned(), |persons| persons.to_string());
        let without = if counts.persons.is_some() { counts.without_person } else { counts.rows };
        text.push_str(&format!("| {} | {} | {} | {persons} | {without} |\n", split.name, split.share, counts.rows));
    }
    text.push_str(&match &recipe.person {
        Some(person) => format!(
            "\nA keyed hash of `{person}` decides the split, or of `{}` where no person is known: nobody is in two splits, and \
             a new row moves no other. The column `person` holds another keyed hash; the keys are not in the dataset.\n\n",
            recipe.id
        ),
        None => format!(
            "\nNo person is known. A keyed hash of `{}` decides the split: a new row moves no other, and rows of one person \
             may be in different splits.\n\n",
            recipe.id
        ),
    });
    text
}

fn label_section(label: &str, splits: &[SplitCounts], descriptions: &BTreeMap<String, String>) -> String {
    let values = balance(splits, label);
    let mut text = format!("## Label `{label}`\n\n");
    if let Some(description) = descriptions.get(label) {
        text.push_str(&format!("{description}\n\n"));
    }
    text.push_str(&format!("![rows by {label}]({})\n\n| value |", plot_of(label)));
    splits.iter().for_each(|split| text.push_str(&format!(" {} |", split.name)));
    text.push_str(&format!("\n|---|{}\n", "---:|".repeat(splits.len())));
    for (value, rows) in values.iter().take(SHOWN) {
        let rows: Vec<String> = rows.iter().map(u64::to_string).collect();
        text.push_str(&format!("| {} | {} |\n", cell(value), rows.join(" | ")));
    }
    if values.len() > SHOWN {
        text.push_str(&format!("\nAnd {} more values.\n", values.len() - SHOWN));
    }
    text + "\n"
}

/// A text that ends neither its cell nor its line.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn originals(recipe: &Recipe, splits: &[SplitCounts]) -> String {
    let Some(column) = &recipe.original else { return String::new() };
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for (status, rows) in splits.iter().flat_map(|split| &split.originals) {
        *statuses.entry(status).or_default() += rows;
    }
    let mut text =
        format!("## Originals\n\nThe column `{column}` names them.\n\n| status | rows | means |\n|---|---:|---|\n");
    for (status, rows) in statuses {
        let meaning = match status {
            "none" => "the row names none",
            "referenced" => "the row names it; it was not looked at",
            "copied" => "in the shard, as the member that `original_member` names",
            "missing" => "nothing is at its place",
            "unreadable" => "it cannot be read",
            _ => "not copied: its kind is not known, or what identifies a person cannot be removed from it",
        };
        text.push_str(&format!("| `{status}` | {rows} | {meaning} |\n"));
    }
    if recipe.copy {
        text.push_str(
            "\nPictures and PDF files are copied as they are: text that is burned into them, and what their makers wrote into \
             their own tags, is not removed.\n",
        );
    }
    text + "\n"
}

fn reading(recipe: &Recipe) -> String {
    let split = recipe.splits.first().map_or("train", |split| split.name.as_str());
    let mut text = format!(
        "## Reading it\n\n```python\nimport pyarrow.dataset as ds\n\nrows = ds.dataset(\"data\").to_table()\n```\n\n\
         ```python\nfrom datasets import load_dataset\n\n\
         {split} = load_dataset(\"parquet\", data_files={{\"{split}\": \"data/{split}-*.parquet\"}}, split=\"{split}\")\n```\n\n"
    );
    if recipe.copy {
        text.push_str(&format!(
            "```python\nimport glob\nimport webdataset as wds\n\n\
             for sample in wds.WebDataset(sorted(glob.glob(\"shards/{split}-*.tar\")), shardshuffle=False):\n    \
             print(sample[\"__key__\"], sorted(sample))\n```\n\n"
        ));
    }
    text.push_str(&format!(
        "`croissant.json` tells the same to programs, `dataset.json` has the hash of each file. `pipeline dataset verify {}` \
         checks them.\n",
        recipe.name
    ));
    text
}
