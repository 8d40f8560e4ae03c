//! Copying between two remotes, with no datastore of this host in between.

use std::sync::Arc;
use std::time::Instant;

use config::Paths;
use formats::{RemoteName, StoreName};
use replication::{JobOptions, Monitor, Report};

use tasks::{TaskEnd, TaskStore, new_upid, superuser};

use crate::ends::{Place, SourceEnd, TargetEnd, open_source, open_target};
use crate::error::JobError;
use crate::rates::{Rates, local_now};
use crate::report::JobReport;
use crate::run::{Caller, Journal, Names, Steering, listen, task_end};
use crate::sync::{chain, settled};

/// What to relay, from where to where.
#[derive(Clone, Debug)]
pub struct RelayRequest {
    /// Where snapshots come from.
    pub from: (RemoteName, StoreName),
    /// Where they go to.
    pub to: (RemoteName, StoreName),
    /// What to copy: options of a push. The owner is the identity that the second remote knows us by.
    pub options: JobOptions,
    /// Bytes per second received from the first remote; `None` for no limit.
    pub rate_in: Option<u64>,
    /// Bytes per second sent to the second remote.
    pub rate_out: Option<u64>,
}

/// Copies from one remote to another. Chunks pass through memory and touch no disk here.
///
/// # Errors
/// Both ends are the same place, or one of them cannot be opened. What fails later is in the report.
pub async fn run_relay(paths: &Paths, request: RelayRequest, caller: Caller) -> Result<JobReport, JobError> {
    let RelayRequest { from, to, mut options, rate_in, rate_out } = request;
    if from == to && options.source_ns == options.target_ns {
        return Err(JobError::Unusable(format!("source and target are the same: datastore '{}' at '{}'", to.1, to.0)));
    }
    let start = Instant::now();
    let upid = new_upid("sync", Some(to.1.to_string()), superuser());
    options.target_store = Some(to.1.to_string());
    let names = Names::of_relay(&from, &to);
    let journal = Journal::new(TaskStore::new(paths).start(upid.clone()), names, caller.monitor, caller.echo);
    let (journal, rates) = (Arc::new(journal), Rates::fixed(rate_in, rate_out));
    let steering = Arc::new(Steering::new(caller.control.clone(), journal.clone(), rates.clone(), local_now));
    journal.opening(to.1.as_str(), None);
    let work = async {
        let opened = tokio::select! {
            biased;
            () = caller.control.cancelled() => Ok(None),
            opened = open(paths, from, to) => opened.map(Some),
        };
        let Some((source, target)) = opened? else {
            return Ok(settled(Report { cancelled: true, ..Report::default() }));
        };
        if let Some(identity) = target.identity {
            options.owner = identity;
        }
        let [received, sent] = rates.at(local_now());
        for (traffic, rate_in, rate_out) in
            [(source.traffic, received, (None, None)), (target.traffic, (None, None), sent)]
        {
            if let Some(traffic) = traffic {
                traffic.set_rate_in(rate_in.0, rate_in.1);
                traffic.set_rate_out(rate_out.0, rate_out.1);
                steering.steer([traffic]);
            }
        }
        let monitor: Arc<dyn Monitor> = journal.clone();
        Ok(replication::run(&options, source.source, target.target, &caller.control, monitor).await)
    };
    let done: Result<Report, JobError> = tokio::select! {
        biased;
        never = listen(paths, &upid, &steering) => match never {},
        done = work => done,
    };
    match done {
        Err(error) => {
            journal.finish(TaskEnd::Error(chain(&error)));
            Err(error)
        }
        Ok(report) => {
            let mut report = JobReport::new(upid, report, None, start.elapsed());
            (report.bytes_on_wire_in, report.bytes_on_wire_out) = steering.wire_bytes();
            journal.closing(&report);
            journal.finish(task_end(&report.report));
            Ok(report)
        }
    }
}

async fn open(
    paths: &Paths,
    from: (RemoteName, StoreName),
    to: (RemoteName, StoreName),
) -> Result<(SourceEnd, TargetEnd), JobError> {
    let source = open_source(paths, &Place::Remote(from.0, from.1), &superuser())?;
    Ok((source, open_target(paths, &Place::Remote(to.0, to.1)).await?))
}
