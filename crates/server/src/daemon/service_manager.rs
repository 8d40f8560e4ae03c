//! Telling the service manager how the daemon is (sd_notify(3)). Without one, nothing happens.

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;

/// Connections are accepted.
pub(crate) fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}"))]);
}

/// The configuration is being read again; [`reloaded`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // The time is what tells this reload from an earlier one.
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot read the clock"),
    }
}

/// The configuration has been read again, well or not.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The daemon ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon lives.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often to say [`alive`]: twice as often as the service manager wants to hear it, if it wants to.
pub(crate) fn heartbeat() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| (limit / 2).max(Duration::from_millis(1)))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot reach the service manager");
    }
}
