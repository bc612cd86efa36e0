//! Who gets which number. Keys are 128-bit hashes here, so that millions of them fit into memory.
//!
//! The number of a new key follows from the key alone, save where another one has it already or the key takes over that
//! of its predecessor. So the order in which keys arrive decides nothing but who of the few that collide is first.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::error::Result;

/// A hash of each row's values, by their texts: the same in every version of the program and for every type.
///
/// # Errors
/// When a column's type has no text.
pub fn identities(columns: &[ArrayRef]) -> Result<Vec<u128>> {
    let texts = columns.iter().map(|column| Ok(cast(column, &DataType::Utf8)?)).collect::<Result<Vec<_>>>()?;
    let identity = |row: usize| {
        let mut hash = Xxh3::new();
        for text in &texts {
            let text = text.as_string::<i32>().value(row);
            // The length keeps a text that moves from one column to the next from giving the same hash.
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.digest128()
    };
    Ok((0..columns.first().map_or(0, |column| column.len())).map(identity).collect())
}

/// The numbers that are given.
#[derive(Debug)]
pub struct Numbers {
    /// The largest number.
    max: i64,
    /// By key, once [`Numbers::sort`] was called.
    held: Vec<(u128, i64)>,
    used: HashSet<i64>,
    /// Keys whose number another one took over.
    taken: HashSet<u128>,
}

impl Numbers {
    /// No number is given; those from 1 to `max` can be.
    pub fn new(max: i64) -> Self {
        Self { max, held: Vec::new(), used: HashSet::new(), taken: HashSet::new() }
    }

    /// A key has this number, which it took over from another key or not.
    pub fn hold(&mut self, key: u128, number: i64, from: Option<u128>) {
        self.held.push((key, number));
        self.used.insert(number);
        self.taken.extend(from);
    }

    /// A number is not to be given, whoever has it.
    pub fn reserve(&mut self, number: i64) {
        self.used.insert(number);
    }

    /// Ends a series of [`Numbers::hold`]: the keys can be found.
    pub fn sort(&mut self) {
        self.held.sort_unstable();
        self.held.dedup();
    }

    /// The number of a key.
    pub fn of(&self, key: u128) -> Option<i64> {
        let at = self.held.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.held[at].1)
    }

    /// Gives a number to each key that arrived and has none; `None` when there are not enough.
    pub fn give(&self, arrivals: &Arrivals) -> Option<Given> {
        let mut giving = Giving {
            numbers: self,
            arrivals,
            states: vec![State::Open; arrivals.keys.len()],
            used: HashSet::new(),
            from: HashMap::new(),
        };
        let mut taken = HashSet::new();
        for index in 0..arrivals.keys.len() {
            giving.settle(index, &mut taken)?;
        }
        let numbers = giving.states.iter().map(|state| if let State::Done(number) = state { *number } else { 0 });
        Some(Given { keys: arrivals.keys.clone(), numbers: numbers.collect(), from: giving.from })
    }
}

/// Keys of a run that have no number yet.
#[derive(Debug, Default)]
pub struct Arrivals {
    keys: Vec<u128>,
    /// Keys with a key whose number they may take over.
    claims: Vec<(u128, u128)>,
    /// How many may gather before those that are there twice are dropped.
    limit: usize,
}

impl Arrivals {
    /// A key arrived, once more or for the first time.
    pub fn add(&mut self, key: u128, previous: Option<u128>) {
        self.keys.push(key);
        self.claims.extend(previous.filter(|previous| *previous != key).map(|previous| (key, previous)));
        if self.keys.len() > self.limit {
            self.sort();
            self.limit = (2 * self.keys.len()).max(64 * 1024);
        }
    }

    /// Ends the series of arrivals: in whatever order they came, they are the same now.
    pub fn sort(&mut self) {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.claims.sort_unstable();
        self.claims.dedup();
    }

    /// Whether no key arrived.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many arrivals are in memory.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.keys.len().max(self.claims.len())
    }

    fn index(&self, key: u128) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    fn previous(&self, key: u128) -> impl Iterator<Item = u128> + '_ {
        let first = self.claims.partition_point(|(claimant, _)| *claimant < key);
        self.claims[first..].iter().take_while(move |(claimant, _)| *claimant == key).map(|(_, previous)| *previous)
    }
}

/// Keys with the numbers that they were given.
#[derive(Debug)]
pub struct Given {
    keys: Vec<u128>,
    numbers: Vec<i64>,
    from: HashMap<u128, u128>,
}

impl Given {
    /// The place of a key among those that were given a number, from 0.
    pub fn place(&self, key: u128) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// The number of the key at a place.
    pub fn number(&self, place: usize) -> i64 {
        self.numbers[place]
    }

    /// The key that the key at a place took its number over from.
    pub fn from(&self, place: usize) -> Option<u128> {
        self.from.get(&self.keys[place]).copied()
    }

    /// How many keys were given a number.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The numbers that no key had before.
    pub fn fresh(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).filter(|place| self.from(*place).is_none()).map(|place| self.number(place))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    /// Waits for its predecessor.
    Waiting,
    Done(i64),
}

struct Giving<'a> {
    numbers: &'a Numbers,
    arrivals: &'a Arrivals,
    states: Vec<State>,
    used: HashSet<i64>,
    from: HashMap<u128, u128>,
}

impl Giving<'_> {
    /// Gives a key its number, those first that it may take over from: they may be as new as itself.
    fn settle(&mut self, index: usize, taken: &mut HashSet<u128>) -> Option<()> {
        let mut waiting = Vec::new();
        let mut next = Some(index);
        while let Some(index) = next.filter(|index| self.states[*index] == State::Open) {
            self.states[index] = State::Waiting;
            waiting.push(index);
            let mut previous = self.arrivals.previous(self.arrivals.keys[index]);
            next = previous.find_map(|previous| self.arrivals.index(previous));
        }
        for index in waiting.into_iter().rev() {
            let key = self.arrivals.keys[index];
            self.states[index] = State::Done(match self.take_over(key, taken) {
                Some(number) => number,
                None => self.fresh(key)?,
            });
        }
        Some(())
    }

    /// A number goes on to one key only: two that claim it are two.
    fn take_over(&mut self, key: u128, taken: &mut HashSet<u128>) -> Option<i64> {
        let free = |previous: &u128| !self.numbers.taken.contains(previous) && !taken.contains(previous);
        let mut previous = self.arrivals.previous(key).filter(free);
        let (previous, number) = previous.find_map(|previous| Some((previous, self.of(previous)?)))?;
        taken.insert(previous);
        self.from.insert(key, previous);
        Some(number)
    }

    fn of(&self, key: u128) -> Option<i64> {
        self.numbers.of(key).or_else(|| match self.states[self.arrivals.index(key)?] {
            State::Done(number) => Some(number),
            _ => None,
        })
    }

    fn fresh(&mut self, key: u128) -> Option<i64> {
        let max = self.numbers.max;
        if (self.numbers.used.len() + self.used.len()) as u64 >= max as u64 {
            return None;
        }
        let free = |number: &i64| !self.numbers.used.contains(number) && !self.used.contains(number);
        let number = (0..).map(|attempt| probe(key, attempt, max)).find(free)?;
        self.used.insert(number);
        Some(number)
    }
}

/// The number that a key tries to get at an attempt, from 1 to `max`.
fn probe(key: u128, attempt: u64, max: i64) -> i64 {
    (xxh3_64_with_seed(&key.to_le_bytes(), attempt) % max as u64) as i64 + 1
}
