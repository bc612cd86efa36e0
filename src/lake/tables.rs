//! Which tables lie in a lake.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as StorePath;

use super::{Lake, has_log};
use crate::error::{Place, Result};

const STAGES: [&str; 4] = ["bronze", "silver", "gold", "ops"];
/// Requests to a store that are under way at a time.
const REQUESTS: usize = 16;

impl Lake {
    /// The names of all tables that lie in the lake, sorted.
    ///
    /// # Errors
    /// When the lake cannot be listed.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let mut names = match self.folder() {
            Some(folder) => in_folder(&folder)?,
            None => self.in_store().await.at(self)?,
        };
        names.sort();
        Ok(names)
    }

    async fn in_store(&self) -> Result<Vec<String>> {
        let root = self.root_path()?;
        let folders = STAGES.map(|stage| {
            let (root, folder) = (&root, root.clone().join(stage));
            async move {
                let found = self.store.list_with_delimiter(Some(&folder)).await?;
                let names = found.common_prefixes.iter().filter_map(|path| name_of(root, path));
                Ok::<_, object_store::Error>(names.collect::<Vec<_>>())
            }
        });
        let folders = futures::future::try_join_all(folders).await?;
        let tables = futures::stream::iter(folders.into_iter().flatten()).map(|name| {
            let log = name.split('.').fold(root.clone(), |path, part| path.join(part)).join("_delta_log");
            async move {
                let first = self.store.list(Some(&log)).try_next().await?;
                Ok::<_, object_store::Error>(first.map(|_| name))
            }
        });
        Ok(tables.buffered(REQUESTS).try_filter_map(|name| std::future::ready(Ok(name))).try_collect().await?)
    }
}

/// `silver.exams` of `<root>/silver/exams`.
fn name_of(root: &StorePath, path: &StorePath) -> Option<String> {
    let parts: Vec<_> = path.prefix_match(root)?.map(|part| part.as_ref().to_owned()).collect();
    Some(parts.join("."))
}

fn in_folder(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for stage in STAGES {
        let folder = root.join(stage);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let name = entry.at(folder.display())?.file_name().to_string_lossy().into_owned();
            let name = format!("{stage}.{name}");
            if has_log(root, &name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}
