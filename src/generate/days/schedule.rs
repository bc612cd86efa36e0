//! Which records a day adds, changes and takes away, told from the seed and the day alone.
//!
//! The records of day 0 are put into an order that the seed decides. The first half of it is what days delete, one after
//! the other; the second half is what they change and deliver again. So no day needs to know what another one did.

use std::ops::Range;

use crate::generate::spec::Days;

/// More records, and more days, have no place in the numbers that tell draws apart.
const MAX_RECORDS: u64 = 1 << 38;
const MAX_DAYS: u64 = 1 << 20;

/// A day of some records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    records: u64,
    day: u64,
    insert: u64,
    update: u64,
    delete: u64,
    known: u64,
    unknown: u64,
    factor: u64,
    offset: u64,
}

impl Schedule {
    /// `None` when there are not enough records for so many days.
    pub(super) fn new(days: &Days, records: u64, seed: u64, day: u64) -> Option<Self> {
        if records > MAX_RECORDS || day > MAX_DAYS {
            return None;
        }
        let share = |share: f64| (records as f64 * share).round() as u64;
        let half = records / 2;
        let factor = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % records.max(1)).max(1);
        let factor = (factor..).find(|factor| common_divisor(*factor, records.max(1)) == 1)?;
        let schedule = Self {
            records,
            day,
            insert: share(days.insert),
            update: share(days.update).min(records - half),
            delete: share(days.delete),
            known: share(days.known).min(records - half),
            unknown: share(days.unknown),
            factor,
            offset: seed % records.max(1),
        };
        let enough = day.checked_mul(schedule.insert)? <= records && day.checked_mul(schedule.delete)? <= half;
        enough.then_some(schedule)
    }

    /// The rows that the table holds when the day is over.
    pub(super) fn rows(&self) -> u64 {
        self.records + self.day * self.insert - self.day * self.delete
    }

    /// The records that day 0 fills the table with.
    pub(super) fn filled(&self) -> Range<u64> {
        1..self.records + 1
    }

    /// The records that the day adds.
    pub(super) fn inserted(&self) -> Range<u64> {
        let end = self.records + self.day * self.insert + 1;
        if self.day == 0 { end..end } else { end - self.insert..end }
    }

    /// The records that the day changes.
    pub(super) fn updated(&self) -> impl Iterator<Item = u64> {
        let count = if self.day == 0 { 0 } else { self.update };
        self.kept(self.day.saturating_sub(1).wrapping_mul(self.update), count)
    }

    /// The records that the day takes away.
    pub(super) fn deleted(&self) -> impl Iterator<Item = u64> {
        let range = self.day.saturating_sub(1) * self.delete..self.day * self.delete;
        let schedule = *self;
        range.map(move |place| schedule.at(place))
    }

    /// The records of the day's files that the table holds.
    pub(super) fn known(&self) -> impl Iterator<Item = u64> {
        self.kept(self.day.wrapping_mul(self.known), self.known)
    }

    /// The records of the day's files that it never holds; half of them come again on the next day.
    pub(super) fn unknown(&self) -> Range<u64> {
        let first = 2 * self.records + 1 + self.day * (self.unknown / 2);
        first..first + self.unknown
    }

    /// Records that no day takes away.
    fn kept(&self, from: u64, count: u64) -> impl Iterator<Item = u64> + use<> {
        let (schedule, half) = (*self, self.records / 2);
        let kept = (self.records - half).max(1);
        (0..count).map(move |n| schedule.at(half + (from % kept + n) % kept))
    }

    fn at(&self, place: u64) -> u64 {
        let shuffled = u128::from(place) * u128::from(self.factor) + u128::from(self.offset);
        (shuffled % u128::from(self.records.max(1))) as u64 + 1
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DAYS: Days = Days { first: 0, insert: 0.02, update: 0.3, delete: 0.01, known: 0.4, unknown: 0.1 };

    #[test]
    fn days_add_change_and_take_away_what_is_there() {
        for (records, seed) in [(1000, 7), (997, 8), (100, u64::MAX), (2, 1)] {
            let day = |day| Schedule::new(&DAYS, records, seed, day).unwrap();
            let mut there: BTreeSet<u64> = day(0).filled().collect();
            for today in (0..20).map(day) {
                assert!(today.inserted().all(|id| there.insert(id)), "{today:?}");
                let updated: Vec<u64> = today.updated().collect();
                assert!(updated.iter().all(|id| there.contains(id)), "{today:?}");
                assert_eq!(updated.iter().collect::<BTreeSet<_>>().len(), updated.len(), "{today:?}");
                assert!(today.deleted().all(|id| there.remove(&id)), "{today:?}");
                assert_eq!(there.len() as u64, today.rows());
                assert!(today.known().all(|id| there.contains(&id)), "{today:?}");
                assert_eq!(today.known().collect::<BTreeSet<_>>().len() as u64, today.known);
                assert!(today.unknown().all(|id| !there.contains(&id) && id > 2 * records), "{today:?}");
            }
        }
    }

    #[test]
    fn there_are_days_only_while_there_are_records() {
        assert!(Schedule::new(&DAYS, 1000, 7, 50).is_some());
        assert!(Schedule::new(&DAYS, 1000, 7, 51).is_none());
        assert!(Schedule::new(&DAYS, 1000, 7, u64::MAX).is_none());
        assert!(Schedule::new(&Days { insert: 0.0, delete: 0.0, ..DAYS }, u64::MAX, 7, 1).is_none());
    }
}
