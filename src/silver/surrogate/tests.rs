use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use proptest::prelude::*;

use super::numbers::{Arrivals, Given, Numbers, identities};

/// A key that arrives, with one that it may take over from; as small numbers.
type Arrival = (u8, Option<u8>);

fn hash(key: u8) -> u128 {
    let key: ArrayRef = Arc::new(Int32Array::from(vec![i32::from(key)]));
    identities(&[key]).unwrap()[0]
}

fn arrivals(rows: &[Arrival]) -> Arrivals {
    let mut arrivals = Arrivals::default();
    rows.iter().for_each(|(key, previous)| arrivals.add(hash(*key), previous.map(hash)));
    arrivals.sort();
    arrivals
}

/// What a table would hold: a number a key, and whom it took it over from.
#[derive(Debug, Default, Clone, PartialEq)]
struct Table(BTreeMap<u8, (i64, Option<u8>)>);

impl Table {
    fn numbers(&self, max: i64) -> Numbers {
        let mut numbers = Numbers::new(max);
        self.0.iter().for_each(|(key, (number, from))| numbers.hold(hash(*key), *number, from.map(hash)));
        numbers.sort();
        numbers
    }

    /// A run: the keys that are new get numbers; `None` when there are not enough.
    fn run(&mut self, rows: &[Arrival], max: i64) -> Option<()> {
        let new: Vec<Arrival> = rows.iter().copied().filter(|(key, _)| !self.0.contains_key(key)).collect();
        let given: Given = self.numbers(max).give(&arrivals(&new))?;
        for (key, _) in new {
            let place = given.place(hash(key)).unwrap();
            let from = given.from(place).map(|from| (0..=u8::MAX).find(|key| hash(*key) == from).unwrap());
            self.0.insert(key, (given.number(place), from));
        }
        Some(())
    }

    fn number(&self, key: u8) -> i64 {
        self.0[&key].0
    }
}

fn table_of(runs: &[&[Arrival]], max: i64) -> Table {
    let mut table = Table::default();
    runs.iter().for_each(|rows| table.run(rows, max).unwrap());
    table
}

/// A number is shared only by a key and the one that it took it over from, and goes on only once.
fn assert_sound(table: &Table, max: i64) {
    let mut own = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for (key, (number, from)) in &table.0 {
        assert!((1..=max).contains(number), "{key} has {number}");
        match from {
            None => assert!(own.insert(number), "{number} is given twice: {table:?}"),
            Some(from) => {
                assert_eq!(*number, table.number(*from), "{key} follows {from}");
                assert!(taken.insert(from), "two follow {from}: {table:?}");
            }
        }
    }
}

#[test]
fn a_hash_knows_columns_apart_and_types_not() {
    let texts = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let pairs = identities(&[texts(["ab", "a"]), texts(["c", "bc"])]).unwrap();
    assert_ne!(pairs[0], pairs[1]);
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
    assert_eq!(identities(&[numbers]).unwrap(), identities(&[texts(["7", "8"])]).unwrap());
    // The numbers of a lake that is made anew must be those that it had.
    assert_eq!(identities(&[texts(["7", "8"])]).unwrap()[0], 223_943_393_883_582_008_711_487_980_134_642_577_678);
    assert_eq!(table_of(&[&[(7, None)]], i64::from(i32::MAX)).number(7), 268_349_575);
}

#[test]
fn all_numbers_of_a_range_are_given_and_then_no_more() {
    let all: Vec<Arrival> = (0..8).map(|key| (key, None)).collect();
    let mut table = table_of(&[&all], 8);
    let numbers: BTreeSet<i64> = table.0.values().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=8).collect());
    assert_eq!(table.run(&[(8, None)], 8), None);
    // A key that takes over needs no further number.
    table.run(&[(9, Some(3))], 8).unwrap();
    assert_eq!(table.number(9), table.number(3));
}

#[test]
fn a_chain_shares_a_number_in_one_run_and_in_several() {
    let large = i64::from(i32::MAX);
    let whole = table_of(&[&[(3, Some(2)), (2, Some(1)), (1, None)]], large);
    assert_eq!(whole, table_of(&[&[(1, None)], &[(2, Some(1))], &[(3, Some(2))]], large));
    assert_eq!((whole.number(1), whole.number(2)), (whole.number(3), whole.number(3)));
}

