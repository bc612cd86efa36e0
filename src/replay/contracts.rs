//! The contracts of releases: `ops.contracts` has each set of files once, under its hash.

use std::collections::BTreeMap;

use deltalake::datafusion::scalar::ScalarValue;
use serde::Deserialize;

use crate::contract::Files;
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::lake::{Commit, Lake};
use crate::ops::{self, ContractRow};
use crate::query::{Reader, Values};

/// Stores contracts, if they are not there yet; gives their hash.
///
/// # Errors
/// When storage fails.
pub async fn store(lake: &Lake, files: &Files, run: &str, at: i64) -> Result<String> {
    let (spec, hash) = (ops::contracts(), files.hash());
    let mut table = lake.open_or_create(&spec).await?;
    // The position of a set of files says that it is there, without reading any.
    if table.position(&hash).await?.is_none() {
        let row = |(path, text): (&str, &str)| ContractRow {
            contracts: hash.clone(),
            path: path.to_owned(),
            text: text.to_owned(),
            first_used_at: at,
        };
        let rows: Vec<ContractRow> = files.iter().map(row).collect();
        let adds = ops::write(lake, &spec, &rows).await?;
        let positions = BTreeMap::from([(hash.clone(), 1)]);
        table.commit(lake, Commit { adds, positions, run: run.to_owned(), ..Commit::default() }).await?;
    }
    Ok(hash)
}

#[derive(Deserialize)]
struct Hash {
    contracts: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    path: String,
    text: String,
}

/// The hash of the newest release's contracts.
///
/// # Errors
/// When `ops.releases` cannot be read.
pub async fn newest(lake: &Lake) -> Result<Option<String>> {
    let reader = Reader::new(lake.clone(), Limits::default());
    if lake.open(&ops::releases().name).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT contracts FROM ops.releases ORDER BY release DESC LIMIT 1";
    let found: Vec<Hash> = reader.select(sql, &Values::default()).await?;
    Ok(found.into_iter().find_map(|found| found.contracts))
}

/// The contracts that a release was computed by.
///
/// # Errors
/// When they are not stored.
pub async fn of_release(reader: &Reader, release: i64) -> Result<Files> {
    let values = Values::from([("release", ScalarValue::Int64(Some(release)))]);
    let sql = "SELECT DISTINCT contracts FROM ops.releases WHERE release = $release";
    let found: Vec<Hash> = reader.select(sql, &values).await?;
    let hash = found.into_iter().find_map(|found| found.contracts);
    let hash = hash.ok_or_else(|| Error::failed(format!("release {release} has no contracts")))?;
    let values = Values::from([("hash", ScalarValue::Utf8(Some(hash)))]);
    let sql = "SELECT path, text FROM ops.contracts WHERE contracts = $hash";
    let stored: Vec<Stored> = reader.select(sql, &values).await?;
    if stored.is_empty() {
        return Err(Error::failed(format!("the contracts of release {release} are not in ops.contracts")));
    }
    Ok(Files::new(stored.into_iter().map(|file| (file.path, file.text)).collect()))
}
