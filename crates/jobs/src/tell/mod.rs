//! Tells people and programs how jobs end: once when one begins to fail, once when it is well again, once when the deletion
//! brake holds, and nothing in between.
//!
//! What was told is kept with the job ([`RunRecord::told`]), by each way of telling: what could not be told is told after
//! the next run.

mod decide;
mod words;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use config::datastores::NotifyLevel;
use config::{ConfigError, NotifyConf, NotifyOn, Paths, ServerConf, SyncJobConfig};
use notify::{Letter, NotifyError};

use self::decide::{Event, due};
use self::words::Words;
use crate::record::RunRecord;
use crate::report::JobReport;
use crate::state::{JobState, JobStates};
use crate::sync::chain;
use crate::zone::host_zone;

/// Keeps the record of a run of `job` that ended at `now` (Unix seconds), and tells whoever wants to know.
///
/// Returns what belongs into the log of the task as warnings: a mail that nobody took never fails a run.
pub async fn run_ended(paths: &Paths, job: &SyncJobConfig, report: &JobReport, now: i64) -> Vec<String> {
    tell(paths, job, now, |before| before.after(report, now)).await
}

/// The same for a last run that died before it could tell, and was found at `now`; nothing where there is none.
pub async fn of_death(paths: &Paths, job: &SyncJobConfig, now: i64) -> Vec<String> {
    let states = JobStates::new(paths);
    let Ok(Some(JobState::Finished { upid, state, .. })) = states.load(&job.id) else { return Vec::new() };
    let record = states.record(&job.id).unwrap_or_default().unwrap_or_default();
    if state.is_good() || record.upid.as_ref() == Some(&upid) {
        return Vec::new();
    }
    tell(paths, job, now, |before| before.after_death(&upid, now)).await
}

async fn tell(
    paths: &Paths,
    job: &SyncJobConfig,
    now: i64,
    after: impl FnOnce(&RunRecord) -> RunRecord,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let states = JobStates::new(paths);
    // A record that cannot be read begins anew: the worst of it is a message too many.
    let before = states.record(&job.id).unwrap_or_default().unwrap_or_default();
    let mut record = after(&before);
    match addressees(paths, job) {
        Ok(addressees) => addressees.tell(job, &mut record, now, &mut warnings).await,
        Err(error) => warnings.push(format!("nobody is told of this run: {}", chain(&error))),
    }
    if let Err(error) = states.save_record(&job.id, &record) {
        warnings.push(format!("cannot keep the record of this run: {}", chain(&error)));
    }
    warnings
}

/// Who is told of what.
struct Addressees {
    conf: NotifyConf,
    on: BTreeSet<NotifyOn>,
    mail_to: Vec<String>,
}

/// Reads who is told: the settings of the host, and those of the job's datastore as a stock server has them.
fn addressees(paths: &Paths, job: &SyncJobConfig) -> Result<Addressees, ConfigError> {
    let (conf, _) = ServerConf::load(paths)?;
    let conf = conf.notify;
    let store = config::datastores::load(paths)?.find(&job.store).cloned();
    let users = config::users::load(paths)?;
    let mut mail_to = conf.mail_to.clone();
    let user = store.as_ref().and_then(|store| store.notify_user.clone());
    let user = user.unwrap_or_else(|| tasks::superuser().user().clone());
    if let Some(address) = users.user(&user).and_then(|user| user.email.clone())
        && !mail_to.contains(&address)
    {
        mail_to.push(address);
    }
    let mut on = conf.on.clone();
    match store.and_then(|store| store.notify_of_sync()) {
        Some(NotifyLevel::Never) => on.clear(),
        Some(NotifyLevel::Error) => drop(on.remove(&NotifyOn::Always)),
        Some(NotifyLevel::Always) => drop(on.insert(NotifyOn::Always)),
        None => {}
    }
    Ok(Addressees { conf, on, mail_to })
}

impl Addressees {
    /// Tells by every way there is, and notes what arrived.
    async fn tell(&self, job: &SyncJobConfig, record: &mut RunRecord, now: i64, warnings: &mut Vec<String>) {
        let zone = host_zone(std::env::var("TZ").ok().as_deref()).zone;
        let host = tasks::node_name();
        let words = |event| Words { job, record: &*record, event, host: &host, zone };
        let mut arrived = Vec::new();
        let mut note = |way: String, event: Option<Event>, sent: Result<(), NotifyError>| match sent {
            Ok(()) => arrived.push(way),
            Err(error) => {
                let what = event.map_or("run", Event::name);
                warnings.push(format!("could not tell of this {what}: {}", chain(&error)));
            }
        };
        if !self.mail_to.is_empty() {
            let event = due(record, "mail", &self.on);
            let sent = match event {
                None => Ok(()),
                Some(event) => {
                    let (subject, text) = (words(event).subject(), words(event).text());
                    let since_epoch = Duration::from_secs(u64::try_from(now).unwrap_or(0));
                    let date = SystemTime::UNIX_EPOCH + since_epoch;
                    let letter = Letter { subject: &subject, text: &text, host: &host, date };
                    notify::send_mail(&self.conf, &self.mail_to, &letter).await
                }
            };
            note("mail".to_owned(), event, sent);
        }
        for url in &self.conf.webhooks {
            let way = way_of(url);
            let event = due(record, &way, &self.on);
            let sent = match event {
                None => Ok(()),
                Some(event) => notify::post(url, self.conf.webhook_header.as_ref(), &words(event).data()).await,
            };
            note(way, event, sent);
        }
        for way in arrived {
            record.told.insert(way, record.standing);
        }
    }
}

/// Name of a webhook in the record, which others may read: not its URL.
fn way_of(url: &str) -> String {
    let digest = formats::sha256(url.as_bytes());
    let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("webhook-{short}")
}
