//! What the derived keys promise, with real rows: a table's SQL over the input rows of some keys gives exactly the
//! rows that the SQL over all rows gives for those keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field};
use deltalake::datafusion::catalog::MemorySchemaProvider;
use deltalake::datafusion::common::ScalarValue;
use deltalake::datafusion::datasource::MemTable;
use deltalake::datafusion::logical_expr::{Expr, Operator, binary_expr, cast as cast_expr, lit};
use deltalake::datafusion::prelude::{DataFrame, SessionContext, col};
use medalha::contract::{Counts, Definition, KeyedInput, Project, Table, load};
use medalha::engine::{self, Limits};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: u64 = 12;
const ROWS: usize = 14;

/// A key: a value for each `replace_by` column.
type Key = Vec<ScalarValue>;

#[tokio::test]
async fn the_rows_of_some_keys_come_from_the_input_rows_of_those_keys() {
    let mut checked = 0;
    for case in ["good", "good_keys"] {
        let project = project(case);
        for table in &project.tables {
            let Definition::ByKey { inputs, .. } = &table.definition else { continue };
            for seed in 0..ROUNDS {
                assert!(holds(&project, table, inputs, seed).await, "{case}: {} with seed {seed}", table.name);
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} tables checked");
}

#[tokio::test]
async fn a_wrong_key_is_noticed() {
    let project = project("good_keys");
    let table = project.tables.iter().find(|table| table.name.name == "left_join").unwrap();
    let Definition::ByKey { inputs, .. } = &table.definition else { panic!("left_join is by key") };
    let mut wrong = inputs.clone();
    wrong[1].key = vec![col("k")];
    let mut noticed = false;
    for seed in 0..ROUNDS {
        noticed |= !holds(&project, table, &wrong, seed).await;
    }
    assert!(noticed);
}

#[tokio::test]
async fn counts_of_what_changed_can_be_added() {
    let project = project("counts");
    let mut checked = 0;
    for table in &project.tables {
        let Some(counts) = table.counts() else { continue };
        for seed in 0..ROUNDS {
            assert_eq!(added_up(&project, table, counts, seed).await, [0; 2], "{} with seed {seed}", table.name);
        }
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// Counts all, changes rows of some values and of no others, and adds the difference of their counts: how many groups then
/// have other counts than all counted anew, and how many that are counted anew are not there.
async fn added_up(project: &Project, table: &Table, counts: &Counts, seed: u64) -> [usize; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = || -> Vec<RecordBatch> {
        counts.inputs.iter().map(|input| random_rows(project.table(&input.table).unwrap(), &mut rng)).collect()
    };
    let [before, other] = [rows(), rows()];
    let (first, second) = (session(project, &counts.inputs, &before), session(project, &counts.inputs, &other));
    let mut values = BTreeMap::new();
    for input in &counts.inputs {
        for session in [&first, &second] {
            values.extend(distinct(session.table(input.table.to_string()).await.unwrap(), &input.key).await);
        }
    }
    let changed: Vec<Key> = values.into_values().filter(|_| rng.random_bool(0.4)).collect();
    let of_changed = async |session: &SessionContext, input: &KeyedInput, is_among: bool| {
        let rows = session.table(input.table.to_string()).await.unwrap();
        let among = any_of(&input.key, &changed);
        rows.filter(if is_among { among } else { among.is_not_true() }).unwrap().collect().await.unwrap()
    };
    let (mut of_before, mut of_after, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for (input, rows) in counts.inputs.iter().zip(&before) {
        let [kept, gone] = [of_changed(&first, input, false).await, of_changed(&first, input, true).await];
        let come = of_changed(&second, input, true).await;
        let schema = rows.schema();
        of_before.push(concat_batches(&schema, &gone).unwrap());
        of_after.push(concat_batches(&schema, &come).unwrap());
        after.push(concat_batches(&schema, kept.iter().chain(&come)).unwrap());
    }
    let count = async |rows: &[RecordBatch]| counted(&session(project, &counts.inputs, rows), table, counts).await;
    let mut added = count(&before).await;
    for (factor, rows) in [(-1, of_before), (1, of_after)] {
        for (group, counts) in count(&rows).await {
            let sums = added.entry(group).or_insert_with(|| vec![0; counts.len()]);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += factor * count);
        }
    }
    added.retain(|_, counts| counts.iter().any(|count| *count != 0));
    let anew = count(&after).await;
    let others = added.iter().filter(|(group, counts)| anew.get(*group) != Some(counts)).count();
    let missing = anew.iter().filter(|(group, counts)| counts.iter().any(|n| *n != 0) && !added.contains_key(*group));
    [others, missing.count()]
}

/// The counts of each group, by the text of what it is grouped by.
async fn counted(session: &SessionContext, table: &Table, counts: &Counts) -> BTreeMap<String, Vec<i64>> {
    let mut groups = BTreeMap::new();
    for batch in session.sql(table.sql().unwrap()).await.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            let (mut group, mut of_group) = (Vec::new(), Vec::new());
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                match ScalarValue::try_from_array(column, row).unwrap() {
                    ScalarValue::Int64(count) if counts.columns.contains(field.name()) => of_group.push(count.unwrap()),
                    value => group.push(format!("{value:?}")),
                }
            }
            assert!(groups.insert(group.join("|"), of_group).is_none());
        }
    }
    groups
}

fn project(case: &str) -> Project {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts").join(case)).unwrap()
}

async fn holds(project: &Project, table: &Table, inputs: &[KeyedInput], seed: u64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows: Vec<RecordBatch> =
        inputs.iter().map(|input| random_rows(project.table(&input.table).unwrap(), &mut rng)).collect();
    let all = session(project, inputs, &rows);
    let output_key = output_key(table);
    let mut keys = distinct(all.sql(table.sql().unwrap()).await.unwrap(), &output_key).await;
    for input in inputs.iter().filter(|input| !input.is_broadcast()) {
        let frame = all.table(input.table.to_string()).await.unwrap();
        keys.extend(distinct(frame, &input.key).await);
    }
    let chosen: Vec<Key> = keys.into_values().filter(|_| rng.random_bool(0.5)).collect();

    let expected = all.sql(table.sql().unwrap()).await.unwrap().filter(any_of(&output_key, &chosen)).unwrap();
    let mut parts = Vec::new();
    for input in inputs {
        let frame = all.table(input.table.to_string()).await.unwrap();
        let schema = Arc::clone(frame.schema().inner());
        let of_keys = if input.is_broadcast() { frame } else { frame.filter(any_of(&input.key, &chosen)).unwrap() };
        let batches = of_keys.collect().await.unwrap();
        parts.push(arrow::compute::concat_batches(&schema, &batches).unwrap());
    }
    let some = session(project, inputs, &parts);
    let found = some.sql(table.sql().unwrap()).await.unwrap();
    lines(expected).await == lines(found).await
}

/// The `replace_by` columns of the output, as the table stores them.
fn output_key(table: &Table) -> Vec<Expr> {
    let Definition::ByKey { replace_by, .. } = &table.definition else { panic!("{} is not by key", table.name) };
    let column = |name: &String| cast_expr(col(name), table.column(name).unwrap().data_type.clone());
    replace_by.iter().map(column).collect()
}

fn any_of(key: &[Expr], chosen: &[Key]) -> Expr {
    let one = |values: &Key| {
        let pairs = key.iter().zip(values);
        pairs.fold(lit(true), |all, (expr, value)| {
            all.and(binary_expr(expr.clone(), Operator::IsNotDistinctFrom, lit(value.clone())))
        })
    };
    chosen.iter().fold(lit(false), |any, values| any.or(one(values)))
}

/// The keys that occur, by their text: scalars have no total order.
async fn distinct(frame: DataFrame, key: &[Expr]) -> BTreeMap<String, Key> {
    let named = key.iter().enumerate().map(|(at, expr)| expr.clone().alias(format!("key{at}")));
    let batches = frame.select(named.collect::<Vec<_>>()).unwrap().collect().await.unwrap();
    let mut keys = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap());
            let key: Key = values.collect();
            keys.insert(format!("{key:?}"), key);
        }
    }
    keys
}

