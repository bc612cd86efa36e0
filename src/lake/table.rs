//! A table of the lake at one version.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Action, Add, LogicalFileView, MetadataExt, Remove, new_metadata};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, Path};
use object_store::ObjectStoreExt;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::commit::CHECKPOINT_EVERY;
use super::log::LogEntry;
use super::{Store, TableSpec};
use crate::error::{Place, Result};

/// A data file of a table.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Relative to the table.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows, from its statistics.
    pub rows: Option<u64>,
    add: Add,
}

impl DataFile {
    /// The file that an action adds.
    pub fn of(add: Add) -> Self {
        let stats: Option<Value> = add.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok());
        let rows = stats.and_then(|stats| stats.get("numRecords")?.as_u64());
        Self { path: add.path.clone(), size: u64::try_from(add.size).unwrap_or_default(), rows, add }
    }

    /// The action that added it.
    pub fn add(&self) -> &Add {
        &self.add
    }

    /// The action that takes the file out of the table.
    pub fn remove(&self) -> Remove {
        Remove {
            path: self.add.path.clone(),
            data_change: true,
            deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(self.add.partition_values.clone()),
            size: Some(self.add.size),
            ..Remove::default()
        }
    }

    /// The largest value of a whole-number column, from the file's statistics.
    pub fn max_integer(&self, column: &str) -> Option<i64> {
        let stats: Value = serde_json::from_str(self.add.stats.as_deref()?).ok()?;
        stats.get("maxValues")?.get(column)?.as_i64()
    }
}

/// A table of the lake at one version.
#[derive(Debug, Clone)]
pub struct LakeTable {
    /// `<stage>.<name>`.
    pub name: String,
    table: DeltaTable,
    schema: SchemaRef,
    /// Those positions of this version that were asked for, or were committed.
    positions: Arc<Mutex<HashMap<String, Option<i64>>>>,
    /// Those entries of the log that were read, and may be asked for again.
    recent: Arc<Mutex<HashMap<u64, Arc<LogEntry>>>>,
}

impl LakeTable {
    pub(super) fn new(name: &str, table: DeltaTable) -> Result<Self> {
        let schema = arrow_schema(name, &table)?;
        Ok(Self { name: name.to_owned(), table, schema, positions: Arc::default(), recent: Arc::default() })
    }

    /// Takes over the state after a commit of these positions.
    pub(super) fn set_state(&mut self, state: DeltaTableState, committed: BTreeMap<String, i64>) -> Result<()> {
        self.table.state = Some(state);
        self.schema = arrow_schema(&self.name, &self.table)?;
        let mut positions = self.known_positions().clone();
        positions.extend(committed.into_iter().map(|(name, position)| (name, Some(position))));
        self.positions = Arc::new(Mutex::new(positions));
        Ok(())
    }

    fn known_positions(&self) -> MutexGuard<'_, HashMap<String, Option<i64>>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that was opened or last committed.
    pub fn version(&self) -> u64 {
        self.table.version().unwrap_or_default()
    }

    /// The version as a position, see [`super::Commit`].
    pub fn version_position(&self) -> i64 {
        signed(self.version())
    }

    /// The schema of the table's data files.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The Delta table itself.
    pub fn delta(&self) -> &DeltaTable {
        &self.table
    }

    /// A store rooted at the table.
    pub fn store(&self) -> Store {
        self.table.object_store()
    }

