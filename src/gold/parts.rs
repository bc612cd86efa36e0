//! The rows of a `by_key` table, computed in as many portions of its keys as memory asks for.
//!
//! The SQL may collect whatever it likes, lists of texts or a join's side, and not all of that can go to disk. But what
//! it gives for some keys depends on the input rows of those keys alone, so that any set of keys can be computed apart
//! from the others. Nothing says beforehand how much the SQL will collect: unless the inputs have very many rows, all keys are
//! tried at once. Where that is too much for the engine's memory, they are computed portion by portion: in ranges of keys
//! where the inputs lie in the order of their keys ([`Layout`]), else what the SQL reads is divided by key onto disk
//! ([`Divided`]). All portions are committed together.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::prelude::SessionContext;
use futures::future::LocalBoxFuture;

use super::divided::{Divided, Portion, SHARE};
use super::keys::{ChangedKeys, key_schema, rows_of_keys};
use super::output::{self, Written};
use super::ranges::{KeyRange, Layout};
use crate::contract::{KeyedInput, Table};
use crate::error::{Error, Place, Result};
use crate::lake::{LakeTable, TableSpec};
use crate::run::Run;
use crate::silver::quarantine::Replace;
use crate::transform::Transform;
use crate::{engine, memory};

/// Bytes that the engine holds of a row of an input, roughly.
const BYTES_OF_ROW: usize = 64;
/// How many times smaller ranges become after one that was too large.
const FINER: usize = 4;
/// How many times the memory such rows may take for all keys to be tried at once.
const HOPELESS: usize = 2;

/// Some of the wanted keys.
#[derive(Clone, Copy)]
enum Keys<'a> {
    All,
    Range(&'a KeyRange),
    Portion(&'a Divided, &'a Portion),
}

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

