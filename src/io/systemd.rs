//! What the service manager is told; outside of systemd nothing happens.

use sd_notify::NotifyState;

/// The gateway is ready: brokers, store and HTTP are up.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The gateway is stopping.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// The loop is alive. Called by the loop itself, so that a loop that hangs is restarted.
pub fn feed_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "The service manager could not be told.");
    }
}
