//! Limits of the server, with their defaults.

use std::time::Duration;

use tasks::Retention;

/// Limits of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at once; beyond it the one idle for longest goes, or the new one if none is idle.
    pub max_connections: usize,
    /// A TLS handshake must be done within this time.
    pub handshake_timeout: Duration,
    /// A request head must be complete within this time of its first byte.
    pub head_timeout: Duration,
    /// A parsed request body must be complete within this time of its head.
    pub body_timeout: Duration,
    /// An upload may pause for this time before it gives its memory back.
    pub upload_stall: Duration,
    /// A connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// At a shutdown, running calls get this time to end.
    pub shutdown_timeout: Duration,
    /// Sessions at once; further upgrades are refused.
    pub max_sessions: usize,
    /// Bytes that the receive windows of all sessions may add up to.
    pub window_budget: u64,
    /// Bytes of uploads held in memory at once, over all sessions.
    pub upload_budget: u64,
    /// Bytes of chunks and files one reader session holds in memory at once.
    pub reader_budget: u64,
    /// Bytes per datastore for the digests of chunks that clients may name without sending them.
    pub known_chunks_memory: u64,
    /// Whether other servers of ours are told what this one can do beyond the protocol of a stock server. Without, it looks
    /// like one to them; no configuration file can say so.
    pub announce_additions: bool,
    /// Refused logins that wait at once; further ones wait for their turn to wait.
    pub max_delayed: usize,
    /// How long finished tasks and their logs are kept.
    pub task_retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            max_connections: 1024,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            upload_stall: Duration::from_secs(5 * 60),
            idle_timeout: Duration::from_secs(15 * 60),
            shutdown_timeout: Duration::from_secs(10),
            max_sessions: 256,
            window_budget: 512 * MIB,
            upload_budget: 256 * MIB,
            reader_budget: 128 * MIB,
            known_chunks_memory: 64 * MIB,
            announce_additions: true,
            max_delayed: 512,
            task_retention: Retention::default(),
        }
    }
}

impl From<&config::ServerConf> for Settings {
    /// Takes what the configuration file says and keeps the defaults of the rest.
    fn from(conf: &config::ServerConf) -> Self {
        Self {
            max_connections: conf.max_connections,
            max_sessions: conf.max_sessions,
            idle_timeout: conf.idle,
            window_budget: conf.receive_buffer,
            upload_budget: conf.receive_buffer,
            task_retention: Retention { days: conf.task_retention_days, count: conf.task_retention_count },
            ..Self::default()
        }
    }
}

impl Settings {
    /// Receive window of a session when `sessions` run.
    #[must_use]
    pub fn window(&self, sessions: usize) -> u32 {
        const MIB: u64 = 1024 * 1024;
        let share = self.window_budget / (sessions.max(1) as u64);
        u32::try_from(share.clamp(MIB, u64::from(api_types::protocol::SERVER_WINDOW)))
            .unwrap_or(api_types::protocol::SERVER_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_when_many_sessions_share_the_budget() {
        let settings = Settings::default();
        assert_eq!(settings.window(1), 32 << 20);
        assert_eq!(settings.window(16), 32 << 20);
        assert_eq!(settings.window(64), 8 << 20);
        assert_eq!(settings.window(100_000), 1 << 20);
    }
}