impl Parts<'_> {
    /// Computes the rows and writes them; `replace` says which rows of the quarantine give way to those set aside now.
    ///
    /// # Errors
    /// When the rows of a single key do not fit into memory, an expectation of severity `fail` does not hold, or storage
    /// fails.
    pub async fn compute(&self, replace: &Replace) -> Result<Written> {
        let rows = self.rows_of_inputs()?.saturating_mul(BYTES_OF_ROW);
        if rows > self.run.limits.memory {
            // The engine will use all that it may.
            memory::give_back_beyond(self.run.limits.memory / 2);
        }
        if rows / HOPELESS > self.run.limits.memory {
            return self.compute_in_portions(replace).await;
        }
        match self.compute_some(&self.session(Keys::All).await?, replace).await {
            Err(error) if error.is_out_of_memory() => {
                memory::give_back_beyond(self.run.limits.memory / 2);
                self.compute_in_portions(replace).await
            }
            written => written?.judged(),
        }
    }

    /// How many rows of the inputs may be read, at most.
    fn rows_of_inputs(&self) -> Result<usize> {
        if self.keys.is_some() {
            return Ok(0);
        }
        let rows = self.inputs.iter().map(LakeTable::row_count).sum::<Result<u64>>()?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    /// Boxed, for each table's refresh would be as large as what few of them need: too large for the stack of a thread.
    fn compute_in_portions<'a>(&'a self, replace: &'a Replace) -> LocalBoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            tracing::info!(table = %self.table.name, "not all keys fit into memory at once");
            let mut written = None::<Written>;
            let compute = async |ctx: SessionContext| {
                // What is set aside now is replaced once.
                let replace = if written.is_none() { replace } else { &Replace::Nothing };
                let more = self.compute_some(&ctx, replace).await?;
                written = Some(match written.take() {
                    Some(before) => before.and(more),
                    None => more,
                });
                Ok(())
            };
            self.each_portion(&key_schema(self.table, self.replace_by), self.run.limits.memory, compute).await?;
            written.ok_or_else(|| Error::failed(format!("{}: nothing was computed", self.table.name)))?.judged()
        })
    }

    /// Runs the SQL over the rows that a session has.
    async fn compute_some(&self, ctx: &SessionContext, replace: &Replace) -> Result<Written> {
        let transform = Transform::plan(ctx, self.table, &[], None).await?;
        output::write(self.run, &transform, self.target, self.spec, replace).await
    }

    /// Does something with one portion of the keys after the other, such as fit into so many bytes of memory: gets a session with
    /// the input rows of each. Keys are compared in these types. Portions are ranges while the inputs lie so that this pays.
    ///
    /// # Errors
    /// When the rows of a single key do not fit into memory, or what is done fails otherwise.
    pub async fn each_portion(
        &self,
        types: &SchemaRef,
        memory: usize,
        mut compute: impl AsyncFnMut(SessionContext) -> Result<()>,
    ) -> Result<()> {
        let (mut left, mut rows) = (KeyRange::default(), (memory as f64 * SHARE) as usize / BYTES_OF_ROW);
        let layout = match self.keys {
            Some(_) => None,
            None => Layout::of(self.keyed, self.inputs, types).await.at(&self.table.name)?,
        };
        while let Some(ranges) = layout.as_ref().and_then(|layout| layout.cut(&left, rows)) {
            tracing::info!(table = %self.table.name, ranges = ranges.len(), "computed in ranges of keys");
            let Some(too_large) = self.each_range(ranges, &mut compute).await? else { return Ok(()) };
            (left, rows) = (too_large.onwards(), rows / FINER);
        }
        let divided = self.divide(types, &left).await.at(&self.table.name)?;
        let compute = async |divided: &Divided, portion: &Portion| {
            compute(self.session(Keys::Portion(divided, portion)).await?).await
        };
        divided.each(memory, compute).await
    }

    /// Does it with ranges of keys, up to the first that is too large.
    async fn each_range(
        &self,
        ranges: Vec<KeyRange>,
        compute: &mut impl AsyncFnMut(SessionContext) -> Result<()>,
    ) -> Result<Option<KeyRange>> {
        for range in ranges {
            match compute(self.session(Keys::Range(&range)).await?).await {
                Err(error) if error.is_out_of_memory() => return Ok(Some(range)),
                done => done?,
            }
        }
        Ok(None)
    }

    /// A session that has the input rows of some keys.
    async fn session(&self, keys: Keys<'_>) -> Result<SessionContext> {
        let ctx = self.run.session_with_references(self.table.references())?;
        for (keyed, input) in self.keyed.iter().zip(self.inputs) {
            let rows = self.rows(&ctx, keyed, input, keys).await.at(&self.table.name)?;
            engine::register(&ctx, &input.name, rows)?;
        }
        Ok(ctx)
    }

    /// The rows of an input that some of the wanted keys depend on.
    async fn rows(
        &self,
        ctx: &SessionContext,
        keyed: &KeyedInput,
        input: &LakeTable,
        keys: Keys<'_>,
    ) -> Result<Arc<dyn TableProvider>> {
        if let Keys::Portion(divided, portion) = keys
            && let Some(rows) = divided.rows(ctx, &input.name, portion)?
        {
            return Ok(rows);
        }
        let rows = match self.keys {
            Some(keys) => rows_of_keys(ctx, input, keyed, keys).await?,
            None => input.provider(ctx).await?,
        };
        match keys {
            Keys::Range(range) => match range.holds(&keyed.key) {
                Some(condition) => Ok(ctx.read_table(rows)?.filter(condition)?.into_view()),
                None => Ok(rows),
            },
            Keys::All | Keys::Portion(..) => Ok(rows),
        }
    }

    /// Divides by key, with parts of these types, what the SQL reads of the inputs' rows of a range. Those that are broadcast are
    /// the same for all keys.
    async fn divide(&self, types: &SchemaRef, range: &KeyRange) -> Result<Divided> {
        let ctx = self.session(Keys::All).await?;
        let read = Transform::plan(&ctx, self.table, &[], None).await?.columns_read()?;
        let mut divided = Divided::default();
        for (keyed, input) in self.keyed.iter().zip(self.inputs).filter(|(keyed, _)| !keyed.is_broadcast()) {
            let of_key = keyed.key.iter().flat_map(|part| part.column_refs()).map(|column| column.name.as_str());
            let mut columns: BTreeSet<&str> = of_key.collect();
            columns.extend(read.get(&input.name).into_iter().flatten().map(String::as_str));
            let mut rows = ctx.table(input.name.as_str()).await?;
            if let Some(condition) = range.holds(&keyed.key) {
                rows = rows.filter(condition)?;
            }
            let rows = rows.select_columns(&columns.into_iter().collect::<Vec<_>>())?;
            divided.add(&ctx, &input.name, rows, &keyed.key, types).await?;
        }
        Ok(divided)
    }
}
