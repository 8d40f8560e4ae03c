//! What there is to tell after a run: edges, not states.

use std::collections::BTreeSet;

use config::NotifyOn;

use crate::record::{RunRecord, Standing};

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The job began to fail.
    Failure,
    /// It is well again.
    Recovery,
    /// The deletion brake holds since.
    Brake,
    /// A run ended, and nothing changed by it.
    Run,
}

impl Event {
    /// Its name in the data of a message.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Brake => "brake",
            Self::Run => "run",
        }
    }
}

/// What is to be told by `way` after the run in `record`, if anything: the difference between how the job stands and what
/// was told last.
pub(super) fn due(record: &RunRecord, way: &str, on: &BTreeSet<NotifyOn>) -> Option<Event> {
    let told = record.told.get(way).copied().unwrap_or_default();
    let edge = match (told, record.standing) {
        (told, standing) if told == standing => None,
        (_, Standing::Failing) => Some((Event::Failure, NotifyOn::Failure)),
        (_, Standing::Held) => Some((Event::Brake, NotifyOn::Brake)),
        (_, Standing::Good) => Some((Event::Recovery, NotifyOn::Recovery)),
    };
    match edge {
        Some((event, wanted)) if on.contains(&wanted) => Some(event),
        _ => on.contains(&NotifyOn::Always).then_some(Event::Run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told over a series of runs, in a letter each: `g`ood, `h`eld, `f`ailing; in capitals if telling fails.
    fn told(runs: &str, on: &[NotifyOn]) -> String {
        let on = on.iter().copied().collect();
        let mut record = RunRecord::default();
        let mut said = Vec::new();
        for run in runs.chars() {
            record.standing = match run.to_ascii_lowercase() {
                'f' => Standing::Failing,
                'h' => Standing::Held,
                _ => Standing::Good,
            };
            said.push(due(&record, "mail", &on).map_or("-", Event::name));
            if run.is_lowercase() {
                record.told.insert("mail".to_owned(), record.standing);
            }
        }
        said.join(" ")
    }

    const EDGES: [NotifyOn; 3] = [NotifyOn::Failure, NotifyOn::Recovery, NotifyOn::Brake];

    #[test]
    fn only_the_edges_are_told() {
        assert_eq!(told("gfffgg", &EDGES), "- failure - - recovery -");
        assert_eq!(told("ghhghf", &EDGES), "- brake - recovery brake failure");
        assert_eq!(told("fhg", &EDGES), "failure brake recovery");
    }

    #[test]
    fn what_did_not_arrive_is_told_after_the_next_run() {
        assert_eq!(told("FFfg", &EDGES), "failure failure failure recovery");
        assert_eq!(told("Fg", &EDGES), "failure -", "nobody needs to know of a recovery from what nobody heard of");
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        assert_eq!(told("fghg", &[NotifyOn::Recovery]), "- recovery - recovery");
        assert_eq!(told("gfg", &[]), "- - -");
        assert_eq!(told("gffg", &[NotifyOn::Failure, NotifyOn::Always]), "run failure run run");
    }
}
