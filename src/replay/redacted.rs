//! Which tables of a release cannot come out again, because they count rows that were erased since.
//!
//! An erasure takes the rows out of the tables that say whose they are, in every version; of a table that only counts them
//! the versions until then stay as they were.

use std::collections::BTreeSet;

use deltalake::datafusion::scalar::ScalarValue;
use serde::Deserialize;

use crate::contract::Project;
use crate::engine::Limits;
use crate::erase::Subject;
use crate::error::Result;
use crate::lake::Lake;
use crate::ops;
use crate::query::{Reader, Values};

#[derive(Deserialize)]
struct Erased {
    subject: String,
}

/// The tables of a release, by its own contracts, that count erased rows.
pub(super) async fn tables(lake: &Lake, project: &Project, release: i64, limits: Limits) -> Result<BTreeSet<String>> {
    if lake.open(&ops::erasures().name).await?.is_none() {
        return Ok(BTreeSet::new());
    }
    let values = Values::from([("release", ScalarValue::Int64(Some(release)))]);
    let sql = "SELECT DISTINCT subject FROM ops.erasures WHERE last_release >= $release";
    let erased: Vec<Erased> = Reader::new(lake.clone(), limits).select(sql, &values).await?;
    let mut tables = BTreeSet::new();
    for Erased { subject } in erased {
        // Contracts that do not know the subject have no table that says whose its rows are: nothing is told of them.
        if let Ok(subject) = Subject::of(project, &subject, "") {
            tables.extend(subject.counted_in(project).iter().map(ToString::to_string));
        }
    }
    Ok(tables)
}
