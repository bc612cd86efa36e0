//! Trying again what failed for a reason that passes by itself.

use std::time::Duration;

use crate::error::{Error, Result};

/// An error, and whether another try may do better.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// A connection was refused or broke, a server is starting.
    pub is_transient: bool,
}

/// How long to wait before each further try; as many tries as there are pauses, and one.
#[derive(Debug, Clone)]
pub struct Policy {
    pauses: Vec<Duration>,
}

impl Policy {
    /// So many further tries, the first after `first`, each pause twice as long as the one before.
    pub fn doubling(tries: u32, first: Duration) -> Self {
        Self { pauses: (0..tries).map(|try_| first * 2_u32.saturating_pow(try_)).collect() }
    }
}

/// Runs an operation until it succeeds, fails for good, or the policy has no further try.
///
/// # Errors
/// The last try's error.
pub async fn retry<T, F>(policy: &Policy, mut operation: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, Failure>>,
{
    for pause in &policy.pauses {
        match operation().await {
            Ok(value) => return Ok(value),
            Err(failure) if failure.is_transient => {
                let error = failure.error.without_values();
                tracing::warn!("{error}; trying again in {:.1} s", pause.as_secs_f64());
                tokio::time::sleep(*pause).await;
            }
            Err(failure) => return Err(failure.error),
        }
    }
    operation().await.map_err(|failure| failure.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tries(failures: u32, is_transient: bool) -> (u32, Result<()>) {
        let mut tries = 0;
        let policy = Policy::doubling(3, Duration::ZERO);
        let result = retry(&policy, || {
            tries += 1;
            let failed = tries <= failures;
            async move { if failed { Err(Failure { error: Error::failed("broke"), is_transient }) } else { Ok(()) } }
        })
        .await;
        (tries, result)
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_up_to_the_limit() {
        assert!(matches!(tries(0, true).await, (1, Ok(()))));
        assert!(matches!(tries(3, true).await, (4, Ok(()))));
        assert!(matches!(tries(4, true).await, (4, Err(_))));
    }

    #[tokio::test]
    async fn what_stays_is_tried_once() {
        assert!(matches!(tries(1, false).await, (1, Err(_))));
    }

    #[test]
    fn pauses_double() {
        let policy = Policy::doubling(3, Duration::from_millis(500));
        assert_eq!(policy.pauses.iter().map(Duration::as_millis).collect::<Vec<_>>(), [500, 1000, 2000]);
    }
}
