//! Whether what a job waits for (`run-when`) holds now.
//!
//! Every look has a time limit, so that neither the scheduler nor a running job hangs on a dead host or disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Paths, RunCondition, SyncJobConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ends::{find_remote, open_store};
use crate::script::Script;
use crate::sync::chain;

/// Where and how long conditions look.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Directory with one directory per power supply.
    pub power_supplies: PathBuf,
    /// The longest a command may take, or a disk to answer.
    pub command_limit: Duration,
    /// The longest a host may take to accept a connection.
    pub connect_limit: Duration,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            power_supplies: "/sys/class/power_supply".into(),
            command_limit: Duration::from_secs(30),
            connect_limit: Duration::from_secs(5),
        }
    }
}

/// Says which condition of `job` does not hold, and why; `None` when all hold. Conditions are looked at in their order.
///
/// What cannot be found out does not hold. Takes up to the limits of `around` for each condition.
pub async fn unmet(paths: &Paths, job: &SyncJobConfig, around: &Surroundings) -> Option<String> {
    for condition in &job.run_when {
        let looked = match condition {
            RunCondition::AcPower => ac_power(&around.power_supplies),
            RunCondition::FreeSpace(least) => free_space(paths, job, least.bytes(), around.command_limit).await,
            RunCondition::Host { name, port } => {
                reach(name, port_of(paths, job, *port), around.connect_limit).await.map_err(|error| error.to_string())
            }
            RunCondition::Command(line) => command(job, line, around.command_limit).await,
        };
        if let Err(reason) = looked {
            return Some(format!("{condition} ({reason})"));
        }
    }
    None
}

/// On battery means: a battery is being discharged and nothing else feeds the machine. Batteries of mice and the like
/// do not count, and neither does a machine without any.
fn ac_power(supplies: &Path) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(supplies) else { return Ok(()) };
    let mut discharging = false;
    for entry in entries.flatten() {
        let fact = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_owned();
        match fact("type").as_str() {
            _ if fact("scope") == "Device" => {}
            "Battery" => discharging |= fact("status") == "Discharging",
            _ if fact("online") == "1" => return Ok(()),
            _ => {}
        }
    }
    if discharging { Err("the machine runs on battery".to_owned()) } else { Ok(()) }
}

async fn free_space(paths: &Paths, job: &SyncJobConfig, least: u64, limit: Duration) -> Result<(), String> {
    let (paths, store) = (paths.clone(), job.store.clone());
    let look = tokio::task::spawn_blocking(move || Ok::<_, crate::JobError>(open_store(&paths, &store)?.status()?));
    let usage = match timeout(limit, look).await {
        Err(_) => return Err(format!("the disk of datastore {} does not answer", job.store)),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(Err(error))) => return Err(chain(&error)),
        Ok(Ok(Ok(usage))) => usage,
    };
    if usage.avail >= least {
        return Ok(());
    }
    Err(format!("datastore {} has {} MiB", job.store, usage.avail >> 20))
}

/// The port as given, else that of the job's remote.
fn port_of(paths: &Paths, job: &SyncJobConfig, port: Option<u16>) -> u16 {
    let of_remote = || find_remote(paths, job.remote.as_ref()?).ok().map(|remote| remote.port());
    port.or_else(of_remote).unwrap_or(config::remotes::DEFAULT_PORT)
}

async fn reach(name: &str, port: u16, limit: Duration) -> io::Result<()> {
    match timeout(limit, TcpStream::connect((name, port))).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer from port {port} in {limit:?}"))),
    }
}

