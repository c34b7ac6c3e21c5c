//! Signals that do not end the daemon.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Takes SIGHUP, SIGUSR1 and SIGUSR2 from now on, whose default is to end the process at once: without an answer to
/// requests in flight, and as a success for systemd, which would not start it again. Each is told in the log.
///
/// # Errors
///
/// When the operating system refuses a handler.
pub(super) fn ignore_what_does_not_end_it() -> Result<()> {
    for (kind, name) in [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ] {
        let mut signals = signal(kind).with_context(|| format!("no handler for {name}"))?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::warn!(
                    "{name} is ignored: configuration and keys are read at the start; restart jppd"
                );
            }
        });
    }
    Ok(())
}
