//! How a run is steered from another process: stopped, paused, given other rates, asked how it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDateTime;
use client::Traffic;
use config::ByteSize;
use replication::RunControl;
use serde_json::{Map, Value, json};
use tasks::control::{Answer, Request};
use tokio::time::Instant;

use super::journal::Journal;
use crate::rates::{Rates, Told};

/// Takes requests to a run. What pauses it - a person, a condition that does not hold - is kept apart: it goes on when
/// nothing does any more.
pub(crate) struct Steering {
    control: RunControl,
    journal: Arc<Journal>,
    rates: Rates,
    clock: fn() -> NaiveDateTime,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    traffic: Vec<Arc<Traffic>>,
    by_person: bool,
    condition: Option<String>,
}

impl Steering {
    pub(crate) fn new(control: RunControl, journal: Arc<Journal>, rates: Rates, clock: fn() -> NaiveDateTime) -> Self {
        Self { control, journal, rates, clock, began: Instant::now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the lines whose rates can be set and whose bytes are counted.
    pub(crate) fn steer(&self, traffic: impl IntoIterator<Item = Arc<Traffic>>) {
        let mut state = self.state();
        state.traffic.extend(traffic);
        if self.control.is_paused() {
            self.set_rates(&state);
        }
    }

    /// Pauses the run while a condition does not hold.
    pub(crate) fn condition(&self, unmet: Option<String>) {
        let mut state = self.state();
        match (&state.condition, &unmet) {
            (None, Some(reason)) => self.journal.note(format!("paused: waits until this holds: {reason}")),
            (Some(_), None) => self.journal.note("all conditions hold again"),
            _ => {}
        }
        state.condition = unmet;
        self.apply(&state);
    }

    /// What is on its way is held too: on a slow line it could be minutes' worth.
    fn apply(&self, state: &State) {
        let held = state.by_person || state.condition.is_some();
        if held {
            self.control.pause()
        } else {
            self.control.resume()
        }
        self.rates.hold(held);
        self.set_rates(state);
    }

    fn set_rates(&self, state: &State) {
        for traffic in &state.traffic {
            self.rates.set(traffic, (self.clock)());
        }
    }

    /// Does what somebody asks for; `who` is for the log.
    pub(crate) fn answer(&self, request: &Request, who: &str) -> Answer {
        match request {
            Request::Stop if self.control.is_cancelled() => Answer::error("it is being stopped"),
            Request::Stop => {
                self.journal.note(format!("stopped by {who}"));
                self.control.cancel();
                Answer::ok()
            }
            Request::Pause => self.pause(who),
            Request::Resume => self.resume(who),
            Request::Set { rate_in, rate_out } => self.set(rate_in.as_deref(), rate_out.as_deref(), who),
            Request::Status => Answer(Ok(self.status())),
        }
    }

    fn pause(&self, who: &str) -> Answer {
        let mut state = self.state();
        if state.by_person {
            return Answer::error("it is paused already");
        }
        state.by_person = true;
        self.apply(&state);
        self.journal.note(format!("paused by {who}"));
        Answer::ok()
    }

    fn resume(&self, who: &str) -> Answer {
        let mut state = self.state();
        match (state.by_person, &state.condition) {
            (false, Some(condition)) => {
                Answer::error(format!("nobody paused it, it waits until this holds: {condition}"))
            }
            (false, None) => Answer::error("it is not paused"),
            (true, _) => {
                state.by_person = false;
                self.apply(&state);
                self.journal.note(format!("resumed by {who}"));
                Answer::ok()
            }
        }
    }

    fn set(&self, rate_in: Option<&str>, rate_out: Option<&str>, who: &str) -> Answer {
        let told = match (rate_in.map(parse_rate).transpose(), rate_out.map(parse_rate).transpose()) {
            (Ok(None), Ok(None)) => return Answer::error("give it rate-in or rate-out"),
            (Ok(inbound), Ok(outbound)) => Told { inbound, outbound },
            (Err(error), _) | (_, Err(error)) => return Answer::error(error),
        };
        let state = self.state();
        self.rates.tell(told);
        self.set_rates(&state);
        for (name, rate) in [("rate-in", rate_in), ("rate-out", rate_out)] {
            if let Some(rate) = rate {
                self.journal.note(format!("{name} set to {rate} for the rest of the run by {who}"));
            }
        }
        Answer::ok()
    }

    fn status(&self) -> Map<String, Value> {
        let state = self.state();
        let (name, why) = match &state.condition {
            _ if self.control.is_cancelled() => ("stopping", None),
            Some(condition) => ("paused", Some(condition.clone())),
            None if state.by_person => ("paused", None),
            None => ("running", None),
        };
        let standing = self.journal.standing();
        let [(rate_in, _), (rate_out, _)] = self.rates.at((self.clock)());
        let (received, sent) = wire_bytes(&state);
        let facts = json!({
            "state": name,
            "why": why,
            "elapsed-seconds": self.began.elapsed().as_secs(),
            "groups": standing.groups,
            "groups-done": standing.groups_done,
            "snapshots": standing.snapshots,
            "snapshots-done": standing.snapshots_done,
            "chunks-transferred": standing.moved_chunks,
            "bytes-transferred": standing.moved_bytes,
            "bytes-on-wire-in": received,
            "bytes-on-wire-out": sent,
            "rate-in": rate_in,
            "rate-out": rate_out,
        });
        match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        }
    }
}

fn wire_bytes(state: &State) -> (u64, u64) {
    let lines = || state.traffic.iter();
    (lines().map(|line| line.bytes_in()).sum(), lines().map(|line| line.bytes_out()).sum())
}

/// Reads a rate of a person: that of `sync.cfg`, 0 and `unlimited` for none.
fn parse_rate(text: &str) -> Result<Option<u64>, String> {
    match text {
        "unlimited" => Ok(None),
        text => Ok(text.parse::<ByteSize>().map_err(|error| format!("rate `{text}`: {error}"))?.as_bytes_per_second()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use config::{Paths, SyncJobConfig};
    use replication::Silent;
    use tasks::TaskStore;

    use super::super::journal::Names;
    use super::*;

    pub(in crate::run) fn steering(root: &std::path::Path) -> (Steering, RunControl, impl Fn() -> Vec<String> + use<>) {
        let job = SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        let store = TaskStore::new(&Paths::under_root(root));
        let upid = tasks::new_upid("syncjob", None, tasks::superuser());
        let journal = Journal::new(store.start(upid.clone()), Names::of(&job), Arc::new(Silent), None);
        let control = RunControl::new();
        let steering = Steering::new(control.clone(), Arc::new(journal), Rates::of(&job), NaiveDateTime::default);
        let log = move || {
            let page = store.log_page(&upid, 0, 0).unwrap();
            page.lines.into_iter().map(|(_, line)| line[27..].to_owned()).collect()
        };
        (steering, control, log)
    }

    #[test]
    fn a_run_goes_on_when_neither_a_person_nor_a_condition_holds_it_and_all_is_logged() {
        let root = tempfile::tempdir().unwrap();
        let (steering, control, log) = steering(root.path());
        let ask = |request| steering.answer(&request, "root").0.map(|_| ());

        assert_eq!(ask(Request::Resume), Err("it is not paused".to_owned()));
        ask(Request::Pause).unwrap();
        assert_eq!(ask(Request::Pause), Err("it is paused already".to_owned()));
        steering.condition(Some("ac-power (on battery)".to_owned()));
        ask(Request::Resume).unwrap();
        assert!(control.is_paused());
        assert!(ask(Request::Resume).unwrap_err().contains("ac-power (on battery)"));
        assert_eq!(steering.status()["state"], "paused");
        steering.condition(None);
        assert!(!control.is_paused());
        ask(Request::Stop).unwrap();
        assert!(control.is_cancelled());

        assert_eq!(
            log(),
            [
                "paused by root",
                "paused: waits until this holds: ac-power (on battery)",
                "resumed by root",
                "all conditions hold again",
                "stopped by root"
            ]
        );
    }

    #[test]
    fn rates_are_set_on_the_line_at_once_and_what_is_no_rate_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (steering, _, log) = steering(root.path());
        steering.steer([Traffic::new()]);
        let set = |rate_in: Option<&str>, rate_out: Option<&str>| {
            let own = |rate: Option<&str>| rate.map(str::to_owned);
            let request = Request::Set { rate_in: own(rate_in), rate_out: own(rate_out) };
            steering.answer(&request, "alice@pbs").0.map(|_| ())
        };

        set(Some("2MiB"), None).unwrap();
        set(None, Some("unlimited")).unwrap();
        let status = steering.status();
        assert_eq!((&status["rate-in"], &status["rate-out"]), (&Value::from(2 << 20), &Value::Null));
        assert!(set(Some("fast"), None).unwrap_err().starts_with("rate `fast`"));
        assert!(set(None, None).is_err());
        assert_eq!(log()[0], "rate-in set to 2MiB for the rest of the run by alice@pbs");
    }
}
