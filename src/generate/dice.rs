//! Reproducible chance: the same seed and stream give the same draws on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(super) struct Dice(ChaCha8Rng);

/// A probability, as the number of the 2^32 equally likely draws that hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const NEVER: Self = Self(0);

    /// `None` when `probability` is not between 0 and 1.
    pub(super) fn new(probability: f64) -> Option<Self> {
        let hits = (probability * 4_294_967_296.0).round();
        (0.0..=1.0).contains(&probability).then_some(Self(hits as u64))
    }
}

impl Dice {
    /// Dice for a stream of draws; streams of one seed are independent of each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A number from 0 to `n - 1`; 0 when `n` is 0.
    #[inline]
    pub(super) fn below(&mut self, n: u32) -> u32 {
        // Multiply and shift is biased by less than n in 2^32, which no sample shows.
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// A number from `min` to `max`, both included.
    #[inline]
    pub(super) fn between(&mut self, min: i64, max: i64) -> i64 {
        let span = max.wrapping_sub(min) as u64;
        if let Ok(span) = u32::try_from(span)
            && span < u32::MAX
        {
            return min + i64::from(self.below(span + 1));
        }
        let wide = u128::from(self.0.next_u64()) * (u128::from(span) + 1);
        min.wrapping_add((wide >> 64) as i64)
    }

    #[inline]
    pub(super) fn hits(&mut self, chance: Chance) -> bool {
        u64::from(self.0.next_u32()) < chance.0
    }

    #[inline]
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u32) as usize)
    }
}
