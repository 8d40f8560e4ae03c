//! What the scheduler remembers of each job from tick to tick, beside the job's own state.

use config::SyncJobConfig;
use formats::{JobId, Upid};
use serde::{Deserialize, Serialize};

use crate::state::JobState;

/// How long a start may take until the job's state shows it; then it counts as lost and is made again.
const START_LIMIT: i64 = 60;

/// A file that was edited longer ago than this says nothing about when a job nobody has seen before was made.
const NEW_LIMIT: i64 = 60;

/// What is remembered of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Memory {
    /// The schedule it had when last seen; none while it is disabled.
    pub(crate) schedule: Option<String>,
    /// The job it then followed.
    pub(crate) after: Option<JobId>,
    /// When that came about: events before it are none of this job's.
    pub(crate) since: i64,
    /// A start that lay ahead of the clock when it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ahead: Option<Ahead>,
    /// The last start by the scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Handover>,
    /// The end of another job that it was started after last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) followed: Option<i64>,
}

/// A start that the clock has not reached: it was set back since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ahead {
    /// The start, as it was written down then.
    pub(crate) start: i64,
    /// When this was noticed, by the clock as it is now.
    pub(crate) seen: i64,
}

/// A start whose process may not have got to write the job's state yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// When.
    pub(crate) at: i64,
    /// The name of the run before.
    pub(crate) previous: Option<Upid>,
}

impl Memory {
    /// Takes in how a job looks at `now`. `edited` is when its file was last written; this is when a changed schedule
    /// began to hold, so that neither an old event starts the job nor one just after the change is missed.
    pub(crate) fn observe(
        known: Option<&Self>,
        job: &SyncJobConfig,
        state: Option<&JobState>,
        edited: i64,
        now: i64,
    ) -> Self {
        let schedule = job.schedule.as_ref().filter(|_| job.is_enabled()).map(|schedule| schedule.canonical());
        let after = job.after.clone().filter(|_| job.is_enabled());
        let mut memory = match known {
            Some(known) if known.schedule == schedule && known.after == after => known.clone(),
            Some(known) => Self { schedule, after, since: edited, ..known.clone() },
            // A job that has a state is known, if not to us: all since that state is its own.
            None if state.and_then(JobState::reference).is_some() => Self { schedule, after, ..Self::default() },
            None => Self { schedule, after, since: edited.max(now - NEW_LIMIT), ..Self::default() },
        };
        memory.since = memory.since.min(now);
        let start = state.and_then(JobState::reference).filter(|start| *start > now);
        if memory.ahead.map(|ahead| ahead.start) != start {
            memory.ahead = start.map(|start| Ahead { start, seen: now });
        }
        memory
    }

    /// Whether the job was started and has not said so yet.
    pub(crate) fn is_starting(&self, state: Option<&JobState>, now: i64) -> bool {
        self.started.as_ref().is_some_and(|start| {
            start.previous.as_ref() == state.and_then(JobState::upid)
                && (start.at..start.at + START_LIMIT).contains(&now)
        })
    }
}