/// Runs a command in an environment that depends on nobody's login. It and its children end with the limit.
async fn command(job: &SyncJobConfig, line: &str, limit: Duration) -> Result<(), String> {
    let told = [("LC_ALL", "C.UTF-8"), ("BACKUP_SYNC_ID", job.id.as_str())];
    let environment = told.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Script { line, environment, limit }.run(&|_| {}).await.map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use config::{DatastoreConfig, RemoteConfig};
    use datastore::{CreateOptions, Datastore};

    use super::*;

    fn job(conditions: &[&str]) -> SyncJobConfig {
        let mut job =
            SyncJobConfig::new("job".parse().unwrap(), "here".parse().unwrap(), None, "there".parse().unwrap());
        job.run_when = conditions.iter().map(|text| text.parse().unwrap()).collect();
        job
    }

    async fn look(paths: &Paths, conditions: &[&str]) -> Option<String> {
        unmet(paths, &job(conditions), &Surroundings::default()).await
    }

    #[tokio::test]
    async fn a_command_holds_when_it_ends_with_0_and_the_first_condition_that_does_not_hold_is_named() {
        let paths = Paths::under_root(Path::new("/nonexistent"));

        assert_eq!(look(&paths, &[]).await, None);
        assert_eq!(look(&paths, &["command:test $BACKUP_SYNC_ID = job -a -z \"$HOME\""]).await, None);
        let unmet = look(&paths, &["command:true", "command:exit 3", "command:exit 4"]).await;
        assert_eq!(unmet.as_deref(), Some("command:exit 3 (exit status: 3)"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_all_it_started() {
        let root = tempfile::tempdir().unwrap();
        let pid_file = root.path().join("pid");
        let line = format!("command:sleep 600 & echo $! > {}; wait", pid_file.display());
        let around = Surroundings { command_limit: Duration::from_millis(300), ..Surroundings::default() };

        let unmet = unmet(&Paths::under_root(root.path()), &job(&[&line]), &around).await.unwrap();

        assert!(unmet.ends_with("(still running after 300ms)"), "{unmet}");
        let sleeper = fs::read_to_string(pid_file).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", sleeper.trim()));
        let deadline = Instant::now() + Duration::from_secs(20);
        // Gone, or dead and not yet collected by whoever adopts orphans here.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "the sleeper lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_host_holds_when_it_takes_a_connection_at_the_port_of_the_remote_unless_another_is_named() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = open.local_addr().unwrap().port();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let properties = [("host", "127.0.0.1"), ("port", &port.to_string()), ("auth-id", "a@pbs"), ("password", "x")];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let remote: RemoteConfig = config::from_pairs("pbs2", &properties).unwrap();
        config::remotes::create(&paths, &remote).unwrap();

        let mut job = job(&["host:127.0.0.1"]);
        job.remote = Some("pbs2".parse().unwrap());
        assert_eq!(unmet(&paths, &job, &Surroundings::default()).await, None);
        assert_eq!(look(&paths, &[&format!("host:127.0.0.1:{port}")]).await, None);
        let refused = look(&paths, &[&format!("host:127.0.0.1:{closed}")]).await.unwrap();
        assert!(refused.contains("refused"), "{refused}");
    }

    #[tokio::test]
    async fn free_space_is_that_of_the_jobs_local_datastore() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under_root(root.path());
        let missing = look(&paths, &["free-space:1"]).await.unwrap();
        assert!(missing.contains("there is no datastore 'here'"), "{missing}");

        let path = root.path().join("here");
        Datastore::create(&path, &CreateOptions { lazy_chunk_dirs: true, ..CreateOptions::default() }).unwrap();
        config::datastores::create(&paths, &DatastoreConfig::new("here".parse().unwrap(), path)).unwrap();

        assert_eq!(look(&paths, &["free-space:1 KiB"]).await, None);
        let little = look(&paths, &["free-space:1000000 PiB"]).await.unwrap();
        assert!(little.starts_with("free-space:1000000 PiB (datastore here has "), "{little}");
    }

    #[test]
    fn a_machine_is_on_battery_when_one_is_discharged_and_nothing_feeds_it() {
        let supplies = |entries: &[(&str, &str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (index, (kind, file, value)) in entries.iter().enumerate() {
                let supply = root.path().join(index.to_string());
                fs::create_dir(&supply).unwrap();
                fs::write(supply.join("type"), format!("{kind}\n")).unwrap();
                fs::write(supply.join(file), format!("{value}\n")).unwrap();
            }
            root
        };
        let battery = ("Battery", "status", "Discharging");
        let unplugged = ("Mains", "online", "0");
        for (entries, on_ac) in [
            (vec![], true),
            (vec![unplugged], true),
            (vec![("Battery", "status", "Full")], true),
            (vec![battery], false),
            (vec![unplugged, battery], false),
            (vec![battery, ("USB", "online", "1")], true),
        ] {
            assert_eq!(ac_power(supplies(&entries).path()).is_ok(), on_ac, "{entries:?}");
        }
        let mouse = supplies(&[battery]);
        fs::write(mouse.path().join("0/scope"), "Device\n").unwrap();
        assert!(ac_power(mouse.path()).is_ok());
        assert!(ac_power(Path::new("/nonexistent")).is_ok());
    }
}
