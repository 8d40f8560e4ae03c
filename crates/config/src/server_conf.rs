//! `backup-server.conf`: the daemon's own settings, an INI file.
//!
//! ```ini
//! [server]
//! listen = [::]:8007
//! log-level = info
//!
//! [node]
//! http-proxy = http://proxy.example.com:3128
//!
//! [limits]
//! max-connections = 1024
//!
//! [scheduler]
//! max-jobs = 4
//!
//! [tasks]
//! retention-days = 90
//!
//! [notify]
//! mail-to = admin@example.com
//!
//! [metrics]
//! listen = 127.0.0.1:9107
//! ```

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use configparser::ini::Ini;

use crate::{
    byte_size::ByteSize,
    error::{ConfigError, Result},
    files,
    notify::{self, NotifyConf},
    paths::Paths,
    store::Problem,
};

/// The daemon's settings; what the file does not name has its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConf {
    /// `[server] listen`: address and port, `[::]:8007`.
    pub listen: SocketAddr,
    /// `[server] certificate`: PEM file, instead of the generated one. Goes with `key`.
    pub certificate: Option<PathBuf>,
    /// `[server] key`: PEM file.
    pub key: Option<PathBuf>,
    /// `[server] log-level`: `error`, `warn`, `info` (default), `debug` or `trace`.
    pub log_level: String,
    /// `[node] http-proxy`: the way to remotes with `use-node-proxy`, `http://[USER:PASSWORD@]HOST:PORT`.
    pub http_proxy: Option<String>,
    /// `[limits] max-connections`: open connections, 1024.
    pub max_connections: usize,
    /// `[limits] max-sessions`: backup and restore sessions at a time, 256.
    pub max_sessions: usize,
    /// `[limits] receive-buffer`: bytes that all sessions together may hold unread, 128 MiB.
    pub receive_buffer: u64,
    /// `[limits] idle-minutes`: a connection that is silent for longer is closed, 15.
    pub idle: Duration,
    /// `[scheduler] max-jobs`: jobs that the scheduler lets run at a time, 4.
    pub max_jobs: usize,
    /// `[tasks] retention-days`: age at which task logs are removed, 0 for never; 90.
    pub task_retention_days: u32,
    /// `[tasks] retention-count`: finished tasks that are always kept, 1000.
    pub task_retention_count: usize,
    /// `[notify]`: who is told of jobs.
    pub notify: NotifyConf,
    /// `[metrics] listen`: where the server shows its metrics, over plain HTTP and to anybody who can connect; off.
    pub metrics: Option<SocketAddr>,
}

impl Default for ServerConf {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 8007),
            certificate: None,
            key: None,
            log_level: "info".to_owned(),
            http_proxy: None,
            max_connections: 1024,
            max_sessions: 256,
            receive_buffer: 128 * 1024 * 1024,
            idle: Duration::from_secs(15 * 60),
            max_jobs: 4,
            task_retention_days: 90,
            task_retention_count: 1000,
            notify: NotifyConf::default(),
            metrics: None,
        }
    }
}

impl ServerConf {
    /// Loads the file; keys it does not know are problems.
    ///
    /// # Errors
    /// The file cannot be read, is no INI file, or a value does not fit: file, line, section and key.
    pub fn load(paths: &Paths) -> Result<(Self, Vec<Problem>)> {
        let path = paths.server_conf();
        let bytes = files::read(&path)?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::line(&path, 0, "not valid UTF-8"))?;

        let mut ini = Ini::new();
        let mut syntax = ini.defaults();
        syntax.enable_inline_comments = false; // a path may have a `#` or `;`
        syntax.delimiters = vec!['=']; // an address has colons
        ini.load_defaults(syntax);
        ini.read(text.clone()).map_err(|reason| {
            let (line, reason) = split_line(&reason);
            ConfigError::line(&path, line, reason)
        })?;

