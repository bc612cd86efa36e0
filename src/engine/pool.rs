//! How the operators of a plan share the memory that a session may use.
//!
//! DataFusion has two pools. Its fair one gives each operator that can spill the same part, also those that hold nothing: a
//! plan has a dozen of them, and the one aggregation that has millions of groups spills while most of the memory lies idle.
//! Its greedy one gives memory to whoever asks first, and leaves those that begin later nothing to begin with. This one lends
//! most of the memory to whoever asks, though not all of it to one, and keeps the rest for equal parts.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use deltalake::datafusion::common::DataFusionError;
use deltalake::datafusion::error::Result;
use deltalake::datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

/// The part of the memory of operators that can spill which is kept for equal parts: one of so many.
const KEPT: usize = 2;
/// The part of it that one operator may hold at most: one of so many. What it holds is there twice while it is put on disk.
const MOST: usize = 4;

/// A pool of `limit` bytes: what cannot spill takes what it needs of it, and the rest is for what can.
#[derive(Debug)]
pub(super) struct LendingPool {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Operators that can spill.
    spillers: usize,
    /// Bytes that they hold.
    spillable: usize,
    /// Bytes that others hold.
    unspillable: usize,
}

impl State {
    /// The bytes that an operator which can spill, and holds `size`, may still take.
    fn lendable(&self, limit: usize, size: usize) -> usize {
        let all = limit.saturating_sub(self.unspillable);
        let kept = all / KEPT;
        let own = (kept / self.spillers.max(1)).saturating_sub(size);
        let lent = (all - kept).saturating_sub(self.spillable).min((all / MOST).saturating_sub(size));
        own.max(lent)
    }

    /// The bytes that an operator which cannot spill may still take.
    fn free(&self, limit: usize) -> usize {
        limit.saturating_sub(self.unspillable + self.spillable)
    }

    fn held(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        if consumer.can_spill() { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl LendingPool {
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for LendingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), human_readable_size(self.limit))
    }
}

impl MemoryPool for LendingPool {
    fn name(&self) -> &str {
        "lending"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.with(|state| state.spillers += usize::from(consumer.can_spill()));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.with(|state| state.spillers = state.spillers.saturating_sub(usize::from(consumer.can_spill())));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.with(|state| *state.held(reservation.consumer()) += additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.with(|state| {
            let held = state.held(reservation.consumer());
            *held = held.saturating_sub(shrink);
        });
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        self.with(|state| {
            let available = if consumer.can_spill() {
                state.lendable(self.limit, reservation.size())
            } else {
                state.free(self.limit)
            };
            if additional > available {
                return Err(DataFusionError::ResourcesExhausted(format!(
                    "{} holds {} and needs {} more, of {self} there are {} for it",
                    consumer.name(),
                    human_readable_size(reservation.size()),
                    human_readable_size(additional),
                    human_readable_size(available),
                )));
            }
            *state.held(consumer) += additional;
            Ok(())
        })
    }

    fn reserved(&self) -> usize {
        self.with(|state| state.spillable + state.unspillable)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool(limit: usize) -> Arc<dyn MemoryPool> {
        Arc::new(LendingPool::new(limit))
    }

    fn spiller(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("aggregation").with_can_spill(true).register(pool)
    }

    fn join(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("join").register(pool)
    }

    #[test]
    fn one_of_many_may_take_more_than_an_equal_part() {
        let pool = pool(4000);
        let many: Vec<_> = (0..10).map(|_| spiller(&pool)).collect();
        many[0].try_grow(1000).unwrap();
        assert!(many[0].try_grow(1).is_err());
    }

    #[test]
    fn whoever_begins_later_has_an_equal_part_of_what_is_kept() {
        let pool = pool(4000);
        let many: Vec<_> = (0..10).map(|_| spiller(&pool)).collect();
        many[0].try_grow(1000).unwrap();
        many[1].try_grow(1000).unwrap();
        for late in &many[2..] {
            late.try_grow(200).unwrap();
            assert!(late.try_grow(1).is_err(), "the rest is kept for the others");
        }
        assert_eq!(pool.reserved(), 3600);
    }

    #[test]
    fn what_cannot_spill_takes_what_is_free() {
        let pool = pool(4000);
        let (spiller, join) = (spiller(&pool), join(&pool));
        spiller.try_grow(1000).unwrap();
        join.try_grow(3000).unwrap();
        assert!(join.try_grow(1).is_err());
        spiller.free();
        join.try_grow(1000).unwrap();
        assert!(spiller.try_grow(1).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_lent_again() {
        let pool = pool(4000);
        let many: Vec<_> = (0..4).map(|_| spiller(&pool)).collect();
        many[0].try_grow(1000).unwrap();
        many[1].try_grow(1000).unwrap();
        assert!(many[2].try_grow(1000).is_err());
        many[0].free();
        many[2].try_grow(1000).unwrap();
        assert_eq!(pool.reserved(), 2000);
    }
}
