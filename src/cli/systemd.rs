//! Messages to systemd, and what keeps its patience while the store is opened.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

/// How often more time is asked for.
const INTERVAL: Duration = Duration::from_secs(10);

/// How much time is asked for, in microseconds, counted from the message.
const EXTENSION_US: u32 = 60_000_000;

/// Sends a message to systemd, where it listens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

/// Does something that may take long before the program is ready, and asks systemd for more time as long as it takes:
/// the replay of a long log, or a disk that hangs, is not mended by another start.
///
/// # Errors
///
/// The system's, if there is no thread to be had.
pub(super) fn with_patience<T>(work: impl FnOnce() -> T) -> std::io::Result<T> {
    let (done, finished) = mpsc::sync_channel::<()>(1);
    let ask = move || {
        loop {
            notify(&[NotifyState::ExtendTimeoutUsec(EXTENSION_US)]);
            match finished.recv_timeout(INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    let asking = thread::Builder::new().name("patience".to_owned()).spawn(ask)?;
    let result = work();
    drop(done);
    if asking.join().is_err() {
        tracing::error!("the thread that asks systemd for time panicked");
    }
    Ok(result)
}
