//! The rows of a `by_key` table, computed in as many parts of its keys as memory asks for.
//!
//! The SQL may collect whatever it likes, lists of texts or a join's side, and not all of that can go to disk. But what
//! it gives for some keys depends on the input rows of those keys alone, so that any set of keys can be computed apart
//! from the others. Nothing says beforehand how much the SQL will collect: all keys are tried at once, and what turns
//! out to be too large for the engine's memory is taken in smaller parts. They are committed together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use deltalake::datafusion::common::hash_utils::{RandomState, create_hashes};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::logical_expr::{ColumnarValue, Expr, Volatility, cast, create_udf};
use deltalake::datafusion::prelude::SessionContext;

use super::keys::{ChangedKeys, key_schema, rows_of_keys};
use super::output::{self, Written};
use crate::contract::{KeyedInput, Table};
use crate::engine;
use crate::error::{Error, Place, Result};
use crate::lake::{KeySet, LakeTable, TableSpec};
use crate::run::Run;
use crate::silver::quarantine::Replace;
use crate::transform::Transform;

/// How many parts one becomes that was too large. Memory mostly ends early in an attempt, so that few large steps cost
/// less than many small ones.
const STEP: u64 = 4;
/// The smallest part, as a share of all keys: what does not fit then is a single key.
const SMALLEST: u64 = 4096;

/// Of the hash that parts keys. The engine's own, by which it divides rows among tasks, has another, or all keys of a part
/// would go to the same few.
const SEED: u64 = 0x006d_6564_616c_6861;

/// The rows that are to be computed.
pub(super) struct Parts<'a> {
    /// Who computes them.
    pub run: &'a Run,
    /// The table that they are of.
    pub table: &'a Table,
    /// The columns that the keys are made of.
    pub replace_by: &'a [String],
    /// How keys are told in the inputs.
    pub keyed: &'a [KeyedInput],
    /// Where they are written to.
    pub target: &'a LakeTable,
    /// Its columns and files.
    pub spec: &'a TableSpec,
    /// The inputs, in the order of `keyed`.
    pub inputs: &'a [LakeTable],
    /// The keys that are wanted; all of them without.
    pub keys: Option<&'a ChangedKeys>,
}

/// Those keys whose hash has a remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    index: u64,
    of: u64,
}

impl Parts<'_> {
    /// Computes the rows and writes them; `replace` says which rows of the quarantine give way to those set aside now.
    ///
    /// # Errors
    /// When the rows of a single key do not fit into memory, an expectation of severity `fail` does not hold, or storage
    /// fails.
    pub async fn compute(&self, replace: &Replace) -> Result<Written> {
        let (mut open, mut written) = (vec![Part { index: 0, of: 1 }], None::<Written>);
        // How many parts there must be: what was too large once is not tried again with other keys.
        let mut fewest = 1;
        while let Some(part) = open.pop() {
            if part.of < fewest {
                open.extend(part.split());
                continue;
            }
            let replace = if written.is_none() { replace } else { &Replace::Nothing };
            match self.compute_part(part, replace).await {
                Ok(more) => {
                    written = Some(match written {
                        Some(before) => before.and(more),
                        None => more,
                    });
                }
                Err(error) if error.is_out_of_memory() && part.of < SMALLEST => {
                    tracing::info!(table = %self.table.name, part.of, "a part of the keys does not fit into memory");
                    fewest = part.of * STEP;
                    open.push(part);
                }
                Err(error) if error.is_out_of_memory() => return Err(error.or_hint("give it more --memory")),
                Err(error) => return Err(error),
            }
        }
        written.ok_or_else(|| Error::failed(format!("{}: nothing was computed", self.table.name)))?.judged()
    }

    /// Runs the SQL over the input rows of a part of the keys, in a session of its own.
    async fn compute_part(&self, part: Part, replace: &Replace) -> Result<Written> {
        let ctx = self.run.session_with_references(self.table.references())?;
        let schema = key_schema(self.table, self.replace_by);
        let keys = self.keys.map(|keys| part.keys_of(keys)).transpose()?;
        for (keyed, input) in self.keyed.iter().zip(self.inputs) {
            register(&ctx, keyed, input, part, &schema, keys.as_ref()).await.at(&self.table.name)?;
        }
        let transform = Transform::plan(&ctx, self.table, &[], None).await?;
        output::write(self.run, &transform, self.target, self.spec, replace).await
    }
}

/// Registers an input as if it held only the rows of some keys; one that is broadcast is registered whole.
async fn register(
    ctx: &SessionContext,
    keyed: &KeyedInput,
    input: &LakeTable,
    part: Part,
    schema: &SchemaRef,
    keys: Option<&ChangedKeys>,
) -> Result<()> {
    let rows = match keys {
        Some(keys) => rows_of_keys(ctx, input, keyed, keys).await?,
        None => {
            let all = input.provider(ctx).await?;
            if keyed.is_broadcast() || part.of == 1 {
                all
            } else {
                ctx.read_table(all)?.filter(part.holds(&keyed.key, schema))?.into_view()
            }
        }
    };
    engine::register(ctx, &input.name, rows)
}

impl Part {
    /// Smaller parts that are the same together.
    fn split(self) -> impl Iterator<Item = Self> {
        (0..STEP).map(move |step| Self { index: self.index + step * self.of, of: self.of * STEP })
    }

    fn has(self, hash: u64) -> bool {
        hash % self.of == self.index
    }

    /// Which rows have a key of the part.
    fn among(self, key: &[ArrayRef]) -> Result<BooleanArray, DataFusionError> {
        let mut hashes = vec![0; key.first().map_or(0, |column| column.len())];
        create_hashes(key, &RandomState::with_seed(SEED), &mut hashes)?;
        Ok(hashes.into_iter().map(|hash| Some(self.has(hash))).collect())
    }

    /// Those of some keys that are of the part.
    fn keys_of(self, keys: &ChangedKeys) -> Result<ChangedKeys> {
        if self.of == 1 {
            return Ok(keys.clone());
        }
        let rows = filter_record_batch(&keys.rows, &self.among(keys.rows.columns())?)?;
        let mut set = KeySet::default();
        set.add(rows.columns())?;
        Ok(ChangedKeys { rows, set: Arc::new(set) })
    }

    /// The condition that a row's key is of the part. Keys are compared as the table stores them.
    fn holds(self, key: &[Expr], schema: &SchemaRef) -> Expr {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let key = key.iter().zip(&types).map(|(expr, data_type)| cast(expr.clone(), data_type.clone())).collect();
        let hash = move |columns: &[ColumnarValue]| {
            Ok(ColumnarValue::Array(Arc::new(self.among(&ColumnarValue::values_to_arrays(columns)?)?)))
        };
        create_udf("_is_of_part", types, DataType::Boolean, Volatility::Immutable, Arc::new(hash)).call(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_part_have_each_of_its_keys_once() {
        let part = Part { index: 3, of: 4 };
        let parts: Vec<Part> = part.split().flat_map(Part::split).collect();
        assert_eq!(parts.len(), 16);
        for hash in 0..1000 {
            let of = parts.iter().filter(|part| part.has(hash)).count();
            assert_eq!(of, usize::from(part.has(hash)), "{hash}");
        }
    }
}
