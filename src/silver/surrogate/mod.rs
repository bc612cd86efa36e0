//! Tables that number keys: a key gets its number once and keeps it, whatever comes later.
//!
//! The rows are state, not a result: nothing but the table itself knows a number that went to another key than it would
//! have at first, so rows are added and never changed or removed, a full refresh included. The SQL runs over the keys that
//! changed, or whole where these cannot be told: the numbers are the same, see `numbers.rs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use deltalake::datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use futures::stream::select_all;
use xxhash_rust::xxh3::xxh3_64;

use self::held::{Layout, column};
use self::numbers::{Arrivals, Given, Numbers};
use super::quarantine::{Quarantine, Replace};
use crate::contract::{Table, type_name};
use crate::engine;
use crate::error::{Error, Result};
use crate::gold::keys::{self, ChangedKeys};
use crate::gold::output::{json_keys, json_rows};
use crate::gold::{by_key, whole};
use crate::lake::{Add, Commit, KeySet, LakeTable, TableSpec, TableWriter};
use crate::run::{Run, TableReport, Why};
use crate::transform::{Counts, Transform};

mod held;
mod numbers;
#[cfg(test)]
mod tests;

/// The position under which a table records what its numbers were given to.
const KEY: &str = "key";
/// How many changed keys are looked up in the table; with more, all of it is read.
const FEW_KEYS: usize = 16 * 1024;

/// Gives a number to each key that has none.
///
/// # Errors
/// When the key is another one than the table's numbers were given to, an expectation of severity `fail` does not hold,
/// no number is left, or storage fails; the table is then as it was.
pub async fn refresh(run: &Run, table: &Table) -> Result<TableReport> {
    let layout = Layout::of(table)?;
    let Some(inputs) = whole::open_inputs(&run.lake, &table.inputs()).await? else {
        return Ok(TableReport::unchanged(table));
    };
    let spec = TableSpec::of(table);
    let mut target = run.lake.open_or_create(&spec).await?;
    target.catch_up(&run.lake).await?;
    check_key(table, &layout, &target).await?;
    let why = run.why(table, &target).await?;
    if why == Why::NewInput && whole::news(&target, &inputs).await?.is_none() {
        return Ok(TableReport::unchanged(table));
    }
    let ctx = run.session_with_references(table.references())?;
    let (why, changed) = changed(&ctx, table, &target, &inputs, why).await?;
    if changed.as_ref().is_some_and(|keys| keys.set.is_empty()) {
        return Ok(TableReport::unchanged(table));
    }
    register(&ctx, table, &inputs, changed.as_ref()).await?;
    let transform = Transform::plan(&ctx, &as_given(table, &layout), &[], None).await?;
    let quarantine = Quarantine::open(&run.lake, &target.name, &run.id, run.started_micros()).await?;
    let replace = match &changed {
        Some(keys) => Replace::Keys(json_keys(&keys.rows, &table.key)?),
        None => Replace::All,
    };
    let mut survey = Survey::new(&ctx, &target, &layout, changed).await?;
    let (counts, quarantine) = survey.run(&transform, quarantine).await?;
    transform.judge().stop_on_failure(&counts)?;
    let given = survey.give().await?;
    let adds = write(&transform, &target, &spec, &layout, &given).await?;
    let report = TableReport::of_rows(table, why, &counts, &adds, 0);
    let mut commit = Commit { adds, positions: whole::positions(table, &inputs)?, ..Commit::default() };
    if why != Why::NewInput {
        commit.metadata = target.metadata_change(&spec)?;
    }
    commit.positions.insert(KEY.to_owned(), key_fingerprint(table, &layout));
    commit.followers.extend(quarantine.close(&replace, None).await?.follower);
    commit.followers.extend(run.expectation_rows(table, &report).await?);
    run.commit(&mut target, commit).await?;
    Ok(report)
}

/// The key's and the number's names and types, as a position.
fn key_fingerprint(table: &Table, layout: &Layout) -> i64 {
    let column = |name: &String| {
        let data_type = table.column(name).map(|column| type_name(&column.data_type)).unwrap_or_default();
        format!("{name} {data_type}\n")
    };
    let text: String = layout.key.iter().chain([&layout.number]).map(column).collect();
    // Positions are not negative in Delta.
    (xxh3_64(text.as_bytes()) >> 1) as i64
}