fn session(project: &Project, inputs: &[KeyedInput], rows: &[RecordBatch]) -> SessionContext {
    let session = engine::session(Limits { threads: 1, ..Limits::default() }).unwrap();
    for schema in ["silver", "reference"] {
        session.catalog("datafusion").unwrap().register_schema(schema, Arc::new(MemorySchemaProvider::new())).unwrap();
    }
    let table = |batch: &RecordBatch| Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap());
    for (input, rows) in inputs.iter().zip(rows) {
        session.register_table(input.table.to_string(), table(rows)).unwrap();
    }
    for reference in &project.references {
        let name = format!("reference.{}", reference.name);
        session.register_table(name, table(&reference.batch().unwrap())).unwrap();
    }
    session
}

async fn lines(frame: DataFrame) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in frame.collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap());
            lines.push(cells.map(|cell| format!("{cell:?}")).collect::<Vec<_>>().join("|"));
        }
    }
    lines.sort();
    lines
}

/// Few values, NULL among them, so that joins and groups meet.
fn random_rows(table: &Table, rng: &mut ChaCha8Rng) -> RecordBatch {
    let schema = table.sql_schema();
    let columns = schema.fields().iter().map(|field| random_column(field, rng)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn random_column(field: &Field, rng: &mut ChaCha8Rng) -> ArrayRef {
    const WORDS: [&str; 4] = ["a", "b", "big", "c"];
    let word = |rng: &mut ChaCha8Rng| rng.random_bool(0.8).then(|| WORDS[rng.random_range(0..WORDS.len())]);
    match field.data_type() {
        DataType::Utf8 => Arc::new((0..ROWS).map(|_| word(rng)).collect::<StringArray>()),
        DataType::Int64 => {
            Arc::new((0..ROWS).map(|_| rng.random_bool(0.8).then(|| rng.random_range(0..4))).collect::<Int64Array>())
        }
        DataType::Date32 => {
            let days = (0..ROWS).map(|_| rng.random_bool(0.8).then(|| rng.random_range(0..90)));
            cast(&days.collect::<arrow::array::Int32Array>(), &DataType::Date32).unwrap()
        }
        DataType::List(item) => {
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item));
            for _ in 0..ROWS {
                (0..rng.random_range(0..3)).for_each(|_| lists.values().append_option(word(rng)));
                lists.append(rng.random_bool(0.8));
            }
            Arc::new(lists.finish())
        }
        other => new_null_array(other, ROWS),
    }
}