        let mut conf = Self::default();
        let mut notify = notify::Builder::default();
        let mut problems = Vec::new();
        for (section, keys) in ini.get_map_ref() {
            for (key, value) in keys {
                let line = line_of(&text, section, key);
                let name = if *section == "default" { key.clone() } else { format!("[{section}] {key}") };
                let value = value.as_deref().unwrap_or_default();
                let known = if section == "notify" { notify.set(key, value) } else { conf.set(section, key, value) };
                match known {
                    Ok(true) => {}
                    Ok(false) => problems.push(Problem {
                        path: path.clone(),
                        line,
                        id: None,
                        reason: format!("unknown key `{name}` has no effect"),
                        breaks_section: false,
                    }),
                    Err(reason) => return Err(ConfigError::line(&path, line, format!("`{name}`: {reason}"))),
                }
            }
        }
        if conf.certificate.is_some() != conf.key.is_some() {
            return Err(ConfigError::line(&path, 0, "`[server]`: `certificate` and `key` go together"));
        }
        conf.notify = notify.finish().map_err(|reason| ConfigError::line(&path, 0, format!("`[notify]`: {reason}")))?;
        problems.sort_by_key(|problem| problem.line);
        Ok((conf, problems))
    }

    /// Whether the file holds something that only its owner should read.
    pub(crate) fn holds_secrets(&self) -> bool {
        self.notify.holds_secrets() || self.http_proxy.as_ref().is_some_and(|proxy| proxy.contains('@'))
    }

    /// Takes one value; says whether the key is known.
    fn set(&mut self, section: &str, key: &str, value: &str) -> Result<bool, String> {
        match (section, key) {
            ("server", "listen") => self.listen = address(value)?,
            ("server", "certificate") => self.certificate = Some(absolute(value)?),
            ("server", "key") => self.key = Some(absolute(value)?),
            ("server", "log-level") => {
                if !["error", "warn", "info", "debug", "trace"].contains(&value) {
                    return Err(format!("`{value}` is none of error, warn, info, debug, trace"));
                }
                self.log_level = value.to_owned();
            }
            ("node", "http-proxy") => {
                if value.is_empty() {
                    return Err("is empty; write http://HOST:PORT, or remove the line".to_owned());
                }
                self.http_proxy = Some(value.to_owned());
            }
            ("limits", "max-connections") => self.max_connections = number(value, 1, 1_000_000)?,
            ("limits", "max-sessions") => self.max_sessions = number(value, 1, 100_000)?,
            ("limits", "receive-buffer") => self.receive_buffer = size(value, 8 << 20, 1 << 40)?,
            ("limits", "idle-minutes") => self.idle = Duration::from_secs(60 * number(value, 1, 1440)?),
            ("scheduler", "max-jobs") => self.max_jobs = number(value, 1, 10_000)?,
            ("tasks", "retention-days") => self.task_retention_days = number(value, 0, 36_500)?,
            ("tasks", "retention-count") => self.task_retention_count = number(value, 0, 10_000_000)?,
            ("metrics", "listen") => self.metrics = Some(address(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| format!("`{value}` is no address and port, such as `[::]:8007` or `127.0.0.1:8007`"))
}

pub(crate) fn absolute(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    if path.is_absolute() { Ok(path) } else { Err(format!("`{value}` is no absolute path")) }
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(value: &str, min: N, max: N) -> Result<N, String> {
    value
        .parse::<N>()
        .ok()
        .filter(|number| (&min..=&max).contains(&number))
        .ok_or_else(|| format!("`{value}` is no number from {min} to {max}"))
}

fn size(value: &str, min: u64, max: u64) -> Result<u64, String> {
    let size = value.parse::<ByteSize>().map_err(|error| error.to_string())?.bytes();
    if size < min || size > max {
        return Err(format!("{value} is not from {} to {}", ByteSize::from_bytes(min), ByteSize::from_bytes(max)));
    }
    Ok(size)
}

/// Takes the line number out of the parser's message (`line 3: ...`, `line 3:7: ...`).
fn split_line(message: &str) -> (usize, &str) {
    let split = || {
        let (line, reason) = message.strip_prefix("line ")?.split_once(": ")?;
        Some((line.split(':').next()?.parse().ok()?, reason))
    };
    split().unwrap_or((0, message))
}

/// The last line that sets the key; 0 if it is not found.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut inside = "default".to_owned();
    let mut found = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim()) {
            inside = name.to_lowercase();
        } else if inside == section && line.split('=').next().is_some_and(|name| name.trim().to_lowercase() == key) {
            found = index + 1;
        }
    }
    found
}
