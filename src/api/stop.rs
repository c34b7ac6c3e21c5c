//! The end: how everybody who serves is told, and how it is known that they have finished.

use tokio::sync::watch;

/// Tells whoever serves to come to an end, and waits until they have. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stopping: watch::Sender<bool>,
    /// Its receivers are those who work.
    working: watch::Sender<()>,
}

/// Somebody works for as long as this lives.
#[derive(Debug)]
pub(super) struct Work {
    _working: watch::Receiver<()>,
}

impl Stop {
    /// One that nobody has pulled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns once everybody is told.
    pub async fn stopped(&self) {
        // The sender lives in this very value, so waiting ends by its word alone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Returns once nobody works.
    pub async fn finished(&self) {
        self.working.closed().await;
    }

    /// How many work.
    pub(super) fn workers(&self) -> usize {
        self.working.receiver_count()
    }

    /// Begins some work.
    pub(super) fn work(&self) -> Work {
        Work { _working: self.working.subscribe() }
    }
}
