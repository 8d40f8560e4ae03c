//! One installation below a temporary root: a datastore, a server, an API token.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use crate::process::{self, Finished};

/// What one run cost the process that replicates and the server it talks to.
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) own_cpu: f64,
    pub(crate) peer_cpu: f64,
    pub(crate) own_peak: u64,
    pub(crate) peer_peak: u64,
    pub(crate) chunks: u64,
}

/// A running server with its own root, datastores `main` and `pushed`, and a token that may do everything with them.
pub(crate) struct Site {
    root: PathBuf,
    manager: PathBuf,
    server: Child,
    port: u16,
    token: String,
    secret: String,
    fingerprint: String,
}

impl Site {
    pub(crate) fn start(binaries: &Path, root: &Path) -> anyhow::Result<Self> {
        fs::create_dir(root)?;
        let manager = binaries.join("backup-manager");
        let run = |arguments: &[&str]| run(&manager, root, arguments);
        for store in ["main", "pushed"] {
            run(&["datastore", "create", store, &root.join(store).to_string_lossy()])?;
        }
        let password = root.join("password");
        fs::write(&password, "bench-password\n")?;
        run(&["user", "create", "bench@pbs", "--password-file", &password.to_string_lossy()])?;
        let token = run(&["user", "generate-token", "bench@pbs", "run", "--output-format", "json"])?;
        let token: serde_json::Value = serde_json::from_slice(&token)?;
        let text = |value: &serde_json::Value, key: &str| {
            value[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}` in {value}"))
        };
        let (token, secret) = (text(&token, "tokenid")?, text(&token, "value")?);
        for identity in ["bench@pbs", &token] {
            run(&["acl", "update", "/", "Admin", "--auth-id", identity])?;
        }
        let mut server = Command::new(binaries.join("backup-server"))
            .args(["--listen", "127.0.0.1:0", "--root"])
            .arg(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start backup-server")?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let port = line.trim().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.with_context(|| format!("the server said {line:?}"))?;
        let certificate = run(&["cert", "info", "--output-format", "json"])?;
        let fingerprint = text(&serde_json::from_slice(&certificate)?, "fingerprint")?;
        Ok(Self { root: root.to_owned(), manager, server, port, token, secret, fingerprint })
    }

    pub(crate) fn store_path(&self, store: &str) -> PathBuf {
        self.root.join(store)
    }

    /// Backs `image` up as the only archive of group `vm/ID` in store `main`.
    pub(crate) fn back_up(&self, image: &Path, id: &str) -> anyhow::Result<()> {
        let archive = format!("drive.img:{}", image.display());
        let target = ["--store", "main", "--backup-type", "vm", "--backup-id", id];
        run(&self.manager, &self.root, &[["backup", "create", &archive].as_slice(), &target].concat()).map(drop)
    }

    /// Makes `peer` known here under `name`.
    pub(crate) fn trust(&self, name: &str, peer: &Site) -> anyhow::Result<()> {
        let secret = self.root.join("secret");
        fs::write(&secret, &peer.secret)?;
        let (port, secret) = (peer.port.to_string(), secret.to_string_lossy().into_owned());
        let whom = ["--host", "127.0.0.1", "--port", &port, "--auth-id", &peer.token];
        let proof = ["--password-file", &secret, "--fingerprint", &peer.fingerprint];
        run(&self.manager, &self.root, &[["remote", "create", name].as_slice(), &whom, &proof].concat()).map(drop)
    }

    /// Runs a command that reports in JSON, and measures it.
    pub(crate) fn manager_measured(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut command = Command::new(&self.manager);
        command.arg("--root").arg(&self.root).args(arguments).args(["--output-format", "json"]).stderr(Stdio::null());
        process::run_measured(&mut command)
    }

    pub(crate) fn server_cpu(&self) -> anyhow::Result<f64> {
        process::cpu_of(&self.server)
    }

    pub(crate) fn server_peak(&self) -> anyhow::Result<u64> {
        process::peak_of(&self.server)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Nothing can be done about a server that is gone already.
        let _ = (self.server.kill(), self.server.wait());
    }
}

fn run(manager: &Path, root: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(manager).arg("--root").arg(root).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "backup-manager {arguments:?} ended with {}: {said}", output.status);
    Ok(output.stdout)
}
