//! Copying between two remotes, with no datastore of this host in between.

use std::sync::Arc;
use std::time::Instant;

use config::Paths;
use formats::{RemoteName, StoreName};
use replication::{JobOptions, Monitor, Report, RunControl};
use tasks::{new_upid, superuser};

use crate::ends::{Place, open_source, open_target};
use crate::error::JobError;
use crate::report::JobReport;

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
pub async fn run_relay(
    paths: &Paths,
    request: RelayRequest,
    control: RunControl,
    monitor: Arc<dyn Monitor>,
) -> Result<JobReport, JobError> {
    let RelayRequest { from, to, mut options, rate_in, rate_out } = request;
    if from == to && options.source_ns == options.target_ns {
        return Err(JobError::Unusable(format!("source and target are the same: datastore '{}' at '{}'", to.1, to.0)));
    }
    let start = Instant::now();
    let upid = new_upid("sync", Some(to.1.to_string()), superuser());
    options.target_store = Some(to.1.to_string());
    let source = open_source(paths, &Place::Remote(from.0, from.1), &superuser())?;
    let place = Place::Remote(to.0, to.1);
    let opened = tokio::select! {
        biased;
        () = control.cancelled() => None,
        target = open_target(paths, &place) => Some(target?),
    };
    let Some(target) = opened else {
        let mut report = Report { cancelled: true, ..Report::default() };
        report.settle();
        return Ok(JobReport::new(upid, report, None, start.elapsed()));
    };
    if let Some(identity) = target.identity {
        options.owner = identity;
    }
    let lines = [source.traffic, target.traffic];
    for (line, (limit_in, limit_out)) in lines.iter().zip([(rate_in, None), (None, rate_out)]) {
        if let Some(traffic) = line {
            traffic.set_rate_in(limit_in, None);
            traffic.set_rate_out(limit_out, None);
        }
    }
    let report = replication::run(&options, source.source, target.target, &control, monitor).await;
    let mut report = JobReport::new(upid, report, None, start.elapsed());
    for traffic in lines.iter().flatten() {
        report.bytes_on_wire_in += traffic.bytes_in();
        report.bytes_on_wire_out += traffic.bytes_out();
    }
    Ok(report)
}