async fn check_key(table: &Table, layout: &Layout, target: &LakeTable) -> Result<()> {
    match target.position(KEY).await? {
        Some(known) if known != key_fingerprint(table, layout) => {
            let what = "key or number has another name or type than that which its numbers were given to";
            Err(Error::failed(format!("{}: its {what}", table.name))
                .hint("numbers are kept for ever: put the contract back, or give the new one a table of another name"))
        }
        _ => Ok(()),
    }
}

/// Which keys changed, where that can be told and matters.
async fn changed(
    ctx: &SessionContext,
    table: &Table,
    target: &LakeTable,
    inputs: &[LakeTable],
    why: Why,
) -> Result<(Why, Option<ChangedKeys>)> {
    let Some((key, keyed)) = table.keyed().filter(|_| why == Why::NewInput) else { return Ok((why, None)) };
    let seen = by_key::seen(target, keyed, inputs).await?;
    Ok(match keys::changed(ctx, table, &keys::key_schema(table, key), &seen).await? {
        None => (Why::UnknownChanges, None),
        Some(keys) => (why, Some(keys)),
    })
}

async fn register(
    ctx: &SessionContext,
    table: &Table,
    inputs: &[LakeTable],
    changed: Option<&ChangedKeys>,
) -> Result<()> {
    let keyed = table.keyed().map(|(_, keyed)| keyed).unwrap_or_default();
    for (index, input) in inputs.iter().enumerate() {
        let rows = match changed.zip(keyed.get(index)) {
            Some((keys, keyed)) => keys::rows_of_keys(ctx, input, keyed, keys).await?,
            None => input.provider(ctx).await?,
        };
        engine::register(ctx, &input.name, rows)?;
    }
    Ok(())
}

/// The table as its SQL gives it: without the number.
fn as_given(table: &Table, layout: &Layout) -> Table {
    let mut given = table.clone();
    given.columns.retain(|column| column.name != layout.number);
    given
}

/// Looks at what the SQL gives, and finds the keys without a number.
struct Survey<'a> {
    target: &'a LakeTable,
    layout: &'a Layout,
    numbers: Numbers,
    /// All of the table's numbers are known, not only those of the keys that changed.
    complete: bool,
    arrivals: Arrivals,
    /// The keys that others claim to follow.
    previous: KeySet,
}

impl<'a> Survey<'a> {
    async fn new(
        ctx: &SessionContext,
        target: &'a LakeTable,
        layout: &'a Layout,
        changed: Option<ChangedKeys>,
    ) -> Result<Self> {
        let few = changed.filter(|keys| keys.set.len() <= FEW_KEYS);
        let complete = few.is_none();
        let numbers = match few {
            None => layout.read(ctx, target).await?,
            Some(keys) => {
                let mut numbers = Numbers::new(layout.max());
                layout.look_up(target, keys.set, &layout.key, &mut numbers).await?;
                numbers
            }
        };
        Ok(Self { target, layout, numbers, complete, arrivals: Arrivals::default(), previous: KeySet::default() })
    }

    async fn run(&mut self, transform: &Transform, mut quarantine: Quarantine) -> Result<(Counts, Quarantine)> {
        let mut counts = Counts::default();
        let mut rows = select_all(transform.execute().await?);
        while let Some(batch) = rows.try_next().await? {
            let judged = transform.judge().judge(&batch, &mut counts)?;
            self.look_at(&judged.passed()?)?;
            if let Some((failed, reasons)) = judged.failed {
                let keys = json_keys(&failed, &self.layout.key)?;
                quarantine.add_derived(json_rows(&failed)?, keys, &reasons).await?;
            }
        }
        self.arrivals.sort();
        Ok((counts, quarantine))
    }

    fn look_at(&mut self, rows: &RecordBatch) -> Result<()> {
        for (key, previous) in self.layout.keys(rows)?.into_iter().zip(self.layout.previous(rows)?) {
            if self.numbers.of(key).is_none() {
                self.arrivals.add(key, previous);
            }
        }
        if let Some(name) = self.layout.inherits.as_ref().filter(|_| !self.complete) {
            self.previous.add(&[column(rows, name)?])?;
        }
        Ok(())
    }

