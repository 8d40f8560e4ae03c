//! What the server does by itself: recording tasks that died, and removing old ones.

use std::sync::Arc;
use std::time::Duration;

use crate::state::State;

/// How often old tasks are removed.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps house until everything stops; begins at once.
pub(crate) async fn keep_house(state: Arc<State>) {
    let mut days = tokio::time::interval(INTERVAL);
    days.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = days.tick() => tidy(&state).await,
            () = state.tracker.stopped() => return,
        }
    }
}

async fn tidy(state: &State) {
    let (tasks, retention) = (state.tasks.clone(), state.settings.task_retention);
    let tidied = state.blocking(move || (tasks.reap(), tasks.rotate(tasks::now(), retention))).await;
    match tidied {
        Ok((died, removed)) => {
            match died {
                Ok(0) => {}
                Ok(count) => tracing::warn!(count, "tasks died without an end"),
                Err(error) => tracing::error!(%error, "cannot record the end of tasks that died"),
            }
            match removed {
                Ok(count) => tracing::debug!(count, "old tasks removed"),
                Err(error) => tracing::error!(%error, "cannot remove old tasks"),
            }
        }
        Err(error) => tracing::error!(%error, "cannot keep the list of tasks in order"),
    }
}