    /// Whether a file is in the table's folder.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) async fn has_file(&self, path: &Path) -> Result<bool> {
        match self.store().head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error).at(&self.name),
        }
    }

    /// The data files of this version.
    ///
    /// # Errors
    /// When the snapshot is not loaded.
    pub fn files(&self) -> Result<Vec<DataFile>> {
        let snapshot = self.table.snapshot().at(&self.name)?;
        let add = |view: LogicalFileView| Add {
            path: view.path().into_owned(),
            size: view.size(),
            modification_time: view.modification_time(),
            data_change: true,
            stats: view.stats(),
            ..Add::default()
        };
        Ok(snapshot.log_data().iter().map(|view| DataFile::of(add(view))).collect())
    }

    /// The rows of this version, from the files' statistics.
    ///
    /// # Errors
    /// When the snapshot is not loaded.
    pub fn row_count(&self) -> Result<u64> {
        Ok(self.files()?.iter().filter_map(|file| file.rows).sum())
    }

    /// What tells the table from one that was made anew under its name, as a position, see [`super::Commit`].
    ///
    /// # Errors
    /// When the snapshot is not loaded.
    pub fn identity(&self) -> Result<i64> {
        let id = self.table.snapshot().at(&self.name)?.metadata().id();
        // Positions are not negative in Delta.
        Ok((xxh3_64(id.as_bytes()) >> 1) as i64)
    }

    /// How far the table has come with an input: what a commit recorded under this name, see [`super::Commit`].
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn position(&self, name: &str) -> Result<Option<i64>> {
        let known = self.known_positions().get(name).copied();
        if let Some(position) = known {
            return Ok(position);
        }
        let position = match self.recent_position(name).await {
            Some(position) => position,
            None => {
                let snapshot = self.table.snapshot().at(&self.name)?;
                snapshot.transaction_version(self.table.log_store().as_ref(), name).await.at(&self.name)?
            }
        };
        self.known_positions().insert(name.to_owned(), position);
        Ok(position)
    }

    /// A position, or that there is none, where the newest entries of the log tell: nearly each commit records all that the
    /// table has, and Delta's own search reads the log anew for every name.
    async fn recent_position(&self, name: &str) -> Option<Option<i64>> {
        let newest = self.version();
        for version in (newest.saturating_sub(CHECKPOINT_EVERY)..=newest).rev() {
            // What is wrong with an entry, if it matters, is told by Delta's own search.
            let entry = self.recent_entry(version).await.ok()??;
            if let Some(position) = entry.positions.get(name) {
                return Some(Some(*position));
            }
        }
        (newest <= CHECKPOINT_EVERY).then_some(None)
    }

    /// An entry of the log that is kept for who asks next; `None` when the log no longer has it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn recent_entry(&self, version: u64) -> Result<Option<Arc<LogEntry>>> {
        let known = self.recent_entries().get(&version).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let entry = self.log_entry(version).await?.map(Arc::new);
        self.recent_entries().extend(entry.iter().map(|entry| (version, entry.clone())));
        Ok(entry)
    }

    fn recent_entries(&self) -> MutexGuard<'_, HashMap<u64, Arc<LogEntry>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What SQL reads the table through: its columns without their comments, which to DataFusion are a part of a column's
    /// type, so that a UNION of two columns with different ones would fail.
    ///
    /// # Errors
    /// When the snapshot cannot be scanned.
    pub async fn provider(&self, ctx: &SessionContext) -> Result<Arc<dyn TableProvider>> {
        let state = ctx.state();
        self.table.update_datafusion_session(&state).at(&self.name)?;
        let config = DeltaScanConfig::new_from_session(&state).with_schema(without_comments(&self.schema));
        let snapshot = self.table.snapshot().at(&self.name)?.snapshot().clone();
        Ok(Arc::new(DeltaScanNext::new(snapshot, config).at(&self.name)?))
    }

    /// The metadata action that gives the table what it had at an older version; `None` when it has it.
    ///
    /// # Errors
    /// When a snapshot is not loaded.
    pub fn metadata_of(&self, old: &Self) -> Result<Option<Action>> {
        let now = self.table.snapshot().at(&self.name)?.metadata();
        let then = old.table.snapshot().at(&self.name)?.metadata();
        Ok((now != then).then(|| Action::Metadata(then.clone())))
    }

    /// The metadata action that gives the table the columns, description and properties of a spec; `None` when it has
    /// them.
    ///
    /// # Errors
    /// When a type has no counterpart in Delta.
    pub fn metadata_change(&self, spec: &TableSpec) -> Result<Option<Action>> {
        let snapshot = self.table.snapshot().at(&self.name)?;
        let current = snapshot.metadata();
        let schema = spec.delta_schema()?;
        // A column that may no longer have statistics must not get them from another writer either.
        let properties: HashMap<String, String> =
            spec.properties().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if *snapshot.schema().as_ref() == schema
            && current.description() == Some(spec.description.as_str())
            && *current.configuration() == properties
        {
            return Ok(None);
        }
        let name = spec.name.rsplit('.').next().unwrap_or(&spec.name).to_owned();
        let metadata = new_metadata(&schema, Vec::<String>::new(), spec.properties())
            .and_then(|metadata| metadata.with_table_id(current.id().to_owned()))
            .and_then(|metadata| metadata.with_name(name))
            .and_then(|metadata| metadata.with_description(spec.description.clone()))
            .at(&self.name)?;
        Ok(Some(Action::Metadata(metadata)))
    }
}

/// A schema whose columns have their names and types only.
pub(super) fn without_comments(schema: &Schema) -> SchemaRef {
    let plain = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(HashMap::new()));
    Arc::new(Schema::new(plain.collect::<Vec<_>>()))
}

fn arrow_schema(name: &str, table: &DeltaTable) -> Result<SchemaRef> {
    let schema: Schema = table.snapshot().at(name)?.schema().as_ref().try_into_arrow().at(name)?;
    Ok(Arc::new(schema))
}

/// A version or a count as Delta's logs hold it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::{Commit, Durability, Lake};
    use crate::ops;

    #[tokio::test]
    async fn a_position_is_the_newest_however_old_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(&folder.path().display().to_string(), Durability::None).unwrap();
        let mut table = lake.open_or_create(&ops::pins()).await.unwrap();
        let last = 2 * CHECKPOINT_EVERY as i64 + 3;
        for number in 1..=last {
            let mut positions = BTreeMap::from([("each".to_owned(), number), (format!("once {number}"), number)]);
            positions.extend((number % 15 == 2).then(|| ("seldom".to_owned(), number)));
            table.commit(&lake, Commit { positions, ..Commit::default() }).await.unwrap();
            let opened = lake.open("ops.pins").await.unwrap().unwrap();
            let seldom = (1..=number).rev().find(|number| number % 15 == 2);
            for table in [&table, &opened] {
                assert_eq!(table.position("each").await.unwrap(), Some(number));
                assert_eq!(table.position("seldom").await.unwrap(), seldom, "after {number}");
                assert_eq!(table.position("once 1").await.unwrap(), Some(1), "after {number}");
                assert_eq!(table.position("never").await.unwrap(), None);
            }
        }
        let then = lake.open_at("ops.pins", 4).await.unwrap().unwrap();
        assert_eq!(then.position("each").await.unwrap(), Some(4));
        assert_eq!(then.position("once 5").await.unwrap(), None, "that was later");
    }
}