    /// Gives the numbers. What is taken depends only on the numbers that are tried, so those are enough to look up.
    async fn give(mut self) -> Result<Given> {
        let (layout, target) = (self.layout, self.target);
        if !self.arrivals.is_empty() {
            let previous = Arc::new(std::mem::take(&mut self.previous));
            layout.look_up(target, previous.clone(), &layout.key, &mut self.numbers).await?;
            let by: Vec<String> = layout.inherits.iter().cloned().collect();
            layout.look_up(target, previous, &by, &mut self.numbers).await?;
        }
        loop {
            let given = self.numbers.give(&self.arrivals).ok_or_else(|| no_number_left(target, layout))?;
            let tried = if self.complete { Vec::new() } else { given.fresh().collect() };
            let held = layout.held_of(target, tried).await?;
            if held.is_empty() {
                return Ok(given);
            }
            held.into_iter().for_each(|number| self.numbers.reserve(number));
        }
    }
}

fn no_number_left(target: &LakeTable, layout: &Layout) -> Error {
    let what = format!("{}: all {} numbers of '{}' are given", target.name, layout.max(), layout.number);
    Error::failed(what).hint("give the keys a table of another name, with a number of type BIGINT")
}

/// Writes a row for each key that was given a number: the SQL runs once more, so that no row waits in memory.
async fn write(
    transform: &Transform,
    target: &LakeTable,
    spec: &TableSpec,
    layout: &Layout,
    given: &Given,
) -> Result<Vec<Add>> {
    let mut writer = TableWriter::new(target, spec);
    let mut written = vec![false; given.len()];
    let mut missing = given.len();
    if missing > 0 {
        let mut rows = select_all(transform.execute().await?);
        while let Some(batch) = rows.try_next().await? {
            let judged = transform.judge().judge(&batch, &mut Counts::default())?;
            let batch = numbered(&judged.passed()?, spec, layout, given, &mut written)?;
            missing -= batch.num_rows();
            writer.write(&batch).await?;
        }
    }
    if missing > 0 {
        return Err(Error::failed(format!("{}: the SQL gave other keys when it ran again", target.name)));
    }
    writer.close().await
}

/// Of some rows those whose keys were given a number and are not yet written, as the table holds them.
fn numbered(
    rows: &RecordBatch,
    spec: &TableSpec,
    layout: &Layout,
    given: &Given,
    written: &mut [bool],
) -> Result<RecordBatch> {
    let (mut keep, mut numbers, mut inherits) = (Vec::new(), Vec::new(), Vec::new());
    for (key, previous) in layout.keys(rows)?.into_iter().zip(layout.previous(rows)?) {
        // Of several rows of a key, the one that names the key that it took over from.
        let place = given.place(key).filter(|place| !written[*place]);
        let place = place.filter(|place| given.from(*place).is_none_or(|from| previous == Some(from)));
        keep.push(place.is_some());
        let Some(place) = place else { continue };
        written[place] = true;
        numbers.push(given.number(place));
        inherits.push(given.from(place).is_some());
    }
    let kept = filter_record_batch(rows, &BooleanArray::from(keep))?;
    let (numbers, inherits) = (layout.as_numbers(numbers)?, BooleanArray::from(inherits));
    let columns = spec.columns.iter().map(|field| {
        if field.name == layout.number {
            return Ok(numbers.clone());
        }
        let values = column(&kept, &field.name)?;
        if layout.inherits.as_ref() == Some(&field.name) { only_where(&values, &inherits) } else { Ok(values) }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    Ok(RecordBatch::try_new(spec.arrow_schema(), columns)?)
}

/// The values of some rows, NULL elsewhere.
fn only_where(values: &ArrayRef, rows: &BooleanArray) -> Result<ArrayRef> {
    let nothing = new_null_array(values.data_type(), values.len());
    Ok(arrow::compute::kernels::zip::zip(rows, values, &nothing)?)
}
