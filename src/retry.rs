//! Trying again what failed by what may pass: how often, and after how long.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::error::Result;

/// The longest pause, unless the first one is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// How often something is tried again, and after how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retry {
    /// Further tries after the first.
    pub times: u32,
    /// The pause before the first further try; it doubles with each, up to ten minutes.
    pub wait: Duration,
}

impl Retry {
    /// The pause before a further try; the first is 1. `chance` is in 0..1 and takes up to a quarter off, so that many
    /// clients of one server do not come back in the same moment.
    pub fn pause(self, further: u32, chance: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(further.saturating_sub(1));
        let whole = self.wait.saturating_mul(doubled).min(LONGEST.max(self.wait));
        whole.mul_f64(1.0 - chance / 4.0)
    }

    /// Waits before a further try.
    pub async fn sleep(self, further: u32) {
        tokio::time::sleep(self.pause(further, chance())).await;
    }

    /// Tries until it succeeds, fails for good, or the tries are used up.
    ///
    /// # Errors
    /// The last try's.
    pub async fn run<T>(self, op: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut further = 0;
        loop {
            match op().await {
                Err(error) if error.is_transient() && further < self.times => {
                    further += 1;
                    tracing::warn!(further, of = self.times, "{}; trying again", error.without_values());
                    self.sleep(further).await;
                }
                other => return other,
            }
        }
    }
}

/// A number in 0..1 that nobody foresees: each hasher has other keys.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;

    const QUICK: Retry = Retry { times: 2, wait: Duration::from_millis(1) };

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let retry = Retry { times: 9, wait: Duration::from_secs(30) };
        let pauses: Vec<u64> = (1..=7).map(|further| retry.pause(further, 0.0).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(retry.pause(1, 1.0).as_millis(), 22_500);
        assert_eq!(retry.pause(u32::MAX, 0.0), LONGEST);
        let hour = Retry { times: 1, wait: Duration::from_secs(3600) };
        assert_eq!(hour.pause(3, 0.0), hour.wait);
        assert!((0..1000).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_the_rest_is_not() {
        let tries = Cell::new(0);
        let failing = async |times: u32, transient: bool| {
            tries.set(0);
            let op = async || {
                tries.set(tries.get() + 1);
                let error = Error::failed("gone");
                match tries.get() <= times {
                    true if transient => Err(error.transient()),
                    true => Err(error),
                    false => Ok(()),
                }
            };
            let ended = QUICK.run(op).await.is_ok();
            (ended, tries.get())
        };
        assert_eq!(failing(0, true).await, (true, 1));
        assert_eq!(failing(2, true).await, (true, 3));
        assert_eq!(failing(3, true).await, (false, 3));
        assert_eq!(failing(1, false).await, (false, 1));
    }
}
