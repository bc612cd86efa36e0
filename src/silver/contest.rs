//! Where silver's upsert is decided: of the rows of a key, the one with the highest sequence wins.
//!
//! Rows enter one by one, those of the run and those that the table already holds, in any order. Equal sequences are
//! broken by the payload's hash, so that any order of arrival gives the same table; of equal payloads, the row that the
//! table holds stays, so that nothing is written for them.

use std::collections::HashMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// What a row competes with: sequence first, the payload's hash second. A missing sequence is the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The sequence, in an order-preserving form.
    pub sequence: i64,
    /// The payload's hash.
    pub hash: i64,
}

/// Where a row stands: a file, by the number that the caller gave it, and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file's number.
    pub file: u32,
    /// The row in it.
    pub row: u32,
}

impl Place {
    /// Where a deletion stands: it wins and loses like a row, and is none.
    pub const NOWHERE: Self = Self { file: u32::MAX, row: 0 };
}

impl Rank {
    /// The rank of a deletion: a row of the same sequence wins, as where a key's columns change and the old key goes.
    pub fn of_deletion(sequence: i64) -> Self {
        Self { sequence, hash: i64::MIN }
    }
}

/// The best row of each key so far, and the rows that lost.
#[derive(Debug, Default)]
pub struct Contest {
    best: Vec<Best>,
    /// Where in `best` a key is. A map of all that is in it would take twice the memory: it keeps room for as many again.
    places: HashTable<usize>,
    losers: HashMap<u32, Vec<u32>>,
}

/// The best row of a key.
#[derive(Debug)]
struct Best {
    /// The key's hash, halved: together, its alignment would take eight bytes more.
    key: [u64; 2],
    rank: Rank,
    place: Place,
}

fn halves(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

/// Keys that room is made for at once: for more records there may be far fewer keys.
const MOST_EXPECTED: usize = 1 << 19;

impl Contest {
    /// A contest in which so many rows are expected to enter, if not more.
    pub fn expecting(rows: usize) -> Self {
        let rows = rows.min(MOST_EXPECTED);
        Self { best: Vec::with_capacity(rows), places: HashTable::with_capacity(rows), ..Self::default() }
    }

    /// Enters a row of this run.
    pub fn enter(&mut self, key: u128, rank: Rank, place: Place) {
        let key = halves(key);
        let Self { best, places, .. } = self;
        // The keys are hashes already.
        match places.entry(key[0], |at| best[*at].key == key, |at| best[*at].key[0]) {
            Entry::Vacant(entry) => {
                entry.insert(best.len());
                best.push(Best { key, rank, place });
            }
            Entry::Occupied(entry) => {
                let best = &mut best[*entry.get()];
                let mut loser = place;
                if rank > best.rank {
                    loser = std::mem::replace(best, Best { key, rank, place }).place;
                }
                self.lose(loser);
            }
        }
    }

    fn lose(&mut self, place: Place) {
        if place != Place::NOWHERE {
            self.losers.entry(place.file).or_default().push(place.row);
        }
    }

    /// Enters a row that the table holds; a key that no row of this run has is not asked for. Where the row of this run
    /// wins, its place is returned: it is an update, or a deletion.
    pub fn enter_held(&mut self, key: u128, rank: Rank, place: Place) -> Option<Place> {
        let key = halves(key);
        let at = *self.places.find(key[0], |at| self.best[*at].key == key)?;
        let best = self.best.get_mut(at)?;
        if rank >= best.rank {
            let loser = std::mem::replace(best, Best { key, rank, place }).place;
            self.lose(loser);
            return None;
        }
        let winner = best.place;
        self.lose(place);
        Some(winner)
    }

    /// The rows of a file that lost so far, ascending.
    pub fn losers(&mut self, file: u32) -> Vec<u32> {
        let mut rows = self.losers.get(&file).cloned().unwrap_or_default();
        rows.sort_unstable();
        rows
    }

    /// The hashes of all keys.
    pub fn keys(&self) -> impl Iterator<Item = u128> + '_ {
        self.best.iter().map(|best| u128::from(best.key[1]) << 64 | u128::from(best.key[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Rank = Rank { sequence: 1, hash: 9 };
    const NEW: Rank = Rank { sequence: 2, hash: 0 };

    fn at(file: u32, row: u32) -> Place {
        Place { file, row }
    }

    #[test]
    fn the_highest_sequence_wins_in_any_order() {
        for order in [[OLD, NEW], [NEW, OLD]] {
            let mut contest = Contest::default();
            for (row, rank) in order.into_iter().enumerate() {
                contest.enter(7, rank, at(0, row as u32));
            }
            let loser = order.iter().position(|rank| *rank == OLD).unwrap() as u32;
            assert_eq!(contest.losers(0), [loser]);
        }
    }

    #[test]
    fn equal_sequences_are_broken_by_the_hash() {
        let mut contest = Contest::default();
        contest.enter(7, Rank { sequence: 1, hash: 5 }, at(0, 0));
        contest.enter(7, Rank { sequence: 1, hash: 4 }, at(0, 1));
        contest.enter(7, Rank { sequence: 1, hash: 6 }, at(1, 0));
        assert_eq!((contest.losers(0), contest.losers(1)), (vec![0, 1], vec![]));
    }

    #[test]
    fn a_late_older_row_loses_to_the_one_that_is_held() {
        let mut contest = Contest::default();
        contest.enter(7, OLD, at(0, 0));
        assert_eq!(contest.enter_held(7, NEW, at(5, 3)), None);
        assert_eq!((contest.losers(0), contest.losers(5)), (vec![0], vec![]));
    }

    #[test]
    fn the_same_payload_again_changes_nothing() {
        let mut contest = Contest::default();
        contest.enter(7, NEW, at(0, 0));
        assert_eq!(contest.enter_held(7, NEW, at(5, 3)), None);
        assert_eq!((contest.losers(0), contest.losers(5)), (vec![0], vec![]));
    }

    #[test]
    fn a_newer_row_is_an_update_of_the_one_that_is_held() {
        let mut contest = Contest::default();
        contest.enter(7, NEW, at(0, 4));
        assert_eq!(contest.enter_held(7, OLD, at(5, 3)), Some(at(0, 4)));
        assert_eq!((contest.losers(0), contest.losers(5)), (vec![], vec![3]));
        assert_eq!(contest.enter_held(8, OLD, at(5, 4)), None, "a key that is not asked for stays");
    }

    #[test]
    fn a_deletion_wins_by_its_sequence_and_loses_to_a_row_of_the_same() {
        let deletion = (Rank::of_deletion(2), Place::NOWHERE);
        let rows = [(OLD, at(0, 0)), deletion, (NEW, at(0, 1))];
        for order in [[0, 1], [1, 0], [1, 2], [2, 1]] {
            let mut contest = Contest::default();
            for index in order {
                contest.enter(7, rows[index].0, rows[index].1);
            }
            let deleted = order.contains(&0);
            assert_eq!(contest.losers(0), if deleted { vec![0] } else { vec![] }, "{order:?}");
        }
        let mut contest = Contest::default();
        contest.enter(7, deletion.0, deletion.1);
        assert_eq!(contest.enter_held(7, OLD, at(5, 3)), Some(Place::NOWHERE));
        assert_eq!((contest.losers(5), contest.losers(u32::MAX)), (vec![3], vec![]));
    }
}
