//! Releases: each table's version can be opened.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Check;
use crate::error::Result;
use crate::maintain::kept;
use crate::ops;
use crate::query::{Reader, Values};

#[derive(Deserialize)]
struct Member {
    table: String,
    version: u64,
    releases: u64,
}

impl Check<'_> {
    /// Looks at the versions of all releases: those of the newest and of pinned ones must be there with all their files, the
    /// others can have been taken away.
    pub(super) async fn releases(&mut self) -> Result<()> {
        if !self.tables.contains_key(&ops::releases().name) {
            return Ok(());
        }
        for (name, versions) in kept(self.lake, self.options.limits).await? {
            for version in versions {
                self.kept(&name, version).await;
            }
        }
        let reader = Reader::new(self.lake.clone(), self.options.limits);
        let sql = r#"SELECT "table", version, COUNT(*) AS releases FROM ops.releases GROUP BY "table", version"#;
        let members: Vec<Member> = reader.select(sql, &Values::default()).await?;
        let mut gone: BTreeMap<String, u64> = BTreeMap::new();
        for member in members {
            let log = self.logs.get(&member.table);
            if log.is_none_or(|log| !log.missing(member.version).is_empty()) {
                *gone.entry(member.table).or_default() += member.releases;
            }
        }
        for (table, releases) in gone {
            self.report.note_at(
                table,
                format!("{releases} releases have a version of it that can no longer be read"),
                "`pipeline release pin` keeps a release whatever its age",
            );
        }
        Ok(())
    }

    /// Looks at a version that must be readable.
    async fn kept(&mut self, name: &str, version: u64) {
        let place = format!("{name}@{version}");
        let hint = "put it back from a backup; `pipeline release list` shows the releases that have it";
        if self.tables.get(name).is_some_and(|table| table.version() == version) {
            return;
        }
        let opened = match self.lake.open_at(name, version).await {
            Ok(Some(table)) => table.files().map(|files| (table, files)),
            Ok(None) => {
                return self.report.wrong_at(place, "a release that is kept has it, and the table is gone", hint);
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok((table, files)) => {
                for file in files {
                    self.file(&table, &file).await;
                }
            }
            Err(error) => {
                let fact = format!("a release that is kept has it, and it cannot be opened: {}", error.message());
                self.report.wrong_at(place, fact, hint);
            }
        }
    }
}
