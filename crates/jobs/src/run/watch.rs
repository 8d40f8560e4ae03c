//! Conditions of a job, looked at again while it runs.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;

use super::steering::Steering;

/// How often conditions are looked at while a job runs.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What has to hold.
#[async_trait]
pub(crate) trait Conditions: Send + Sync {
    /// The first condition that does not hold, and why; `None` when all do.
    async fn unmet(&self) -> Option<String>;
}

/// Pauses the run while something does not hold, for ever.
pub(crate) async fn watch(conditions: &dyn Conditions, steering: &Steering, every: Duration) -> Infallible {
    loop {
        tokio::time::sleep(every).await;
        steering.condition(conditions.unmet().await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::steering::tests::steering;
    use super::*;

    /// Does not hold at the second and the third look.
    struct Flickering(AtomicUsize);

    #[async_trait]
    impl Conditions for Flickering {
        async fn unmet(&self) -> Option<String> {
            let look = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            (2..=3).contains(&look).then(|| "ac-power (on battery)".to_owned())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_pauses_while_a_condition_does_not_hold_and_goes_on_when_it_does() {
        let root = tempfile::tempdir().unwrap();
        let (steering, control, log) = steering(root.path());
        let conditions = Flickering(AtomicUsize::new(0));
        let every = Duration::from_secs(30);
        let seen = async {
            let mut seen = Vec::new();
            for _ in 0..4 {
                // On the paused clock, just after each look.
                tokio::time::sleep(every + Duration::from_millis(1)).await;
                seen.push(control.is_paused());
            }
            seen
        };

        let seen = tokio::select! {
            biased;
            never = watch(&conditions, &steering, every) => match never {},
            seen = seen => seen,
        };

        assert_eq!(seen, [false, true, true, false]);
        let expected = ["paused: waits until this holds: ac-power (on battery)", "all conditions hold again"];
        assert_eq!(log(), expected);
    }
}
