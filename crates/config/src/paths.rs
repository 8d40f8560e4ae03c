//! Where everything lives.

use std::path::{Path, PathBuf};

/// The directories of one installation, and the names of the files in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    etc: PathBuf,
    state: PathBuf,
    log: PathBuf,
    run: PathBuf,
    pbs_etc: PathBuf,
    pbs_run: PathBuf,
}

impl Paths {
    /// The system's own: `/etc/backup-manager` and its siblings below `/var/lib`, `/var/log` and `/run`.
    pub fn system() -> Self {
        Self::under_root(Path::new("/"))
    }

    /// The same names below `root` (`ROOT/etc/backup-manager`, ...).
    pub fn under_root(root: &Path) -> Self {
        Self {
            etc: root.join("etc/backup-manager"),
            state: root.join("var/lib/backup-manager"),
            log: root.join("var/log/backup-manager"),
            run: root.join("run/backup-manager"),
            pbs_etc: root.join("etc/proxmox-backup"),
            pbs_run: root.join("run/proxmox-backup"),
        }
    }

    /// The directory that all others are below, unless it is `/`.
    pub fn root(&self) -> Option<&Path> {
        self.etc.ancestors().nth(2).filter(|root| root.parent().is_some())
    }

    /// Directory of configuration files.
    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// Directory of job state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Directory of logs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Directory of what does not outlive a boot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Directory of group and snapshot locks: that of a stock server where one runs on this host, else ours.
    ///
    /// Looks at the file system, so that both servers on one disk meet at the same locks.
    pub fn locks(&self) -> PathBuf {
        let stock = self.pbs_run.join("locks");
        if stock.is_dir() { stock } else { self.run.join("locks") }
    }

    /// Directory of task logs.
    pub fn tasks(&self) -> PathBuf {
        self.log.join("tasks")
    }

    /// Directory of what is remembered of jobs between their runs.
    pub fn job_states(&self) -> PathBuf {
        self.state.join("jobstates")
    }

    /// What the scheduler remembers from tick to tick.
    pub fn scheduler_notes(&self) -> PathBuf {
        self.state.join("scheduler.json")
    }

    /// Lock of the scheduler, which one tick at a time holds.
    pub fn scheduler_lock(&self) -> PathBuf {
        self.run.join("scheduler.lck")
    }

    /// Directory of the sockets that running jobs listen on.
    pub fn control(&self) -> PathBuf {
        self.run.join("control")
    }

    /// Directory of "run now" requests.
    pub fn requests(&self) -> PathBuf {
        self.run.join("requests")
    }

    /// `datastore.cfg`.
    pub fn datastore_cfg(&self) -> PathBuf {
        self.etc.join("datastore.cfg")
    }

    /// `remote.cfg`, a secret file.
    pub fn remote_cfg(&self) -> PathBuf {
        self.etc.join("remote.cfg")
    }

    /// `sync.cfg`.
    pub fn sync_cfg(&self) -> PathBuf {
        self.etc.join("sync.cfg")
    }

    /// `encryption-keys.cfg`: what is known of the keys of sync jobs.
    pub fn encryption_keys_cfg(&self) -> PathBuf {
        self.etc.join("encryption-keys.cfg")
    }

    /// The file of a key of sync jobs, a secret file.
    pub fn encryption_key_file(&self, id: &formats::JobId) -> PathBuf {
        self.etc.join("encryption-keys").join(format!("{id}.enc"))
    }

    /// `user.cfg`: users and API tokens, without secrets.
    pub fn user_cfg(&self) -> PathBuf {
        self.etc.join("user.cfg")
    }

    /// `acl.cfg`.
    pub fn acl_cfg(&self) -> PathBuf {
        self.etc.join("acl.cfg")
    }

    /// `shadow.json`: password hashes, a secret file.
    pub fn shadow(&self) -> PathBuf {
        self.etc.join("shadow.json")
    }

    /// `token.shadow`: hashes of token secrets, a secret file.
    pub fn token_shadow(&self) -> PathBuf {
        self.etc.join("token.shadow")
    }

    /// `backup-server.conf`, the daemon's own settings.
    pub fn server_conf(&self) -> PathBuf {
        self.etc.join("backup-server.conf")
    }

    /// Key that signs login tickets, a secret file.
    pub fn auth_key(&self) -> PathBuf {
        self.etc.join("authkey.key")
    }

    /// Key behind the CSRF prevention tokens, a secret file.
    pub fn csrf_key(&self) -> PathBuf {
        self.etc.join("csrf.key")
    }

    /// The generated certificate.
    pub fn cert(&self) -> PathBuf {
        self.etc.join("proxy.pem")
    }

    /// The generated certificate's private key, a secret file.
    pub fn key(&self) -> PathBuf {
        self.etc.join("proxy.key")
    }

    /// The `datastore.cfg` of a stock server on the same host.
    pub fn pbs_datastore_cfg(&self) -> PathBuf {
        self.pbs_etc.join("datastore.cfg")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_puts_all_four_directories_below_it_under_the_same_names() {
        let paths = Paths::under_root(Path::new("/tmp/demo"));

        assert_eq!(paths.sync_cfg(), Path::new("/tmp/demo/etc/backup-manager/sync.cfg"));
        assert_eq!(paths.state(), Path::new("/tmp/demo/var/lib/backup-manager"));
        assert_eq!(paths.tasks(), Path::new("/tmp/demo/var/log/backup-manager/tasks"));
        assert_eq!(paths.locks(), Path::new("/tmp/demo/run/backup-manager/locks"));
        assert_eq!(Paths::system().remote_cfg(), Path::new("/etc/backup-manager/remote.cfg"));
        assert_eq!((paths.root(), Paths::system().root()), (Some(Path::new("/tmp/demo")), None));
    }

    #[test]
    fn locks_are_a_stock_servers_where_there_is_one() {
        let root = tempfile::tempdir().unwrap();
        let stock = root.path().join("run/proxmox-backup/locks");
        std::fs::create_dir_all(&stock).unwrap();

        assert_eq!(Paths::under_root(root.path()).locks(), stock);
    }
}