#[test]
fn of_two_that_follow_one_key_one_takes_its_number_over() {
    let together = table_of(&[&[(1, None), (2, Some(1)), (3, Some(1))]], 1000);
    let shared = [2, 3].iter().filter(|key| together.number(**key) == together.number(1)).count();
    assert_eq!(shared, 1);
    let one_by_one = table_of(&[&[(1, None)], &[(3, Some(1))], &[(2, Some(1))]], 1000);
    assert_eq!(one_by_one.number(3), one_by_one.number(1));
    assert_ne!(one_by_one.number(2), one_by_one.number(1));
}

#[test]
fn keys_that_follow_each_other_or_themselves_come_to_an_end() {
    let table = table_of(&[&[(1, Some(2)), (2, Some(3)), (3, Some(1)), (4, Some(4))]], 1000);
    assert_eq!((table.number(1), table.number(2)), (table.number(3), table.number(3)));
    assert_ne!(table.number(4), table.number(1));
    assert_sound(&table, 1000);
}

#[test]
fn a_predecessor_that_comes_later_gets_a_number_of_its_own() {
    let table = table_of(&[&[(2, Some(1))], &[(1, None)]], 1000);
    assert_ne!(table.number(2), table.number(1));
}

#[test]
fn many_arrivals_of_few_keys_take_little_room() {
    let mut arrivals = Arrivals::default();
    (0..300_000).for_each(|row| arrivals.add(row % 10, Some(row % 7)));
    assert!(arrivals.kept() < 150_000, "{}", arrivals.kept());
    arrivals.sort();
    assert_eq!(Numbers::new(100).give(&arrivals).unwrap().len(), 10);
}

fn any_arrivals(claims: bool) -> impl Strategy<Value = Vec<Arrival>> {
    let previous = if claims { proptest::option::of(0..40_u8).boxed() } else { Just(None).boxed() };
    proptest::collection::vec((0..40_u8, previous), 1..80)
}

proptest! {
    #[test]
    fn any_order_and_cut_gives_the_same_numbers_where_none_collide(
        rows in any_arrivals(false).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cut in 1..20_usize,
    ) {
        let max = i64::from(i32::MAX);
        let whole = table_of(&[&rows.0], max);
        let runs: Vec<&[Arrival]> = rows.1.chunks(cut).collect();
        prop_assert_eq!(whole, table_of(&runs, max));
    }

    #[test]
    fn numbers_are_kept_and_given_once_however_much_they_collide(
        rows in any_arrivals(true), cut in 1..20_usize, max in 40..60_i64,
    ) {
        let mut table = Table::default();
        for run in rows.chunks(cut) {
            let before = table.clone();
            table.run(run, max).unwrap();
            assert_sound(&table, max);
            prop_assert!(before.0.iter().all(|(key, row)| table.0[key] == *row), "a number changed");
        }
    }

    #[test]
    fn the_order_within_a_run_decides_nothing(
        rows in any_arrivals(true).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        prop_assert_eq!(table_of(&[&rows.0], 45), table_of(&[&rows.1], 45));
    }

    /// An increment knows only the numbers that it looked up: it must give what all numbers would have given.
    #[test]
    fn looking_up_what_is_tried_gives_the_same_as_knowing_all(
        held in any_arrivals(false), rows in any_arrivals(true), max in 80..100_i64,
    ) {
        let mut all = table_of(&[&held], max);
        let asked: BTreeSet<u8> = rows.iter().flat_map(|(key, previous)| [Some(*key), *previous]).flatten().collect();
        let part = Table(all.0.iter().filter(|(key, _)| asked.contains(key)).map(|(key, row)| (*key, *row)).collect());
        let new: Vec<Arrival> = rows.iter().copied().filter(|(key, _)| !all.0.contains_key(key)).collect();
        let mut numbers = part.numbers(max);
        let given = loop {
            let given = numbers.give(&arrivals(&new)).unwrap();
            let held: Vec<i64> = given.fresh().filter(|number| all.0.values().any(|(held, _)| held == number)).collect();
            if held.is_empty() { break given; }
            held.into_iter().for_each(|number| numbers.reserve(number));
        };
        all.run(&rows, max).unwrap();
        for (key, _) in new {
            prop_assert_eq!(given.number(given.place(hash(key)).unwrap()), all.number(key));
        }
    }
}
